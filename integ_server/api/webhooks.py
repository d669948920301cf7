"""Webhooks of the user, and the log of their deliveries."""

from __future__ import annotations

from fastapi import APIRouter, Response

from integ_server.api.deps import BackendDep, Cursor, Limit, SessionDep, WebhookKeeper
from integ_server.api.envelope import ok
from integ_server.contract.types import Envelope, Page
from integ_server.contract.webhooks import DeliveryInfo, NewWebhook, WebhookChange, WebhookInfo, WebhookRequest
from integ_server.services import webhooks

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.post("", status_code=201)
async def create(session: SessionDep, backend: BackendDep, user: WebhookKeeper, wanted: WebhookRequest) -> Envelope[NewWebhook]:
    """A new webhook; the secret that its deliveries are signed with is shown this once."""
    await webhooks.check_address(backend, wanted.url)  # the session begins nothing before its first statement
    return ok(await webhooks.create(backend, session, user, wanted))


@router.get("")
async def list_webhooks(session: SessionDep, user: WebhookKeeper) -> Envelope[list[WebhookInfo]]:
    """All webhooks, the oldest first."""
    return ok(await webhooks.infos(session, user))


@router.get("/{webhook_id}")
async def get_webhook(session: SessionDep, user: WebhookKeeper, webhook_id: str) -> Envelope[WebhookInfo]:
    """One webhook, and why it is switched off if it is."""
    return ok(await webhooks.get(session, user, webhook_id))


@router.patch("/{webhook_id}")
async def change(
    session: SessionDep, backend: BackendDep, user: WebhookKeeper, webhook_id: str, wanted: WebhookChange
) -> Envelope[WebhookInfo]:
    """Another address or other events, or on and off."""
    if wanted.url is not None:
        await webhooks.check_address(backend, wanted.url)
    return ok(await webhooks.change(session, user, webhook_id, wanted))


@router.delete("/{webhook_id}", status_code=204, response_class=Response)
async def remove(session: SessionDep, user: WebhookKeeper, webhook_id: str) -> None:
    """Delete a webhook and its log."""
    await webhooks.remove(session, user, webhook_id)


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(
    session: SessionDep, user: WebhookKeeper, webhook_id: str, limit: Limit = 50, cursor: Cursor = None
) -> Envelope[Page[DeliveryInfo]]:
    """What was sent and what became of it, newest first."""
    return ok(await webhooks.log(session, user, webhook_id, limit=limit, cursor=cursor))


@router.post("/{webhook_id}/test", status_code=202)
async def try_out(session: SessionDep, user: WebhookKeeper, webhook_id: str) -> Envelope[DeliveryInfo]:
    """Send a `test` event; the log tells how it went."""
    return ok(await webhooks.try_out(session, user, webhook_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202)
async def deliver_again(session: SessionDep, user: WebhookKeeper, webhook_id: str, delivery_id: str) -> Envelope[DeliveryInfo]:
    """Send a delivery once more, under its own id."""
    return ok(await webhooks.deliver_again(session, user, webhook_id, delivery_id))
