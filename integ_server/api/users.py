"""Who is asking, all that is kept of them, and its end."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from integ_server.api.deps import BackendDep, Reader, SessionDep, UserKeeper
from integ_server.api.envelope import ok
from integ_server.auth import departure
from integ_server.contract.types import AccountInfo, Envelope, UserInfo
from integ_server.contract.user_data import UserDeleted, UserDeletion, UserExport
from integ_server.services import accounts, library, user_data

router = APIRouter(prefix="/users", tags=["user"])


@router.get("/me")
async def me(session: SessionDep, user: Reader) -> Envelope[UserInfo]:
    """The user, and how far the library's revision is."""
    return ok(await library.user_info(session, user))


@router.delete("/me")
async def delete_me(session: SessionDep, backend: BackendDep, user: UserKeeper, wanted: UserDeletion) -> Envelope[UserDeleted]:
    """Delete everything the backend has of the user, at once and for good; all sign-ins end."""
    return ok(await departure.leave(backend, session, user))


@router.get("/me/accounts")
async def my_accounts(session: SessionDep, user: Reader) -> Envelope[list[AccountInfo]]:
    """The store accounts that are signed in."""
    return ok(await accounts.infos(session, user))


@router.get("/me/export", response_class=StreamingResponse, responses={200: {"model": Envelope[UserExport]}})
async def export(backend: BackendDep, user: UserKeeper) -> StreamingResponse:
    """Everything the backend has of the user, by table, without secrets."""
    headers = {"Content-Disposition": 'attachment; filename="integ-export.json"', "Cache-Control": "no-store"}
    return StreamingResponse(user_data.export(backend, user), media_type="application/json", headers=headers)
