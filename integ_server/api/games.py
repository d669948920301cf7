"""The library: read by page and by change, synced, and what to download."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from integ_server.api.deps import BackendDep, Cursor, Downloader, Limit, Reader, SessionDep, Syncer
from integ_server.api.envelope import not_changed, ok
from integ_server.contract.types import (
    Changes,
    DownloadPlan,
    DownloadRequest,
    Envelope,
    JobInfo,
    OwnedRelease,
    Page,
    ReleaseRecord,
    SyncRequest,
    SyncStatus,
)
from integ_server.services import accounts, descriptions, downloads, jobs, library, sync

router = APIRouter(prefix="/games", tags=["games"])


@router.get("", response_model=Envelope[Page[ReleaseRecord]])
async def list_games(  # noqa: PLR0917 - FastAPI calls it by name
    session: SessionDep,
    user: Reader,
    limit: Limit = 50,
    cursor: Cursor = None,
    provider: Annotated[str | None, Query(max_length=40, pattern="^[a-z0-9-]+$")] = None,
    q: Annotated[str, Query(max_length=200)] = "",
) -> Envelope[Page[ReleaseRecord]]:
    """Releases the user owns, by name."""
    return ok(await library.owned_games(session, user, limit=limit, cursor=cursor, provider=provider, q=q))


@router.post("/sync", status_code=202)
async def start_sync(session: SessionDep, backend: BackendDep, user: Syncer, wanted: SyncRequest) -> Envelope[list[JobInfo]]:
    """Begin to pull the libraries: a job for each account."""
    return ok(await sync.start(backend, session, user, wanted))


@router.get("/sync-status", response_model=Envelope[SyncStatus])
async def sync_status(session: SessionDep, user: Reader, request: Request, response: Response) -> Envelope[SyncStatus] | Response:
    """What is signed in, how fresh it is, and what runs."""
    status = SyncStatus(
        revision=await library.revision(session, user), accounts=await accounts.infos(session, user), jobs=await jobs.current(session, user)
    )
    return not_changed(request, response, status.model_dump_json()) or ok(status)


@router.get("/changes", response_model=Envelope[Changes])
async def changes(
    session: SessionDep, user: Reader, request: Request, response: Response, since: Annotated[int, Query(ge=0, lt=2**63)] = 0
) -> Envelope[Changes] | Response:
    """What changed after revision `since`; 0 asks for everything."""
    unchanged = not_changed(request, response, user, since, await library.revision(session, user))
    return unchanged or ok(await library.changes(session, user, since))


@router.get("/{key}")
async def get_game(session: SessionDep, backend: BackendDep, user: Reader, key: str) -> Envelope[OwnedRelease]:
    """One release, with what its store tells about it."""
    return ok(await descriptions.get_release(backend, session, user, key))


@router.post("/{key}/download")
async def plan_download(backend: BackendDep, user: Downloader, key: str, wanted: DownloadRequest) -> Envelope[DownloadPlan]:
    """What a client needs to fetch the game by itself; no store token is in it."""
    return ok(await downloads.plan(backend, user, key, wanted))
