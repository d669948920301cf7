"""Personal tokens."""

from __future__ import annotations

from fastapi import APIRouter, Response

from integ_server.api.deps import BackendDep, CallerDep, SessionDep, UserKeeper
from integ_server.api.envelope import ok
from integ_server.auth import tokens
from integ_server.contract.sessions import NewToken, TokenInfo, TokenRequest
from integ_server.contract.types import Envelope

router = APIRouter(prefix="/auth/tokens", tags=["sign-in"])


@router.get("")
async def list_tokens(session: SessionDep, user: UserKeeper) -> Envelope[list[TokenInfo]]:
    """Those that are good, without what they are used with."""
    return ok(await tokens.infos(session, user))


@router.post("", status_code=201)
async def make_token(
    session: SessionDep, user: UserKeeper, caller: CallerDep, wanted: TokenRequest, response: Response
) -> Envelope[NewToken]:
    """A new token, shown this once; with no more scopes than whoever asks has."""
    del user  # holds the scope
    response.headers["Cache-Control"] = "no-store"
    return ok(await tokens.make(session, caller, wanted))


@router.delete("/{token_id}")
async def revoke_token(session: SessionDep, backend: BackendDep, user: UserKeeper, token_id: str) -> Envelope[None]:
    """End a token, at once."""
    await tokens.revoke(backend, session, user, token_id)
    return ok(None)
