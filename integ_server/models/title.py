"""What a player calls a game: the releases of one game at all stores."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel


class Title(SQLModel, table=True):
    """A row is never deleted: a slug that was given out once never means another title."""

    __tablename__ = "titles"

    id: str = Field(primary_key=True)
    """Slug; never changes."""
    founder: str = Field(index=True)
    """Key of the release it was made for; that release gets it back when the title is split."""
    face: str
    """Key of the release whose name, year and details stand for the title."""
    name: str
    sort: str
    year: int | None = None
    group_id: str | None = None
    """GamesDB's id of the game, when that is what joins the releases."""
    guessed: bool = False
    """True when releases were joined by name and year."""
    seniority: int = Field(sa_column=Column(BigInteger, nullable=False))
    """When it was made, in microseconds since 1970: of two titles that join, the older one keeps its id."""
