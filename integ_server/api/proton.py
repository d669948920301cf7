"""Proton versions: the catalogue, and archives of the backend's own mirror."""

from __future__ import annotations

import base64
import re
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from integ_server.api.deps import BackendDep, Cursor, Limit, ProtonUser, SessionDep
from integ_server.api.envelope import failure, not_changed, ok
from integ_server.contract.errors import UsageError
from integ_server.contract.proton import ProtonRequest, ProtonRequested, ProtonVersionInfo
from integ_server.contract.types import Envelope, Page
from integ_server.services import proton_catalogue, proton_mirror

router = APIRouter(prefix="/proton", tags=["Proton"])
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_CHUNK_BYTES = 1 << 20
_Word = Annotated[str | None, Query(max_length=40, pattern="^[A-Za-z0-9_-]+$")]


@router.get("/versions", response_model=Envelope[Page[ProtonVersionInfo]])
async def list_versions(  # noqa: PLR0917 - FastAPI calls it by name
    session: SessionDep,
    user: ProtonUser,
    request: Request,
    response: Response,
    limit: Limit = 50,
    cursor: Cursor = None,
    family: _Word = None,
    arch: _Word = None,
) -> Envelope[Page[ProtonVersionInfo]] | Response:
    """The published versions, newest first, as the release feeds told them."""
    page = await proton_catalogue.versions(session, limit=limit, cursor=cursor, family=family, arch=arch)
    return not_changed(request, response, page.model_dump_json()) or ok(page)


@router.post("/install", status_code=202)
async def install(session: SessionDep, backend: BackendDep, user: ProtonUser, wanted: ProtonRequest) -> Envelope[ProtonRequested]:
    """Let the backend's mirror fetch a version; 403 when it keeps none."""
    return ok(await proton_mirror.request(backend, session, wanted))


@router.head("/versions/{version}/archive", response_class=FileResponse, include_in_schema=False)
@router.get(
    "/versions/{version}/archive",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, 206: {"content": {"application/octet-stream": {}}}},
)
async def archive(
    session: SessionDep, backend: BackendDep, user: ProtonUser, request: Request, version: Annotated[str, Path(max_length=120)]
) -> Response:
    """The mirror's copy, whole or in one range; 404 when there is none: the publisher's address stands in the catalogue."""
    row, place = await proton_mirror.archive_of(backend, session, version)
    algorithm, _, hexdigest = (row.digest or "").partition(":")
    tag = f'"{hexdigest[:64]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "Repr-Digest": f"{algorithm.replace('sha', 'sha-')}=:{base64.b64encode(bytes.fromhex(hexdigest)).decode()}:",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    asked, since = request.headers.get("range"), request.headers.get("if-range", tag)
    if asked is not None:
        part = _RANGE.fullmatch(asked.strip()) if since == tag else None
        if part is None or not _makes_sense(*part.groups()):  # of another file, or no range that is spoken here: all of it
            request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
        elif not _overlaps(*part.groups(), size_bytes=row.size_bytes):
            refused = failure(UsageError("the archive has no such part", hint=f"it has {row.size_bytes} bytes"), status=416)
            refused.headers["Content-Range"] = f"bytes */{row.size_bytes}"
            return refused
    answer = FileResponse(place, headers=headers, media_type="application/octet-stream", filename=row.archive_name)
    answer.chunk_size = _CHUNK_BYTES
    return answer


def _makes_sense(first: str, last: str) -> bool:
    return bool(first or last) and not (first and last and int(last) < int(first))


def _overlaps(first: str, last: str, *, size_bytes: int) -> bool:
    return int(first) < size_bytes if first else int(last) > 0
