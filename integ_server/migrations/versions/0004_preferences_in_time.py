"""When a preference was decided, and which title of its own a release got when it was split off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("game_preferences", sa.Column("hidden_at", sa.BigInteger(), nullable=True))
    op.add_column("game_preferences", sa.Column("notes_at", sa.BigInteger(), nullable=True))
    op.add_column("title_choices", sa.Column("split_id", sa.String(), nullable=True))
