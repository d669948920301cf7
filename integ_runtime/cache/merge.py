"""Both sides of the library into one: what the stores told, and what this machine knows, written where it is read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from integ_runtime.cache.overlay import Overlay, TitleFacts, joined, read_overlay
from integ_runtime.cache.schema import fold, sort_key

_STORE = (
    "key, provider, provider_game_id, title_id, title, platforms, playtime_min, last_played_at, required_proton,"
    " chosen_proton, chosen_at, launch_options"
)
_FACT = "title, platforms, installed, install_path, playtime_min, last_played_at, update_available, proton"


def merge(base: sqlite3.Connection, keys: Iterable[str] | None) -> None:
    """Write `releases` and `titles` again for *keys* and the titles they belong or belonged to; None means everything."""
    if keys is None:
        base.execute("DELETE FROM releases")
        base.execute("DELETE FROM titles")
        keys = [row[0] for row in base.execute("SELECT key FROM store_releases WHERE kind = 'game' UNION SELECT key FROM local_facts")]
    overlay = read_overlay(base)
    touched: set[str] = set()
    for key in keys:
        touched.update(_merge_release(base, key, overlay))
    for title_id in touched:
        _merge_title(base, title_id, overlay)


def _merge_release(base: sqlite3.Connection, key: str, overlay: Overlay) -> set[str]:
    """The titles that have to be written again."""
    before = {row[0] for row in base.execute("SELECT title_id FROM releases WHERE key = ?", (key,))}
    told = base.execute(f"SELECT {_STORE} FROM store_releases WHERE key = ? AND kind = 'game'", (key,)).fetchone()
    facts = base.execute(f"SELECT {_FACT} FROM local_facts WHERE key = ? ORDER BY source", (key,)).fetchall()
    base.execute("DELETE FROM releases WHERE key = ?", (key,))
    if told is None and (not any(fact[2] for fact in facts) or _is_dlc(base, key)):
        return before  # only what is here now stands for itself; an old play time is kept until a store tells of the game
    if told is not None:
        _, provider, game_id, title_id, title, platforms, playtime_min, last_played_at, required, *launching = told
        title_id = overlay.moved.get(key, title_id)
    else:
        provider, _, game_id = key.partition(":")
        title = next((fact[0] for fact in facts if fact[0]), game_id)
        title_id, platforms, playtime_min, last_played_at, required = _own_title_id(base, key, title), "[]", 0, None, None
        launching = base.execute("SELECT chosen_proton, chosen_at, launch_options FROM loose WHERE key = ?", (key,)).fetchone()
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
    chosen_proton, chosen_at, launch_options = overlay.launching(key, *(launching or (None, None, None)))
    columns = {
        **known,
        "platforms": platforms,
        "title_id": title_id,
        "folded": fold(title),
        "required_proton": required,
        "chosen_proton": chosen_proton,
        "chosen_at": chosen_at,
        "launch_options": launch_options,
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


def _merge_title(base: sqlite3.Connection, title_id: str, overlay: Overlay) -> None:
    base.execute("DELETE FROM titles WHERE id = ?", (title_id,))
    rows = base.execute(
        "SELECT item, folded, provider, platforms, playtime_min, last_played_at, installed, title, key FROM releases"
        " WHERE title_id = ? ORDER BY provider, key",
        (title_id,),
    ).fetchall()
    if not rows:
        return
    keys = [row[8] for row in rows]
    name, told = _told(base, title_id, keys, overlay)
    title, facts = name or rows[0][7], overlay.facts(keys, told)
    tags = json.dumps(list(facts.tags), ensure_ascii=False)
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
        "favourite": facts.favourite,
        "hidden": facts.hidden,
        "tags": list(facts.tags),
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
        "hidden": int(facts.hidden),
        "favourite": int(facts.favourite),
        "installed": int(installed),
        "stores": f" {' '.join(sorted({row[2] for row in rows}))} ",
        "tags": tags,
        "platforms": f" {' '.join(platforms)} ",
        "playtime_min": playtime_min,
        "last_played_at": last_played_at,
        "notes": facts.notes,
        "item": _json(item),
    }
    base.execute(
        f"INSERT INTO titles ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()),
    )


def _told(base: sqlite3.Connection, title_id: str, keys: list[str], overlay: Overlay) -> tuple[str | None, TitleFacts]:
    """The name of a title and what its releases bring: the title as it was told, and those they were in before they were moved."""
    ids = [title_id]
    for key in keys:
        if key in overlay.moved:
            ids += [row[0] for row in base.execute("SELECT title_id FROM store_releases WHERE key = ?", (key,))]
    name, found = None, []
    for each in dict.fromkeys(ids):
        told = base.execute("SELECT title, favourite, hidden, tags, notes FROM store_titles WHERE id = ?", (each,)).fetchone()
        if told is not None:
            name = told[0] if each == title_id else name
            found.append(_facts(told[1:]))
    if not found:
        ask = "SELECT favourite, hidden, tags, notes FROM loose WHERE key = ?"
        found = [_facts(row) for key in keys for row in base.execute(ask, (key,))]
    return name, joined(found)


def _facts(row: tuple[int, int, str, str]) -> TitleFacts:
    favourite, hidden, tags, notes = row
    return TitleFacts(bool(favourite), bool(hidden), tuple(json.loads(tags)), notes)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
