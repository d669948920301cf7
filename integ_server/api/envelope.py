"""Every answer, and every failure, in the one envelope."""

from __future__ import annotations

import hashlib
import logging
import math
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from integ_server.contract.errors import IntegError, NotFoundError, NotSignedInError, UsageError, to_envelope
from integ_server.contract.types import Envelope
from integ_server.db import storage_error

T = TypeVar("T")
CACHING = "private, no-cache"
_SHOWN_MISTAKES = 3
_log = logging.getLogger("integ.api")


def ok(data: T) -> Envelope[T]:
    return Envelope(data=data)


def not_changed(request: Request, response: Response, *facts: object) -> Response | None:
    """
    Give the answer an ETag made of *facts*, everything it depends upon; a whole 304 when the client has that one already.
    """
    tag = tag_of(*facts)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = CACHING
    if is_held(tag, request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=dict(response.headers))
    return None


def tag_of(*facts: object) -> str:
    """The ETag of an answer that depends on *facts* and nothing else."""
    return f'"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'


def is_held(tag: str, offered: str) -> bool:
    """Whether the client, whose `If-None-Match` is *offered*, has what *tag* stands for."""
    return offered == tag or offered.strip() == "*" or tag in {each.strip().removeprefix("W/") for each in offered.split(",")}


def failure(error: IntegError, *, status: int | None = None) -> JSONResponse:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, NotSignedInError):
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(0, math.ceil(error.retry_after_s)))
    return JSONResponse(to_envelope(error), status or error.status, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Let *app* answer each failure in the envelope; a bug's own words go to the log only."""

    @app.exception_handler(IntegError)
    async def expected(request: Request, error: IntegError) -> JSONResponse:
        return failure(error)

    @app.exception_handler(RequestValidationError)
    async def misused(request: Request, error: RequestValidationError) -> JSONResponse:
        # The place and the rule, never the value: it may be a key that went into the wrong field.
        said = [f"{_place(each['loc'])}: {each['msg']}" for each in error.errors()[:_SHOWN_MISTAKES]]
        return failure(UsageError("; ".join(said), hint="see /docs"), status=422)

    @app.exception_handler(UnicodeEncodeError)
    async def no_text(request: Request, error: UnicodeEncodeError) -> JSONResponse:
        # JSON can spell half a character (\ud800), which no database, cache or store takes.
        return failure(UsageError("a text in the request is none", hint="see /docs"), status=422)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, IntegError):  # raised while the body was read
            return failure(error.__cause__)
        if error.status_code == 404:
            return failure(NotFoundError("there is nothing at this address", hint="see /docs"))
        told = UsageError("this address does not take that method" if error.status_code == 405 else "the request makes no sense")
        answer = failure(told, status=error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(DBAPIError)
    async def not_stored(request: Request, error: DBAPIError) -> JSONResponse:
        return failure(stored_error(error))


def stored_error(error: DBAPIError) -> IntegError:
    """What to tell of the database's own failure; the log has it whole."""
    _log.error("the database failed: %s", type(error.orig).__name__, exc_info=error)
    return storage_error(error) or bug(error)


def bug(error: BaseException) -> IntegError:
    return IntegError("Integ failed unexpectedly", hint="the log says more", data={"kind": type(error).__name__})


def _place(loc: Any) -> str:
    """Where a mistake is, without what the caller wrote as a name: indexes and declared names only, and not many."""
    return ".".join(str(each)[:40] for each in loc[:4] if isinstance(each, int) or str(each).isidentifier()) or "body"
