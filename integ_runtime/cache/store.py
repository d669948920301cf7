"""The library cache as the front ends use it: every call runs in a thread, so that no screen waits for a disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from integ_runtime import late_loop
from integ_runtime.cache import rows
from integ_runtime.cache.schema import open_writer
from integ_server.contract.errors import GameNotFoundError, IntegError, StorageError

if TYPE_CHECKING:
    from integ_runtime.cache.query import LibraryQuery
    from integ_runtime.cache.records import Decided, LaunchWishes, LocalFact, ReleaseRow, TitleRow, Waiting
    from integ_server.contract.types import Changes

P = ParamSpec("P")
T = TypeVar("T")


class LibraryCache:
    """The player's library as of the last sync, with what this machine knows merged in. Losing the file loses nothing."""

    def __init__(self, cache_db: Path) -> None:
        self._file = cache_db

    async def titles(self, query: LibraryQuery | None = None) -> list[TitleRow]:
        from integ_runtime.cache.query import LibraryQuery

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

    async def launch_wishes(self, key: str) -> LaunchWishes:
        """What counts when the release *key* is started."""
        return await _in_thread(rows.launch_wishes, self._file, key)

    async def proton_choices(self) -> dict[str, tuple[str | None, str]]:
        """As `rows.proton_choices`."""
        return await _in_thread(rows.proton_choices, self._file)

    async def decided(self, more: Collection[str] = ()) -> list[Decided]:
        """As `rows.decided`."""
        return await _in_thread(rows.decided, self._file, more)

    async def places(self) -> dict[str, str]:
        """The title of every release that a store told of and that is no add-on."""
        return await _in_thread(rows.places, self._file)

    async def preferences(self) -> dict[str, Any]:
        """The fields of `UserPreferences` that follow the player to every device; those without a wish are left out."""
        known: dict[str, Any] = json.loads(await self._noted("preferences") or "{}")
        return known

    async def details(self, title_id: str) -> dict[str, Any]:
        """As `rows.details`."""
        return await _in_thread(rows.details, self._file, title_id)

    async def revision(self) -> int:
        """Of the backend's changes feed: what `GET /games/changes` is asked with next."""
        return int(await self._noted("revision") or 0)

    async def stamp(self) -> int:
        """Another number whenever anything here was changed, by any process."""
        return int(await self._noted("changed") or 0)

    async def fingerprint(self) -> str:
        """Of the files that `put_local` was last fed from; empty when it never was."""
        return await self._noted("fingerprint") or ""

    async def owner(self) -> str:
        """Whose games these are; see `belong_to`."""
        return await self._noted("owner") or ""

    async def show_waiting(self, waiting: Sequence[Waiting]) -> None:
        """Show these decisions, in order, over what the backend told, in place of those shown until now."""
        from integ_runtime.cache import told  # what writes is loaded by who writes

        await _in_thread(told.show_waiting, self._file, waiting)

    async def shows_waiting(self) -> bool:
        """Whether anything is shown that the backend has not told."""
        return await self._noted("waiting") is not None

    async def belong_to(self, owner: str) -> bool:
        """
        Keep no games but *owner*'s, who is somebody at the backend, or nobody when it is empty; True when others' had to go.

        What this machine told stays.
        """
        from integ_runtime.cache import told

        return await _in_thread(told.belong_to, self._file, owner)

    async def apply(self, changes: Changes, owner: str = "") -> None:
        """Take in an answer of *owner*'s changes feed, whole or not at all; not at all when this is another's library by now."""
        from integ_runtime.cache import told

        await _in_thread(told.apply, self._file, changes, owner)

    async def put_local(self, facts: Iterable[LocalFact], source: str, *, fingerprint: str | None = None) -> bool:
        """
        Replace all that *source* told of this machine by *facts*; True when that changed anything.

        *fingerprint* is kept with them, to tell later whether the files behind them changed.
        """
        return await _in_thread(put_local, self._file, list(facts), source, fingerprint)

    async def _noted(self, name: str) -> str | None:
        return await _in_thread(rows.noted, self._file, name)


async def _in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    try:
        return await late_loop.in_thread(work, *args, **options)
    except (sqlite3.Error, OSError) as error:
        raise cache_trouble(error) from error


def cache_trouble(error: sqlite3.Error | OSError) -> IntegError:
    """What went wrong with the cache file, with what to do about it."""
    if isinstance(error, sqlite3.OperationalError | OSError):
        return StorageError(f"the library cache can't be used: {error}", hint="integ doctor")
    return IntegError(f"the library cache is damaged: {error}", hint="remove ~/.cache/integ/library.db and run integ sync")


def put_local(cache_db: Path, facts: list[LocalFact], source: str, fingerprint: str | None = None) -> bool:
    """The synchronous form of `LibraryCache.put_local`, for commands that start no event loop."""
    from integ_runtime.cache import told
    from integ_runtime.cache.merge import merge

    new = {fact.key: _fact_columns(fact) for fact in facts}
    with open_writer(cache_db) as base:
        old = {row[0]: row[1:] for row in base.execute(f"SELECT key, {_FACT_COLUMNS} FROM local_facts WHERE source = ?", (source,))}
        differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        if fingerprint is not None:
            told.note(base, "fingerprint", fingerprint)
        if not differing:
            return False
        base.executemany("DELETE FROM local_facts WHERE source = ? AND key = ?", [(source, key) for key in differing & old.keys()])
        base.executemany(
            f"INSERT INTO local_facts (source, key, {_FACT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(source, key, *new[key]) for key in differing & new.keys()],
        )
        merge(base, sorted(differing))
        told.changed(base)
        return True


_FACT_COLUMNS = "title, platforms, installed, install_path, playtime_min, last_played_at, update_available, proton"


def _fact_columns(fact: LocalFact) -> tuple[object, ...]:
    platforms = json.dumps(list(fact.platforms))
    state = (int(fact.installed), fact.install_path, fact.playtime_min, fact.last_played_at, int(fact.update_available), fact.proton)
    return (fact.title, platforms, *state)
