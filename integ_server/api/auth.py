"""Signing in at the stores."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from integ_server.api.deps import AccountKeeper, BackendDep, CallerDep, SessionDep
from integ_server.api.envelope import ok
from integ_server.api.limits import limited
from integ_server.auth import session as device_sessions
from integ_server.contract.errors import UsageError
from integ_server.contract.scopes import Scope
from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import (
    AccountInfo,
    Envelope,
    ProviderInfo,
    SignedIn,
    SignInAnswer,
    SignInPage,
    SignInStart,
    SignInWay,
    SignOut,
)
from integ_server.services import accounts, qr_sign_in

router = APIRouter(prefix="/auth", tags=["sign-in"])


@router.get("/providers")
async def list_providers(backend: BackendDep) -> Envelope[list[ProviderInfo]]:
    """The stores, and how one signs in there."""
    return ok(accounts.provider_infos(backend))


@router.post("/logout")
async def logout(session: SessionDep, backend: BackendDep, caller: CallerDep, which: SignOut) -> Envelope[list[AccountInfo]]:
    """
    Forget the credentials of one store account, of a store's, or of all, and answer those that were signed out; or, with `session`,
    end the session that asks.
    """
    if which.session:
        if which.provider is not None or which.account is not None:
            raise UsageError("a session ends, or store accounts are signed out: not both at once", hint="ask twice")
        await device_sessions.end_current(backend, session, caller)
        return ok([])
    caller.require(Scope.ACCOUNTS)
    return ok(await accounts.sign_out(session, caller.user_id, which.provider, which.account))


@router.post("/{provider}/login", dependencies=[limited("store-sign-in", 120, 60)])
async def login(backend: BackendDep, user: AccountKeeper, provider: str, start: SignInStart) -> Envelope[SignInPage]:
    """Begin: a page for the browser, or a code for the phone, and the state to bring back."""
    return ok(await accounts.begin(backend, user, provider, start))


@router.post(
    "/{provider}/callback",
    response_model=Envelope[SignedIn],
    responses={202: {"model": Envelope[SignInPending]}},
    dependencies=[limited("store-sign-in", 120, 60)],
)
async def callback(
    session: SessionDep, backend: BackendDep, user: AccountKeeper, provider: str, answer: SignInAnswer
) -> Envelope[SignedIn] | JSONResponse:
    """
    Finish: what the browser or the player brought back becomes an account.

    By QR code: poll, with the state alone; 202 while the phone is waited for.
    """
    if answer.way is SignInWay.QR:
        told = await qr_sign_in.poll(backend, user, provider, answer.state)
        if isinstance(told, SignInPending):
            return JSONResponse(ok(told).model_dump(mode="json"), 202, headers={"Cache-Control": "no-store"})
        return ok(await accounts.link(backend, session, user, provider, told))
    confirmed = await accounts.confirm(backend, user, provider, answer)  # the session begins nothing before its first statement
    return ok(await accounts.link(backend, session, user, provider, confirmed))
