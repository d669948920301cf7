"""What endpoints ask for: the database, the backend's parts, and who is asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Scope as ConnectionScope

from integ_server.auth import session as sessions
from integ_server.auth import tokens
from integ_server.auth.caller import LOCAL_CALLER, Caller
from integ_server.contract.errors import NotSignedInError, RateLimitedError
from integ_server.contract.scopes import Scope
from integ_server.contract.sessions import TOKEN_PREFIX
from integ_server.db import get_session
from integ_server.services.backend import Backend


def get_opened(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


def get_backend(request: Request) -> Backend:
    """
    The backend, for all that may need its database.

    Raises:
        BackendUnreachableError: The database has not been there with this version's tables since the process began.
    """
    return _ready(request.scope)


def _ready(scope: ConnectionScope) -> Backend:
    backend: Backend = scope["app"].state.backend
    if backend.schema is not None:
        backend.schema.require()
    return backend


async def identify(scope: ConnectionScope, beside: Callable[[str], str] | None = None) -> tuple[Caller, str | None]:
    """
    Who is asking right now, by the `Authorization` header; embedded there is one user only. Asks the cache once, and in the same go for
    the name that *beside* gives for the user.

    Raises:
        BackendUnreachableError: The database is not ready yet.
        NotSignedInError: Nobody who is known.
        RateLimitedError: The user asks too often.
    """
    backend = _ready(scope)
    held: str | None = None
    if backend.settings.is_embedded:
        caller = LOCAL_CALLER
    else:
        caller, held = await _signed_in(backend, scope, beside)
    state = scope["state"]
    state["caller"] = caller
    state["user_id"] = caller.user_id  # for the log
    try:
        await backend.rates.count(f"user/{caller.user_id}")
    except RateLimitedError:
        if backend.metrics is not None:
            backend.metrics.limited("user")
        raise
    return caller, held


async def get_caller(request: Request) -> Caller:
    """`identify`, as a dependency."""
    return (await identify(request.scope))[0]


async def known_caller(request: Request) -> Caller:
    """Who it is as this request found out already, beside one of the aliases below or for its `Idempotency-Key`."""
    known: Caller | None = getattr(request.state, "caller", None)
    return known or await get_caller(request)


async def _signed_in(backend: Backend, scope: ConnectionScope, beside: Callable[[str], str] | None) -> tuple[Caller, str | None]:
    said = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
    scheme, _, token = said.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotSignedInError("this backend wants to know who is asking")
    if not token.startswith(TOKEN_PREFIX):
        return await sessions.caller_of(backend, token, beside)
    caller = await tokens.caller_of(backend, token)
    return caller, None if beside is None else await backend.cache.get(beside(caller.user_id))


def allowed(scope: Scope) -> Callable[[Request], Awaitable[str]]:
    """
    A dependency that answers the id of the user who is asking and may use *scope*.

    Raises:
        NotSignedInError: Nobody who is known asks.
        PermissionDeniedError: A session or a token without *scope* asks.
    """

    async def user_id(request: Request) -> str:
        caller = await known_caller(request)
        caller.require(scope)
        return caller.user_id

    user_id.scope = scope  # type: ignore[attr-defined]  # for the test that walks every route
    return user_id


def get_public_url(request: Request) -> str:
    """Where browsers reach this backend: as the settings say, else where this request came in, which only its own sender sees."""
    return get_backend(request).settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")


SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
BackendDep = Annotated[Backend, Depends(get_backend)]
OpenedBackend = Annotated[Backend, Depends(get_opened)]
"""Also while its database is missing."""
PublicUrl = Annotated[str, Depends(get_public_url)]
CallerDep = Annotated[Caller, Depends(known_caller)]
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
