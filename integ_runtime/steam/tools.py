"""Proton builds and Steam runtimes that Steam itself, a distribution or the player put on this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from integ_runtime.steam.manifests import SteamApp
from integ_runtime.steam.roots import TOOLS_FOLDER, SteamRoot
from integ_runtime.steam.vdf import Section, read_vdf
from integ_server.contract.errors import IntegrityError

_SYSTEM_FOLDERS = ("usr/share/steam", "usr/local/share/steam")
MAX_ENTRIES = 1000

# The names in Steam's own choice of a tool, by app id; its catalogue holds them too, in a binary file.
VALVE_NAMES = {
    858280: "proton_37",
    930400: "proton_37_beta",
    961940: "proton_316",
    996510: "proton_316_beta",
    1054830: "proton_42",
    1113280: "proton_411",
    1245040: "proton_5",
    1420170: "proton_513",
    1580130: "proton_63",
    1887720: "proton_7",
    2348590: "proton_8",
    2805730: "proton_9",
    3658110: "proton_10",
    4628710: "proton_11",
    1493710: "proton_experimental",
    2180100: "proton_hotfix",
    1070560: "steamlinuxruntime",
    1391110: "steamlinuxruntime_soldier",
    1628350: "steamlinuxruntime_sniper",
    4183110: "steamlinuxruntime_4",
}


class SteamTool(NamedTuple):
    """A folder with a `toolmanifest.vdf`: something that runs a program, or that such a thing runs in."""

    name: str
    """The internal name, which Steam writes down as a player's choice."""
    title: str
    path: Path
    app_id: int | None
    """None for what does not come from Steam's own depots."""
    root: Path | None
    """The Steam installation it belongs to; None for the system's folders."""
    require_tool_appid: str | None
    """The runtime that it has to run in; text, as it stands in the file."""
    command_line: str
    layer: str

    @property
    def is_proton(self) -> bool:
        return is_executable(self.path / "proton")

    @property
    def is_runtime(self) -> bool:
        return self.layer == "container-runtime" or (not self.is_proton and is_executable(self.path / "_v2-entry-point"))

    def command(self, verb: str) -> tuple[str, ...]:
        """
        What starts this tool with *verb*; the program to run comes behind it.

        Raises:
            IntegrityError: Its manifest holds no usable command.
        """
        try:
            first, *rest = shlex.split(self.command_line.replace("%verb%", verb))
        except ValueError as error:
            raise IntegrityError(f"{self.path / 'toolmanifest.vdf'} has no usable command line") from error
        if not first.startswith("/") or ".." in first.split("/"):
            raise IntegrityError(f"{self.path / 'toolmanifest.vdf'} has a command that is not its own")
        return f"{self.path}{first}", *rest


def read_tool(path: Path, *, name: str = "", title: str = "", app_id: int | None = None, root: Path | None = None) -> SteamTool | None:
    """
    The tool in the folder *path*; None when it is none.

    Raises:
        IntegrityError: Its manifest is damaged.
    """
    try:
        content = read_vdf(path / "toolmanifest.vdf")
    except FileNotFoundError:
        return None
    manifest = content.section("manifest")
    return SteamTool(
        name=name or path.name,
        title=title or name or path.name,
        path=path,
        app_id=app_id,
        root=root,
        require_tool_appid=manifest.text("require_tool_appid").strip() or None,
        command_line=_command_line(manifest),
        layer=manifest.text("compatmanager_layer_name"),
    )


def find_tools(
    roots: Iterable[SteamRoot], apps: Iterable[SteamApp], environ: Mapping[str, str], warnings: list[str], system: Path = Path("/")
) -> list[SteamTool]:
    """
    Every tool on this machine, none twice by real path; of two with one name, that of a player's folder comes before the system's.

    *apps* is everything in Steam's libraries; *system* is where `/usr` is.
    """
    found: dict[Path, SteamTool] = {}
    for folder, root in reversed(tool_folders(roots, environ, system)):
        for tool in _tools_below(folder, root, warnings):
            found.setdefault(tool.path, tool)
    for app in apps:
        if app.path is None or app.offline or not app.installed:
            continue
        name = VALVE_NAMES.get(app.app_id, "")
        try:
            own = read_tool(app.path.resolve(), name=name, title=app.name, app_id=app.app_id, root=app.root)
        except (OSError, RuntimeError, IntegrityError) as error:
            warnings.append(str(error))
            continue
        if own is not None:
            found.setdefault(own.path, own)
    return list(found.values())


def tool_folders(roots: Iterable[SteamRoot], environ: Mapping[str, str], system: Path = Path("/")) -> list[tuple[Path, Path | None]]:
    """The folders that hold tools with the Steam each belongs to; what comes later overrides what came before."""
    folders: list[tuple[Path, Path | None]] = [(system / each / TOOLS_FOLDER, None) for each in _SYSTEM_FOLDERS]
    extra = environ.get("STEAM_EXTRA_COMPAT_TOOLS_PATHS", "").split(":")
    folders += [(Path(each), None) for each in extra if each.startswith("/")]
    folders += [(root.tools / TOOLS_FOLDER, root.path) for root in reversed(list(roots))]
    return folders


def find_runtime(tools: Iterable[SteamTool], app_id: str, *, root: Path | None = None) -> SteamTool | None:
    """The runtime with Steam's id *app_id*, one of *root* first; it is found by its manifest, never by a folder's name."""
    fitting = [tool for tool in tools if tool.app_id is not None and str(tool.app_id) == app_id]
    return next((tool for tool in fitting if tool.root == root), fitting[0] if fitting else None)


def is_executable(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK)


def _command_line(manifest: Section) -> str:
    """In the first form of the manifest, which knew no verbs, the verb that games are started with has a line of its own."""
    told = manifest.text("commandline")
    return told if "%verb%" in told else manifest.text("commandline_waitforexitandrun") or told


def _tools_below(folder: Path, root: Path | None, warnings: list[str]) -> Iterable[SteamTool]:
    try:
        entries = sorted(folder.iterdir())[:MAX_ENTRIES]
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):  # half-made ones of Integ's and others
            continue
        try:
            listing = entry if entry.suffix.casefold() == ".vdf" and entry.is_file() else entry / "compatibilitytool.vdf"
            yield from _listed_tools(listing, root) if listing.is_file() else _unlisted_tool(entry, root)
        except (OSError, RuntimeError, IntegrityError) as error:
            warnings.append(str(error))


def _listed_tools(listing: Path, root: Path | None) -> Iterable[SteamTool]:
    content = read_vdf(listing)
    tools = content.section("compatibilitytools", "compat_tools")
    for name, facts in (tools if len(tools) else content.section("compatibilitytools", "compat tools")).sections():
        path = _install_path(listing, facts)
        tool = read_tool(path, name=name, title=facts.text("display_name"), root=root) if path is not None else None
        if tool is not None:
            yield tool


def _unlisted_tool(folder: Path, root: Path | None) -> Iterable[SteamTool]:
    tool = read_tool(folder.resolve(), root=root)
    if tool is not None and tool.is_proton:
        yield tool


def _install_path(listing: Path, facts: Section) -> Path | None:
    written = facts.text("install_path")
    if not written or "\0" in written:
        return None
    return (listing.parent / written).resolve()
