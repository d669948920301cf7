"""A personal token for scripts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment


class ApiToken(SQLModel, table=True):
    """Shown once and kept as a hash; a revoked one stays as a row, so that the list can say so."""

    __tablename__ = "api_tokens"
    __table_args__ = (Index("ix_api_tokens_user", "user_id", "created_at"),)

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="users.id")
    name: str
    prefix: str
    """Its first characters, by which the player knows it again."""
    token_hash: str = Field(unique=True)
    """SHA-256 of the whole token, which is random enough to need no salt."""
    scopes: list[str] = Field(sa_column=Column(Json, nullable=False))
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    expires_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    last_used_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(Moment))
