"""What the player achieved in a game."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from integ_server.api.deps import BackendDep, Reader
from integ_server.api.envelope import ok
from integ_server.contract.achievements import AchievementList
from integ_server.contract.types import Envelope
from integ_server.services import achievements

router = APIRouter(prefix="/games", tags=["games"])


@router.get("/{key}/achievements")
async def list_achievements(
    backend: BackendDep,
    user: Reader,
    key: str,
    again: Annotated[bool, Query(description="Ask the store, however fresh what is known")] = False,
) -> Envelope[AchievementList]:
    """The achievements of a release, as its store told them within the hour; older ones while it does not answer."""
    return ok(await achievements.read(backend, user, key, again=again))
