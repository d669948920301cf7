"""Work that comes back: when each kind of it is due, so that of all processes one begins it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Moment


class PeriodicTask(SQLModel, table=True):
    __tablename__ = "periodic_tasks"

    name: str = Field(primary_key=True)
    due_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    begun_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    etag: str = ""
    """What a feed answered with, so that it is asked politely the next time."""
