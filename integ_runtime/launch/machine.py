"""What a plan has to know of this machine, so that a plan itself reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from integ_runtime.steam.tools import SteamTool

PROTONS_USER = "steamuser"
"""What every Proton calls the Windows user, whoever plays."""


class Machine(NamedTuple):
    """Read beforehand; a native game needs the first few alone."""

    environ: Mapping[str, str]
    home: Path
    uid: int
    umu_run: Path | None = None
    umu_runtimes: frozenset[str] = frozenset()
    """App ids of the runtimes that umu has fetched already."""
    tools: tuple[SteamTool, ...] = ()
    """What Steam keeps here: the runtimes are among them."""
    steam_root: Path | None = None
    programs: Mapping[str, Path | None] = MappingProxyType({})
    """Where each wrapper's program is; None when it is nowhere on PATH."""
    session_bus: bool = True

    def __repr__(self) -> str:
        return f"Machine({self.home})"  # not what is in its environment
