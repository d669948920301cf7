"""Who uses this backend. Embedded there is one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Text, text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: str = Field(primary_key=True)
    """`local` for the only user of an embedded backend."""
    name: str
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Grows with each change to the user's library; `library_entries.revision` says when an entry changed last."""
    first_revision: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Where it began: the moment of creation in milliseconds, so that a client can tell a new database from the one it knew."""
    preferences: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False, server_default=text("'{}'")))
    """A `UserPreferences` of the contract."""
    avatar_url: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
