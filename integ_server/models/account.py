"""A player's account at a store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index, Text, text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Moment


class Account(SQLModel, table=True):
    """A signed-out account stays as a tombstone (`removed_at`) without any credentials, for the entries that point at it."""

    __tablename__ = "accounts"
    __table_args__ = (
        Index(
            "uq_accounts_present",
            "provider",
            "account",
            unique=True,
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index("ix_accounts_user", "user_id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    user_id: str = Field(foreign_key="users.id")
    provider: str
    account: str
    """The store's own id."""
    display_name: str
    avatar_url: str | None = Field(default=None, sa_column=Column(Text))
    profile_url: str | None = Field(default=None, sa_column=Column(Text))
    state: str = "ok"
    """An `AccountState`."""
    secret: str | None = Field(default=None, sa_column=Column(Text))
    """Sealed; begins with the id of its key."""
    access_token: str | None = Field(default=None, sa_column=Column(Text))
    """Sealed likewise."""
    access_expires_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    renewed_by: str | None = None
    """The process that is renewing the access token right now, as `services.owner` writes one."""
    renewed_since: datetime | None = Field(default=None, sa_column=Column(Moment))
    last_sync_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    achievements_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """When it was last looked for play whose achievements were not read yet."""
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    removed_at: datetime | None = Field(default=None, sa_column=Column(Moment))
