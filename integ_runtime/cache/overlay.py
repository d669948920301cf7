"""
What the player decided and the backend has not told back yet, shown over what it told; the tables of the store stay as they were told,
so that a decision which is refused leaves nothing behind.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from integ_runtime.cache.records import Waiting
from integ_server.contract.text import clean_lines, clean_name, clean_options


@dataclass(frozen=True, slots=True)
class TitleFacts:
    """What a title is shown with, whoever decided it."""

    favourite: bool = False
    hidden: bool = False
    tags: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Overlay:
    moved: Mapping[str, str] = field(default_factory=dict)
    """Release key to the title it is in by a merge or a split that waits."""
    wishes: Mapping[str, Sequence[tuple[Mapping[str, Any], str]]] = field(default_factory=dict)
    """By release key, oldest first, each with its moment."""

    @property
    def keys(self) -> set[str]:
        return {*self.moved, *self.wishes}

    def launching(self, key: str, proton: str | None, proton_at: str | None, options: str | None) -> tuple[str | None, ...]:
        """`chosen_proton`, `chosen_at` and `launch_options` of a release, from those that were told."""
        for wishes, at in self.wishes.get(key, ()):
            if "proton" in wishes:
                proton, proton_at = wishes["proton"], at
            if "launch_options" in wishes:
                options = clean_options(wishes["launch_options"] or "") or None
        return proton, proton_at, options

    def facts(self, keys: Iterable[str], told: TitleFacts) -> TitleFacts:
        """Those of the title with the releases *keys*, from those that were told."""
        for wishes, _ in [each for key in keys for each in self.wishes.get(key, ())]:
            told = _wished(told, wishes)
        return told


def read_overlay(base: sqlite3.Connection) -> Overlay:
    wishes: dict[str, list[tuple[Mapping[str, Any], str]]] = {}
    for key, wished, at in base.execute("SELECT key, wishes, at FROM waiting ORDER BY n"):
        wishes.setdefault(key, []).append((json.loads(wished), at))
    return Overlay(dict(base.execute("SELECT key, title_id FROM moved").fetchall()), wishes)


def write_overlay(base: sqlite3.Connection, waiting: Sequence[Waiting]) -> set[str]:
    """Replace what waits, all but the user's own wishes; answers the releases that have to be merged again."""
    before = read_overlay(base)
    base.execute("DELETE FROM waiting")
    base.execute("DELETE FROM moved")
    wished = [
        (key, json.dumps(dict(each.wishes), ensure_ascii=False), each.at) for each in waiting if each.what == "game" for key in each.games
    ]
    base.executemany("INSERT INTO waiting (key, wishes, at) VALUES (?, ?, ?)", wished)
    moved = _Moves(base).after(waiting)
    base.executemany("INSERT INTO moved VALUES (?, ?)", sorted(moved.items()))
    after = read_overlay(base)
    return {
        key
        for key in before.keys | after.keys
        if before.moved.get(key) != after.moved.get(key) or before.wishes.get(key) != after.wishes.get(key)
    }


def joined(all_facts: Sequence[TitleFacts]) -> TitleFacts:
    """Of titles that became one, as the backend will have it: `hidden` and the notes are the first one's that has some."""
    if len(all_facts) == 1:
        return all_facts[0]
    return TitleFacts(
        favourite=any(each.favourite for each in all_facts),
        hidden=bool(all_facts) and all_facts[0].hidden,
        tags=_tags(tag for each in all_facts for tag in each.tags),
        notes=next((each.notes for each in all_facts if each.notes), ""),
    )


def _wished(told: TitleFacts, wishes: Mapping[str, Any]) -> TitleFacts:
    if "favourite" in wishes:
        told = replace(told, favourite=bool(wishes["favourite"]))
    if wishes.get("hidden") is not None:  # null means as the store has it, which is not known here
        told = replace(told, hidden=bool(wishes["hidden"]))
    if "notes" in wishes:
        told = replace(told, notes=clean_lines(wishes["notes"]))
    if {"tags", "add_tags", "remove_tags"} & wishes.keys():
        gone = {clean_name(tag).casefold() for tag in wishes.get("remove_tags", ())}
        kept = [tag for tag in map(clean_name, wishes.get("tags", told.tags)) if tag.casefold() not in gone]
        told = replace(told, tags=_tags([*kept, *map(clean_name, wishes.get("add_tags", ()))]))
    return told


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for tag in tags:
        found.setdefault(tag.casefold(), tag)
    return tuple(found[each] for each in sorted(found))


class _Moves:
    """Where merges and splits, one after the other, put releases; what only the backend can tell stays where it is."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._moved: dict[str, str] = {}

    def after(self, waiting: Sequence[Waiting]) -> dict[str, str]:
        for each in waiting:
            if each.what == "merge":
                self._merge(each.games)
            elif each.what == "split":
                self._split(each.games[0])
        return self._moved

    def _merge(self, games: Collection[str]) -> None:
        title_ids = [found for found in map(self._title_of, games) if found is not None]
        for key in [key for title_id in title_ids[1:] if title_id != title_ids[0] for key in self._keys_in(title_id)]:
            self._moved[key] = title_ids[0]

    def _split(self, game: str) -> None:
        title_id = self._title_of(game)
        if title_id is None:
            for key in [key for key, at in self._moved.items() if at == game]:  # the merges that made the title *game*
                del self._moved[key]
        elif self._moved.pop(game, None) is None and len(self._keys_in(title_id)) > 1:
            self._moved[game] = f"{title_id}-{game.replace(':', '-')}"

    def _title_of(self, key: str) -> str | None:
        if key in self._moved:
            return self._moved[key]
        row = self._base.execute("SELECT title_id FROM store_releases WHERE key = ? AND kind = 'game'", (key,)).fetchone()
        return str(row[0]) if row else None

    def _keys_in(self, title_id: str) -> list[str]:
        told = self._base.execute("SELECT key FROM store_releases WHERE title_id = ? AND kind = 'game'", (title_id,))
        stayed = [key for (key,) in told if key not in self._moved]
        return [*stayed, *(key for key, at in self._moved.items() if at == title_id)]
