"""Several processes that do the same, watched by this one: begun again when they die, ended together."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from integ_server import systemd
from integ_server.contract.errors import IntegError

END_WITHIN_S = 35.0
"""How long a process that was told to end may take; a little more than it gives its requests."""
_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_LONGEST_PAUSE_S = 30.0
_SETTLED_AFTER_S = 60.0
_log = logging.getLogger("integ.serving")

Be = Callable[[int, Callable[[], None]], None]
"""What one process does until it is told to end by SIGTERM: it is handed its number, and what to call once it works."""


@dataclass
class _Child:
    number: int
    pid: int = 0
    """0: not running."""
    started_at: float = 0.0
    pause_s: float = 0.0
    ready: int = -1
    """The pipe by which it says that it works; -1 once it has, or is gone."""
    was_ready: bool = False

    def close(self) -> None:
        if self.ready >= 0:
            os.close(self.ready)
            self.ready = -1


def supervise(be: Be, processes: int) -> None:
    """
    Fork *processes* children that do *be*, and keep that many alive until SIGTERM, SIGINT or SIGHUP; then end them.

    One that dies is begun again, after a pause that grows while it goes on dying. A second signal ends everything at once. No thread may
    run when this is called: it forks.

    Raises:
        KeyboardInterrupt: The signal was SIGINT.
        IntegError: A child ended before any ever worked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    children = [_Child(number) for number in range(processes)]
    has_told = False
    try:
        for child in children:
            _start(child, be, before)
        while True:
            got = signal.sigtimedwait(_WATCHED, 0.2 if any(each.ready >= 0 or not each.pid for each in children) else 5.0)
            _note_ready(children)
            if got is not None and got.si_signo == signal.SIGINT:
                raise KeyboardInterrupt
            if got is not None and got.si_signo != signal.SIGCHLD:
                return
            for child in _ended(children):
                _plan_next(child, worked=any(each.was_ready for each in children))
            for child in children:
                if not child.pid and time.monotonic() - child.started_at >= child.pause_s:
                    _start(child, be, before)
            if not has_told and all(child.was_ready for child in children):
                has_told = True
                systemd.notify("READY=1")
    finally:
        systemd.notify("STOPPING=1")
        _end(children)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(child: _Child, be: Be, mask: set[signal.Signals] | set[int]) -> None:
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ready)
            os.environ.pop("NOTIFY_SOCKET", None)  # the manager hears of all of them by the parent
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            be(child.number, lambda: _say_ready(tell))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)  # nothing of the parent's is cleaned up here
    os.close(tell)
    child.pid, child.started_at, child.ready = pid, time.monotonic(), ready


def _say_ready(tell: int) -> None:
    os.write(tell, b".")
    os.close(tell)


def _note_ready(children: list[_Child]) -> None:
    waiting = [child for child in children if child.ready >= 0]
    told, _, _ = select.select([child.ready for child in waiting], [], [], 0)
    for child in waiting:
        if child.ready in told:
            child.was_ready = child.was_ready or os.read(child.ready, 1) == b"."
            child.close()


def _ended(children: list[_Child]) -> list[_Child]:
    """Those that died since the last look; none stays a zombie."""
    found = []
    for child in children:
        if child.pid and (status := os.waitpid(child.pid, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(status[1])
            _log.error("process %d ended by itself (%s)", child.number, f"signal {-code}" if code < 0 else f"code {code}")
            child.pid = 0
            child.close()
            found.append(child)
    return found


def _plan_next(child: _Child, *, worked: bool) -> None:
    if not worked:
        raise IntegError("the backend could not be started", hint="the log says why")
    is_settled = time.monotonic() - child.started_at > _SETTLED_AFTER_S
    child.pause_s = 0.0 if is_settled else min(_LONGEST_PAUSE_S, max(0.5, child.pause_s * 2))
    child.started_at = time.monotonic() if child.pause_s else child.started_at


def _end(children: list[_Child]) -> None:
    alive = [child for child in children if child.pid]
    for child in alive:
        os.kill(child.pid, signal.SIGTERM)
    until = time.monotonic() + END_WITHIN_S
    while alive and (left := until - time.monotonic()) > 0:
        alive = [child for child in alive if not os.waitpid(child.pid, os.WNOHANG)[0]]
        if alive:
            got = signal.sigtimedwait(_WATCHED, min(left, 0.5))
            if got is not None and got.si_signo != signal.SIGCHLD:
                break
    for child in alive:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
    for child in children:
        child.close()
