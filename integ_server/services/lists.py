"""The library by page: filtered, sorted, and made into JSON by the database, since this is what clients ask for most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Interval,
    Select,
    String,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import UsageError
from integ_server.contract.filters import Term, parse_filter
from integ_server.db import Database
from integ_server.models.tables import accounts, game_preferences, games, library_entries, title_choices
from integ_server.services import choices, library
from integ_server.services.cursors import read_cursor, write_cursor
from integ_server.services.naming import match_name
from integ_server.services.rows import among, among_on, in_parts

SORTS = ("title", "playtime", "last_played", "store")
MOST_AT_ONCE = 1_000
_NEVER = 2**62
"""Stands for the last moment of a game nobody played: it comes after all others, whichever way they are sorted."""
_SUMMED, _DECIDED = {"playtime", "last"}, {"favourite", "hidden", "tag"}
_entries = library_entries.c
_minutes = func.sum(_entries.playtime_min)
_last = func.max(type_coerce(_entries.last_played_at, BigInteger))


@dataclass(frozen=True, slots=True)
class ListQuery:
    provider: str | None = None
    q: str = ""
    """A part of the name."""
    filter: str = ""
    """In the filter language; what fits it has to fit `q` and `provider` too."""
    sort: str = "title"
    """One of SORTS; a leading `-` turns it round."""


@dataclass(frozen=True, slots=True)
class _Order:
    """By `columns`, of which the first may descend alone, or all together; the last is the key, so that no two rows stand in one place."""

    columns: tuple[ColumnElement[Any], ...]
    descends: tuple[bool, ...]
    is_summed: bool
    """The first is about all entries of a release together; else an index has the rows in this order."""

    @property
    def kinds(self) -> list[type[str] | type[int]]:
        return [int if self.is_summed and at == 0 else str for at in range(len(self.columns))]

    @property
    def terms(self) -> list[ColumnElement[Any]]:
        return [each.desc() if down else each.asc() for each, down in zip(self.columns, self.descends, strict=True)]

    def beyond(self) -> ColumnElement[bool]:
        """That a row comes after the one whose columns are bound as `after0`, `after1` …"""
        bound = [bindparam(f"after{at}", type_=String if kind is str else BigInteger) for at, kind in enumerate(self.kinds)]
        if not self.is_summed:
            mine, other = tuple_(*self.columns), tuple_(*bound)
            return mine < other if self.descends[0] else mine > other
        first, *rest = self.columns
        further = first < bound[0] if self.descends[0] else first > bound[0]
        return or_(further, and_(first == bound[0], tuple_(*rest) > tuple_(*bound[1:])))


@lru_cache(maxsize=4 * len(SORTS))  # each with and without `-`, and written with a dash
def _order(sort: str) -> _Order:
    """
    Raises:
        UsageError: There is no such order.
    """
    name, down = sort.removeprefix("-").replace("-", "_"), sort.startswith("-")
    by_name = (_entries.sort, _entries.game_key)
    match name:
        case "title":
            return _Order(by_name, (down, down), is_summed=False)
        case "store":
            return _Order((_entries.provider, *by_name), (down, down, down), is_summed=False)
        case "playtime":
            return _Order((_minutes, *by_name), (not down, False, False), is_summed=True)
        case "last_played":
            last = func.coalesce(_last, _NEVER if down else -_NEVER)
            return _Order((last, *by_name), (not down, False, False), is_summed=True)
    raise UsageError(f"there is no order {sort[:40]!r}", hint=f"sort by {', '.join(SORTS)}; -title turns it round")


async def owned_page(db: Database, user_id: str, query: ListQuery, *, limit: int, cursor: str | None = None) -> tuple[bytes, str | None]:
    """
    The releases the user owns that fit *query*: a JSON array of `ReleaseRecord`s, and the cursor of the next page, if there is one.

    Raises:
        UsageError: The filter, the order or the cursor means nothing.
    """
    order = _order(query.sort)
    terms = _terms(query)
    values: dict[str, Any] = {"user_id": user_id, "found": limit + 1, "shown": limit, "last": limit - 1}
    if cursor is not None:
        values |= {f"after{at}": value for at, value in enumerate(read_cursor(cursor, order.kinds, user_id, query))}
    if query.provider is not None:
        values["provider"] = query.provider
    dialect = "sqlite" if db.is_sqlite else "postgresql"
    shape = (dialect, query.sort, query.provider is not None, cursor is not None)
    if terms:
        fitting = {term: await _fitting_keys(db, user_id, term) for term in terms if term.field in _DECIDED}
        items, found, *edge = await db.read_row(_built(*shape, terms, fitting), values)
    else:
        items, found, *edge = await db.read_row(_statement(*shape), values, often=True)
    return items.encode(), write_cursor(edge, user_id, query) if found > limit else None


async def _fitting_keys(db: Database, user_id: str, term: Term) -> set[str]:
    """The releases of all titles that are favourite, hidden or tagged as *term* says: few, for the player made each of them so."""
    async with db.reading() as session:
        decided = select(game_preferences.c.game_key).where(game_preferences.c.user_id == user_id)
        concealed = select(_entries.game_key).where(_entries.user_id == user_id, _entries.hidden)
        keys = [*(await session.execute(decided.union(concealed))).scalars()]
        told = (await library.records(session, user_id, keys)).titles
        if term.field == "tag":
            fitting = {each.id for each in told if term.text in {tag.casefold() for tag in each.tags}}
        else:
            fitting = {each.id for each in told if getattr(each, term.field)}
        chosen = await choices.read(session, user_id)
        return {row.game_key for _, row in await choices.members(session, user_id, chosen, fitting)}


async def sort_anew(session: AsyncSession, keys: Iterable[str]) -> None:
    """Let everybody's entries of the releases *keys*, which were renamed, stand where their names belong."""
    placed = update(library_entries).values(sort=games.c.sort).where(games.c.key == _entries.game_key, games.c.sort != _entries.sort)
    for part in in_parts(sorted(keys), MOST_AT_ONCE):
        await session.execute(placed.where(among(session, _entries.game_key, part)).execution_options(synchronize_session=False))


def depends_on_time(query: ListQuery) -> bool:
    """Whether the same library gives another list later."""
    return any(term.field == "last" for term in _terms(query))


def _terms(query: ListQuery) -> tuple[Term, ...]:
    words = (Term("word", query.q),) if query.q else ()
    return (*words, *parse_filter(query.filter)) if query.filter else words


@lru_cache(maxsize=64)
def _statement(dialect: str, sort: str, by_provider: bool, goes_on: bool) -> Select[Any]:
    """Built once a shape, and then always the same object, so that it is compiled once too."""
    return _built(dialect, sort, by_provider, goes_on, (), {})


def _built(  # noqa: PLR0917 - the first four are a shape
    dialect: str, sort: str, by_provider: bool, goes_on: bool, terms: Sequence[Term], fitting: Mapping[Term, Collection[str]]
) -> Select[Any]:
    """One row: the JSON, how many rows there were up to one more than fit, and where the last one that is shown stands."""
    order = _order(sort)
    columns = [_entries.game_key, _minutes.label("playtime_min"), _last.label("last_played_at")]
    places = [each.label(f"place{at}") for at, each in enumerate(order.columns)]
    if dialect == "postgresql":
        columns.append(func.array_agg(_entries.account_id, type_=postgresql.ARRAY(Integer)).label("account_ids"))
    conditions = [_entries.user_id == bindparam("user_id"), _entries.removed_at.is_(None)]
    if by_provider:
        conditions.append(_entries.provider == bindparam("provider"))
    for term, keys in fitting.items():
        is_one = among_on(dialect, _entries.game_key, sorted(keys))
        conditions.append(is_one if term.is_wanted else ~is_one)
    summed = [_summed(term) for term in terms if term.field in _SUMMED]
    each_one = [_single(term) for term in terms if term.field not in _SUMMED | _DECIDED]
    if goes_on:
        (summed if order.is_summed else conditions).append(order.beyond())
    query = select(*columns, *places).where(*conditions, *each_one)
    if each_one:
        query = query.join(games, games.c.key == _entries.game_key)
    by = [each for at, each in enumerate(order.columns) if at or not order.is_summed]
    query = query.group_by(*by).having(and_(true(), *summed)) if summed else query.group_by(*by)
    page = query.order_by(*order.terms).limit(bindparam("found", type_=Integer)).cte("page")

    in_order = [place.desc() if down else place.asc() for place, down in _placed(page, order)]
    shown = select(page).order_by(*in_order).limit(bindparam("shown", type_=Integer)).subquery("shown")
    edge = [
        select(page.c[each.name]).order_by(*in_order).limit(1).offset(bindparam("last", type_=Integer)).scalar_subquery() for each in places
    ]
    in_turn = [place.desc() if down else place.asc() for place, down in _placed(shown, order)]
    records = _records(dialect, shown).order_by(*in_turn).subquery("record")
    found = select(func.count()).select_from(page).scalar_subquery()
    return select(select(_json(dialect, records)).scalar_subquery(), found, *edge)


def _placed(rows: Any, order: _Order) -> list[tuple[ColumnElement[Any], bool]]:
    return [(rows.c[f"place{at}"], down) for at, down in enumerate(order.descends)]


def _records(dialect: str, shown: Subquery) -> Select[Any]:
    """A row a release with the fields of `ReleaseRecord`; a test holds the two together."""
    decided = and_(game_preferences.c.user_id == bindparam("user_id"), game_preferences.c.game_key == shown.c.game_key)
    seconds = shown.c.last_played_at
    if dialect == "postgresql":
        names = select(accounts.c.account).where(accounts.c.id == func.any(shown.c.account_ids)).order_by(accounts.c.id)
        # Nearly every release is one account's: its name is looked up once for all rows.
        mine = select(accounts.c.id, func.json_build_array(accounts.c.account).label("alone")).where(
            accounts.c.user_id == bindparam("user_id")
        )
        known = mine.cte("known").prefix_with("MATERIALIZED")
        owners: ColumnElement[Any] = case(
            (
                func.array_length(shown.c.account_ids, 1) == 1,
                select(known.c.alone).where(known.c.id == shown.c.account_ids[1]).scalar_subquery(),
            ),
            else_=func.array_to_json(func.array(names.scalar_subquery())),
        )
        began, second = literal_column("timestamp '1970-01-01'", DateTime()), literal_column("interval '1 second'", Interval())
        moment: ColumnElement[Any] = func.to_char(began + seconds * second, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    else:
        own = _entries.game_key == shown.c.game_key, _entries.user_id == bindparam("user_id"), _entries.removed_at.is_(None)
        names = select(accounts.c.account).join(library_entries, _entries.account_id == accounts.c.id).where(*own)
        ordered = names.correlate(shown).order_by(accounts.c.id).limit(-1).subquery()  # the limit keeps the order
        owners = select(func.json_group_array(ordered.c.account)).scalar_subquery()
        moment = func.strftime("%Y-%m-%dT%H:%M:%SZ", seconds, "unixepoch")
    return select(
        games.c.key,
        games.c.provider,
        games.c.provider_game_id,
        _title_id().label("title_id"),
        func.coalesce(func.nullif(games.c.name, ""), games.c.provider_game_id).label("title"),
        games.c.kind,
        games.c.parent_key,
        owners.label("accounts"),
        games.c.platforms,
        shown.c.playtime_min,
        moment.label("last_played_at"),
        games.c.required_proton,
        game_preferences.c.proton,
        game_preferences.c.launch_options,
        false().label("removed"),
    ).select_from(shown.join(games, games.c.key == shown.c.game_key).outerjoin(game_preferences, decided))


def _title_id() -> ColumnElement[str]:
    """As `choices.Choices.title_of` has it: the player's choice for the release or its game, the merge it follows, the stores'."""
    made = title_choices.c
    lead = games.alias("lead")
    is_add_on = or_(*(games.c.kind == each for each in choices.ADD_ONS))  # not IN, whose list would be compiled at every call
    leads = and_(*(lead.c.kind != each for each in choices.ADD_ONS))
    mine = select(made.title_id).join(lead, lead.c.key == made.game_key).where(made.user_id == bindparam("user_id")).correlate(games)
    own = mine.where(made.game_key == case((is_add_on, games.c.parent_key), else_=games.c.key), or_(~is_add_on, leads))
    followed = mine.where(made.split_id.is_(None), lead.c.title_id == games.c.title_id, leads)
    newest = followed.order_by(made.made_at.desc(), made.game_key.desc()).limit(1)
    any_made = (
        select(made.game_key).where(made.user_id == bindparam("user_id")).correlate(None).exists()
    )  # asked once; mostly there is none
    chosen = func.coalesce(own.scalar_subquery(), newest.scalar_subquery(), games.c.title_id)
    return case((any_made, chosen), else_=games.c.title_id)


def _json(dialect: str, records: Subquery) -> ColumnElement[str]:
    if dialect == "postgresql":
        return func.coalesce(cast(func.json_agg(records.table_valued()), Text), "[]")
    as_json = {"accounts", "platforms"}
    pairs: list[Any] = []
    for column in records.c:
        value: Any = func.json(type_coerce(column, Text)) if column.name in as_json else column
        pairs += [column.name, func.json("false") if column.name == "removed" else value]
    return func.json_group_array(func.json_object(*pairs))


def _single(term: Term) -> ColumnElement[bool]:
    """The condition on one entry and its game."""
    match term.field:
        case "word":
            return games.c.match_name.contains(match_name(term.text), autoescape=True)
        case "store":
            return _entries.provider == term.text
        case "platform":
            return cast(games.c.platforms, Text).contains(f'"{term.text}"', autoescape=True)
    raise UsageError(f"the backend can't tell what is {term.field}", hint="ask the client on the player's machine: integ list")


def _summed(term: Term) -> ColumnElement[bool]:
    """The condition on all entries of a release together."""
    compare = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__", "=": "__eq__"}[term.sign]
    if term.field == "playtime":
        return getattr(_minutes, compare)(term.minutes)  # type: ignore[no-any-return]
    moment = int(term.moment(datetime.now(UTC)).timestamp())
    return and_(_last.is_not(null()), getattr(_last, compare)(moment))
