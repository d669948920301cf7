"""Every path that Integ wrote, or is about to write, for one game: uninstall and update go by it. SQLite: a kill loses nothing."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from integ_runtime.content.names import Parts
from integ_server.contract.errors import IntegrityError, StorageError

LEDGER = "ledger.db"
_VERSION = 1
_FLUSH_AT = 200
_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    root TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, wanted TEXT NOT NULL, has TEXT NOT NULL, ctime_ns INTEGER NOT NULL,
    PRIMARY KEY (root, path)
) WITHOUT ROWID
"""

Root = Literal["game", "support"]
Kind = Literal["file", "link", "folder"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One path below one of the game's two folders; sums as `sums.py` writes them."""

    root: Root
    parts: Parts
    kind: Kind
    wanted: str
    """What it is to hold; empty when the game that is being installed does not have it any more."""
    has: str = ""
    """What Integ has put there; empty when that has not happened yet."""
    ctime_ns: int = 0
    """The file's change time when it was put there, which no program can set back: the same, it need not be read again."""

    @property
    def done(self) -> bool:
        return bool(self.wanted) and self.has == self.wanted


class Ledger:
    """May be shared by threads. Finished entries are written in batches; what a kill loses of them is found again on the disk."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._waiting: list[Entry] = []
        with _named(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
            try:
                self._base.execute("PRAGMA journal_mode = WAL")
                self._base.execute("PRAGMA synchronous = NORMAL")
                version = self._base.execute("PRAGMA user_version").fetchone()[0]
                if version not in {0, _VERSION}:
                    raise IntegrityError(f"{file} was written by another version of Integ", hint="use that version, or a newer one")
                self._base.execute(_TABLE)
                self._base.execute(f"PRAGMA user_version = {_VERSION}")
            except BaseException:
                self._base.close()
                raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._base.close()

    def entries(self) -> list[Entry]:
        """All of them, by root and path."""
        self.flush()
        with _named(self._file), self._lock:
            rows = self._base.execute("SELECT root, path, kind, wanted, has, ctime_ns FROM entries ORDER BY root, path").fetchall()
        return [Entry(root, tuple(path.split("/")), kind, wanted, has, ctime) for root, path, kind, wanted, has, ctime in rows]

    def plan(self, wanted: Iterable[Entry]) -> None:
        """Say what the game is to consist of from now on, before any of it is written; what Integ put there earlier stays known."""
        rows = [(each.root, "/".join(each.parts), each.kind, each.wanted) for each in wanted]
        with self._writing() as base:
            base.execute("UPDATE entries SET wanted = ''")
            base.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, '', 0)"
                " ON CONFLICT (root, path) DO UPDATE SET wanted = excluded.wanted,"
                " has = CASE WHEN kind = excluded.kind THEN has ELSE '' END, kind = excluded.kind",
                rows,
            )
            base.execute("DELETE FROM entries WHERE wanted = '' AND has = ''")

    def put(self, entry: Entry) -> None:
        """Note what stands at a path now."""
        with self._lock:
            self._waiting.append(entry)
            full = len(self._waiting) >= _FLUSH_AT
        if full:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        rows = [(each.root, "/".join(each.parts), each.kind, each.wanted, each.has, each.ctime_ns) for each in waiting]
        with self._writing() as base:
            base.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)

    def forget(self, entries: Iterable[Entry]) -> None:
        """Drop what is no longer on the disk, or no longer ours."""
        rows = [(each.root, "/".join(each.parts)) for each in entries]
        with self._writing() as base:
            base.executemany("DELETE FROM entries WHERE root = ? AND path = ?", rows)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _named(self._file), self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            with self._base:
                yield self._base


def drop_ledger(file: Path) -> None:
    """Remove the ledger's files."""
    for end in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + end).unlink(missing_ok=True)


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """SQLite's failures as ours: a full disk is one thing, a damaged ledger another."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"the ledger {file} can't be used: {error}", hint="integ doctor") from error
    except sqlite3.DatabaseError as error:
        raise IntegrityError(f"the ledger {file} is damaged: {error}", hint=f"move {file} away; then remove the game by hand") from error
