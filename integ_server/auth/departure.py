"""A user leaves: signed out everywhere, and forgotten."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.auth import session as device_sessions
from integ_server.auth import tokens
from integ_server.contract.user_data import UserDeleted
from integ_server.services import user_data, users
from integ_server.services.backend import Backend


async def leave(backend: Backend, session: AsyncSession, user_id: str) -> UserDeleted:
    """Delete all that the backend has of the user; every process refuses the user's sessions and tokens from this moment on."""
    await device_sessions.end_all(backend, session, user_id)
    await tokens.revoke_all(backend, session, user_id)
    await users.forget_profile(backend, user_id)
    return await user_data.forget(backend, session, user_id)
