"""Work that goes on after the answer: reading a library, reading metadata."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, Index, text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment

_UNFINISHED = text("state IN ('queued', 'running')")
_QUEUED = text("state = 'queued'")


class Job(SQLModel, table=True):
    """At most one unfinished job has the same `subject`, however many processes there are: the index sees to it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("uq_jobs_unfinished", "subject", unique=True, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
        Index("ix_jobs_user", "user_id", "created_at"),
        Index("ix_jobs_finished", "finished_at"),
        Index("ix_jobs_waiting", "turn_at", "created_at", sqlite_where=_QUEUED, postgresql_where=_QUEUED),
        Index("ix_jobs_unfinished", "state", "user_id", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    )

    id: str = Field(primary_key=True)
    kind: str
    """A `JobKind` of the contract."""
    subject: str
    """What only one job may do at a time: `sync/ACCOUNT_ID`, `metadata/PROVIDER`."""
    user_id: str | None = Field(default=None, foreign_key="users.id")
    """None: the backend's own work."""
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
    due_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """Not to be begun before."""
    queue: str = Field(default="now", sa_column_kwargs={"server_default": "now"})
    """How urgent it is: a `services.queues.Queue`."""
    turn_at: datetime = Field(sa_column=Column(Moment, nullable=False, server_default=text("0")))
    """Its place in the line: of those that wait, the earliest is begun first."""
    request_id: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Of the request that asked for it, for the log."""
    cancelled_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """When the user asked for its end."""
    owner: str | None = None
    """The process that holds it, as `services.owner` writes one; None: whoever comes first."""
    heartbeat_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    started_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    finished_at: datetime | None = Field(default=None, sa_column=Column(Moment))


class ClaimedJob(NamedTuple):
    """What there is to do, for the process that claimed it; the fields are columns of `Job`, as they stood then."""

    id: str
    kind: str
    subject: str
    user_id: str | None
    provider: str
    account_id: int | None
    attempts: int
    started_at: datetime | None
    request_id: str
