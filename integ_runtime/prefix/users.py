"""What runs in a prefix, whoever started it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from integ_runtime.launch.flatpak import INFO
from integ_server.contract.errors import BusyError

PATIENCE_S = 15.0
"""Wine's own services end some seconds after the last program, and write the registry then."""
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class PrefixUser:
    pid: int
    name: str
    """As the kernel cuts it."""


def users_of(prefix: Path) -> list[PrefixUser]:
    """
    The living Wine processes whose environment names *prefix*, by pid; a shell in which it is exported is none.

    Inside Flatpak those of the host too, by its own numbers.
    """
    places = {os.fsencode(each) for each in (prefix, prefix / "pfx", f"{prefix}/pfx/", prefix.resolve(), prefix.resolve() / "pfx")}
    marks = {name + place for name in (b"WINEPREFIX=", b"STEAM_COMPAT_DATA_PATH=") for place in places}
    found = []
    for process in os.scandir("/proc"):
        if process.name.isdigit():
            with suppress(OSError):  # gone meanwhile, or somebody else's
                folder = Path(process.path)
                if marks.isdisjoint((folder / "environ").read_bytes().split(b"\0")):
                    continue
                name = (folder / "comm").read_text("utf-8", "replace").strip()
                program = (folder / "exe").readlink().name
                if program.startswith("wine") or name.lower().endswith(".exe"):
                    found.append(PrefixUser(int(process.name), name))
    if INFO.exists():
        from integ_runtime.launch import host

        there = host.find_with(os.fsdecode(mark) for mark in sorted(marks)) or {}
        found += [PrefixUser(pid, name) for pid, name in there.items() if name.startswith("wine") or name.lower().endswith(".exe")]
    return sorted(found, key=lambda each: each.pid)


def wait_until_quiet(prefix: Path, check: Callable[[], None], *, within_s: float = PATIENCE_S) -> None:
    """
    Wait until nothing runs in *prefix* any more; *check* may raise to end the waiting.

    Raises:
        BusyError: Something still did after *within_s*.
    """
    until = time.monotonic() + within_s
    while users := users_of(prefix):
        check()
        if time.monotonic() > until:
            names = ", ".join(f"{each.name} ({each.pid})" for each in users[:4])
            raise BusyError(
                f"{names} still runs in the prefix {prefix}", hint="end it, or: kill " + " ".join(str(each.pid) for each in users)
            )
        time.sleep(_PAUSE_S)
