"""Which process holds a row: written so that another one can tell whether it still lives."""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

STALE_AFTER = timedelta(seconds=30)
"""A holder that can't be looked at, on another machine or in another container, counts as dead this long after its last sign."""


def this_process() -> str:
    """`PID START BOOT PIDNS`: start time in clock ticks since the boot, so that a pid that is used again is told apart."""
    return _described(os.getpid())


@functools.lru_cache(maxsize=2)  # after a fork the pid differs, and with it the answer
def _described(pid: int) -> str:
    return f"{pid} {_start_ticks(pid)} {_boot_id()} {_pid_namespace()}"


def is_alive(owner: str, last_sign: datetime | None, *, own_machine: bool) -> bool:
    """
    Whether the process that wrote *owner* still runs.

    *own_machine* says that no other machine uses this database: then another boot's processes are dead for sure.
    """
    parts = owner.split(" ")
    if len(parts) != 4 or not parts[0].isdigit():
        return False
    pid, start, boot, namespace = parts
    if boot == _boot_id() and namespace == _pid_namespace():
        return _start_ticks(int(pid)) == start
    if own_machine and boot != _boot_id():
        return False
    # Flatpak gives each instance its own pids: there, as on another machine, only the heartbeat tells.
    return last_sign is not None and datetime.now(UTC) - last_sign < STALE_AFTER


def _start_ticks(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return "" if fields[0] in {"Z", "X"} else fields[19]


@functools.cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


@functools.cache
def _pid_namespace() -> str:
    try:
        return Path("/proc/self/ns/pid").readlink().name
    except OSError:
        return "unknown"
