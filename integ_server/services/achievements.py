"""What a player achieved: asked of the stores when somebody looks, kept for when they do not answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.achievements import Achievement, AchievementList
from integ_server.contract.errors import AuthenticationError, IntegError, ProviderUnavailableError, UsageError
from integ_server.models.achievement import GameAchievements
from integ_server.models.job import ClaimedJob
from integ_server.models.tables import accounts, game_achievements, library_entries
from integ_server.providers.base import ReadsAchievements, RenewsAccess
from integ_server.services import access, library
from integ_server.services import jobs as job_service
from integ_server.services.backend import Backend

GOOD_FOR = timedelta(hours=1)
"""Asked again after that, unless the player wants it at once."""
AT_A_TIME = 25
"""Games that one job reads: those that were played since they were read, the latest first."""
_MOST = 10_000


async def read(backend: Backend, user_id: str, key: str, *, again: bool = False) -> AchievementList:
    """
    The achievements of a release over all of the user's accounts that own it: what one of them has is unlocked.

    What was read within the hour is answered as it is, unless *again*; while the store does not answer, so is what is older.

    Raises:
        GameNotFoundError: The user does not own it.
        UsageError: The store keeps no achievements.
        AuthenticationError: No account that owns it is signed in, or the store refused it.
        PrivateProfileError: The store hides them from the account.
        ProviderError: The store can't be asked, and nothing is known from earlier.
    """
    async with backend.db.reading() as session:
        release = await library.get_release(session, user_id, key)
        owning = await _owning(session, user_id, key)
        kept = await _kept(session, owning, key)
    store = backend.get_store(release.provider)
    if not isinstance(store, ReadsAchievements):
        raise UsageError(f"{store.title} keeps no achievements that Integ can read", hint=f"integ show {key}")
    if not owning and not kept:
        raise access.sign_in_again(release.provider)
    young = datetime.now(UTC) - GOOD_FOR
    for account_id in owning:
        known = kept.get(account_id)
        if known is not None and known.read_at > young and not again:
            continue
        try:
            kept[account_id] = await _ask(backend, store, account_id, key, release.provider_game_id)
        except ProviderUnavailableError:
            if known is None:
                raise
    return _list(key, release.title, kept.values())


async def read_played(backend: Backend, job: ClaimedJob) -> None:
    """
    Do an `achievements` job that this process has claimed: read those of the account's games that were played since they were read.

    One game's trouble does not end it; a store that refuses the account or is down does.

    Raises:
        AccountNotFoundError: The account was signed out meanwhile.
        AuthenticationError: The store refused the sign-in.
        ProviderUnavailableError: The store is down or asks for a pause.
        ClaimLostError: Another process took the job over.
    """
    assert job.account_id is not None
    store = backend.get_store(job.provider)
    if isinstance(store, ReadsAchievements):
        wanted = await _due(backend, job.account_id)
        for done, key in enumerate(wanted):
            await job_service.tell(backend, job.id, "achievements", done, len(wanted))
            try:
                await backend.outside(_ask(backend, store, job.account_id, key, key.partition(":")[2]))
            except (AuthenticationError, ProviderUnavailableError):
                raise
            except IntegError:
                continue  # private, or an odd answer about this one game; asked again when it is looked at
    await backend.endings.done(job.id)


async def _owning(session: AsyncSession, user_id: str, key: str) -> list[int]:
    mine = library_entries.c.user_id == user_id, library_entries.c.game_key == key, library_entries.c.removed_at.is_(None)
    query = select(accounts.c.id).join(library_entries, library_entries.c.account_id == accounts.c.id)
    return list((await session.execute(query.where(*mine, accounts.c.removed_at.is_(None)).order_by(accounts.c.id))).scalars())


async def _kept(session: AsyncSession, account_ids: Sequence[int], key: str) -> dict[int, GameAchievements]:
    query = select(GameAchievements).where(game_achievements.c.account_id.in_(account_ids), game_achievements.c.game_key == key)
    return {each.account_id: each for each in (await session.execute(query)).scalars()}


async def is_any_due(session: AsyncSession, account_id: int) -> bool:
    """Whether `read_played` would find anything to read."""
    return (await session.execute(_due_keys(account_id).limit(1))).first() is not None


async def _due(backend: Backend, account_id: int) -> list[str]:
    """The latest played first."""
    newest = _due_keys(account_id).order_by(library_entries.c.last_played_at.desc(), library_entries.c.game_key).limit(AT_A_TIME)
    async with backend.db.reading() as session:
        return list((await session.execute(newest)).scalars())


def _due_keys(account_id: int) -> Select[Any]:
    """Keys of games that were played after their achievements were read, or never were read."""
    read_at = game_achievements.c.read_at
    joined = library_entries.outerjoin(
        game_achievements,
        (game_achievements.c.account_id == library_entries.c.account_id) & (game_achievements.c.game_key == library_entries.c.game_key),
    )
    played = library_entries.c.last_played_at
    query = select(library_entries.c.game_key).select_from(joined)
    return query.where(
        library_entries.c.account_id == account_id,
        library_entries.c.removed_at.is_(None),
        played.is_not(None),
        read_at.is_(None) | (read_at < played),
    )


async def _ask(backend: Backend, store: ReadsAchievements, account_id: int, key: str, game_id: str) -> GameAchievements:
    """Ask the store, and keep what it says."""
    login = await access.usable_login(backend, account_id)
    try:
        found = await store.achievements(login, game_id)
    except AuthenticationError:
        if not isinstance(store, RenewsAccess) or not login.access_token:
            raise
        login = await access.usable_login(backend, account_id, refused=login.access_token)
        found = await store.achievements(login, game_id)
    items = [each.model_dump(mode="json") for each in found[:_MOST]]
    kept = GameAchievements(account_id=account_id, game_key=key, items=items, read_at=datetime.now(UTC).replace(microsecond=0))
    async with backend.db.writing.begin() as session:
        await session.merge(kept)
    return kept


def _list(key: str, title: str, kept: Iterable[GameAchievements]) -> AchievementList:
    every = list(kept)
    merged: dict[str, Achievement] = {}
    for one in every:
        for raw in one.items:
            each = Achievement.model_validate(raw)
            known = merged.get(each.id)
            merged[each.id] = each if known is None else _better(known, each)
    items = sorted(merged.values(), key=_order)
    return AchievementList(
        key=key,
        title=title,
        unlocked=sum(each.unlocked for each in items),
        total=len(items),
        read_at=min(one.read_at for one in every),
        items=items,
    )


def _better(one: Achievement, other: Achievement) -> Achievement:
    """The one that is unlocked; of two, the one that was earlier."""
    if one.unlocked != other.unlocked:
        return one if one.unlocked else other
    if one.unlocked_at is None or other.unlocked_at is None:
        return other if one.unlocked_at is None else one
    return min(one, other, key=lambda each: each.unlocked_at or datetime.now(UTC))


def _order(each: Achievement) -> tuple[bool, float, float, str]:
    at = each.unlocked_at.timestamp() if each.unlocked_at else 0.0
    return (not each.unlocked, -at, -(each.rarity_percent or 0.0), each.id)
