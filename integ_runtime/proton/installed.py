"""The builds on this machine: those that Integ installed, and those that belong to Steam or the system."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from integ_runtime.proton.layout import is_build, machines, missing_parts
from integ_runtime.proton.processor import can_run
from integ_runtime.steam.tools import SteamTool, read_tool
from integ_server.contract.errors import AmbiguousError, BuildNotFoundError, IntegrityError
from integ_server.releases.families import (
    FAMILIES,
    Kind,
    family_of,
    is_safe_name,
    kind_of,
    machine_of,
    natural_order,
    parse_version,
    split_arch,
    this_arch,
)

RECORD = ".integ-build.json"
FILES_RECORD = ".integ-files.json"
LATEST = "latest"
IN_STEAM = "steam"
"""What a record says of a build in Steam's folder, as its `place`."""
WORK_PREFIX = ".integ-tmp-"
_RECORD_BYTES = 64 << 10
_VALVE_VERSION = re.compile(r"proton[ _-]*(\d+)(?:[._](\d+))?", re.IGNORECASE | re.ASCII)


class InstalledBuild(NamedTuple):
    version: str
    """What a player calls it: `GE-Proton8-26`, or the name that Steam knows it by."""
    family: str
    """`ge`...; `steam` for one that Integ did not install."""
    path: Path
    source: str
    """integ or steam."""
    require_tool_appid: str | None = None
    """The Steam runtime that it has to run in, by Steam's id."""
    size_bytes: int | None = None
    """None when nobody has counted."""
    tag: str = ""
    """The release it came from; `version` may name a machine too."""
    arch: str = ""
    placed_by_integ: bool = False
    """Whether Integ put it where it is, and may take it away again; of Steam's folders only what `--to steam` installed."""

    @property
    def runs_here(self) -> bool:
        """Whether this machine can run it; one that nothing was written down of counts as if it could."""
        return not self.arch or can_run(self.arch)

    @property
    def kind(self) -> Kind:
        """How it is called."""
        return kind_of(self.family)


def own_builds(tools: Path) -> list[InstalledBuild]:
    """
    The builds below *tools*, in the order in which one of them is taken: for this machine first, family by family, newest first.

    Whole ones only: nothing half-made ever has a name without a dot.
    """
    found = []
    try:
        entries = list(os.scandir(tools))
    except OSError:
        return []
    for entry in entries:
        if is_safe_name(entry.name) and entry.name != LATEST and entry.is_dir(follow_symlinks=False):
            build = read_build(Path(entry.path))
            if build is not None:
                found.append(build)
    return sorted(found, key=_own_order, reverse=True)


def _own_order(build: InstalledBuild) -> tuple[object, ...]:
    """Of one release the build for any PC comes before those for newer processors."""
    family = FAMILIES.get(build.family)
    age = family.order(build.tag) if family is not None else natural_order(build.tag)
    rank = list(FAMILIES).index(build.family) if family is not None else len(FAMILIES)
    return build.runs_here, -rank, age, build.arch in {"", this_arch()}, build.version


def read_build(path: Path) -> InstalledBuild | None:
    """The build in the folder *path* of Integ's; None when there is none."""
    record = read_record(path)
    name, arch = split_arch(path.name)
    family = _text(record, "family") or family_of(path.name).slug
    if not is_build(path, kind_of(family)):
        return None
    try:
        tool = read_tool(path)
    except IntegrityError:
        tool = None
    size = record.get("size_bytes")
    return InstalledBuild(
        version=path.name,
        family=family,
        path=path,
        source="integ",
        require_tool_appid=tool.require_tool_appid if tool is not None else None,
        size_bytes=size if isinstance(size, int) else None,
        tag=_text(record, "tag") or name,
        arch=_text(record, "arch") or arch or "",
        placed_by_integ=True,
    )


def read_record(path: Path) -> dict[str, object]:
    """What Integ wrote down of the build in *path* as it was installed; empty when it can't be read."""
    try:
        with (path / RECORD).open("rb") as file:
            record = json.loads(file.read(_RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def steam_builds(tools: Iterable[SteamTool], without: Path) -> list[InstalledBuild]:
    """The Proton builds among Steam's *tools*, the likeliest to be wanted first; none that lies below *without*."""
    found = [_steam_build(tool) for tool in tools if tool.is_proton and not tool.path.is_relative_to(without)]
    return sorted(found, key=_steam_order, reverse=True)


def _steam_build(tool: SteamTool) -> InstalledBuild:
    arch = split_arch(tool.path.name)[1] or split_arch(tool.name)[1] or ""
    build = InstalledBuild(tool.name, "steam", tool.path, "steam", tool.require_tool_appid, tag=tool.name, arch=arch)
    record = read_record(tool.path)
    if record.get("place") != IN_STEAM:  # a copy of one of Integ's own has a record too, and is the player's
        return build
    size = record.get("size_bytes")
    return build._replace(
        family=_text(record, "family") or "steam",
        size_bytes=size if isinstance(size, int) else None,
        arch=_text(record, "arch") or arch,
        placed_by_integ=True,
    )


def _steam_order(build: InstalledBuild) -> tuple[object, ...]:
    """Numbered versions of Valve's by number, then GE's and others', then experimental ones."""
    experimental = any(word in build.version.casefold() for word in ("experimental", "hotfix", "next"))
    numbered = _VALVE_VERSION.search(build.version)
    if numbered is None:
        return not experimental, 0, 0, natural_order(build.version)
    major, minor = numbered[1], numbered[2] or "0"
    if numbered[2] is None and len(major) == 3:  # proton_513 is 5.13, and so on
        major, minor = major[0], major[1:]
    elif numbered[2] is None and len(major) == 2 and int(major) > 30:
        major, minor = major[0], major[1]
    return not experimental, int(major), int(minor), natural_order(build.version)


def check_build(path: Path, *, arch: str | None = None, kind: Kind = "proton") -> None:
    """
    Raises:
        IntegrityError: The folder *path* is no whole build of that kind, or one for another machine than *arch*.
    """
    missing = missing_parts(path, kind)
    if missing:
        name = "Proton build" if kind == "proton" else "build of Wine"
        raise IntegrityError(f"the archive is no {name}: it lacks {', '.join(missing)}")
    if kind == "proton":
        read_tool(path)  # its manifest has to make sense
    wanted = machine_of(arch or this_arch())
    for machine in machines(path, kind):
        if machine != wanted:
            raise IntegrityError(f"the build is for {machine}, not for {wanted}")


def the_removable(build: InstalledBuild, installed: Iterable[InstalledBuild]) -> InstalledBuild:
    """
    *build*, or the one of its name in the folder of another Steam where only that can be removed.

    Raises:
        AmbiguousError: Several Steams have one that can.
    """
    twins = [each for each in installed if each.version == build.version and each.source == build.source and each.placed_by_integ]
    if len(twins) > 1:
        told = f"{build.version} is in several places: {', '.join(str(each.path) for each in twins)}"
        raise AmbiguousError(told, hint=f"integ proton remove {shlex.quote(str(twins[0].path))}")
    return twins[0] if twins else build


def not_installed(version: str) -> BuildNotFoundError:
    """What to raise where *version* is wanted and not here."""
    try:
        wanted = parse_version(version)
    except BuildNotFoundError:  # a name of Steam's own, or of nobody's
        return BuildNotFoundError(f"Proton {version} is not installed", hint="install it in Steam, or see integ proton available")
    name = version if wanted.family.kind == "wine" else f"Proton {version}"
    return BuildNotFoundError(f"{name} is not installed", hint=f"integ install-proton {version}")


def size_of(folder: Path) -> int:
    """Bytes of all files below *folder*."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - thousands of them
    return total


def _text(record: dict[str, object], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""
