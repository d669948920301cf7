"""Coroutines that begin without an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from integ_runtime import late_loop


def test_what_never_waits_never_gets_a_loop() -> None:
    async def work() -> tuple[int, bool]:
        return await late_loop.in_thread(threading.get_ident), late_loop.is_here()

    assert late_loop.run(work()) == (threading.get_ident(), False)


def test_from_where_a_loop_is_needed_there_is_one() -> None:
    told: list[str] = []

    async def deep() -> str:
        told.append(f"before: {late_loop.is_here()}")
        await late_loop.needed()
        await asyncio.sleep(0)
        told.append(f"after: {late_loop.is_here()}")
        await late_loop.needed()
        return "done"

    async def work() -> str:
        return await deep() + str(await late_loop.in_thread(threading.get_ident) != threading.get_ident())

    assert late_loop.run(work(), before_the_loop=lambda: told.append("now")) == "doneTrue"
    assert told == ["before: False", "now", "after: True"]


@pytest.mark.parametrize("needs", [False, True])
def test_what_is_raised_comes_out_and_what_was_opened_is_closed(needs: bool) -> None:
    closed: list[str] = []

    async def work() -> None:
        try:
            if needs:
                await late_loop.needed()
            raise ZeroDivisionError("mine")
        finally:
            closed.append("closed")

    with pytest.raises(ZeroDivisionError, match="mine"):
        late_loop.run(work())
    assert closed == ["closed"]


def test_an_interruption_cancels_what_waits_as_it_does_in_any_loop() -> None:
    ended: list[str] = []

    async def work() -> None:
        await late_loop.needed()
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        late_loop.run(work())
    assert ended == ["cancelled"]


async def test_in_a_loop_it_is_as_if_the_loop_had_never_been_late() -> None:
    await late_loop.needed()
    assert await late_loop.in_thread(threading.get_ident) != threading.get_ident()


async def test_what_is_begun_meanwhile_has_ended_behind() -> None:
    ended: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append("work")

    async with late_loop.meanwhile() as begin:
        begin(work())
        assert ended == []
    assert ended == ["work"]


def test_asyncio_is_loaded_only_for_what_waits() -> None:
    ask = "import sys; from integ_runtime import late_loop\nasync def work(): return 'asyncio' in sys.modules\nprint(late_loop.run(work()))"
    assert subprocess.check_output([sys.executable, "-c", ask], text=True) == "False\n"
