"""Whether the backend runs, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import text

from integ_server.api.deps import BackendDep
from integ_server.api.envelope import ok
from integ_server.contract.types import Envelope, Health

router = APIRouter(tags=["running"])


@router.get("/healthz")
async def healthz() -> Envelope[Health]:
    """The process answers."""
    return ok(Health())


@router.get("/readyz")
async def readyz(backend: BackendDep) -> Envelope[Health]:
    """Database and cache answer too; 507 or 503 otherwise."""
    async with backend.db.reading() as session:
        await session.execute(text("SELECT 1"))
    await backend.cache.get("ready")
    return ok(Health())
