"""What stores tell about games, kept an hour where all processes find it: descriptions are long, and many players look at the same ones."""

from __future__ import annotations

import json
import logging
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import BackendUnreachableError
from integ_server.contract.types import OwnedRelease, TitleDetails
from integ_server.models.tables import games
from integ_server.services import library
from integ_server.services.backend import Backend

KEPT_FOR_S = 3600.0
_log = logging.getLogger("integ.api")


async def get_release(backend: Backend, session: AsyncSession, user_id: str, key: str) -> OwnedRelease:
    """
    One release, with what its store tells about it.

    Raises:
        GameNotFoundError: The user does not own it.
    """
    release = await library.get_release(session, user_id, key)
    details = await _details(backend, session, key)
    return OwnedRelease(**release.model_dump(), details=TitleDetails.model_validate(details) if details else None)


async def _details(backend: Backend, session: AsyncSession, key: str) -> Any:
    """
    The moment they were read is part of the name they are kept under, so that nobody is answered with what was read before; without Redis
    they come out of the database.
    """
    read_at = (await session.execute(select(games.c.metadata_read_at).where(games.c.key == key))).scalar_one_or_none()
    if read_at is None:
        return None
    name = f"metadata/{key}/{int(read_at.timestamp())}"
    try:
        kept = await backend.cache.get(name)
    except BackendUnreachableError:
        kept = None
    if kept is not None:
        return json.loads(kept)
    found = (await session.execute(select(games.c.details).where(games.c.key == key))).scalar_one_or_none()
    try:
        await backend.cache.set(name, json.dumps(found), KEPT_FOR_S)
    except BackendUnreachableError:
        _log.info("the details of a game could not be kept: Redis does not answer")
    return found
