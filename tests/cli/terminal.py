"""`integ` on a terminal of its own: what it shows, and what is typed into it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE_S = 60


class Terminal:
    """A child on a pseudo terminal. Waiting is for text to appear, never for time to pass."""

    def __init__(self, pid: int, handle: int) -> None:
        self._pid, self._handle = pid, handle
        self.shown = ""
        self._read_to = 0

    def until(self, text: str) -> str:
        """What was shown up to *text*, counted from the last wait."""
        while (at := self.shown.find(text, self._read_to)) < 0:
            if not self._more():
                raise AssertionError(f"{text!r} was never shown:\n{self.shown}")
        before = self.shown[self._read_to : at + len(text)]
        self._read_to = at + len(text)
        return before

    def type(self, keys: str) -> None:
        os.write(self._handle, keys.encode())

    def interrupt(self) -> None:
        self.type("\x03")

    def end(self) -> int:
        """Wait for the end; the exit code."""
        while self._more():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _more(self) -> bool:
        if not select.select([self._handle], [], [], _PATIENCE_S)[0]:
            raise AssertionError(f"nothing more was shown:\n{self.shown}")
        try:
            data = os.read(self._handle, 65_536)
        except OSError:  # how a pseudo terminal tells that the other end is closed
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


@contextmanager
def on_a_terminal(*words: str, columns: int = 100, **environ: str) -> Iterator[Terminal]:
    known = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", **environ}
    known |= {"COLUMNS": str(columns), "LINES": "30"}
    pid, handle = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "integ_cli", *words], known)
    terminal = Terminal(pid, handle)
    try:
        yield terminal
    finally:
        os.close(handle)
        _reap(pid)


def _reap(pid: int) -> None:
    until = time.monotonic() + _PATIENCE_S
    try:
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            os.sched_yield()
    except ChildProcessError:
        return


def plain(text: str) -> str:
    """*text* without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
