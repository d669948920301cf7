"""A backend for many: sign-in, preferences and choices of players, achievements, webhooks, Proton versions, periodic work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_UNFINISHED = sa.text("state IN ('queued', 'running')")


def upgrade() -> None:
    op.add_column("users", sa.Column("preferences", _JSON, nullable=False, server_default=sa.text("'{}'")))
    op.add_column("users", sa.Column("avatar_url", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("avatar_url", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("profile_url", sa.Text(), nullable=True))
    _widen_jobs()
    _make_sign_in_tables()
    _make_players_tables()
    _make_webhook_tables()
    _make_proton_tables()


def _widen_jobs() -> None:
    # SQLite changes a column by copying the table; the partial index is made anew, for the copy would forget its condition.
    op.drop_index("uq_jobs_unfinished", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("user_id", existing_type=sa.String(), nullable=True)
        jobs.add_column(sa.Column("due_at", sa.BigInteger(), nullable=True))
        jobs.add_column(sa.Column("request_id", sa.String(), nullable=False, server_default=""))
        jobs.add_column(sa.Column("cancelled_at", sa.BigInteger(), nullable=True))
    op.create_index("uq_jobs_unfinished", "jobs", ["subject"], unique=True, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)
    op.create_index("ix_jobs_finished", "jobs", ["finished_at"])


def _make_sign_in_tables() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("refresh_hash", sa.String(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=True),
        sa.Column("rotated_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_sessions_user", "sessions", ["user_id", "created_at"])
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_api_tokens_user", "api_tokens", ["user_id", "created_at"])


def _make_players_tables() -> None:
    op.create_table(
        "game_preferences",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("game_key", sa.String(), nullable=False),
        sa.Column("favourite", sa.Boolean(), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=True),
        sa.Column("tags", _JSON, nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("proton", sa.String(), nullable=True),
        sa.Column("launch_options", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("user_id", "game_key"),
    )
    op.create_table(
        "title_choices",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("game_key", sa.String(), nullable=False),
        sa.Column("title_id", sa.String(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["title_id"], ["titles.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("user_id", "game_key"),
    )
    op.create_index("ix_title_choices_title", "title_choices", ["user_id", "title_id"])
    op.create_table(
        "game_achievements",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("game_key", sa.String(), nullable=False),
        sa.Column("items", _JSON, nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["game_key"], ["games.key"]),
        sa.PrimaryKeyConstraint("account_id", "game_key"),
    )


def _make_webhook_tables() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", _JSON, nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_webhooks_user", "webhooks", ["user_id", "created_at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("webhook_id", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_webhook_deliveries_webhook", "webhook_deliveries", ["webhook_id", "created_at"])
    op.create_index("ix_webhook_deliveries_due", "webhook_deliveries", ["state", "due_at"])


def _make_proton_tables() -> None:
    op.create_table(
        "proton_versions",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("archive_name", sa.String(), nullable=False),
        sa.Column("archive_url", sa.Text(), nullable=False),
        sa.Column("digest_url", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mirror_state", sa.String(), nullable=False),
        sa.Column("mirror_error", sa.String(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_index("ix_proton_versions_published", "proton_versions", ["published_at", "version"])
    op.create_table(
        "periodic_tasks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.Column("etag", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
