"""Who uses this backend. Embedded there is one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Moment


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: str = Field(primary_key=True)
    """`local` for the only user of an embedded backend."""
    name: str
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Grows with each change to the user's library; `library_entries.revision` says when an entry changed last."""
    first_revision: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Where it began: the moment of creation in milliseconds, so that a client can tell a new database from the one it knew."""
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
