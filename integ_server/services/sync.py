"""Pull one account's library: all of it is read before anything is changed, and what differs is changed in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import AuthenticationError, IntegError, PrivateProfileError, ProviderError
from integ_server.contract.text import clean_name
from integ_server.contract.types import AccountState, JobInfo, SyncCounts, SyncRequest
from integ_server.models.account import Account
from integ_server.models.job import ClaimedJob
from integ_server.models.tables import accounts, games, jobs, library_entries
from integ_server.providers.base import (
    Credentials,
    GameProvider,
    OwnedGame,
    ReadsMetadata,
    ReadsProfiles,
    RenewsAccess,
    StoreProfile,
)
from integ_server.services import access, events, library, lists, titles
from integ_server.services import accounts as accounts_service
from integ_server.services import jobs as job_service
from integ_server.services.backend import Backend
from integ_server.services.naming import is_game_id
from integ_server.services.rows import insert_rows, select_where_in, update_rows

PROFILE_GOOD_FOR_S = 86_400.0
MOST_GAMES = 200_000
"""No account has that many; a store that goes on and on is ill."""
_PLATFORMS = ("linux", "windows", "mac")
_MOST_MINUTES = 2**31 - 1
_Entry: TypeAlias = "tuple[int, int | None, bool, bool]"
"""Minutes, last played in seconds since 1970, hidden, removed."""
_Known: TypeAlias = "tuple[str, str, bool, str, str | None, list[str]]"
"""Of a release: name, where it is sorted, whether metadata was found, kind, parent's key, platforms."""
_GAMES = select(games.c.key, games.c.name, games.c.sort, games.c.metadata_found, games.c.kind, games.c.parent_key, games.c.platforms)
_ENTRIES = select(
    library_entries.c.game_key,
    library_entries.c.playtime_min,
    type_coerce(library_entries.c.last_played_at, BigInteger),  # compared as it is stored: twice as quick
    library_entries.c.hidden,
    library_entries.c.removed_at.is_not(None),
    library_entries.c.sort.label("place"),
    *[column for column in _GAMES.selected_columns if column.name != "key"],
).join(games, games.c.key == library_entries.c.game_key)
_log = logging.getLogger("integ.sync")


async def start(backend: Backend, session: AsyncSession, user_id: str, wanted: SyncRequest) -> list[JobInfo]:
    """
    A job for each account of the stores that are asked for; one that is at it already counts.

    Raises:
        NotFoundError: There is no such store.
        AuthenticationError: No account is signed in there.
    """
    for slug in wanted.providers:
        backend.get_store(slug)
    query = select(Account).where(accounts.c.user_id == user_id, accounts.c.removed_at.is_(None)).order_by(accounts.c.id)
    known = list((await session.execute(query)).scalars())
    chosen = [each for each in known if not wanted.providers or each.provider in wanted.providers]
    missing = sorted(set(wanted.providers) - {each.provider for each in chosen})
    if missing or not chosen:
        where = " ".join(missing[:1])
        raise AuthenticationError(f"no account is signed in{' at ' + where if where else ''}", hint=f"integ login {where}".strip())
    started = [
        await job_service.begin(
            backend,
            session,
            kind="sync",
            subject=f"sync/{each.id}",
            user_id=user_id,
            provider=each.provider,
            account_id=each.id,
            account=each.account,
            full=wanted.full,
            later=wanted.later,
        )
        for each in chosen
    ]
    return [job_service.info(job) for job in started]


async def pull_account(backend: Backend, job: ClaimedJob) -> SyncCounts:
    """
    Do a `sync` job that this process has claimed. Whatever goes wrong, the library stays as it was; running twice changes nothing.

    Raises:
        AccountNotFoundError: The account was signed out meanwhile.
        AuthenticationError: The store refused the sign-in; the account is marked so.
        PrivateProfileError: The store hides the library; the account is marked so.
        ProviderError: What the store sent is no library.
        ProviderUnavailableError: The store is down or asks for a pause.
        ClaimLostError: Another process took the job over.
    """
    assert job.account_id is not None
    async with backend.db.reading() as session:
        account = await access.get_account(session, job.account_id)
    store = backend.get_store(account.provider)
    owned = await _whole_list(backend, job, store)
    profile = await _profile(backend, job.account_id, store)
    async with backend.db.writing.begin() as session:
        await job_service.hold(session, job.id, "writing")
        account = await access.get_account(session, job.account_id, lock=True)
        if profile is not None:
            accounts_service.show_as(account, profile)
        counts = await _store_list(session, account, owned, asks_metadata=isinstance(store, ReadsMetadata))
        if account.state != AccountState.OK:
            events.account_changed(session, account.user_id, account.provider, account.account, AccountState.OK)
        account.last_sync_at, account.state = datetime.now(UTC), AccountState.OK
        is_full = (await session.execute(select(jobs.c.full).where(jobs.c.id == job.id))).scalar_one()
        if isinstance(store, ReadsMetadata):
            await _ask_for_metadata(backend, session, account, bool(is_full))
        await session.flush()
        await job_service.finish(session, job.id, counts)
    return counts


async def _whole_list(backend: Backend, job: ClaimedJob, store: GameProvider) -> dict[str, OwnedGame]:
    """Everything the account owns, by release key, checked and cleaned; nothing, unless it was read to its end."""
    assert job.account_id is not None
    login = await access.usable_login(backend, job.account_id)
    try:
        try:
            return await _read_list(backend, job, store, login)
        except AuthenticationError:
            if not isinstance(store, RenewsAccess) or not login.access_token:
                raise
            _log.info("%s refused an access token that should be good; renewing it once", store.title)
        login = await access.usable_login(backend, job.account_id, refused=login.access_token)
        return await _read_list(backend, job, store, login)
    except AuthenticationError:
        await access.mark(backend, job.account_id, AccountState.SIGNED_OUT, login)
        raise
    except PrivateProfileError:
        await access.mark(backend, job.account_id, AccountState.PRIVATE, login)
        raise


async def _profile(backend: Backend, account_id: int, store: GameProvider) -> StoreProfile | None:
    """How the store shows the account, asked once a day; a library is not held up by a picture."""
    try:
        if not isinstance(store, ReadsProfiles) or not await backend.cache.add(f"profile-read/{account_id}", "1", PROFILE_GOOD_FOR_S):
            return None
        return await backend.outside(store.profile(await access.usable_login(backend, account_id)))
    except IntegError as error:
        _log.info("the profile of an account at %s could not be read: %s", store.title, error.message)
        return None


async def _read_list(backend: Backend, job: ClaimedJob, store: GameProvider, login: Credentials) -> dict[str, OwnedGame]:
    found: dict[str, OwnedGame] = {}

    async def read() -> None:
        async for game in store.owned_games(login):
            if not is_game_id(game.provider_game_id) or (game.parent_id is not None and not is_game_id(game.parent_id)):
                raise ProviderError(f"{store.title} sent a game with an odd id", hint=f"try again: integ sync {store.slug}")
            key = f"{store.slug}:{game.provider_game_id}"
            found[key] = _merged(found[key], game) if key in found else _cleaned(game)
            if len(found) > MOST_GAMES:
                raise ProviderError(f"{store.title} sent a library without an end", hint=f"try again: integ sync {store.slug}")

    await job_service.tell(backend, job.id, "reading")
    await backend.outside(read(), meanwhile=lambda: job_service.tell(backend, job.id, "reading", len(found)))
    return found


def _cleaned(game: OwnedGame) -> OwnedGame:
    return replace(
        game,
        title=clean_name(game.title),
        playtime_min=min(max(game.playtime_min, 0), _MOST_MINUTES),
        last_played_at=game.last_played_at.replace(microsecond=0) if game.last_played_at else None,
        platforms=tuple(each for each in _PLATFORMS if each in game.platforms),
    )


def _merged(first: OwnedGame, again: OwnedGame) -> OwnedGame:
    """A page that moved while it was read shows a game twice: the larger figures count."""
    second = _cleaned(again)
    moments = [each for each in (first.last_played_at, second.last_played_at) if each is not None]
    return replace(
        second,
        title=second.title or first.title,
        playtime_min=max(first.playtime_min, second.playtime_min),
        last_played_at=max(moments, default=None),
    )


async def _store_list(session: AsyncSession, account: Account, owned: Mapping[str, OwnedGame], *, asks_metadata: bool) -> SyncCounts:
    """Write what differs from *owned*; an unchanged library is not written at all."""
    entries: dict[str, _Entry] = {}
    known: dict[str, _Known] = {}
    misplaced: list[str] = []
    for row in (await session.execute(_ENTRIES.where(library_entries.c.account_id == account.id))).all():
        entries[row[0]] = row[1:5]
        known[row[0]] = row[6:]
        if row[5] != row[7]:  # somebody renamed the game in the moment in which the entry was made
            misplaced.append(row[0])
    present = {key for key, (_, _, _, is_removed) in entries.items() if not is_removed}
    if present and not owned:
        raise ProviderError(
            f"{account.provider} sent an empty library for {account.display_name}, which had {len(present)} games",
            hint=f"nothing was changed; sign out to remove them: integ logout {account.provider}",
        )
    new = [key for key in owned if key not in entries]
    changed = [key for key, entry in entries.items() if (game := owned.get(key)) is not None and entry != _entry(game)]
    gone = [key for key in present if key not in owned]
    returned = sum(1 for key in changed if key not in present)
    touched = await _store_games(session, account.provider, owned, known, asks_metadata=asks_metadata)
    await _write_entries(session, account, owned, known, new=new, changed=changed, gone=gone)
    await lists.sort_anew(session, misplaced)
    await library.touch(session, touched, user_id=account.user_id, told={*new, *changed, *gone})
    return SyncCounts(added=len(new) + returned, changed=len(changed) - returned, removed=len(gone), total=len(owned))


def _entry(game: OwnedGame) -> _Entry:
    moment = game.last_played_at
    return (game.playtime_min, int(moment.timestamp()) if moment is not None else None, game.hidden, False)


async def _write_entries(
    session: AsyncSession,
    account: Account,
    owned: Mapping[str, OwnedGame],
    known: Mapping[str, _Known],
    *,
    new: list[str],
    changed: list[str],
    gone: list[str],
) -> None:
    if not (new or changed or gone):
        return
    first = await library.next_revisions(session, account.user_id, len(new) + len(changed) + len(gone))
    revisions = {key: first + at // library.A_REVISION_HOLDS for at, key in enumerate([*new, *changed, *gone])}
    now = datetime.now(UTC)
    values = ("playtime_min", "last_played_at", "hidden")

    def facts(key: str) -> dict[str, Any]:
        return {"revision": revisions[key], "removed_at": None, **{name: getattr(owned[key], name) for name in values}}

    who = {"account_id": account.id, "user_id": account.user_id, "provider": account.provider, "added_at": now}
    await insert_rows(session, library_entries, [{**who, "game_key": key, "sort": known[key][1], **facts(key)} for key in new])
    by = ("account_id", "game_key")
    await update_rows(session, library_entries, by, [{"account_id": account.id, "game_key": key, **facts(key)} for key in changed])
    tombs = [{"account_id": account.id, "game_key": key, "revision": revisions[key], "removed_at": now} for key in gone]
    await update_rows(session, library_entries, by, tombs)


async def _store_games(
    session: AsyncSession, provider: str, owned: Mapping[str, OwnedGame], known: dict[str, _Known], *, asks_metadata: bool
) -> set[str]:
    """
    Bring the releases themselves up to date; *known* are those with entries, and all of *owned* afterwards. The keys a client has to
    hear of anew.
    """
    unseen = [key for key in owned if key not in known]
    for row in await select_where_in(session, _GAMES, games.c.key, unseen):
        known[row[0]] = row[1:]
    new = [key for key in unseen if key not in known]
    differing = {key: facts for key, game in owned.items() if key in known and (facts := _differing(provider, known[key], game))}
    if not new and not differing:
        return set()
    if await titles.lock(session) and new:
        for row in await select_where_in(session, _GAMES, games.c.key, new):
            known[row[0]] = row[1:]
        new = [key for key in new if key not in known]
    await _insert_games(session, provider, owned, known, new, asks_metadata=asks_metadata)
    connection = await session.connection()
    for key, facts in sorted(differing.items()):
        await connection.execute(update(games).where(games.c.key == key).values(**facts))
    renamed = {key: facts["sort"] for key, facts in differing.items() if "sort" in facts}
    for key, sort in renamed.items():
        known[key] = (known[key][0], sort, *known[key][2:])
    await lists.sort_anew(session, renamed)
    tied = await titles.needing_rejoin(session, [*new, *differing])
    return await titles.rejoin(session, tied | set(differing)) | set(differing)


async def _insert_games(
    session: AsyncSession,
    provider: str,
    owned: Mapping[str, OwnedGame],
    known: dict[str, _Known],
    new: Iterable[str],
    *,
    asks_metadata: bool,
) -> None:
    now = datetime.now(UTC)
    facts = {key: _list_facts(provider, owned[key]) for key in new}
    for key, each in facts.items():
        known[key] = (each["name"], each["sort"], False, each["kind"], each["parent_key"], each["platforms"])
    title_ids = await titles.found(
        session,
        [
            titles.NewRelease(key, each["name"], each["sort"], each["match_name"], each["kind"], each["parent_key"])
            for key, each in facts.items()
        ],
    )
    rows = [
        {
            "key": key,
            "provider": provider,
            "provider_game_id": owned[key].provider_game_id,
            "title_id": title_ids[key],
            **each,
            "metadata_found": False,
            "metadata_read_at": None if asks_metadata else now,
            "metadata_due_at": now if asks_metadata else None,
        }
        for key, each in facts.items()
    ]
    await insert_rows(session, games, rows)


def _list_facts(provider: str, game: OwnedGame) -> dict[str, Any]:
    return {
        **titles.names_of(game.title),
        "kind": game.kind,
        "parent_key": f"{provider}:{game.parent_id}" if game.parent_id else None,
        "platforms": list(game.platforms),
    }


def _differing(provider: str, known: _Known, game: OwnedGame) -> dict[str, Any]:
    """What the list says otherwise than the table; of what metadata knows better, only the name."""
    name, _, metadata_found, *stored = known
    found = titles.names_of(game.title) if game.title and name != game.title else {}
    if metadata_found:
        return found
    wanted = (game.kind, f"{provider}:{game.parent_id}" if game.parent_id else None, list(game.platforms))
    named = zip(("kind", "parent_key", "platforms"), wanted, stored, strict=True)
    return found | {column: value for column, value, was in named if value != was}


async def _ask_for_metadata(backend: Backend, session: AsyncSession, account: Account, is_full: bool) -> None:
    """Queue a job when there are releases that are due to be asked for; *is_full* makes all of the account's due."""
    if is_full:
        owned = select(library_entries.c.game_key).where(library_entries.c.account_id == account.id, library_entries.c.removed_at.is_(None))
        await session.execute(update(games).where(games.c.key.in_(owned)).values(metadata_due_at=datetime.now(UTC)))
    due = select(games.c.key).where(games.c.provider == account.provider, games.c.metadata_due_at <= datetime.now(UTC)).limit(1)
    if (await session.execute(due)).first() is None:
        return
    await job_service.begin(
        backend,
        session,
        kind="metadata",
        subject=f"metadata/{account.provider}",
        user_id=account.user_id,
        provider=account.provider,
    )
