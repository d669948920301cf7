"""The library cache's tables. Everything in it can be had again, so an unknown version is thrown away, never migrated."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

VERSION = 2

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- what the backend told: the changes feed, kept as it came
CREATE TABLE store_titles (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, year INTEGER, favourite INTEGER NOT NULL, hidden INTEGER NOT NULL,
    tags TEXT NOT NULL, notes TEXT NOT NULL, guessed INTEGER NOT NULL, details TEXT
) WITHOUT ROWID;
CREATE TABLE store_releases (
    key TEXT PRIMARY KEY, provider TEXT NOT NULL, provider_game_id TEXT NOT NULL, title_id TEXT NOT NULL, title TEXT NOT NULL,
    kind TEXT NOT NULL, parent_key TEXT, accounts TEXT NOT NULL, platforms TEXT NOT NULL, playtime_min INTEGER NOT NULL,
    last_played_at TEXT, required_proton TEXT, chosen_proton TEXT, chosen_at TEXT, launch_options TEXT
) WITHOUT ROWID;
CREATE INDEX store_releases_by_title ON store_releases (title_id);
CREATE INDEX store_releases_chosen ON store_releases (key, chosen_proton, chosen_at) WHERE chosen_at IS NOT NULL;
CREATE INDEX store_releases_by_parent ON store_releases (parent_key) WHERE parent_key IS NOT NULL;
-- of games that no store told of
CREATE TABLE loose (
    key TEXT PRIMARY KEY, favourite INTEGER NOT NULL, hidden INTEGER NOT NULL, tags TEXT NOT NULL, notes TEXT NOT NULL,
    chosen_proton TEXT, chosen_at TEXT, launch_options TEXT
) WITHOUT ROWID;
-- what the player decided and the backend has not told back yet: shown over what it told
CREATE TABLE waiting (n INTEGER PRIMARY KEY, key TEXT NOT NULL, wishes TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE moved (key TEXT PRIMARY KEY, title_id TEXT NOT NULL) WITHOUT ROWID;
-- what this machine told, by the source that told it
CREATE TABLE local_facts (
    source TEXT NOT NULL, key TEXT NOT NULL, title TEXT NOT NULL, platforms TEXT NOT NULL, installed INTEGER NOT NULL,
    install_path TEXT, playtime_min INTEGER NOT NULL, last_played_at TEXT, update_available INTEGER NOT NULL, proton TEXT,
    PRIMARY KEY (source, key)
) WITHOUT ROWID;
-- what the front ends read: both sides merged, written again where one of them changed
CREATE TABLE releases (
    key TEXT PRIMARY KEY, title_id TEXT NOT NULL, provider TEXT NOT NULL, provider_game_id TEXT NOT NULL, title TEXT NOT NULL,
    folded TEXT NOT NULL, installed INTEGER NOT NULL, install_path TEXT, platforms TEXT NOT NULL, playtime_min INTEGER NOT NULL,
    last_played_at TEXT, update_available INTEGER NOT NULL, proton TEXT, required_proton TEXT,
    chosen_proton TEXT, chosen_at TEXT, launch_options TEXT, item TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX releases_by_title ON releases (title_id);
CREATE TABLE titles (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, sort TEXT NOT NULL, folded TEXT NOT NULL,
    initials TEXT NOT NULL, searched TEXT NOT NULL,
    hidden INTEGER NOT NULL, favourite INTEGER NOT NULL, installed INTEGER NOT NULL, stores TEXT NOT NULL, tags TEXT NOT NULL,
    platforms TEXT NOT NULL, playtime_min INTEGER NOT NULL, last_played_at TEXT,
    notes TEXT NOT NULL, item TEXT NOT NULL
);
CREATE INDEX releases_chosen ON releases (key) WHERE chosen_at IS NOT NULL;
CREATE INDEX titles_by_sort ON titles (sort, id);
CREATE VIRTUAL TABLE titles_found USING fts5 (searched, content='titles', content_rowid='n', tokenize='trigram');
CREATE TRIGGER titles_in AFTER INSERT ON titles BEGIN
    INSERT INTO titles_found (rowid, searched) VALUES (new.n, new.searched);
END;
CREATE TRIGGER titles_out AFTER DELETE ON titles BEGIN
    INSERT INTO titles_found (titles_found, rowid, searched) VALUES ('delete', old.n, old.searched);
END;
"""


def fold(text: str) -> str:
    """*text* as searching sees it: case, accents, ™ and the like, and runs of blanks make no difference."""
    import unicodedata  # a megabyte, which a key needs none of

    plain = unicodedata.normalize("NFKD", text.replace("™", "").replace("®", "").replace("©", ""))
    kept = "".join(char for char in plain if not unicodedata.combining(char))
    return " ".join("".join(char if char.isalnum() else " " for char in kept.casefold()).split())


def sort_key(text: str) -> str:
    """*text* as a shelf orders it: without a leading article, digits by value."""
    words = fold(text).split()
    if len(words) > 1 and words[0] in {"the", "a", "an"}:
        words = words[1:]
    return " ".join(word.zfill(8) if word.isdigit() else word for word in words) or text


def open_reader(cache_db: Path) -> sqlite3.Connection | None:
    """
    A connection that only reads; None when there is no cache yet, or one of another version.

    Raises:
        sqlite3.OperationalError: The disk lets nobody read it, which is something else than an empty library.
    """
    if not cache_db.is_file():
        return None
    try:
        return _read_only(cache_db, "mode=ro")
    except sqlite3.OperationalError as error:
        if "malformed" in str(error):
            return None
        if (log := _stat(cache_db.with_name(f"{cache_db.name}-wal"))) and log.st_size:
            raise
        return _read_only(cache_db, "immutable=1")  # a full disk has no room for the reader's own index of a log that is empty
    except sqlite3.DatabaseError:
        return None  # damaged, or not yet written: the writer makes it anew


def _read_only(cache_db: Path, how: str) -> sqlite3.Connection | None:
    base = sqlite3.connect(f"file:{_quoted(cache_db)}?{how}", uri=True, timeout=10, check_same_thread=False)
    try:
        if _version(base) == VERSION:
            return base
    except sqlite3.DatabaseError:
        base.close()
        raise
    base.close()
    return None


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def open_writer(cache_db: Path) -> Iterator[sqlite3.Connection]:
    """
    A connection inside one write transaction, committed on the way out and undone by an exception.

    A cache of another version, or a damaged one, is made anew first.
    """
    cache_db.parent.mkdir(parents=True, exist_ok=True)
    base = _connect(cache_db)
    try:
        base.execute("BEGIN IMMEDIATE")
        with base:
            yield base
    finally:
        base.close()


def _connect(cache_db: Path) -> sqlite3.Connection:
    with _made_by_one(cache_db):
        base = _try_connect(cache_db)
        if base is None:
            for left in (cache_db, *(cache_db.with_name(cache_db.name + end) for end in ("-wal", "-shm"))):
                left.unlink(missing_ok=True)
            base = _try_connect(cache_db)
    if base is None:
        raise sqlite3.DatabaseError(f"{cache_db} can't be made")
    return base


def _try_connect(cache_db: Path) -> sqlite3.Connection | None:
    base = sqlite3.connect(cache_db, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        found = _version(base)
        if found == 0 and not base.execute("SELECT 1 FROM sqlite_master").fetchone():
            base.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
            found = VERSION
    except sqlite3.DatabaseError as error:
        base.close()
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise  # locked, full or unwritable: not for throwing away
        return None
    if found != VERSION:
        base.close()
        return None
    return base


@contextlib.contextmanager
def _made_by_one(cache_db: Path) -> Iterator[None]:
    """Only one process at a time looks whether the cache has to be made, and makes it."""
    handle = os.open(cache_db.with_name(f".{cache_db.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _version(base: sqlite3.Connection) -> int:
    return int(base.execute("PRAGMA user_version").fetchone()[0])


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
