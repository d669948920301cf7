"""The library: read by page and by change, synced, and what to download."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from integ_server.api.deps import BackendDep, Cursor, Downloader, Limit, Reader, SessionDep, Syncer
from integ_server.api.envelope import not_changed, ok
from integ_server.api.hot import list_answer, status_answer
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
from integ_server.services import descriptions, downloads, library, standing, sync
from integ_server.services.backend import Backend
from integ_server.services.events import revision_copy, status_copy
from integ_server.services.lists import ListQuery

Words = Annotated[str, Query(max_length=200)]
Sort = Annotated[str, Query(max_length=20, pattern="^-?(title|playtime|last[_-]played|store)$")]
router = APIRouter(prefix="/games", tags=["games"])


@router.get("", response_model=Envelope[Page[ReleaseRecord]])
async def list_games(  # noqa: PLR0917 - FastAPI calls it by name
    backend: BackendDep,
    user: Reader,
    request: Request,
    limit: Limit = 50,
    cursor: Cursor = None,
    provider: Annotated[str | None, Query(max_length=40, pattern="^[a-z0-9-]+$")] = None,
    q: Words = "",
    filter: Words = "",
    sort: Sort = "title",
) -> Response:
    """Releases the user owns; `q` is a part of the name, `filter` has the fields of `integ list --filter`."""
    return await _listed(backend, user, request, ListQuery(provider, q, filter, sort), limit, cursor)


def of_each_store(slugs: Iterable[str]) -> APIRouter:
    """`GET /games/STORE` for each store; one that is called like another address here has `?provider=` alone."""
    lists = APIRouter(prefix=router.prefix, tags=["games"])
    taken = {route.path.removeprefix(f"{router.prefix}/") for route in router.routes if isinstance(route, APIRoute)}
    for slug in sorted(set(slugs) - taken):
        lists.add_api_route(f"/{slug}", _list_of(slug), response_model=Envelope[Page[ReleaseRecord]], operation_id=f"list_{slug}_games")
    return lists


def _list_of(slug: str) -> Callable[..., Awaitable[Response]]:
    async def list_store_games(  # noqa: PLR0917
        backend: BackendDep,
        user: Reader,
        request: Request,
        limit: Limit = 50,
        cursor: Cursor = None,
        q: Words = "",
        filter: Words = "",
        sort: Sort = "title",
    ) -> Response:
        """Releases the user owns at this store."""
        return await _listed(backend, user, request, ListQuery(slug, q, filter, sort), limit, cursor)

    return list_store_games


async def _listed(  # noqa: PLR0917
    backend: Backend, user: str, request: Request, query: ListQuery, limit: int, cursor: str | None
) -> Response:
    revision = await standing.revision(backend, user, await backend.cache.get(revision_copy(user)))
    offered = request.headers.get("if-none-match", "")
    return (await list_answer(backend, user, revision, query, limit, cursor, offered)).response


@router.post("/sync", status_code=202)
async def start_sync(session: SessionDep, backend: BackendDep, user: Syncer, wanted: SyncRequest) -> Envelope[list[JobInfo]]:
    """Begin to pull the libraries: a job for each account."""
    return ok(await sync.start(backend, session, user, wanted))


@router.get("/sync-status", response_model=Envelope[SyncStatus])
async def sync_status(backend: BackendDep, user: Reader, request: Request) -> Response:
    """What is signed in, how fresh it is, and what runs."""
    status = await standing.sync_status(backend, user, await backend.cache.get(status_copy(user)))
    return status_answer(status, request.headers.get("if-none-match", "")).response


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
