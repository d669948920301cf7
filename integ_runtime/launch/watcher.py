"""
The supervisor's process as whoever starts a game sees it: begun, given its plan, heard.

It may be begun long before there is a plan: it is a Python of its own, and starts while the game is being looked up.
"""

from __future__ import annotations

import _socket  # the module `socket` makes enums of all its constants, which takes longer than starting the process
import marshal
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from integ_runtime.errors import LaunchError

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - loaded before anything else of ours
_SUPERVISE = f"import sys; sys.path.append({_HERE!r}); import supervisor; sys.exit(supervisor.main())"
"""By import, so that its compiled form is used; from its folder, so that nothing else of ours is loaded."""
_ITS_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Blocked from its first moment on, so that none ends it while it starts; it fetches them itself."""


class Watcher:
    """A supervisor that has begun. Nothing happens before it is given a plan, and without one it ends with us."""

    def __init__(self, *, attach: bool) -> None:
        """
        With *attach* the game is to have our standard streams, and our terminal where there is one.

        Raises:
            LaunchError: No process could be started.
        """
        self.terminal = attach and _has_terminal()
        """Whether the game shares our terminal and our session."""
        ours, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            # Onto itself: the copy in the child alone loses its close-on-exec, so no other thread's child inherits it.
            actions = [(os.POSIX_SPAWN_DUP2, its.fileno(), its.fileno())]
            argv = [sys.executable, "-I", "-S", "-c", _SUPERVISE, str(its.fileno())]
            clean = {"LC_ALL": "C.UTF-8", "PATH": os.defpath}
            self.pid = os.posix_spawn(sys.executable, argv, clean, file_actions=actions, setsid=not self.terminal, setsigmask=_ITS_SIGNALS)
        except OSError as error:
            ours.close()
            raise _not_started(error) from error
        finally:
            its.close()
        self._channel: _socket.socket | None = ours

    def give(self, plan: dict[str, Any], handles: Sequence[int]) -> int:
        """
        Let it start what *plan* says, which `Supervisor` reads, with copies of the descriptors *handles*, the first of them its log if it
        has one; the answer is a descriptor on which it tells how that goes.

        Raises:
            LaunchError: It is not there any more.
        """
        channel = self._channel
        assert channel is not None, "it has a plan already"
        content = marshal.dumps(plan)
        copies = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, b"".join(each.to_bytes(4, sys.byteorder) for each in handles))]
        try:
            sent = channel.sendmsg([content], copies if handles else ())
            channel.sendall(content[sent:])
            channel.shutdown(_socket.SHUT_WR)
        except OSError as error:
            raise _not_started(error) from error
        self._channel = None
        return channel.detach()

    def dismiss(self) -> None:
        """End it, unless it was given a plan."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            os.kill(self.pid, signal.SIGKILL)  # it may not have come far enough to see that we are gone
            os.waitpid(self.pid, 0)


def _not_started(error: OSError) -> LaunchError:
    return LaunchError(f"no process could be started: {error.strerror}", hint="integ doctor")


def _has_terminal() -> bool:
    """Whether our standard input is a terminal of which we are the foreground job."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
