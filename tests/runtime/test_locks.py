"""A lock between processes: held once, let go by the dead."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from integ_runtime.locks import lock_file, only_one
from integ_server.contract.errors import BusyError, StorageError

_HOLDER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from integ_runtime.locks import only_one
    async def main():
        async with only_one(Path(sys.argv[1])):
            print("held", flush=True)
            await asyncio.sleep(600)
    asyncio.run(main())
""")


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


async def test_a_second_holder_is_told_who_has_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with holder:
        with pytest.raises(BusyError, match=rf"^another Integ is syncing \(pid {holder.pid}\)$"):
            async with only_one(tmp_path / "lock", wait_s=0, doing="syncing"):
                pass
        holder.kill()


async def test_a_killed_holder_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    async with only_one(tmp_path / "lock", wait_s=0):
        assert (tmp_path / "lock").exists()


async def test_those_who_wait_come_one_after_the_other(tmp_path: Path) -> None:
    inside = 0

    async def enter() -> None:
        nonlocal inside
        async with only_one(tmp_path / "lock"):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(6)))
    assert inside == 0


async def test_a_lock_removed_between_opening_and_locking_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "game" / "lock"
    real = fcntl.flock
    removed: list[Path] = []

    def flock(handle: int, operation: int) -> None:
        if not removed:
            removed.append(lock)
            lock.unlink()
            lock.parent.rmdir()
        real(handle, operation)

    monkeypatch.setattr("integ_runtime.locks.fcntl.flock", flock)
    async with only_one(lock, wait_s=0):
        assert lock.read_text() == f"{os.getpid()}\n"


async def test_a_full_disk_keeps_nobody_from_a_lock_and_a_wrong_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(os, "pwrite", full)
        async with only_one(tmp_path / ".lock"):
            assert lock_file(tmp_path / ".lock") is None, "it is held"
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        async with only_one(tmp_path / "file" / ".lock"):
            pass
