"""Alembic's entry: runs the migrations on the connection it is handed, inside the caller's transaction."""

from __future__ import annotations

from alembic import context

from integ_server.models import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
