"""Which titles, in which order: the options of `integ list` and its filter language, turned into SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from integ_runtime.cache.schema import fold
from integ_server.contract.errors import UsageError
from integ_server.contract.filters import FLAGS, Term, parse_filter

_ORDERS = {
    "title": "sort, id",
    "playtime": "playtime_min DESC, sort, id",
    "last_played": "last_played_at IS NULL, last_played_at DESC, sort, id",
    "installed": "installed DESC, sort, id",
    "store": "stores, sort, id",
}
SORTS = tuple(_ORDERS)


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
    terms = parse_filter(query.filter)
    for term in terms:
        sql, value = _condition(term, now or datetime.now(UTC))
        add(sql, value)
    if not query.include_hidden and all(term.field != "hidden" for term in terms):
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


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _condition(term: Term, now: datetime) -> tuple[str, object]:
    """The SQL of one term, and its value."""
    if term.field == "word":
        return "searched LIKE ? ESCAPE '\\'", f"%{_like(fold(term.text))}%"
    if term.field in {"store", "platform"}:
        return f"{term.field}s LIKE ? ESCAPE '\\'", f"% {_like(term.text)} %"
    if term.field in FLAGS:
        return f"{term.field} = ?", int(term.is_wanted)
    if term.field == "tag":
        return "EXISTS (SELECT 1 FROM json_each(tags) WHERE lower(json_each.value) = ?)", term.text
    if term.field == "playtime":
        return f"playtime_min {term.sign} ?", term.minutes
    return f"last_played_at IS NOT NULL AND last_played_at {term.sign} ?", term.moment(now).strftime("%Y-%m-%dT%H:%M:%SZ")
