"""How a page becomes an answer: templates, assets, the headers that keep a browser from doing more than it should, and failures."""

from __future__ import annotations

import functools
import hashlib
import logging
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import DBAPIError

from integ_server.api.envelope import bug
from integ_server.api.page_session import PageSession, keep
from integ_server.contract.errors import IntegError, NotFoundError, UsageError
from integ_server.db import storage_error
from integ_server.services import users
from integ_server.services.backend import Backend

_HERE = Path(__file__).parent
_ASSETS = {"style.css": "text/css; charset=utf-8", "script.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers hide a form's own origin from us too
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_log = logging.getLogger("integ.pages")


@functools.cache
def _asset(name: str) -> tuple[bytes, str]:
    body = (_HERE / "assets" / name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:16]


def _asset_address(name: str) -> str:
    return f"/pages/{name}?v={_asset(name)[1]}"


@functools.cache
def _templates() -> Environment:
    drawn = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    drawn.globals["asset"] = _asset_address
    return drawn


def asset(name: str) -> Response:
    """
    A file that the pages are drawn with; its address holds its hash, so that it may be kept for ever.

    Raises:
        NotFoundError: There is none of that name.
    """
    if name not in _ASSETS:
        raise NotFoundError("there is nothing at this address", hint="see /docs")
    kept = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_asset(name)[0], media_type=_ASSETS[name], headers=kept)


async def show(backend: Backend, page: PageSession, template: str, *, status: int = 200, **facts: Any) -> Response:
    """The page that *template* makes of *facts*."""
    name = await user_name(backend, page)
    text = _templates().get_template(template).render(page=page, user_name=name, **facts)
    answer = HTMLResponse(text, status, headers=HEADERS)
    await keep(backend, page, answer)
    return answer


async def go(backend: Backend, page: PageSession, address: str) -> Response:
    """On to another page, by GET whatever came before."""
    answer = RedirectResponse(address, 303, headers=HEADERS)
    await keep(backend, page, answer)
    return answer


async def user_name(backend: Backend, page: PageSession) -> str:
    """The name of whoever the browser is; a user who was deleted meanwhile is nobody, and has none."""
    if page.user_id is None:
        return ""
    profile = await users.find_profile(backend, page.user_id)
    if profile is None:
        page.user_id, page.session_id = None, ""
        return ""
    return profile.name


def sentence(text: str) -> str:
    """An error's message, which is written to stand behind `error: `, as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def failure_text(error: IntegError) -> str:
    """What a form that is shown again says: the message, and the hint where it is none for a terminal."""
    return " ".join(filter(None, (sentence(error.message), _hint(error))))


class PageRoute(APIRoute):
    """Tells failures as a page: whoever asked has a browser, and reads no JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except IntegError as error:
                return await _failure_page(request, error)
            except RequestValidationError:
                return await _failure_page(request, UsageError("the form makes no sense", hint="open the page anew"))
            except DBAPIError as error:
                _log.error("the database failed: %s", type(error.orig).__name__, exc_info=error)
                return await _failure_page(request, storage_error(error) or bug(error))
            except UnicodeEncodeError:
                return await _failure_page(request, UsageError("a text in the form is none", hint="open the page anew"))
            except Exception as error:
                _log.exception("a page failed")
                return await _failure_page(request, bug(error))

        return told


async def _failure_page(request: Request, error: IntegError) -> Response:
    page: PageSession | None = getattr(request.state, "page", None)
    provider = request.path_params.get("provider")
    again = (
        f"/auth/{provider}/login" if provider in request.app.state.backend.stores else "/device" if page and page.user_code else "/sign-in"
    )
    facts: dict[str, Any] = {
        "title": "That did not work",
        "message": sentence(error.message),
        "hint": _hint(error),
        "again": again,
        "again_text": "Try again",
        "page": page,
        "user_name": "",
    }
    headers = dict(HEADERS)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(0, math.ceil(error.retry_after_s)))
    # no session is kept here: the cache may be what failed
    return HTMLResponse(_templates().get_template("error.html").render(**facts), error.status, headers=headers)


def _hint(error: IntegError) -> str:
    """Hints that name a command are for a terminal."""
    return "" if "integ " in error.hint or error.hint.startswith("/") else sentence(error.hint)
