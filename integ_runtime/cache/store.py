"""The library cache as the front ends use it: every call runs in a thread, so that no screen waits for a disk."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from integ_runtime.cache import rows
from integ_runtime.cache.merge import merge
from integ_runtime.cache.query import LibraryQuery
from integ_runtime.cache.records import LocalFact, ReleaseRow, TitleRow
from integ_runtime.cache.schema import open_writer
from integ_server.contract.errors import GameNotFoundError, IntegError, StorageError

if TYPE_CHECKING:
    from integ_server.contract.types import Changes, ReleaseRecord, TitleRecord

P = ParamSpec("P")
T = TypeVar("T")


class LibraryCache:
    """The player's library as of the last sync, with what this machine knows merged in. Losing the file loses nothing."""

    def __init__(self, cache_db: Path) -> None:
        self._file = cache_db

    async def titles(self, query: LibraryQuery | None = None) -> list[TitleRow]:
        return await _in_thread(rows.titles, self._file, query or LibraryQuery())

    async def search(self, text: str, *, limit: int = 50) -> list[TitleRow]:
        """Titles that fit *text*, best first."""
        return await _in_thread(rows.search, self._file, text, limit)

    async def count(self) -> int:
        return await _in_thread(rows.count, self._file)

    async def get_title(self, game: str) -> TitleRow:
        """As `rows.get_title`."""
        return await _in_thread(rows.get_title, self._file, game)

    async def find_title(self, game: str) -> TitleRow | None:
        try:
            return await self.get_title(game)
        except GameNotFoundError:
            return None

    async def get_release(self, game: str, *, prefer_installed: bool = True) -> ReleaseRow:
        """As `rows.get_release`."""

        def read() -> ReleaseRow:
            return rows.get_release(self._file, game, prefer_installed=prefer_installed)

        return await _in_thread(read)

    async def required_proton(self, key: str) -> str | None:
        return await _in_thread(rows.required_proton, self._file, key)

    async def details(self, title_id: str) -> dict[str, Any]:
        """As `rows.details`."""
        return await _in_thread(rows.details, self._file, title_id)

    async def revision(self) -> int:
        """Of the backend's changes feed: what `GET /games/changes` is asked with next."""
        return int(await _in_thread(rows.noted, self._file, "revision") or 0)

    async def stamp(self) -> int:
        """Another number whenever anything here was changed, by any process."""
        return int(await _in_thread(rows.noted, self._file, "changed") or 0)

    async def fingerprint(self) -> str:
        """Of the files that `put_local` was last fed from; empty when it never was."""
        return await _in_thread(rows.noted, self._file, "fingerprint") or ""

    async def owner(self) -> str:
        """Whose games these are; see `belong_to`."""
        return await _in_thread(rows.noted, self._file, "owner") or ""

    async def decide(self, title_id: str, wishes: dict[str, Any]) -> None:
        """Show at once what the player wished of a title; the next answer of the changes feed counts over it."""
        await _in_thread(_decide, self._file, title_id, wishes)

    async def belong_to(self, owner: str) -> bool:
        """
        Keep no games but *owner*'s, who is somebody at the backend, or nobody when it is empty; True when others' had to go.

        What this machine told stays.
        """
        return await _in_thread(_belong_to, self._file, owner)

    async def apply(self, changes: Changes, owner: str = "") -> None:
        """Take in an answer of *owner*'s changes feed, whole or not at all; not at all when this is another's library by now."""
        await _in_thread(_apply, self._file, changes, owner)

    async def put_local(self, facts: Iterable[LocalFact], source: str, *, fingerprint: str | None = None) -> bool:
        """
        Replace all that *source* told of this machine by *facts*; True when that changed anything.

        *fingerprint* is kept with them, to tell later whether the files behind them changed.
        """
        return await _in_thread(put_local, self._file, list(facts), source, fingerprint)


async def _in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(work, *args, **options)
    except (sqlite3.Error, OSError) as error:
        raise cache_trouble(error) from error


def cache_trouble(error: sqlite3.Error | OSError) -> IntegError:
    """What went wrong with the cache file, with what to do about it."""
    if isinstance(error, sqlite3.OperationalError | OSError):
        return StorageError(f"the library cache can't be used: {error}", hint="integ doctor")
    return IntegError(f"the library cache is damaged: {error}", hint="remove ~/.cache/integ/library.db and run integ sync")


def put_local(cache_db: Path, facts: list[LocalFact], source: str, fingerprint: str | None = None) -> bool:
    """The synchronous form of `LibraryCache.put_local`, for commands that start no event loop."""
    new = {fact.key: _fact_columns(fact) for fact in facts}
    with open_writer(cache_db) as base:
        old = {row[0]: row[1:] for row in base.execute(f"SELECT key, {_FACT_COLUMNS} FROM local_facts WHERE source = ?", (source,))}
        differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        if fingerprint is not None:
            _note(base, "fingerprint", fingerprint)
        if not differing:
            return False
        base.executemany("DELETE FROM local_facts WHERE source = ? AND key = ?", [(source, key) for key in differing & old.keys()])
        base.executemany(
            f"INSERT INTO local_facts (source, key, {_FACT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(source, key, *new[key]) for key in differing & new.keys()],
        )
        merge(base, sorted(differing))
        _changed(base)
        return True


_FACT_COLUMNS = "title, platforms, installed, install_path, playtime_min, last_played_at, update_available, proton"


def _fact_columns(fact: LocalFact) -> tuple[object, ...]:
    platforms = json.dumps(list(fact.platforms))
    state = (int(fact.installed), fact.install_path, fact.playtime_min, fact.last_played_at, int(fact.update_available), fact.proton)
    return (fact.title, platforms, *state)


def _decide(cache_db: Path, title_id: str, wishes: dict[str, Any]) -> None:
    with open_writer(cache_db) as base:
        row = base.execute("SELECT favourite, hidden, tags FROM store_titles WHERE id = ?", (title_id,)).fetchone()
        if row is None:
            return
        gone = {tag.casefold() for tag in wishes.get("remove_tags", [])}
        tags = [tag for tag in json.loads(row[2]) if tag.casefold() not in gone]
        tags += [tag for tag in wishes.get("add_tags", []) if tag.casefold() not in {each.casefold() for each in tags}]
        values = (int(wishes.get("favourite", row[0])), int(wishes.get("hidden", row[1])), json.dumps(tags, ensure_ascii=False))
        base.execute("UPDATE store_titles SET favourite = ?, hidden = ?, tags = ? WHERE id = ?", (*values, title_id))
        merge(base, [key for (key,) in base.execute("SELECT key FROM store_releases WHERE title_id = ?", (title_id,))])
        _changed(base)


def _belong_to(cache_db: Path, owner: str) -> bool:
    if rows.noted(cache_db, "owner") == owner:
        return False
    with open_writer(cache_db) as base:
        known = dict(base.execute("SELECT name, value FROM meta WHERE name IN ('owner', 'revision')").fetchall())
        _note(base, "owner", owner)
        if known.get("owner", "") == owner or int(known.get("revision", 0)) == 0:
            return False  # nothing was read from the backend yet
        base.execute("DELETE FROM store_titles")
        base.execute("DELETE FROM store_releases")
        merge(base, None)
        _note(base, "revision", "0")
        _changed(base)
        return True


def _apply(cache_db: Path, changes: Changes, owner: str = "") -> None:
    with open_writer(cache_db) as base:
        if (base.execute("SELECT value FROM meta WHERE name = 'owner'").fetchone() or ("",))[0] != owner:
            return
        if changes.reset:
            base.execute("DELETE FROM store_titles")
            base.execute("DELETE FROM store_releases")
        before = int((base.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone() or ("0",))[0])
        if not changes.reset and changes.revision < before:
            return  # another process has read further already
        base.executemany(
            "INSERT OR REPLACE INTO store_titles VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_title_columns(each) for each in changes.titles]
        )
        base.executemany("DELETE FROM store_releases WHERE key = ?", [(each.key,) for each in changes.releases])
        base.executemany(
            "INSERT INTO store_releases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_release_columns(each) for each in changes.releases if not each.removed],
        )
        if changes.reset:
            merge(base, None)
        else:
            of_titles = [each.id for each in changes.titles]
            keys = {each.key for each in changes.releases}
            for title_id in of_titles:
                keys.update(row[0] for row in base.execute("SELECT key FROM store_releases WHERE title_id = ?", (title_id,)))
            merge(base, sorted(keys))
        _note(base, "revision", str(changes.revision))
        if changes.reset or changes.titles or changes.releases:
            _changed(base)


def _title_columns(title: TitleRecord) -> tuple[object, ...]:
    details = title.details.model_dump_json(exclude_defaults=True) if title.details else None
    flags = (int(title.favourite), int(title.hidden), json.dumps(title.tags, ensure_ascii=False), int(title.guessed))
    return (title.id, title.title, title.year, *flags, details)


def _release_columns(release: ReleaseRecord) -> tuple[object, ...]:
    played = release.last_played_at.strftime("%Y-%m-%dT%H:%M:%SZ") if release.last_played_at else None
    lists = (json.dumps(release.accounts), json.dumps(release.platforms))
    first = (release.key, release.provider, release.provider_game_id, release.title_id, release.title, release.kind, release.parent_key)
    return (*first, *lists, release.playtime_min, played, release.required_proton)


def _note(base: sqlite3.Connection, name: str, value: str) -> None:
    base.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _changed(base: sqlite3.Connection) -> None:
    base.execute("INSERT INTO meta VALUES ('changed', '1') ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1")
