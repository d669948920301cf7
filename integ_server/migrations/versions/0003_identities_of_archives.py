"""Which upload a Proton archive is, and why a webhook was switched off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("tag", "arch", "identity"):
        op.add_column("proton_versions", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("webhooks", sa.Column("disabled_reason", sa.String(), nullable=False, server_default=""))
