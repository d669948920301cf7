"""What endpoints ask for: the database, the backend's parts, and who is asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.scopes import ALL_SCOPES, Scope
from integ_server.db import get_session
from integ_server.services.backend import LOCAL_USER, Backend


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, and what for they may."""

    user_id: str
    scopes: frozenset[Scope]
    session_id: str | None = None
    """Of the device that is signed in; None for a personal token and for the embedded user."""
    token_id: str | None = None


LOCAL_CALLER = Caller(LOCAL_USER, ALL_SCOPES)


def get_backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


async def get_caller(request: Request) -> Caller:
    """
    Who is asking: there is one, since only this machine is answered.

    Raises:
        AuthenticationError: Nobody who is known.
    """
    return LOCAL_CALLER


def allowed(scope: Scope) -> Callable[..., Awaitable[str]]:
    """
    A dependency that answers the id of the user who is asking and may use *scope*.

    Raises:
        AuthenticationError: Nobody who is known asks.
        PermissionDeniedError: A personal token without *scope* asks.
    """

    async def user_id(request: Request, caller: Annotated[Caller, Depends(get_caller)]) -> str:
        request.state.user_id = caller.user_id  # for the log
        return caller.user_id

    user_id.scope = scope  # type: ignore[attr-defined]  # for the test that walks every route
    return user_id


SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
BackendDep = Annotated[Backend, Depends(get_backend)]
CallerDep = Annotated[Caller, Depends(get_caller)]
Reader = Annotated[str, Depends(allowed(Scope.LIBRARY_READ))]
Organiser = Annotated[str, Depends(allowed(Scope.LIBRARY_WRITE))]
Syncer = Annotated[str, Depends(allowed(Scope.SYNC))]
Downloader = Annotated[str, Depends(allowed(Scope.DOWNLOADS))]
ProtonUser = Annotated[str, Depends(allowed(Scope.PROTON))]
AccountKeeper = Annotated[str, Depends(allowed(Scope.ACCOUNTS))]
WebhookKeeper = Annotated[str, Depends(allowed(Scope.WEBHOOKS))]
UserKeeper = Annotated[str, Depends(allowed(Scope.USER))]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=2000)]
