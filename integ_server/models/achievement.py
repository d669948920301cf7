"""What an account achieved in a game, as the store told it last."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Json, Moment


class GameAchievements(SQLModel, table=True):
    __tablename__ = "game_achievements"

    account_id: int = Field(primary_key=True, foreign_key="accounts.id")
    game_key: str = Field(primary_key=True, foreign_key="games.key")
    items: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    """`Achievement`s of the contract; empty for a game that has none."""
    read_at: datetime = Field(sa_column=Column(Moment, nullable=False))
