"""Work that goes on after the answer: reading a library, reading metadata."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment

_UNFINISHED = text("state IN ('queued', 'running')")


class Job(SQLModel, table=True):
    """At most one unfinished job has the same `subject`, however many processes there are: the index sees to it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("uq_jobs_unfinished", "subject", unique=True, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
        Index("ix_jobs_user", "user_id", "created_at"),
    )

    id: str = Field(primary_key=True)
    kind: str
    """`sync` or `metadata`."""
    subject: str
    """What only one job may do at a time: `sync/ACCOUNT_ID`, `metadata/PROVIDER`."""
    user_id: str = Field(foreign_key="users.id")
    provider: str
    account_id: int | None = Field(default=None, foreign_key="accounts.id")
    account: str = ""
    full: bool = False
    state: str = "queued"
    stage: str = ""
    done: int = 0
    total: int | None = None
    counts: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    """An error envelope."""
    attempts: int = 0
    owner: str | None = None
    """The process that holds it, as `services.owner` writes one; None: whoever comes first."""
    heartbeat_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    started_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    finished_at: datetime | None = Field(default=None, sa_column=Column(Moment))
