"""When an account was last looked through for play whose achievements nobody has read yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("achievements_at", sa.BigInteger(), nullable=True))
