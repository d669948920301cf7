"""Devices that are signed in to this backend, and the keys that their tokens are checked with."""

from __future__ import annotations

from fastapi import APIRouter, Response

from integ_server.api.deps import BackendDep, CallerDep, SessionDep, UserKeeper
from integ_server.api.envelope import ok
from integ_server.api.limits import limited
from integ_server.auth import session as device_sessions
from integ_server.contract.sessions import KeySet, RefreshRequest, SessionInfo, Tokens
from integ_server.contract.types import Envelope

router = APIRouter(tags=["sign-in"])


@router.get("/.well-known/jwks.json")
async def key_set(backend: BackendDep, response: Response) -> KeySet:
    """The public keys of the access tokens."""
    response.headers["Cache-Control"] = "public, max-age=300"
    return KeySet(keys=backend.signer.public_keys())


@router.post("/auth/refresh", dependencies=[limited("refresh", 300, 60)])
async def refresh(backend: BackendDep, brought: RefreshRequest, response: Response) -> Envelope[Tokens]:
    """The next tokens for a refresh token, which counts once."""
    response.headers["Cache-Control"] = "no-store"
    return ok(await device_sessions.refresh(backend, brought.refresh_token))


@router.get("/auth/sessions")
async def list_sessions(session: SessionDep, user: UserKeeper, caller: CallerDep) -> Envelope[list[SessionInfo]]:
    """The devices that are signed in, and the browsers at the pages."""
    return ok(await device_sessions.infos(session, user, caller.session_id))


@router.delete("/auth/sessions/{session_id}")
async def end_session(session: SessionDep, backend: BackendDep, user: UserKeeper, session_id: str) -> Envelope[None]:
    """Sign a device or a browser out, at once."""
    await device_sessions.end(backend, session, user, session_id)
    return ok(None)
