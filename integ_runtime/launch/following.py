"""Waiting for the end of a game that was started, and stopping it on request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from integ_runtime.errors import LaunchError, NotExecutableError, ProgramMissingError
from integ_runtime.launch.plan import LaunchPlan
from integ_runtime.launch.run import LaunchOutcome, Started


async def follow(
    started: Started,
    plan: LaunchPlan,
    *,
    presses: int,
    on_started: Callable[[int], None] | None,
    stop_when_asked: bool,
    ready: Callable[[], None] = lambda: None,
) -> LaunchOutcome:
    """
    Wait for the end of *plan*; *ready* is called once signals are answered, as `run.run_game` says they are.

    On a terminal Ctrl-C is the game's; as many as *presses* stop it.

    Raises:
        LaunchError: It could not be started, or its supervisor was killed.
    """
    child, log_path, terminal = started.child, started.log_path, started.terminal
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(started.status, "rb", buffering=0)
    )
    asked: set[int] = set()

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    outcome: LaunchOutcome | None = None
    told_all, has_run = False, True
    try:
        with _signals(stop, presses=presses if terminal else 0, wanted=stop_when_asked):
            ready()
            while (line := await _next_line(reader, stop if stop_when_asked else None, asked)) is not None:
                event = json.loads(line)
                if event["event"] == "failed":
                    told_all = True
                    raise _start_failure(int(event["errno"]), plan)
                if event["event"] == "started" and on_started is not None:
                    on_started(int(event["pid"]))
                if event["event"] == "ended":
                    outcome = LaunchOutcome(int(event["code"]), log_path, float(event["seconds"]), event["after"], event["stopped"])
                    has_run = event["ran"]
            told_all = True
    finally:
        transport.close()
        if started.looks is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, started.looks)  # a game that was killed leaves it raw
        _reap(child, wait=told_all)
    if asked:
        raise asyncio.CancelledError
    if outcome is None:
        raise LaunchError(f"what watched over {plan.title} ended before the game did", hint="integ doctor")
    if not has_run and not outcome.stopped:
        where = f"it says why in {log_path}" if log_path else "it says why above"
        raise LaunchError(f"umu-run ended with {outcome.exit_code} and did not start {plan.title}", hint=f"{where}; integ doctor")
    return outcome


async def _next_line(reader: asyncio.StreamReader, stop: Callable[[], None] | None, asked: set[int]) -> bytes | None:
    """The next thing the supervisor says, None at its end; a cancellation becomes a request to stop, and the waiting goes on."""
    while True:
        try:
            line = await reader.readline()
        except asyncio.CancelledError:
            if stop is None:
                raise
            asked.add(1)
            stop()
            continue
        return line or None


@contextlib.contextmanager
def _signals(stop: Callable[[], None], *, presses: int, wanted: bool) -> Iterator[None]:
    """SIGTERM stops the game. On a terminal Ctrl-C is the game's, which gets it from the kernel as we do; the last of *presses* stops."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    pressed = 0

    def interrupted() -> None:
        nonlocal pressed
        pressed += 1
        if pressed >= presses:
            stop()

    taken = {signal.SIGTERM: stop, **({signal.SIGINT: interrupted} if presses else {})}
    before = {number: signal.getsignal(number) for number in taken}
    for number, answer in taken.items():
        loop.add_signal_handler(number, answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            if handler is not None:
                signal.signal(number, handler)


def _start_failure(number: int, plan: LaunchPlan) -> LaunchError:
    program = plan.argv[0]
    if number in {errno.ENOENT, errno.ENOTDIR}:
        if not plan.cwd.is_dir():
            return ProgramMissingError(f"the folder {plan.cwd} is not there", hint=f"integ uninstall {plan.key}, and install it again")
        if Path(program).exists():
            return ProgramMissingError(f"what {program} has to be run by is not there", hint="integ doctor")
        return ProgramMissingError(f"{program} is not there", hint=f"integ uninstall {plan.key}, and install it again")
    if number in {errno.EACCES, errno.ENOEXEC, errno.EPERM}:
        return NotExecutableError(
            f"{program} can't be executed: {os.strerror(number)}", hint=f"integ uninstall {plan.key}, and install it again"
        )
    return LaunchError(f"{program} could not be started: {os.strerror(number)}", hint="integ doctor")


def _reap(child: int, *, wait: bool) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0 if wait else os.WNOHANG)
