"""What a player decided about games: it wins over what the stores say, and survives every sync."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment


class GamePreference(SQLModel, table=True):
    """
    Kept by release, because titles join and part. Favourite, hidden, tags and notes are written to every release of the title that the
    user has, and read from all of them; the others belong to the one release.
    """

    __tablename__ = "game_preferences"

    user_id: str = Field(primary_key=True, foreign_key="users.id")
    game_key: str = Field(primary_key=True)
    """Without a foreign key: a player may organise a game before the backend has read of it."""
    favourite: bool = False
    hidden: bool | None = None
    """None: as the store has it."""
    hidden_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """When `hidden` was decided; None: never. Of the releases of a title the newest decision counts."""
    tags: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    notes: str = Field(default="", sa_column=Column(Text, nullable=False))
    notes_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    """Likewise for `notes`."""
    proton: str | None = None
    launch_options: str | None = Field(default=None, sa_column=Column(Text))
    updated_at: datetime = Field(sa_column=Column(Moment, nullable=False))


class TitleChoice(SQLModel, table=True):
    """The title that a release belongs to for this user, who merged or split; wins over the title that the games table names."""

    __tablename__ = "title_choices"
    __table_args__ = (Index("ix_title_choices_title", "user_id", "title_id"),)

    user_id: str = Field(primary_key=True, foreign_key="users.id")
    game_key: str = Field(primary_key=True)
    title_id: str = Field(foreign_key="titles.id")
    """Where it is: by a merge, or by the split if nothing was merged since."""
    split_id: str | None = None
    """The title that it got of its own when it was split off; it goes back there when a later merge is undone."""
    made_at: datetime = Field(sa_column=Column(Moment, nullable=False))
