"""Read what the stores, and GamesDB, tell about games nobody has asked about yet; and join titles by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import IntegError, ProviderUnavailableError
from integ_server.contract.text import clean_name
from integ_server.models.job import ClaimedJob
from integ_server.models.tables import games, group_members
from integ_server.providers.base import GameMetadata, ReadsMetadata
from integ_server.services import jobs as job_service
from integ_server.services import library, lists, titles
from integ_server.services.backend import Backend
from integ_server.services.naming import is_game_id
from integ_server.services.rows import in_parts, insert_rows, select_where_in, update_rows

AT_ONCE = 4
ASK_AGAIN_AFTER = timedelta(days=7)
"""What a store did not know may be known then."""
MOST_FAILURES = 3
"""Rounds in which not one batch was answered, before the rest is left for the next sync."""
_TOLD = ("name", "sort", "match_name", "kind", "group_id", "parent_key", "platforms", "year", "required_proton", "details")
"""The columns that an answer may change."""
_LONGEST_DETAILS = 20_000
_log = logging.getLogger("integ.metadata")


async def read_due(backend: Backend, job: ClaimedJob) -> None:
    """
    Do a `metadata` job that this process has claimed. Each round is stored by itself; a release whose look-up failed stays due.

    Raises:
        ProviderUnavailableError: Round after round the store answered nothing.
        ClaimLostError: Another process took the job over.
    """
    store = backend.get_store(job.provider)
    if isinstance(store, ReadsMetadata):
        total, done, failures, last = await _count_due(backend, job.provider), 0, 0, ""
        while ids := await _next_due(backend, job.provider, last, store.metadata_batch * AT_ONCE):
            last = ids[-1][0]
            await job_service.tell(backend, job.id, "matching", done, total)
            answers, error = await backend.outside(_ask(store, [game_id for _, game_id in ids]))
            failures = failures + 1 if error is not None and not answers else 0
            await _store(backend, job, answers, {game_id for _, game_id in ids})
            done += len(ids)
            if failures >= MOST_FAILURES and error is not None:
                raise error
    await backend.endings.done(job.id)


async def _ask(store: ReadsMetadata, ids: Sequence[str]) -> tuple[list[GameMetadata], ProviderUnavailableError | None]:
    """All answers that could be had, and the last refusal, if any."""
    results = await asyncio.gather(*(store.metadata(list(part)) for part in in_parts(ids, store.metadata_batch)), return_exceptions=True)
    answers: list[GameMetadata] = []
    refusal: ProviderUnavailableError | None = None
    for result in results:
        if isinstance(result, ProviderUnavailableError):
            refusal = result
        elif isinstance(result, IntegError):
            _log.warning("metadata could not be read: %s", result.message)  # these stay due; the others count
            refusal = refusal or ProviderUnavailableError(result.message, hint=result.hint)
        elif isinstance(result, BaseException):
            raise result
        else:
            answers.extend(result)
    return answers, refusal


async def _store(backend: Backend, job: ClaimedJob, answers: Sequence[GameMetadata], asked: set[str]) -> None:
    by_key = {f"{job.provider}:{each.provider_game_id}": each for each in answers if each.provider_game_id in asked}
    if not by_key:
        return
    async with backend.db.writing.begin() as session:
        await job_service.hold(session, job.id, "matching")
        await titles.lock(session)
        changed = await _store_answers(session, job.provider, by_key)
        touched = await titles.rejoin(session, changed)
        await library.touch(session, changed | touched)


async def _store_answers(session: AsyncSession, provider: str, answers: dict[str, GameMetadata]) -> set[str]:
    """Write what differs; the keys of the releases whose facts changed or were told for the first time, siblings included."""
    now = datetime.now(UTC)
    changed: set[str] = set()
    renamed: set[str] = set()
    rows: list[dict[str, Any]] = []
    for row in await select_where_in(session, select(games), games.c.key, sorted(answers)):
        told = answers[row.key]
        was = {name: getattr(row, name) for name in _TOLD}
        facts = was | _facts(provider, row, told) if told.found else was
        if facts != was or row.metadata_read_at is None:
            changed.add(row.key)
        if facts["sort"] != row.sort:
            renamed.add(row.key)
        due = None if told.found else now + ASK_AGAIN_AFTER
        book = {"metadata_read_at": now, "metadata_found": told.found or row.metadata_found, "metadata_due_at": due}
        rows.append({"key": row.key, **facts, **book})
    await update_rows(session, games, ("key",), rows)
    await lists.sort_anew(session, renamed)
    return changed | await _store_groups(session, answers.values())


async def _store_groups(session: AsyncSession, answers: Any) -> set[str]:
    """Write down who else is in the groups that were told of; the keys of the new ones among them."""
    members = {
        (f"{slug}:{game_id}", each.group_id)
        for each in answers
        if each.found and each.group_id and each.kind == "game"
        for slug, game_id in each.siblings[:200]
        if is_game_id(slug) and is_game_id(game_id)
    }
    query = select(group_members.c.key, group_members.c.group_id)
    known = {(key, group_id) for key, group_id in await select_where_in(session, query, group_members.c.key, {key for key, _ in members})}
    rows = [{"key": key, "group_id": group_id} for key, group_id in sorted(members - known)]
    await insert_rows(session, group_members, rows)
    return {row["key"] for row in rows}


def _facts(provider: str, row: Any, told: GameMetadata) -> dict[str, Any]:
    """The columns as *told* has them; what it leaves open stays."""
    name = row.name or clean_name(told.title)  # the store's own list calls the game what the player knows it by
    facts: dict[str, Any] = {**titles.names_of(name), "kind": told.kind, "group_id": told.group_id if told.kind == "game" else None}
    parent = told.parent_id if told.parent_id and is_game_id(told.parent_id) else None
    facts["parent_key"] = f"{provider}:{parent}" if parent else row.parent_key
    if told.platforms:
        facts["platforms"] = [each for each in ("linux", "windows", "mac") if each in told.platforms]
    if told.year is not None and 1950 <= told.year <= 2100:
        facts["year"] = told.year
    if told.required_proton:
        facts["required_proton"] = clean_name(told.required_proton)[:80]
    if told.details is not None:
        details = told.details.model_copy(update={"description": told.details.description.replace("\0", "")[:_LONGEST_DETAILS]})
        facts["details"] = details.model_dump(mode="json", exclude_defaults=True)
    return facts


async def _count_due(backend: Backend, provider: str) -> int:
    async with backend.db.reading() as session:
        query = select(func.count()).select_from(games)
        count: int = (await session.execute(query.where(*_due(provider)))).scalar_one()
        return count


async def _next_due(backend: Backend, provider: str, after: str, limit: int) -> list[tuple[str, str]]:
    """(key, store's id) of the next ones, each once a job: a look-up that failed is not tried again before the next sync."""
    async with backend.db.reading() as session:
        query = select(games.c.key, games.c.provider_game_id).where(*_due(provider), games.c.key > after)
        return [(key, game_id) for key, game_id in (await session.execute(query.order_by(games.c.key).limit(limit))).all()]


def _due(provider: str) -> tuple[Any, Any]:
    return games.c.provider == provider, games.c.metadata_due_at <= datetime.now(UTC)
