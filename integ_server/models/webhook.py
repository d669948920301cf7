"""Addresses that want to hear of a user's events, and what became of each delivery."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment


class Webhook(SQLModel, table=True):
    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_user", "user_id", "created_at"),)

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="users.id")
    url: str = Field(sa_column=Column(Text, nullable=False))
    events: list[str] = Field(sa_column=Column(Json, nullable=False))
    """Names of events; empty: all."""
    secret: str = Field(sa_column=Column(Text, nullable=False))
    """Sealed; deliveries are signed with it."""
    failures: int = 0
    """Deliveries in a row that were given up."""
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    disabled_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    disabled_reason: str = Field(default="", sa_column_kwargs={"server_default": ""})


class WebhookDelivery(SQLModel, table=True):
    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_webhook", "webhook_id", "created_at"),
        Index("ix_webhook_deliveries_due", "state", "due_at"),
    )

    id: str = Field(primary_key=True)
    """Also the `webhook-id` header: the receiver can tell a repeated delivery."""
    webhook_id: str = Field(foreign_key="webhooks.id")
    event: str
    payload: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    state: str = "waiting"
    """`waiting`, `done` or `failed`."""
    attempts: int = 0
    status: int | None = None
    """The receiver's last HTTP status."""
    error: str = ""
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    due_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """When it is tried next."""
    finished_at: datetime | None = Field(default=None, sa_column=Column(Moment))
