"""
The requests that clients make most, answered before FastAPI sees them: a page of the list, and how far the library is.

The endpoints of `api/games.py` answer the same, and describe it; what both call stands here. What is gained is the way through the
framework, which takes several times as long as the answer (`just bench api`). A request in any other form than the usual one goes on to it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import Response
from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp, Receive, Scope, Send

from integ_server.api.deps import identify
from integ_server.api.envelope import CACHING, is_held, stored_error, tag_of
from integ_server.contract.errors import utc_now_text
from integ_server.contract.scopes import Scope as TokenScope
from integ_server.services import standing
from integ_server.services.backend import Backend
from integ_server.services.events import revision_copy, status_copy
from integ_server.services.lists import ListQuery, depends_on_time, owned_page

_USUAL_LIMIT = 50
_PAGE = re.compile(rb"limit=([1-9][0-9]{0,2})(?:&cursor=([A-Za-z0-9_-]{1,2000}))?")
_BY_TITLE = ListQuery()


@dataclass(frozen=True, slots=True)
class Answer:
    tag: str
    """Its ETag."""
    body: bytes | None
    """None: the client has it already."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        told = [(b"etag", self.tag.encode()), (b"cache-control", CACHING.encode())]
        if self.body is not None:
            told += [(b"content-length", b"%d" % len(self.body)), (b"content-type", b"application/json")]
        return told

    @property
    def response(self) -> Response:
        made = Response(self.body, 200 if self.body is not None else 304)
        made.raw_headers = self.headers
        return made


async def list_answer(  # noqa: PLR0917 - what a list depends on
    backend: Backend, user_id: str, revision: int, query: ListQuery, limit: int, cursor: str | None, offered: str
) -> Answer:
    """
    Raises:
        UsageError: The filter, the order or the cursor means nothing.
    """
    moment = utc_now_text() if depends_on_time(query) else ""
    tag = tag_of(user_id, query, limit, cursor, revision, moment)
    if is_held(tag, offered):
        return Answer(tag, None)
    items, following = await owned_page(backend.db, user_id, query, limit=limit, cursor=cursor)
    next_cursor = b"null" if following is None else b'"%b"' % following.encode()  # of letters that JSON takes as they are
    return Answer(tag, _enveloped(b'{"items":%b,"next_cursor":%b}' % (items, next_cursor)))


def status_answer(status: str, offered: str) -> Answer:
    """*status* is a `SyncStatus` as JSON."""
    tag = tag_of(status)
    return Answer(tag, None if is_held(tag, offered) else _enveloped(status.encode()))


def _enveloped(data: bytes) -> bytes:
    """An `Envelope` around what is JSON already."""
    return b'{"status":"ok","data":%b,"timestamp":"%b"}' % (data, utc_now_text().encode())


class _Route(NamedTuple):
    """What the log and the figures call the request's route."""

    path: str


class HotPaths:
    """Plain ASGI, inside of all that is done around every request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._ways: dict[str, tuple[_Route, Callable[[Scope, str], Awaitable[Answer | None]]]] = {
            path: (_Route(path), way) for path, way in (("/games", _list), ("/games/sync-status", _status))
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = self._ways.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if known is None:
            await self._app(scope, receive, send)
            return
        offered = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"").decode("latin-1")
        route, way = known
        try:
            answer = await way(scope, offered)
        except DBAPIError as error:
            raise stored_error(error) from error
        finally:
            scope["route"] = route
        if answer is None:
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 304 if answer.body is None else 200, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body or b""})


async def _list(scope: Scope, offered: str) -> Answer | None:
    asked = scope["query_string"]
    limit, cursor = _USUAL_LIMIT, None
    if asked:
        usual = _PAGE.fullmatch(asked)
        if usual is None or (limit := int(usual[1])) > 200:
            return None
        cursor = usual[2].decode() if usual[2] else None
    caller, held = await identify(scope, revision_copy)
    caller.require(TokenScope.LIBRARY_READ)
    backend: Backend = scope["app"].state.backend
    revision = await standing.revision(backend, caller.user_id, held)
    return await list_answer(backend, caller.user_id, revision, _BY_TITLE, limit, cursor, offered)


async def _status(scope: Scope, offered: str) -> Answer | None:
    if scope["query_string"]:
        return None
    caller, held = await identify(scope, status_copy)
    caller.require(TokenScope.LIBRARY_READ)
    return status_answer(await standing.sync_status(scope["app"].state.backend, caller.user_id, held), offered)
