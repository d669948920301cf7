"""A game as one store sells it (a release), and which of GamesDB's groups a release is in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment


class Game(SQLModel, table=True):
    __tablename__ = "games"
    __table_args__ = (
        Index("ix_games_metadata_due", "provider", "metadata_due_at", "key"),
        Index("ix_games_title", "title_id"),
        Index("ix_games_name", "match_name"),
        Index("ix_games_group", "group_id", sqlite_where=text("group_id IS NOT NULL"), postgresql_where=text("group_id IS NOT NULL")),
        Index(
            "ix_games_parent", "parent_key", sqlite_where=text("parent_key IS NOT NULL"), postgresql_where=text("parent_key IS NOT NULL")
        ),
    )

    key: str = Field(primary_key=True)
    """`provider:provider_game_id`."""
    provider: str
    provider_game_id: str
    title_id: str = Field(foreign_key="titles.id")
    name: str
    sort: str
    match_name: str
    """The name as `services.naming` compares it."""
    kind: str = "game"
    parent_key: str | None = None
    platforms: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    year: int | None = None
    group_id: str | None = None
    required_proton: str | None = None
    details: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    """A `TitleDetails`."""
    metadata_found: bool = False
    metadata_read_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """When the store was asked last and could answer."""
    metadata_due_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """From when on it is to be asked; None: not again."""


class GroupMember(SQLModel, table=True):
    """What GamesDB said of releases that nobody may own yet: one is in the group even if its own look-up fails later."""

    __tablename__ = "group_members"
    __table_args__ = (Index("ix_group_members_group", "group_id"),)

    key: str = Field(primary_key=True)
    group_id: str = Field(primary_key=True)
