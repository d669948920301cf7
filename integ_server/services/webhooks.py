"""Webhooks: made, changed, tried, and what became of their deliveries."""

from __future__ import annotations

import base64
import binascii
import json
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.callbacks import CallbackRefusedError, open_callbacks
from integ_server.contract.errors import NotFoundError, UsageError
from integ_server.contract.types import Page
from integ_server.contract.webhooks import DeliveryInfo, DeliveryState, NewWebhook, WebhookChange, WebhookInfo, WebhookRequest
from integ_server.models.tables import webhook_deliveries as deliveries
from integ_server.models.tables import webhooks
from integ_server.models.webhook import Webhook, WebhookDelivery
from integ_server.services.backend import Backend
from integ_server.services.deliveries import MOST_WAITING, about_secret, payload_of, row_of, switch_off

MOST_WEBHOOKS = 20
"""Of one user."""
_HINT = "GET /webhooks lists them"


async def check_address(backend: Backend, url: str) -> None:
    """
    Look where *url* leads now; each delivery looks again. To be awaited outside of any transaction.

    Raises:
        UsageError: No webhook may have it.
    """
    async with open_callbacks(allow_private=backend.settings.webhook_allow_private) as sender:
        try:
            await sender.check(url)
        except CallbackRefusedError as error:
            raise UsageError(f"no webhook may go there: {error}", hint="a name of the public internet is needed") from error


async def create(backend: Backend, session: AsyncSession, user_id: str, wanted: WebhookRequest) -> NewWebhook:
    """
    A new webhook; its secret is in the answer and nowhere else. Its address has to be checked before.

    Raises:
        UsageError: The user has as many as there may be.
    """
    known = (await session.execute(select(webhooks.c.id).where(webhooks.c.user_id == user_id).limit(MOST_WEBHOOKS))).all()
    if len(known) >= MOST_WEBHOOKS:
        raise UsageError(f"there are {MOST_WEBHOOKS} webhooks already", hint="delete one: DELETE /webhooks/ID")
    webhook_id = uuid.uuid4().hex
    secret = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
    row = Webhook(
        id=webhook_id,
        user_id=user_id,
        url=wanted.url,
        events=sorted(set(wanted.events)),
        secret=backend.vault.seal(secret, about_secret(webhook_id)),
        created_at=datetime.now(UTC),
    )
    session.add(row)
    await session.flush()
    return NewWebhook(**_info(row).model_dump(), secret=secret)


async def infos(session: AsyncSession, user_id: str) -> list[WebhookInfo]:
    query = select(Webhook).where(webhooks.c.user_id == user_id).order_by(webhooks.c.created_at, webhooks.c.id)
    return [_info(row) for row in (await session.execute(query)).scalars()]


async def get(session: AsyncSession, user_id: str, webhook_id: str) -> WebhookInfo:
    """
    Raises:
        NotFoundError: The user has no such webhook.
    """
    return _info(await _mine(session, user_id, webhook_id))


async def change(session: AsyncSession, user_id: str, webhook_id: str, wanted: WebhookChange) -> WebhookInfo:
    """
    A new address has to be checked before.

    Raises:
        NotFoundError: The user has no such webhook.
    """
    row = await _mine(session, user_id, webhook_id)
    if wanted.url is not None:
        row.url = wanted.url
    if wanted.events is not None:
        row.events = sorted(set(wanted.events))
    if wanted.enabled is True:
        row.disabled_at, row.disabled_reason, row.failures = None, "", 0
    await session.flush()
    if wanted.enabled is False and row.disabled_at is None:
        await switch_off(session, row.id, "switched off by its owner")
        await session.refresh(row)
    return _info(row)


async def remove(session: AsyncSession, user_id: str, webhook_id: str) -> None:
    """
    Delete a webhook and its log.

    Raises:
        NotFoundError: The user has no such webhook.
    """
    row = await _mine(session, user_id, webhook_id)
    await session.execute(delete(deliveries).where(deliveries.c.webhook_id == row.id))
    await session.execute(delete(webhooks).where(webhooks.c.id == row.id))


async def log(session: AsyncSession, user_id: str, webhook_id: str, *, limit: int, cursor: str | None = None) -> Page[DeliveryInfo]:
    """
    The deliveries of a webhook, newest first.

    Raises:
        NotFoundError: The user has no such webhook.
        UsageError: The cursor is none of this list.
    """
    row = await _mine(session, user_id, webhook_id)
    query = select(WebhookDelivery).where(deliveries.c.webhook_id == row.id)
    if cursor is not None:
        at, delivery_id = _read_cursor(cursor)
        query = query.where(or_(deliveries.c.created_at < at, and_(deliveries.c.created_at == at, deliveries.c.id < delivery_id)))
    newest = query.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(limit + 1)
    rows: Sequence[WebhookDelivery] = (await session.execute(newest)).scalars().all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items=[_delivery(each) for each in rows[:limit]], next_cursor=_cursor(last) if last is not None else None)


async def try_out(session: AsyncSession, user_id: str, webhook_id: str) -> DeliveryInfo:
    """
    Send a `test` event to the webhook alone.

    Raises:
        NotFoundError: The user has no such webhook.
        UsageError: It is switched off, or has enough that waits.
    """
    row = await _usable(session, user_id, webhook_id)
    made = WebhookDelivery(**row_of(row.id, "test", payload_of("test", {})))
    session.add(made)
    await session.flush()
    return _delivery(made)


async def deliver_again(session: AsyncSession, user_id: str, webhook_id: str, delivery_id: str) -> DeliveryInfo:
    """
    Send a delivery of the log once more, under its own id.

    Raises:
        NotFoundError: The user has no such webhook, or that has no such delivery.
        UsageError: The webhook is switched off, or has enough that waits.
    """
    row = await _usable(session, user_id, webhook_id)
    found = await session.get(WebhookDelivery, delivery_id[:64], with_for_update=True) if "\0" not in delivery_id else None
    if found is None or found.webhook_id != row.id:
        raise NotFoundError("there is no such delivery", hint="GET /webhooks/ID/deliveries lists them")
    found.state, found.attempts, found.due_at, found.finished_at = "waiting", 0, datetime.now(UTC), None
    await session.flush()
    return _delivery(found)


async def _usable(session: AsyncSession, user_id: str, webhook_id: str) -> Webhook:
    row = await _mine(session, user_id, webhook_id)
    if row.disabled_at is not None:
        raise UsageError("the webhook is switched off", hint='switch it on: PATCH /webhooks/ID {"enabled": true}')
    waiting = select(deliveries.c.id).where(deliveries.c.webhook_id == row.id, deliveries.c.state == "waiting").limit(MOST_WAITING)
    if len((await session.execute(waiting)).all()) >= MOST_WAITING:
        raise UsageError(f"{MOST_WAITING} deliveries wait already", hint="let the receiver answer first")
    return row


async def _mine(session: AsyncSession, user_id: str, webhook_id: str) -> Webhook:
    row = await session.get(Webhook, webhook_id) if webhook_id.isalnum() else None
    if row is None or row.user_id != user_id:
        raise NotFoundError("there is no such webhook", hint=_HINT)
    return row


def _info(row: Webhook) -> WebhookInfo:
    return WebhookInfo(
        id=row.id,
        url=row.url,
        events=row.events,
        failures=row.failures,
        enabled=row.disabled_at is None,
        disabled_reason=row.disabled_reason,
        created_at=row.created_at,
    )


def _delivery(row: WebhookDelivery) -> DeliveryInfo:
    names = (name for name in DeliveryInfo.model_fields if name != "state")
    return DeliveryInfo(state=cast(DeliveryState, row.state), **{name: getattr(row, name) for name in names})


def _cursor(row: WebhookDelivery) -> str:
    return base64.urlsafe_b64encode(json.dumps([int(row.created_at.timestamp()), row.id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        raw: Any = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        at, delivery_id = raw
        if not isinstance(at, int) or not isinstance(delivery_id, str) or "\0" in delivery_id:
            raise ValueError
        return datetime.fromtimestamp(at, UTC), delivery_id
    except (ValueError, TypeError, OverflowError, OSError, binascii.Error, RecursionError):
        raise UsageError("the cursor is none of this list", hint="ask again without a cursor") from None
