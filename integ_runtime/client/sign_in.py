"""Who a request to a backend comes from: a session whose tokens are renewed in time, or a personal token."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx
from pydantic import TypeAdapter, ValidationError

from integ_runtime.client.patience import RETRIES
from integ_runtime.locks import only_one
from integ_runtime.session_store import Session, SessionStore
from integ_server.contract.errors import BackendUnreachableError, NotSignedInError, from_envelope
from integ_server.contract.sessions import RefreshRequest, Tokens
from integ_server.contract.types import Envelope

_TIMEOUT = httpx.Timeout(30, connect=10)
_WAIT_FOR_OTHERS_S = 90.0
_FINISH_WITHIN_S = 5.0


class TokenAuth(httpx.Auth):
    """A personal token: it is what it is, and never renewed."""

    def __init__(self, token: str, backend_url: str) -> None:
        self._token, self._backend = token, httpx.URL(backend_url)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if _is_at(self._backend, request.url):
            request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class SessionAuth(httpx.Auth):
    """
    The session's access token, renewed before it ends, and once more when the backend refuses it.

    One process at a time renews, and looks first whether another has done it meanwhile: a refresh token counts once, and the backend
    takes one that comes again for stolen.
    """

    def __init__(self, store: SessionStore, transport: httpx.AsyncBaseTransport, backend_url: str) -> None:
        self._store, self._transport, self._backend = store, transport, httpx.URL(backend_url)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        raise RuntimeError("a backend is asked from an event loop")

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """
        Raises:
            NotSignedInError: The backend ended the session.
            BackendUnreachableError: The tokens could not be renewed now.
        """
        session = await self._store.load() if _is_at(self._backend, request.url) else None
        if session is None:  # some addresses answer everybody, and the others say so themselves
            yield request
            return
        if session.is_due:
            session = await self.renewed(session)
        request.headers["Authorization"] = f"Bearer {session.access_token}"
        answer = yield request
        if answer.status_code == 401 and await _is_about_the_sign_in(answer):
            session = await self.renewed(session)
            request.headers["Authorization"] = f"Bearer {session.access_token}"
            yield request

    async def renewed(self, refused: Session) -> Session:
        """
        A session with other tokens than *refused* has. Once asked for, the answer is waited for even by who is told to end: it is
        the only one there will be.

        Raises:
            NotSignedInError: The backend ended the session.
            BackendUnreachableError: The backend can't be asked now.
        """
        asking = asyncio.create_task(self._renewed(refused))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            await asyncio.wait({asking}, timeout=_FINISH_WITHIN_S)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            raise

    async def _renewed(self, refused: Session) -> Session:
        async with only_one(self._store.lock, wait_s=_WAIT_FOR_OTHERS_S, doing="renewing the sign-in to the backend"):
            known = await self._store.load(again=True)
            if known is None:
                raise _over()
            if known.access_token != refused.access_token and not known.is_due:
                return known
            asked_at = time.time()
            answer = await self._ask(known.refresh_token)
            if answer.status_code == 401 and await _is_about_the_sign_in(answer):
                await self._store.forget()
                raise _over()
            if not answer.is_success:
                raise _away(answer)
            fresh = session_of(_tokens_in(answer), asked_at)
            await self._store.save(fresh)
            return fresh

    async def _ask(self, refresh_token: str) -> httpx.Response:
        body = RefreshRequest(refresh_token=refresh_token).model_dump(mode="json")
        address = self._backend.copy_with(raw_path=self._backend.raw_path.rstrip(b"/") + b"/auth/refresh")
        # Sent again it has the same answer, for a minute.
        extensions = {"timeout": _TIMEOUT.as_dict(), RETRIES: "any"}
        try:
            answer = await self._transport.handle_async_request(httpx.Request("POST", address, json=body, extensions=extensions))
            await answer.aread()
            await answer.aclose()
        except httpx.HTTPError as error:
            raise BackendUnreachableError("the sign-in could not be renewed: the backend does not answer") from error
        return answer


def session_of(tokens: Tokens, asked_at: float) -> Session:
    """What is kept of *tokens*, which were asked for at *asked_at*."""
    return Session(tokens.access_token, tokens.refresh_token, asked_at + tokens.expires_in, tokens.user_id, tokens.session_id)


def _is_at(backend: httpx.URL, url: httpx.URL) -> bool:
    return (url.scheme, url.host, url.port) == (backend.scheme, backend.host, backend.port)


async def _is_about_the_sign_in(answer: httpx.Response) -> bool:
    """A store that refuses its own sign-in is a 401 as well, and no reason to renew ours."""
    await answer.aread()
    try:
        said: Any = json.loads(answer.content)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("error") == NotSignedInError.__name__


def _tokens_in(answer: httpx.Response) -> Tokens:
    try:
        return TypeAdapter(Envelope[Tokens]).validate_json(answer.content).data
    except ValidationError:
        raise BackendUnreachableError("the sign-in could not be renewed: the answer is not an Integ backend's") from None


def _over() -> NotSignedInError:
    return NotSignedInError("this device is not signed in to the backend any more", hint="integ login --device")


def _away(answer: httpx.Response) -> Exception:
    try:
        said = json.loads(answer.content)
    except ValueError:
        said = None
    if isinstance(said, dict) and said.get("status") == "error":
        return from_envelope(said)
    return BackendUnreachableError(f"the sign-in could not be renewed: the backend answered {answer.status_code}")
