"""Both sides of the library into one: what the stores told, and what this machine knows, written where it is read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from integ_runtime.cache.schema import fold, sort_key

_STORE = "key, provider, provider_game_id, title_id, title, platforms, playtime_min, last_played_at, required_proton"
_FACT = "title, platforms, installed, install_path, playtime_min, last_played_at, update_available, proton"


def merge(base: sqlite3.Connection, keys: Iterable[str] | None) -> None:
    """Write `releases` and `titles` again for *keys* and the titles they belong or belonged to; None means everything."""
    if keys is None:
        base.execute("DELETE FROM releases")
        base.execute("DELETE FROM titles")
        keys = [row[0] for row in base.execute("SELECT key FROM store_releases WHERE kind = 'game' UNION SELECT key FROM local_facts")]
    touched: set[str] = set()
    for key in keys:
        touched.update(_merge_release(base, key))
    for title_id in touched:
        _merge_title(base, title_id)


def _merge_release(base: sqlite3.Connection, key: str) -> set[str]:
    """The titles that have to be written again."""
    before = {row[0] for row in base.execute("SELECT title_id FROM releases WHERE key = ?", (key,))}
    told = base.execute(f"SELECT {_STORE} FROM store_releases WHERE key = ? AND kind = 'game'", (key,)).fetchone()
    facts = base.execute(f"SELECT {_FACT} FROM local_facts WHERE key = ? ORDER BY source", (key,)).fetchall()
    base.execute("DELETE FROM releases WHERE key = ?", (key,))
    if told is None and (not any(fact[2] for fact in facts) or _is_dlc(base, key)):
        return before  # only what is here now stands for itself; an old play time is kept until a store tells of the game
    if told is not None:
        _, provider, game_id, title_id, title, platforms, playtime_min, last_played_at, required = told
    else:
        provider, _, game_id = key.partition(":")
        title = next((fact[0] for fact in facts if fact[0]), game_id)
        title_id, platforms, playtime_min, last_played_at, required = _own_title_id(base, key, title), "[]", 0, None, None
    if platforms == "[]":
        platforms = next((fact[1] for fact in facts if fact[1] != "[]"), "[]")
    playtime_min = max([playtime_min, *(fact[4] for fact in facts)])
    last_played_at = max([moment for moment in (last_played_at, *(fact[5] for fact in facts)) if moment], default=None)
    here = next((fact for fact in facts if fact[2]), None)
    known = {
        "key": key,
        "provider": provider,
        "provider_game_id": game_id,
        "title": title,
        "installed": here is not None,
        "install_path": here[3] if here else None,
        "platforms": json.loads(platforms),
        "playtime_min": playtime_min,
        "last_played_at": last_played_at,
        "update_available": any(fact[6] for fact in facts),
        "proton": next((fact[7] for fact in facts if fact[7]), None),
    }
    columns = {
        **known,
        "platforms": platforms,
        "title_id": title_id,
        "folded": fold(title),
        "required_proton": required,
        "item": _json(known),
    }
    base.execute(
        f"INSERT INTO releases ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()),
    )
    return before | {title_id}


def _is_dlc(base: sqlite3.Connection, key: str) -> bool:
    return base.execute("SELECT 1 FROM store_releases WHERE key = ?", (key,)).fetchone() is not None


def _own_title_id(base: sqlite3.Connection, key: str, title: str) -> str:
    """An id for a title that no store told of: its slug, unless somebody else has that."""
    slug = fold(title).replace(" ", "-") or key.replace(":", "-")
    taken = base.execute(
        "SELECT 1 FROM store_titles WHERE id = :slug UNION ALL SELECT 1 FROM releases WHERE title_id = :slug AND key != :key LIMIT 1",
        {"slug": slug, "key": key},
    ).fetchone()
    return f"{slug}-{key.replace(':', '-')}" if taken else slug


def _merge_title(base: sqlite3.Connection, title_id: str) -> None:
    base.execute("DELETE FROM titles WHERE id = ?", (title_id,))
    rows = base.execute(
        "SELECT item, folded, provider, platforms, playtime_min, last_played_at, installed, title FROM releases"
        " WHERE title_id = ? ORDER BY provider, key",
        (title_id,),
    ).fetchall()
    if not rows:
        return
    told = base.execute("SELECT title, favourite, hidden, tags FROM store_titles WHERE id = ?", (title_id,)).fetchone()
    title, favourite, hidden, tags = told if told else (rows[0][7], 0, 0, "[]")
    folded = fold(title)
    words = folded.split()
    initials = "".join(word[0] for word in words)
    searched = " | ".join(dict.fromkeys([folded, *(row[1] for row in rows), *([initials] if len(words) > 2 else [])]))
    platforms = sorted({name for row in rows for name in json.loads(row[3])})
    playtime_min = sum(row[4] for row in rows)
    last_played_at = max((row[5] for row in rows if row[5]), default=None)
    installed = any(row[6] for row in rows)
    item = {
        "title_id": title_id,
        "title": title,
        "favourite": bool(favourite),
        "hidden": bool(hidden),
        "tags": json.loads(tags),
        "playtime_min": playtime_min,
        "last_played_at": last_played_at,
        "installed": installed,
        "releases": [json.loads(row[0]) for row in rows],
    }
    columns = {
        "id": title_id,
        "title": title,
        "sort": sort_key(title),
        "folded": folded,
        "initials": initials,
        "searched": searched,
        "hidden": hidden,
        "favourite": favourite,
        "installed": int(installed),
        "stores": f" {' '.join(sorted({row[2] for row in rows}))} ",
        "tags": tags,
        "platforms": f" {' '.join(platforms)} ",
        "playtime_min": playtime_min,
        "last_played_at": last_played_at,
        "item": _json(item),
    }
    base.execute(
        f"INSERT INTO titles ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()),
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
