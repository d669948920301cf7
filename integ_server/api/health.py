"""Whether the backend runs, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter

from integ_server.api.deps import OpenedBackend
from integ_server.api.envelope import ok
from integ_server.contract.errors import BackendUnreachableError
from integ_server.contract.running import Readiness
from integ_server.contract.types import Envelope, Health
from integ_server.services import readiness

router = APIRouter(tags=["running"])


@router.get("/healthz")
async def healthz() -> Envelope[Health]:
    """The process answers."""
    return ok(Health())


@router.get("/readyz")
async def readyz(backend: OpenedBackend) -> Envelope[Readiness]:
    """What the backend needs is there; otherwise a 503 whose `data` holds the same checks and says what to mend."""
    checks = await readiness.checks(backend)
    missing = [check for check in checks if check.state == "fail"]
    if not missing:
        return ok(Readiness(checks=checks))
    said = "; ".join(f"{check.name}: {check.found}" for check in missing)
    data = {"checks": [check.model_dump() for check in checks]}
    raise BackendUnreachableError(f"not ready: {said}", hint=missing[0].mend, retry_after_s=5, data=data)
