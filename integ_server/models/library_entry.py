"""That an account owns a game, and what the store says of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Moment

_OWNED = text("removed_at IS NULL")


class LibraryEntry(SQLModel, table=True):
    """A game that is owned no more stays as a tombstone (`removed_at`), so that clients hear of it."""

    __tablename__ = "library_entries"
    __table_args__ = (
        Index("ix_library_entries_changes", "user_id", "revision", "game_key"),
        Index("ix_library_entries_game", "game_key", "user_id"),
        Index("ix_library_entries_titles", "user_id", "sort", "game_key", sqlite_where=_OWNED, postgresql_where=_OWNED),
        Index("ix_library_entries_stores", "user_id", "provider", "sort", "game_key", sqlite_where=_OWNED, postgresql_where=_OWNED),
        {"sqlite_with_rowid": False},
    )

    account_id: int = Field(primary_key=True, foreign_key="accounts.id")
    game_key: str = Field(primary_key=True, foreign_key="games.key")
    user_id: str = Field(foreign_key="users.id")
    provider: str = Field(sa_column_kwargs={"server_default": ""})
    """Of the game; it is here too, as is `sort`, so that an index has a user's library in the order in which it is shown."""
    sort: str = Field(sa_column_kwargs={"server_default": ""})
    playtime_min: int = 0
    last_played_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    hidden: bool = False
    added_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    removed_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    revision: int = Field(sa_column=Column(BigInteger, nullable=False))
