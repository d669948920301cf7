"""
The library, read: plain functions on the cache file with nothing but the standard library.

`integ list` and the shell's completion wait for these, so SQLite makes the JSON and nothing heavy is imported.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integ_runtime.cache.records import Decided, LaunchWishes, ReleaseRow, TitleRow
from integ_runtime.cache.schema import fold, open_reader
from integ_server.contract.errors import AmbiguousError, GameNotFoundError

if TYPE_CHECKING:
    from integ_runtime.cache.query import LibraryQuery

_ONE_RELEASE = """json_object('title_id', t.id, 'title', r.title, 'favourite', json(iif(t.favourite, 'true', 'false')),
    'hidden', json(iif(t.hidden, 'true', 'false')), 'tags', json(t.tags), 'playtime_min', r.playtime_min,
    'last_played_at', r.last_played_at, 'installed', json(iif(r.installed, 'true', 'false')),
    'releases', json_array(json(r.item)))"""


def list_json(cache_db: Path, query: LibraryQuery) -> str:
    """The `data` of `integ list --json`: `{"items": [...], "total": N}`; *total* counts what fits, before the limit."""
    from integ_runtime.cache.query import order_of, where_of  # the filter language, which looking for one game needs none of

    where, order = where_of(query), order_of(query)
    with _reading(cache_db) as base:
        if base is None:
            return '{"items":[],"total":0}'
        items, source, narrowed, values = "item", "titles", where.sql, where.values
        if query.by == "release":
            items, source = _ONE_RELEASE, "releases r JOIN titles t ON t.id = r.title_id"
            narrowed = f"t.n IN (SELECT n FROM titles WHERE {where.sql})"
            order = _order_by_release(order)
            if query.store is not None:
                narrowed, values = f"{narrowed} AND r.provider = ?", (*values, query.store.lower())
            if query.installed is not None:
                narrowed, values = f"{narrowed} AND r.installed = ?", (*values, int(query.installed))
        inner = f"SELECT {items} AS item FROM {source} WHERE {narrowed} ORDER BY {order} LIMIT ?"
        row = base.execute(f"SELECT count(*), group_concat(item, ',') FROM ({inner})", (*values, _limit(query))).fetchone()
        total = row[0]
        if query.limit is not None:
            total = base.execute(f"SELECT count(*) FROM {source} WHERE {narrowed}", values).fetchone()[0]
        return f'{{"items":[{row[1] or ""}],"total":{total}}}'


def _order_by_release(order: str) -> str:
    for column in ("playtime_min", "last_played_at", "installed"):
        order = order.replace(column, f"r.{column}")
    order = order.replace("stores", "r.provider").replace("sort", "t.sort")
    return f"{order.removesuffix(', id')}, r.key"


def titles(cache_db: Path, query: LibraryQuery) -> list[TitleRow]:
    """The titles that fit *query*, in its order."""
    from integ_runtime.cache.query import order_of, where_of  # the filter language, which looking for one game needs none of

    where, order = where_of(query), order_of(query)
    with _reading(cache_db) as base:
        if base is None:
            return []
        asked = f"SELECT item FROM titles WHERE {where.sql} ORDER BY {order} LIMIT ?"
        return [_title(row[0]) for row in base.execute(asked, (*where.values, _limit(query)))]


def search_json(cache_db: Path, text: str, limit: int = 50) -> str:
    """The `data` of `integ search --json`, best first."""
    with _reading(cache_db) as base:
        found = _found(base, text, limit) if base is not None else []
    return f'{{"items":[{",".join(item for _, item in found)}],"total":{len(found)}}}'


def search(cache_db: Path, text: str, limit: int = 50) -> list[TitleRow]:
    """The titles that fit *text*, best first: same name, same beginning, beginning of a word, initials, anywhere."""
    with _reading(cache_db) as base:
        return [_title(item) for _, item in _found(base, text, limit)] if base is not None else []


def get_title(cache_db: Path, game: str) -> TitleRow:
    """
    The one title that *game* means: a key, a title id, or text that fits exactly one.

    Raises:
        GameNotFoundError: Nothing fits.
        AmbiguousError: Several do; `data["candidates"]` lists up to twenty as `{"key", "title"}`.
    """
    with _reading(cache_db) as base:
        item = _resolve(base, game) if base is not None else None
    if item is None:
        raise GameNotFoundError(f"no game here is called {game!r}", hint=f"integ search {game!r}" if base else "integ login")
    return _title(item)


def get_release(cache_db: Path, game: str, *, prefer_installed: bool = True) -> ReleaseRow:
    """
    The one release that *game* means; of a title with several, the one that is installed.

    Raises:
        GameNotFoundError, AmbiguousError: As for `get_title`.
    """
    title = get_title(cache_db, game)
    named = [each for each in title.releases if each.key == game]
    installed = [each for each in title.releases if each.installed] if prefer_installed else []
    for fitting in (named, installed, list(title.releases)):
        if len(fitting) == 1:
            return fitting[0]
    raise AmbiguousError(
        f"{title.title} is there at several stores",
        hint=f"say which: {title.releases[0].key}",
        data={"candidates": [{"key": each.key, "title": each.title} for each in title.releases]},
    )


def launch_wishes(cache_db: Path, key: str) -> LaunchWishes:
    """What counts when the release *key* is started."""
    with _reading(cache_db) as base:
        ask = "SELECT required_proton, chosen_proton, chosen_at, launch_options FROM releases WHERE key = ?"
        row = base.execute(ask, (key,)).fetchone() if base else None
    return LaunchWishes(*row) if row else LaunchWishes()


def proton_choices(cache_db: Path) -> dict[str, tuple[str | None, str]]:
    """The Proton version chosen for each release, or None where a choice was taken back, and when this machine heard of it."""
    with _reading(cache_db) as base:
        ask = "SELECT key, chosen_proton, chosen_at FROM releases WHERE chosen_at IS NOT NULL ORDER BY key"
        return {key: (proton, at) for key, proton, at in base.execute(ask)} if base else {}


def decided(cache_db: Path, more: Collection[str] = ()) -> list[Decided]:
    """
    What the player decided: a row for each title that is not as usual, one for each further release that is not, and for those of *more*,
    by key; then those about games that no store told of.
    """
    told = (
        "SELECT r.key, t.id, t.title, t.favourite, t.hidden, t.tags, t.notes, r.chosen_proton, r.launch_options"
        " FROM releases r JOIN titles t ON t.id = r.title_id WHERE r.key IN (SELECT key FROM store_releases) AND (t.favourite OR t.hidden"
        " OR t.tags != '[]' OR t.notes != '' OR r.chosen_proton IS NOT NULL OR r.launch_options IS NOT NULL OR r.key IN"
        " (SELECT value FROM json_each(?))) ORDER BY t.id, r.provider, r.key"
    )
    loose = "SELECT key, '', '', favourite, hidden, tags, notes, chosen_proton, launch_options FROM loose ORDER BY key"
    with _reading(cache_db) as base:
        if base is None:
            return []
        firsts = dict(base.execute("SELECT title_id, min(provider || ' ' || key) FROM releases GROUP BY title_id"))
        of_stores = [
            _decided(row, speaks_for_title=firsts[row[1]].partition(" ")[2] == row[0])
            for row in base.execute(told, (json.dumps(list(more)),))
        ]
        return [*of_stores, *(_decided(row, speaks_for_title=True, is_loose=True) for row in base.execute(loose))]


def _decided(row: tuple[Any, ...], *, speaks_for_title: bool, is_loose: bool = False) -> Decided:
    key, title_id, title, favourite, hidden, tags, notes, proton, options = row
    facts = (bool(favourite), bool(hidden), tuple(json.loads(tags)), notes)
    return Decided(key, title_id, title, *facts, proton, options, speaks_for_title, is_loose)


def places(cache_db: Path) -> dict[str, str]:
    """The title of every release that a store told of and that is no add-on."""
    with _reading(cache_db) as base:
        ask = "SELECT key, title_id FROM releases WHERE key IN (SELECT key FROM store_releases) ORDER BY key"
        return dict(base.execute(ask).fetchall()) if base else {}


def details(cache_db: Path, title_id: str) -> dict[str, Any]:
    """
    What `show` adds to an item: the title's details, its DLC, whether its releases were joined by a guess, and what the player decided
    beyond the item: the `notes`, and `launch`, a `{"key", "proton", "launch_options"}` for each release that something was decided about.
    """
    with _reading(cache_db) as base:
        if base is None:
            return {"dlc": [], "guessed": False, "notes": "", "launch": []}
        told = base.execute("SELECT details, guessed, year FROM store_titles WHERE id = ?", (title_id,)).fetchone()
        dlc = base.execute(
            "SELECT d.key, d.title FROM store_releases d JOIN releases r ON r.key = d.parent_key"
            " WHERE d.kind = 'dlc' AND r.title_id = ? ORDER BY d.title, d.key",
            (title_id,),
        ).fetchall()
        noted = base.execute("SELECT notes FROM titles WHERE id = ?", (title_id,)).fetchone()
        launch = base.execute(
            "SELECT key, chosen_proton, launch_options FROM releases"
            " WHERE title_id = ? AND (chosen_proton IS NOT NULL OR launch_options IS NOT NULL) ORDER BY provider, key",
            (title_id,),
        ).fetchall()
    found: dict[str, Any] = json.loads(told[0]) if told and told[0] else {}
    found["year"] = told[2] if told else None
    found["guessed"] = bool(told and told[1])
    found["dlc"] = [{"key": key, "title": title} for key, title in dlc]
    found["notes"] = noted[0] if noted else ""
    found["launch"] = [{"key": key, "proton": proton, "launch_options": options} for key, proton, options in launch]
    return found


def completions(cache_db: Path, prefix: str, limit: int = 50) -> list[tuple[str, str]]:
    """What the shell may offer for a GAME that begins with *prefix*: (what to type, the title)."""
    folded = fold(prefix)
    with _reading(cache_db) as base:
        if base is None:
            return []
        if ":" in prefix:
            asked = "SELECT key, title FROM releases WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
            return base.execute(asked, (prefix, prefix + "\U0010ffff", limit)).fetchall()
        asked = "SELECT id, title FROM titles WHERE hidden = 0 AND (id >= ? AND id < ? OR folded >= ? AND folded < ?) ORDER BY sort LIMIT ?"
        low = prefix.lower()
        return base.execute(asked, (low, low + "\U0010ffff", folded, folded + "\U0010ffff", limit)).fetchall()


def count(cache_db: Path) -> int:
    """How many titles there are, hidden ones too."""
    with _reading(cache_db) as base:
        return int(base.execute("SELECT count(*) FROM titles").fetchone()[0]) if base is not None else 0


def noted(cache_db: Path, name: str) -> str | None:
    """A note of the cache about itself: `revision`, `changed`, `fingerprint`, `owner`, `preferences`, `waiting`."""
    with _reading(cache_db) as base:
        row = base.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone() if base is not None else None
    return str(row[0]) if row else None


@contextmanager
def _reading(cache_db: Path) -> Iterator[sqlite3.Connection | None]:
    base = open_reader(cache_db)
    try:
        yield base
    finally:
        if base is not None:
            base.close()


def _limit(query: LibraryQuery) -> int:
    return -1 if query.limit is None else max(query.limit, 0)


def _title(item: str) -> TitleRow:
    known = json.loads(item)
    releases = tuple(ReleaseRow(**{**each, "platforms": tuple(each["platforms"])}) for each in known["releases"])
    return TitleRow(**{**known, "tags": tuple(known["tags"]), "releases": releases})


def _resolve(base: sqlite3.Connection, game: str) -> str | None:
    by_key = "SELECT t.item FROM releases r JOIN titles t ON t.id = r.title_id WHERE r.key = ?"
    for asked in (by_key, "SELECT item FROM titles WHERE id = ?"):
        if row := base.execute(asked, (game,)).fetchone():
            return str(row[0])
    folded = fold(game)
    if not folded:
        return None
    same = "SELECT DISTINCT t.item FROM releases r JOIN titles t ON t.id = r.title_id WHERE r.folded = :name OR t.folded = :name LIMIT 21"
    found = [str(row[0]) for row in base.execute(same, {"name": folded})] or [item for _, item in _found(base, game, 21)]
    if len(found) > 1:
        rows = [_title(item) for item in found[:20]]
        raise AmbiguousError(
            f"{game!r} fits {len(rows)}{' and more' if len(found) > 20 else ''} games",
            hint=f"say which: {rows[0].title_id}",
            data={"candidates": [{"key": row.title_id, "title": row.title} for row in rows]},
        )
    return found[0] if found else None


def _found(base: sqlite3.Connection, text: str, limit: int) -> list[tuple[int, str]]:
    words = fold(text).split()
    if not words:
        return []
    whole, initials = " ".join(words), "".join(words)
    long = [word for word in words if len(word) >= 3]
    conditions = ["t.hidden = 0"] + ["t.searched LIKE ? ESCAPE '\\'"] * len(words)
    values: list[object] = [f"%{word}%" for word in words]
    source = "titles t"
    if long:  # the trigram index narrows, LIKE stays the judge
        source = "titles_found f JOIN titles t ON t.n = f.rowid"
        conditions.append("f.searched MATCH ?")
        values.append(" AND ".join(f'"{word}"' for word in long))
    rank = (
        "CASE WHEN t.folded = ?1 THEN 0 WHEN t.folded LIKE ?1 || '%' THEN 1 WHEN t.initials = ?2 THEN 2"
        " WHEN ' ' || t.folded LIKE '% ' || ?1 || '%' THEN 3 ELSE 4 END"
    )
    numbered = _numbered(conditions, first=4)
    asked = f"SELECT {rank} AS rank, t.item FROM {source} WHERE {numbered} ORDER BY rank, t.playtime_min DESC, t.sort, t.id LIMIT ?3"
    return base.execute(asked, _numbered_values(whole, initials, limit, *values)).fetchall()


def _numbered_values(*values: object) -> dict[str, object]:
    """What `?1`, `?2` … stand for: to sqlite3 these are names, which Python 3.14 takes from a mapping only."""
    return {str(number): value for number, value in enumerate(values, 1)}


def _numbered(conditions: list[str], first: int) -> str:
    """The conditions as one, each bare `?` with a number, since the rank's own are numbered."""
    text, number = "", first
    for piece in " AND ".join(conditions).split("?"):
        text += f"{piece}?{number}"
        number += 1
    return text[: text.rindex("?")]
