"""Webhooks as their owner sees them, signed as the Standard Webhooks specification says (https://www.standardwebhooks.com)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from integ_server.contract.types import Wire


class WebhookEvent(StrEnum):
    """What a webhook may hear of: the events of `GET /events` that are a user's own. `test` is sent when it is asked for."""

    LIBRARY_CHANGED = "library.changed"
    JOB_CHANGED = "job.changed"
    """Only when a job is over."""
    ACCOUNT_CHANGED = "account.changed"
    PREFERENCES_CHANGED = "preferences.changed"


DeliveryState = Literal["waiting", "done", "failed"]


class WebhookRequest(Wire):
    """Body of `POST /webhooks`."""

    url: str = Field(min_length=1, max_length=2000)
    """https, to a name of the public internet, port 443 or 8443; the backend's administrator may allow private networks."""
    events: list[WebhookEvent] = Field(default=[], max_length=20)
    """Empty: all."""


class WebhookChange(Wire):
    """Body of `PATCH /webhooks/{id}`; what is left out stays."""

    url: str | None = Field(default=None, min_length=1, max_length=2000)
    events: list[WebhookEvent] | None = Field(default=None, max_length=20)
    enabled: bool | None = None
    """True switches one on again that was switched off."""


class WebhookInfo(Wire):
    id: str
    url: str
    events: list[str]
    failures: int
    """Deliveries in a row that were given up."""
    enabled: bool
    disabled_reason: str = ""
    created_at: datetime


class NewWebhook(WebhookInfo):
    secret: str = Field(repr=False)
    """`whsec_…`, with which the receiver checks signatures; shown this once."""


class DeliveryInfo(Wire):
    id: str
    """The `webhook-id` header; the same for every attempt."""
    event: str
    state: DeliveryState
    attempts: int
    status: int | None = None
    """The receiver's last HTTP status."""
    error: str = ""
    payload: dict[str, Any]
    created_at: datetime
    due_at: datetime | None = None
    """When it is tried next."""
    finished_at: datetime | None = None
