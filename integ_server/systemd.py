"""What systemd and a service of it tell each other, by its documented variables; nothing happens where they are not set."""

from __future__ import annotations

import contextlib
import os
import socket

_FIRST_FD = 3


def sockets() -> list[socket.socket]:
    """The listening sockets that systemd opened for this process (`LISTEN_FDS`); each call answers them once only."""
    count = os.environ.pop("LISTEN_FDS", "")
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdigit():
        return []
    found = [socket.socket(fileno=fd) for fd in range(_FIRST_FD, _FIRST_FD + int(count))]
    for door in found:
        door.set_inheritable(False)
    return found


def notify(state: str) -> None:
    """Tell the manager *state* (`READY=1`); a manager that does not listen is no trouble of ours."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.connect("\0" + place[1:] if place.startswith("@") else place)
        manager.sendall(state.encode())
