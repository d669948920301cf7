"""Everything out again: what the player decided, this machine's settings, and all that the backend has of the user, without secrets."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from integ_runtime.cache.records import Decided
from integ_runtime.settings import SECRET_SETTINGS, SETTING_NAMES, read_config_file
from integ_runtime.state.document import setting_text
from integ_runtime.state.options import exported as options_here

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime

Rows = Sequence[Mapping[str, Any]]


async def export(runtime: Runtime) -> dict[str, Any]:
    """
    The data of `integ export`: a `DeclaredState` that brings all this about again, and the backend's own rows.

    Raises:
        BackendUnreachableError: Not everything can be had.
        PermissionDeniedError: A personal token may not read everything.
    """
    await runtime.follow()
    tables = await (await runtime.api()).export()
    placed = await runtime.library.places()
    splits, merges = _arranged(tables.get("title_choices", []), placed)
    return {
        "settings": _settings(read_config_file(runtime.paths.config_file)),
        "preferences": await runtime.library.preferences(),
        "proton": await _proton(runtime),
        "splits": splits,
        "merges": merges,
        "games": await _games(runtime, tables.get("game_preferences", []), placed),
        "backend": tables,
    }


def _settings(written: Mapping[str, Any]) -> dict[str, Any]:
    """What the player wrote down, but the default Proton version; an address with a password in it is left out."""
    found: dict[str, Any] = {}
    for name in SETTING_NAMES:
        value = written.get(name)
        if name in SECRET_SETTINGS or name == "default_proton" or not setting_text(value):
            continue
        if name.endswith("_url") and "@" in urlsplit(str(value)).netloc:
            continue
        found[name] = value if isinstance(value, list) else str(value)
    return found


async def _proton(runtime: Runtime) -> dict[str, Any]:
    builds = [build for build in await runtime.proton.installed() if build.source == "integ"]
    versions = [build.version if build.family == "ge" else {"version": build.version, "family": build.family} for build in builds]
    default = read_config_file(runtime.paths.config_file).get("default_proton")
    return {"versions": versions, **({"default": default} if default else {})}


def _arranged(choices: Rows, placed: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """The splits and the merges behind the player's *choices*; *placed* is the title that each release is in by them."""
    made = {str(row["game_key"]): row for row in choices if row["game_key"] in placed}
    together: defaultdict[str, list[str]] = defaultdict(list)
    for key, title_id in placed.items():
        together[title_id].append(key)
    merges = []
    for title_id in sorted({placed[key] for key in made}):
        keys = sorted(together[title_id])
        bases = {key: _base(made.get(key), title_id) for key in keys}
        if len(keys) > 1 and any(base != title_id for base in bases.values()):
            lead = next((key for key in keys if bases[key] == title_id), keys[0])
            merges.append([lead, *(key for key in keys if key != lead)])
    return sorted(key for key, row in made.items() if row.get("split_id")), merges


def _base(row: Mapping[str, Any] | None, title_id: str) -> str:
    """Where a release is without any merge: by its split, else by the stores; an older backend does not tell that."""
    if row is None:
        return title_id
    return str(row.get("split_id") or row.get("stores_title_id") or "")


async def _games(runtime: Runtime, decisions: Rows, placed: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    hidden_at: dict[str, tuple[str, bool]] = {}
    for row in decisions:
        title_id, at = placed.get(row["game_key"]), str(row.get("hidden_at") or "")
        if title_id is not None and at and at >= hidden_at.get(title_id, ("",))[0]:
            hidden_at[title_id] = at, row["hidden"] is not None
    chosen = {key: version for version, keys in (await runtime.proton.choices()).items() for key in keys}
    found: dict[str, dict[str, Any]] = {}
    options = await asyncio.to_thread(options_here, runtime)
    more = {*chosen, *options, *(key for key, title_id in placed.items() if title_id in hidden_at)}
    for each in await runtime.library.decided(sorted(more)):
        by_player = each.is_loose or hidden_at.get(each.title_id, ("", False))[1]
        found[each.key] = _entry(each, chosen.get(each.key), hidden_by_player=by_player)
    for key, kept in options.items():
        found.setdefault(key, {"loose": True})["options"] = kept
    return {key: entry for key, entry in sorted(found.items()) if entry.keys() - {"title", "loose"}}


def _entry(each: Decided, proton: str | None, *, hidden_by_player: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"title": each.title} if each.title else {}
    if each.is_loose:
        entry["loose"] = True
        proton = proton or each.proton
    if each.speaks_for_title:
        entry |= {"favourite": True} if each.favourite else {}
        entry |= {"hidden": each.hidden} if hidden_by_player and (each.hidden or not each.is_loose) else {}
        entry |= {"tags": list(each.tags)} if each.tags else {}
        entry |= {"notes": each.notes} if each.notes else {}
    entry |= {"proton": proton} if proton else {}
    entry |= {"launch_options": each.launch_options} if each.launch_options else {}
    return entry
