"""Who is asking."""

from __future__ import annotations

from fastapi import APIRouter

from integ_server.api.deps import Reader, SessionDep
from integ_server.api.envelope import ok
from integ_server.contract.types import AccountInfo, Envelope, UserInfo
from integ_server.services import accounts, library

router = APIRouter(prefix="/users", tags=["user"])


@router.get("/me")
async def me(session: SessionDep, user: Reader) -> Envelope[UserInfo]:
    """The user, and how far the library's revision is."""
    return ok(await library.user_info(session, user))


@router.get("/me/accounts")
async def my_accounts(session: SessionDep, user: Reader) -> Envelope[list[AccountInfo]]:
    """The store accounts that are signed in."""
    return ok(await accounts.infos(session, user))
