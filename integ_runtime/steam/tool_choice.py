"""Which compatibility tool Steam takes for an app: the section `CompatToolMapping` of its `config.vdf`."""

from __future__ import annotations

from collections.abc import Iterable

from integ_runtime.steam.changes import Change, Edit
from integ_runtime.steam.roots import SteamRoot
from integ_runtime.steam.tools import VALVE_NAMES, SteamTool
from integ_runtime.steam.vdf import Section, parse_vdf
from integ_runtime.steam.vdf_edit import remove, set_section
from integ_server.contract.errors import AmbiguousError, IntegrityError, NotFoundError

MAPPING = ("InstallConfigStore", "Software", "Valve", "Steam", "CompatToolMapping")
DEFAULT = "0"
"""In place of an app's id: what all apps without a choice of their own run with."""
CHOSEN, FALLBACK = "250", "75"
"""The highest priority wins: a player's choice for one app over Valve's own (85, 100), and those over the default for all."""


def edit_choice(content: bytes | None, app: str, tool: str | None, title: str, *, where: str) -> Edit | None:
    """
    What `config.vdf` becomes when *app* (or `DEFAULT`) is to run with *tool*, an internal name, or without a choice; None: as it is.

    Raises:
        NotFoundError: There is no such file yet.
        IntegrityError: It is damaged.
    """
    if content is None:
        raise NotFoundError(f"{where} is not there: Steam was not started here yet", hint="start Steam once, then end it")
    before = _choice(content, app, where)
    if tool is None:
        if before is None:
            return None
        after: dict[str, str] | None = None
        changed = remove(content, [*MAPPING, app], where=where)
    else:
        after = {**(before or {}), "name": tool, "config": "", "priority": FALLBACK if app == DEFAULT else CHOSEN}
        changed = set_section(content, [*MAPPING, app], after, where=where)  # its other keys stay
    if _choice(changed, app, where) != after:
        raise IntegrityError(f"{where} can't be changed safely", hint="choose the tool in Steam: Properties, Compatibility")
    return Edit(changed, f"{title}: {tool or 'without a choice'}", "tool", app, before, after)


def revert_choice(content: bytes, change: Change, force: bool) -> bytes | None:
    """What stood there before *change*; None when it is another tool by now, unless by *force*."""
    now = _choice(content, change.id, change.file)
    if now == change.before:
        return content
    if _name(now) != _name(change.after) and not force:
        return None
    content = remove(content, [*MAPPING, change.id], where=change.file)
    return set_section(content, [*MAPPING, change.id], change.before, where=change.file) if change.before else content


def get_tool(tools: Iterable[SteamTool], named: str, root: SteamRoot) -> SteamTool:
    """
    The tool of *root*, or of the system, that *named* means: its internal name, else its title or the name of its folder.

    Raises:
        NotFoundError: There is none; its runtime, which no game is set to, counts for none.
        AmbiguousError: Several have this title or folder.
        IntegrityError: Nothing says under which name Steam knows it.
    """
    fitting = [tool for tool in choosable(tools) if tool.root in {None, root.path}]
    wanted = named.casefold()
    found = [tool for tool in fitting if tool.name.casefold() == wanted]
    found = found or [tool for tool in fitting if wanted in {tool.title.casefold(), tool.path.name.casefold()}]
    if not found:
        raise NotFoundError(f"{named} is no compatibility tool of the Steam in {root.path}", hint="integ steam tools list")
    if len({tool.name for tool in found}) > 1:
        candidates = [{"key": tool.name, "title": tool.title} for tool in found]
        raise AmbiguousError(f"several tools are called {named}", hint="integ steam tools list", data={"candidates": candidates})
    if not knows_name(found[0]):
        raise IntegrityError(f"nothing here says under which name Steam knows {found[0].title}", hint="choose it in Steam itself")
    return found[0]


def choosable(tools: Iterable[SteamTool]) -> list[SteamTool]:
    """What Steam offers for a game: no runtime that other tools run in."""
    return [tool for tool in tools if not tool.is_runtime]


def knows_name(tool: SteamTool) -> bool:
    """Whether `tool.name` is the one that Steam writes down; of Valve's own, a table says it, and their folders never do."""
    return tool.app_id is None or tool.app_id in VALVE_NAMES


def choices(content: Section) -> dict[str, str]:
    """App id, or `DEFAULT`, to the tool's internal name."""
    return {app: facts.text("name") for app, facts in content.section(*MAPPING).sections() if facts.text("name")}


def _choice(content: bytes, app: str, where: str) -> dict[str, str] | None:
    section = parse_vdf(content.decode("utf-8", "surrogateescape"), where=where).find(*MAPPING, app)
    if not isinstance(section, Section):
        return None
    return {key.casefold(): value for key, value in section.items() if isinstance(value, str)}


def _name(choice: dict[str, str] | None) -> str:
    return (choice or {}).get("name", "")
