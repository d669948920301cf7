"""Which titles, in which order: the options of `integ list` and its filter language, turned into SQL."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from integ_runtime.cache.schema import fold
from integ_server.contract.errors import UsageError

_ORDERS = {
    "title": "sort, id",
    "playtime": "playtime_min DESC, sort, id",
    "last_played": "last_played_at IS NULL, last_played_at DESC, sort, id",
    "installed": "installed DESC, sort, id",
    "store": "stores, sort, id",
}
SORTS = tuple(_ORDERS)
_MINUTES = {"m": 1, "min": 1, "h": 60, "": 60}
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365, "": 1}


@dataclass(frozen=True, slots=True)
class LibraryQuery:
    store: str | None = None
    installed: bool | None = None
    include_hidden: bool = False
    favourites: bool = False
    filter: str = ""
    """Words and `field:value` pairs, all of which have to fit: `lantern store:gog installed:yes playtime:>10h`."""
    sort: str = "title"
    """One of SORTS; a leading `-` turns it round."""
    limit: int | None = None
    by: Literal["title", "release"] = "title"


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on the table `titles`, with its values."""

    sql: str
    values: tuple[object, ...]


def where_of(query: LibraryQuery, now: datetime | None = None) -> Where:
    """
    The condition that *query* stands for; *now* is the moment that ages are counted from.

    Raises:
        UsageError: The filter has a field or a value that means nothing.
    """
    parts: list[str] = []
    values: list[object] = []

    def add(sql: str, *more: object) -> None:
        parts.append(sql)
        values.extend(more)

    if query.store is not None:
        add("stores LIKE ? ESCAPE '\\'", f"% {_like(query.store.lower())} %")
    if query.installed is not None:
        add("installed = ?", int(query.installed))
    if query.favourites:
        add("favourite = 1")
    asked_hidden = False
    for word in _words(query.filter):
        field, colon, value = word.partition(":")
        if colon and field.isalpha():
            asked_hidden = asked_hidden or field == "hidden"
            sql, more = _field(field.lower(), value, now or datetime.now(UTC))
            add(sql, *more)
        elif folded := fold(word):
            add("searched LIKE ? ESCAPE '\\'", f"%{_like(folded)}%")
    if not query.include_hidden and not asked_hidden:
        add("hidden = 0")
    return Where(" AND ".join(parts) or "1", tuple(values))


def order_of(query: LibraryQuery) -> str:
    """The ORDER BY that *query* stands for."""
    name = query.sort.removeprefix("-").replace("-", "_")
    order = _ORDERS.get(name)
    if order is None:
        raise UsageError(f"there is no order {query.sort!r}", hint=f"--sort {'|'.join(SORTS)}")
    if query.sort.startswith("-"):
        first, _, rest = order.partition(",")
        order = _turned(first) + "," + rest if name != "last_played" else "last_played_at IS NULL, last_played_at, sort, id"
    return order


def _turned(term: str) -> str:
    return term.removesuffix(" DESC") if term.endswith(" DESC") else f"{term} DESC"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.replace('"', " ").replace("'", " ").split()  # a quote that is still being typed


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _field(field: str, value: str, now: datetime) -> tuple[str, tuple[object, ...]]:
    if field in {"store", "provider"}:
        return "stores LIKE ? ESCAPE '\\'", (f"% {_like(value.lower())} %",)
    if field in {"installed", "favourite", "hidden"}:
        return f"{field} = ?", (int(_yes(field, value)),)
    if field in {"platform", "os"}:
        return "platforms LIKE ? ESCAPE '\\'", (f"% {_like(value.lower())} %",)
    if field == "tag":
        return "EXISTS (SELECT 1 FROM json_each(tags) WHERE lower(json_each.value) = ?)", (value.casefold(),)
    if field in {"playtime", "played"}:
        sign, number, unit = _measure(field, value, _MINUTES)
        return f"playtime_min {sign} ?", (number * _MINUTES[unit],)
    if field in {"last", "lastplayed"}:
        sign, number, unit = _measure(field, value, _DAYS)
        try:
            moment = now - timedelta(days=number * _DAYS[unit])
        except OverflowError:
            raise UsageError(f"{field}:{value} is too long ago") from None
        turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": ">="}[sign]  # less long ago is a later moment
        return f"last_played_at IS NOT NULL AND last_played_at {turned} ?", (moment.strftime("%Y-%m-%dT%H:%M:%SZ"),)
    known = "store, installed, favourite, hidden, platform, tag, playtime, last"
    raise UsageError(f"the filter knows no field {field!r}", hint=f"fields: {known}")


def _yes(field: str, value: str) -> bool:
    if value.lower() in {"yes", "y", "true", "1"}:
        return True
    if value.lower() in {"no", "n", "false", "0"}:
        return False
    raise UsageError(f"{field}:{value} is neither yes nor no", hint=f"{field}:yes or {field}:no")


def _measure(field: str, value: str, units: dict[str, int]) -> tuple[str, float, str]:
    found = re.fullmatch(r"(<=|>=|<|>|=)?(\d{1,7}(?:\.\d{1,3})?)([a-z]*)", value.lower())
    if found is None or found[3] not in units:
        shown = "/".join(unit for unit in units if unit)
        raise UsageError(f"{field}:{value} can't be read", hint=f"for example {field}:>10{next(iter(units))} ({shown})")
    return found[1] or ">=", float(found[2]), found[3]
