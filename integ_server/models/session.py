"""A device that is signed in to Integ: the family of refresh tokens that came from one sign-in; or a browser at the pages."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment


class DeviceSession(SQLModel, table=True):
    """Of its refresh tokens the newest is good, and the one before it for a moment, in case an answer was lost; an older one revokes it."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user", "user_id", "created_at"),)

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="users.id")
    device: str
    """What the player reads in the list: the name and kind of the device."""
    kind: str = Field(default="device", sa_column_kwargs={"server_default": "device"})
    """`device` or `browser`."""
    scopes: list[str] = Field(sa_column=Column(Json, nullable=False))
    refresh_hash: str
    """SHA-256 of the newest refresh token; empty for a browser, which has a cookie instead."""
    previous_hash: str | None = None
    rotated_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    last_used_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    expires_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(Moment))
