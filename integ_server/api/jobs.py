"""Jobs by their ids."""

from __future__ import annotations

from fastapi import APIRouter

from integ_server.api.deps import BackendDep, Reader, SessionDep, Syncer
from integ_server.api.envelope import ok
from integ_server.contract.types import Envelope, JobInfo
from integ_server.services import jobs

router = APIRouter(prefix="/jobs", tags=["sync"])


@router.get("/{job_id}")
async def get_job(session: SessionDep, user: Reader, job_id: str) -> Envelope[JobInfo]:
    """How far a job is."""
    return ok(await jobs.get_job(session, user, job_id))


@router.delete("/{job_id}")
async def cancel_job(session: SessionDep, backend: BackendDep, user: Syncer, job_id: str) -> Envelope[JobInfo]:
    """Want a job no more: one that waits ends at once, one that runs at its next step, with nothing of it stored."""
    return ok(await jobs.cancel(backend, session, user, job_id))
