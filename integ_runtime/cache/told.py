"""What the backend tells, taken into the cache, and what waits to be told to it: whole or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integ_runtime.cache import rows
from integ_runtime.cache.merge import merge
from integ_runtime.cache.overlay import write_overlay
from integ_runtime.cache.records import Waiting
from integ_runtime.cache.schema import open_writer
from integ_server.contract.errors import utc_now_text

if TYPE_CHECKING:
    from integ_server.contract.types import Changes, LoosePreferences, ReleaseRecord, TitleRecord, UserPreferences

_OF_THE_OWNER = ("store_titles", "store_releases", "loose", "waiting", "moved")
_NOTES_OF_THE_OWNER = ("preferences", "told_preferences", "waiting")
Chosen = dict[str, tuple[str | None, str]]


def belong_to(cache_db: Path, owner: str) -> bool:
    """See `LibraryCache.belong_to`."""
    if rows.noted(cache_db, "owner") == owner:
        return False
    with open_writer(cache_db) as base:
        known = dict(base.execute("SELECT name, value FROM meta WHERE name IN ('owner', 'revision')").fetchall())
        note(base, "owner", owner)
        if known.get("owner", "") == owner or int(known.get("revision", 0)) == 0:
            return False  # nothing was read from the backend yet
        for table in _OF_THE_OWNER:
            base.execute(f"DELETE FROM {table}")
        for name in _NOTES_OF_THE_OWNER:
            _forget(base, name)
        merge(base, None)
        note(base, "revision", "0")
        changed(base)
        return True


def apply(cache_db: Path, changes: Changes, owner: str = "") -> None:
    """See `LibraryCache.apply`."""
    with open_writer(cache_db) as base:
        if (_noted(base, "owner") or "") != owner:
            return
        before = int(_noted(base, "revision") or 0)
        if not changes.reset and changes.revision < before:
            return  # another process has read further already
        chosen = _chosen(base, None if changes.reset else [each.key for each in changes.releases])
        if changes.reset:
            base.execute("DELETE FROM store_titles")
            base.execute("DELETE FROM store_releases")
        base.executemany(
            "INSERT OR REPLACE INTO store_titles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [_title_columns(each) for each in changes.titles]
        )
        base.executemany("DELETE FROM store_releases WHERE key = ?", [(each.key,) for each in changes.releases])
        now = utc_now_text()
        base.executemany(
            "INSERT INTO store_releases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_release_columns(each, chosen, now) for each in changes.releases if not each.removed],
        )
        alone = _apply_loose(base, changes.loose, now)
        if changes.reset:
            merge(base, None)
        else:
            keys = {each.key for each in changes.releases} | alone
            for title in changes.titles:
                keys.update(row[0] for row in base.execute("SELECT key FROM store_releases WHERE title_id = ?", (title.id,)))
            merge(base, sorted(keys))
        if changes.preferences is not None:
            _apply_preferences(base, changes.preferences)
        note(base, "revision", str(changes.revision))
        if changes.reset or changes.titles or changes.releases or alone:
            changed(base)


def show_waiting(cache_db: Path, waiting: Sequence[Waiting]) -> None:
    """See `LibraryCache.show_waiting`."""
    if not waiting and rows.noted(cache_db, "waiting") is None:
        return
    with open_writer(cache_db) as base:
        differing = write_overlay(base, waiting)
        if waiting:
            wishes: dict[str, Any] = {}
            for each in waiting:
                wishes |= each.wishes if each.what == "user" else {}
            note(base, "waiting", json.dumps(wishes))
        else:
            _forget(base, "waiting")
        _show_preferences(base)
        if differing:
            merge(base, sorted(differing))
            changed(base)


def note(base: sqlite3.Connection, name: str, value: str) -> None:
    base.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def changed(base: sqlite3.Connection) -> None:
    base.execute("INSERT INTO meta VALUES ('changed', '1') ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1")


def _chosen(base: sqlite3.Connection, keys: Sequence[str] | None) -> Chosen:
    """The Proton version of *keys*, or of all, and when it was heard of; of those only that were ever heard of."""
    ask = "SELECT key, chosen_proton, chosen_at FROM {} WHERE chosen_at IS NOT NULL"
    everything = {key: (proton, at) for table in ("store_releases", "loose") for key, proton, at in base.execute(ask.format(table))}
    return everything if keys is None else {key: everything[key] for key in keys if key in everything}


def _choice(key: str, proton: str | None, before: Chosen, now: str) -> tuple[str | None, str | None]:
    """`chosen_proton` and `chosen_at`: a choice that is the same as before was not made again."""
    was = before.get(key)
    if was is None:
        return proton, now if proton is not None else None
    return proton, was[1] if was[0] == proton else now


def _apply_loose(base: sqlite3.Connection, told: Sequence[LoosePreferences] | None, now: str) -> set[str]:
    """Replace what is known of games that no store told of; answers the keys that differ."""
    if told is None:
        return set()
    before = {row[0]: row for row in base.execute("SELECT * FROM loose")}
    chosen = {key: (row[5], row[6]) for key, row in before.items() if row[6] is not None}
    after = {
        each.key: (
            each.key,
            int(each.favourite),
            int(each.hidden),
            json.dumps(each.tags, ensure_ascii=False),
            each.notes,
            *_choice(each.key, each.proton, chosen, now),
            each.launch_options,
        )
        for each in told
    }
    differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    base.executemany("DELETE FROM loose WHERE key = ?", [(key,) for key in differing])
    base.executemany("INSERT INTO loose VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [after[key] for key in sorted(differing & after.keys())])
    return differing


def _apply_preferences(base: sqlite3.Connection, told: UserPreferences) -> None:
    note(base, "told_preferences", told.model_dump_json(exclude_none=True))
    _show_preferences(base)


def _show_preferences(base: sqlite3.Connection) -> None:
    wished = {**json.loads(_noted(base, "told_preferences") or "{}"), **json.loads(_noted(base, "waiting") or "{}")}
    note(base, "preferences", json.dumps({name: value for name, value in wished.items() if value is not None}))


def _title_columns(title: TitleRecord) -> tuple[object, ...]:
    details = title.details.model_dump_json(exclude_defaults=True) if title.details else None
    decided = (int(title.favourite), int(title.hidden), json.dumps(title.tags, ensure_ascii=False), title.notes)
    return (title.id, title.title, title.year, *decided, int(title.guessed), details)


def _release_columns(release: ReleaseRecord, chosen: Chosen, now: str) -> tuple[object, ...]:
    played = release.last_played_at.strftime("%Y-%m-%dT%H:%M:%SZ") if release.last_played_at else None
    lists = (json.dumps(release.accounts), json.dumps(release.platforms))
    first = (release.key, release.provider, release.provider_game_id, release.title_id, release.title, release.kind, release.parent_key)
    launching = (*_choice(release.key, release.proton, chosen, now), release.launch_options)
    return (*first, *lists, release.playtime_min, played, release.required_proton, *launching)


def _noted(base: sqlite3.Connection, name: str) -> str | None:
    row = base.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def _forget(base: sqlite3.Connection, name: str) -> None:
    base.execute("DELETE FROM meta WHERE name = ?", (name,))
