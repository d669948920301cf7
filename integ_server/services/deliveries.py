"""
Deliveries of events to webhooks. Their rows are written in the transaction of what they tell, so that none is lost with a process, and a
worker sends what is due; a repeated delivery has the same id.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import httpx
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from integ_server.callbacks import CallbackAnswer, CallbackRefusedError, CallbackSender, open_callbacks
from integ_server.contract.errors import AuthenticationError, UsageError, utc_now_text
from integ_server.contract.events import EventName
from integ_server.contract.webhooks import WebhookEvent
from integ_server.models.tables import webhook_deliveries as deliveries
from integ_server.models.tables import webhooks
from integ_server.services.backend import Backend
from integ_server.services.rows import among_given, given
from integ_server.upstream import user_agent

PAUSES_S = (5, 30, 120, 600, 3_600, 4 * 3_600, 18 * 3_600)
"""After each attempt that failed; when the last one is over, so is the delivery: about a day after the event."""
MOST_FAILURES = 5
"""Deliveries in a row that were given up, before the webhook is switched off."""
MOST_WAITING = 200
"""Of one webhook; what happens beyond that is not told to it."""
AT_ONCE = 16
_LEASE = timedelta(seconds=60)
"""How long a delivery that is being sent is nobody else's: a process that dies leaves it due again."""
_ROUND_S = 60.0
_OVER = {"done", "failed", "cancelled"}
_TOLD = {each.value for each in WebhookEvent}
_log = logging.getLogger("integ.webhooks")


@dataclass(frozen=True, slots=True)
class _Due:
    """A delivery that this process has claimed, and whose."""

    id: str
    webhook_id: str
    event: str
    payload: dict[str, Any]
    attempts: int
    url: str
    secret: str


def about_secret(webhook_id: str) -> str:
    """What the secret of a webhook is sealed for."""
    return f"webhooks.secret/{webhook_id}"


def payload_of(event: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": event, "timestamp": utc_now_text(), "data": dict(data)}


def row_of(webhook_id: str, event: str, payload: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "webhook_id": webhook_id,
        "event": event,
        "payload": payload,
        "state": "waiting",
        "attempts": 0,
        "error": "",
        "created_at": now,
        "due_at": now,
    }


def note(session: Session, events: Iterable[tuple[str | None, EventName, Mapping[str, Any]]]) -> None:
    """Write down, with the last statements of the transaction that they tell of, what the users' webhooks are to hear."""
    told: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for user_id, name, data in events:
        if user_id is not None and name.value in _TOLD and (name != EventName.JOB_CHANGED or data["state"] in _OVER):
            told.setdefault(user_id, []).append((name.value, data))
    if not told:
        return
    dialect = session.get_bind().dialect.name
    rows = []
    for webhook in session.execute(_webhooks_of(dialect), {"users": given(dialect, list(told))}):
        wanted = [(name, data) for name, data in told[webhook.user_id] if not webhook.events or name in webhook.events]
        room = max(0, MOST_WAITING - webhook.waiting)
        rows += [row_of(webhook.id, name, payload_of(name, data)) for name, data in wanted[:room]]
    if rows:
        session.execute(deliveries.insert(), rows)


@lru_cache
def _webhooks_of(dialect: str) -> Any:
    waiting = select(func.count()).where(deliveries.c.webhook_id == webhooks.c.id, deliveries.c.state == "waiting").scalar_subquery()
    query = select(webhooks.c.id, webhooks.c.user_id, webhooks.c.events, waiting.label("waiting"))
    return query.where(among_given(dialect, webhooks.c.user_id, "users"), webhooks.c.disabled_at.is_(None))


async def deliver_due(backend: Backend, sender: CallbackSender | None = None, ending: asyncio.Event | None = None) -> int:
    """
    Send what is due, for a minute at most or until *ending*; how many attempts were made. Any number of processes may do this at the
    same time.

    A receiver's failure is a row in its log and nothing else.

    Raises:
        StoppingError: The backend ends; what was being sent is due again in a minute.
    """
    async with contextlib.AsyncExitStack() as opened:
        if sender is None and not await _is_any_due(backend):
            return 0
        if sender is None:
            sender = await opened.enter_async_context(open_callbacks(allow_private=backend.settings.webhook_allow_private))
        sent, until = 0, time.monotonic() + _ROUND_S
        while time.monotonic() < until and not (ending is not None and ending.is_set()) and (due := await _claim(backend)):
            await backend.outside(_send_all(backend, sender, due))
            sent += len(due)
        return sent


def signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """The value of the `webhook-signature` header."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


async def switch_off(session: AsyncSession, webhook_id: str, reason: str) -> None:
    """Send nothing more to the webhook; what waits is given up."""
    now = datetime.now(UTC)
    await session.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(disabled_at=now, disabled_reason=reason))
    waiting = update(deliveries).where(deliveries.c.webhook_id == webhook_id, deliveries.c.state == "waiting")
    await session.execute(waiting.values(state="failed", error="the webhook was switched off", due_at=None, finished_at=now))


async def _is_any_due(backend: Backend) -> bool:
    """Looked for without any lock, and before anything is opened: mostly there is nothing."""
    async with backend.db.reading() as session:
        due = select(deliveries.c.id).where(deliveries.c.state == "waiting", deliveries.c.due_at <= datetime.now(UTC)).limit(1)
        return (await session.execute(due)).first() is not None


async def _claim(backend: Backend) -> list[_Due]:
    now = datetime.now(UTC)
    query = (
        select(deliveries.c.id)
        .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .where(deliveries.c.state == "waiting", deliveries.c.due_at <= now, webhooks.c.disabled_at.is_(None))
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(AT_ONCE)
    )
    async with backend.db.writing.begin() as session:
        ids = list((await session.execute(query.with_for_update(skip_locked=True, of=deliveries))).scalars())
        if not ids:
            return []
        mine = update(deliveries).where(deliveries.c.id.in_(ids))
        await session.execute(mine.values(due_at=now + _LEASE, attempts=deliveries.c.attempts + 1))
        columns = (deliveries.c.id, deliveries.c.webhook_id, deliveries.c.event, deliveries.c.payload, deliveries.c.attempts)
        claimed = select(*columns, webhooks.c.url, webhooks.c.secret).join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        return [_Due(**row._mapping) for row in await session.execute(claimed.where(deliveries.c.id.in_(ids)))]


async def _send_all(backend: Backend, sender: CallbackSender, due: list[_Due]) -> None:
    async def send(each: _Due) -> tuple[_Due, CallbackAnswer | None, str]:
        return each, *await _attempt(backend, sender, each)

    for attempt in asyncio.as_completed([send(each) for each in due]):
        each, answer, error = await attempt
        await asyncio.shield(_note_attempt(backend, each, answer, error))


async def _attempt(backend: Backend, sender: CallbackSender, due: _Due) -> tuple[CallbackAnswer | None, str]:
    """The receiver's answer, or what went wrong, for the owner of the webhook to read."""
    body = json.dumps(due.payload, separators=(",", ":"), sort_keys=True).encode()
    timestamp = int(time.time())
    try:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": user_agent(),
            "webhook-id": due.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(backend.vault.open(due.secret, about_secret(due.webhook_id)), due.id, timestamp, body),
        }
        answer = await sender.post(due.url, body, headers)
    except AuthenticationError:
        return None, "the webhook's secret can't be read any more: make the webhook anew"
    except (UsageError, CallbackRefusedError) as error:
        return None, f"refused: {error}"
    except httpx.TimeoutException:
        return None, "no answer within ten seconds"
    except (httpx.TransportError, httpx.InvalidURL, UnicodeError) as error:
        return None, f"no connection, or one that broke ({type(error).__name__})"
    if 200 <= answer.status < 300:
        return answer, ""
    return answer, "it redirects, which is not followed" if 300 <= answer.status < 400 else f"it answered {answer.status}"


async def _note_attempt(backend: Backend, due: _Due, answer: CallbackAnswer | None, error: str) -> None:
    now = datetime.now(UTC)
    is_gone = answer is not None and answer.status == 410
    pause_s = PAUSES_S[due.attempts - 1] if due.attempts <= len(PAUSES_S) else None
    if answer is not None and answer.retry_after_s is not None and pause_s is not None:
        pause_s = max(pause_s, min(int(answer.retry_after_s), PAUSES_S[-1]))
    values: dict[str, Any] = {"status": answer.status if answer is not None else None, "error": error}
    if not error:
        values |= {"state": "done", "due_at": None, "finished_at": now}
    elif pause_s is None or is_gone:
        values |= {"state": "failed", "due_at": None, "finished_at": now}
    else:
        values["due_at"] = now + timedelta(seconds=pause_s)
    async with backend.db.writing.begin() as session:
        # Whoever claimed it after us knows better.
        mine = deliveries.c.id == due.id, deliveries.c.attempts == due.attempts, deliveries.c.state == "waiting"
        noted = await session.execute(update(deliveries).where(*mine).values(**values).returning(deliveries.c.id))
        if noted.first() is None:
            return
        if not error:
            await session.execute(update(webhooks).where(webhooks.c.id == due.webhook_id, webhooks.c.failures > 0).values(failures=0))
        elif is_gone:
            await switch_off(session, due.webhook_id, "its address answered 410: gone for good")
        elif pause_s is None:
            failed = update(webhooks).where(webhooks.c.id == due.webhook_id).values(failures=webhooks.c.failures + 1)
            failures = (await session.execute(failed.returning(webhooks.c.failures))).scalar_one()
            if failures >= MOST_FAILURES:
                await switch_off(session, due.webhook_id, f"{failures} deliveries in a row failed; the last one: {error}")
                _log.info("webhook %s was switched off", due.webhook_id)
