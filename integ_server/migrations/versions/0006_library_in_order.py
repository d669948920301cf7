"""The library in the order in which it is listed: store and sort name beside each entry, and their indexes; search by trigrams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OWNED = sa.text("removed_at IS NULL")


def upgrade() -> None:
    for name in ("provider", "sort"):
        op.add_column("library_entries", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.execute(
        "UPDATE library_entries SET provider = games.provider, sort = games.sort FROM games WHERE games.key = library_entries.game_key"
    )
    for name, columns in (("titles", ["user_id", "sort", "game_key"]), ("stores", ["user_id", "provider", "sort", "game_key"])):
        op.create_index(f"ix_library_entries_{name}", "library_entries", columns, sqlite_where=_OWNED, postgresql_where=_OWNED)
    if op.get_bind().dialect.name == "postgresql":
        _index_parts_of_names()


def _index_parts_of_names() -> None:
    """With the extension, if there is one and we may make it; without it a search reads the names of what the player owns."""
    bind = op.get_bind()
    try:
        with bind.begin_nested():
            bind.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except sa.exc.DBAPIError:
        return
    op.execute("CREATE INDEX ix_games_name_parts ON games USING gin (match_name gin_trgm_ops)")
