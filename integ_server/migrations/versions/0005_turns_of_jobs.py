"""Jobs know how urgent they are and their place in the line, and are found by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_UNFINISHED = sa.text("state IN ('queued', 'running')")
_QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("queue", sa.String(), nullable=False, server_default="now"))
    op.add_column("jobs", sa.Column("turn_at", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_jobs_waiting", "jobs", ["turn_at", "created_at"], sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index("ix_jobs_unfinished", "jobs", ["state", "user_id"], sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)
