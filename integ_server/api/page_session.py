"""A browser that looks at the pages: its session in the cache, the one form key, and who may send a form at all."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request, Response

from integ_server.api.deps import BackendDep, PublicUrl
from integ_server.api.limits import client_address
from integ_server.auth import session as device_sessions
from integ_server.auth.session import BROWSER_IS_NOTED_EVERY_S
from integ_server.auth.session import BROWSER_LIVES_S as LIVES_S
from integ_server.contract.errors import NotFoundError, PermissionDeniedError
from integ_server.services.backend import Backend
from integ_server.services.limits import count_try, network_of

_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "Chrom": "Chrome",
    "CriOS/": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "an iPhone",
    "iPad": "an iPad",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
"""What their user agents hold, those first that others hold too."""
_NEW_FROM_ONE_ADDRESS = 60
"""New sessions a minute: whoever makes more of them has no browser."""


@dataclass(slots=True)
class PageSession:
    """What is remembered of a browser for half an hour after its last request."""

    secret: str = field(repr=False)
    """The cookie's value; the cache knows its hash."""
    address: str
    """Where it asks from."""
    public_url: str
    form_key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    user_id: str | None = None
    session_id: str = ""
    """Of the user's session that this browser is, listed beside those of devices."""
    noted_at: float = 0.0
    """Unix time when that session was last told that the browser is still there."""
    user_code: str = ""
    """Of the device that the player came for."""
    qr_state: str = field(default="", repr=False)
    qr_store: str = ""
    proved_store: str = ""
    proved_account: str = ""
    """A store account that is the player's beyond doubt, and for which a key is still to be brought."""
    failure: str = ""
    """What the page's script came upon, for the page that tells it."""
    agent: str = ""
    """What the browser calls itself."""
    is_new: bool = True

    @property
    def owner(self) -> str:
        """Whom a sign-in that is begun here belongs to: this browser, whoever it turns out to be."""
        return f"page/{_hash(self.secret)[:32]}"

    @property
    def is_secure(self) -> bool:
        return self.public_url.startswith("https://")


_KEPT = (
    "form_key",
    "user_id",
    "session_id",
    "noted_at",
    "user_code",
    "qr_state",
    "qr_store",
    "proved_store",
    "proved_account",
    "failure",
)


async def _open(request: Request, backend: BackendDep, public_url: PublicUrl) -> PageSession:
    address = client_address(request.scope, backend.settings)
    given = request.cookies.get(_cookie_name(public_url), "")
    session = await _kept(backend, given, address, public_url) if 20 <= len(given) <= 100 else None
    if session is None:
        await count_try(backend, "page-session", network_of(address), most=_NEW_FROM_ONE_ADDRESS, per_s=60)
        session = PageSession(secrets.token_urlsafe(32), address, public_url)
    session.agent = request.headers.get("user-agent", "")[:1000]
    request.state.page = session  # for the page that tells of a failure
    request.state.user_id = session.user_id  # for the log
    return session


async def _kept(backend: Backend, secret: str, address: str, public_url: str) -> PageSession | None:
    """What is remembered of a browser; nothing of one that was signed out from elsewhere."""
    kept = await backend.cache.get(_name(secret))
    if kept is None:
        return None
    session = PageSession(secret, address, public_url, **json.loads(kept), is_new=False)
    if session.user_id is not None and not await device_sessions.is_alive(backend, session.session_id, session.user_id):
        await backend.cache.delete(_name(secret))
        return None
    return session


async def _check_form(
    request: Request, page: Annotated[PageSession, Depends(_open)], form_key: Annotated[str, Form(max_length=100)] = ""
) -> PageSession:
    """
    The session, for a form that one of our own pages sent.

    Raises:
        PermissionDeniedError: Some other page did, or one of ours that is too old.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    parts = urlsplit(page.public_url)
    foreign = site not in {None, "same-origin", "none"} or origin not in {None, f"{parts.scheme}://{parts.netloc}"}
    if foreign or page.is_new or not hmac.compare_digest(form_key.encode(), page.form_key.encode()):
        raise PermissionDeniedError("this form is too old, or came from another page", hint="nothing was done: open the page anew")
    return page


PageDep = Annotated[PageSession, Depends(_open)]
"""The browser's session, or a new one."""
FormDep = Annotated[PageSession, Depends(_check_form)]
"""The same for a form; it was checked that one of our pages sent it."""


async def keep(backend: Backend, page: PageSession, answer: Response) -> None:
    """Remember the session for another while, and let *answer* bring the browser its cookie if that is new."""
    if page.user_id is not None and time.time() - page.noted_at >= BROWSER_IS_NOTED_EVERY_S:
        await device_sessions.note_browser(backend, page.session_id, page.user_id)
        page.noted_at = time.time()
    told = {name: value for name, value in asdict(page).items() if name in _KEPT}
    await backend.cache.set(_name(page.secret), json.dumps(told), LIVES_S)
    if page.is_new:
        answer.set_cookie(_cookie_name(page.public_url), page.secret, secure=page.is_secure, httponly=True, samesite="lax", path="/")


async def signed_in(backend: Backend, page: PageSession, user_id: str, session_id: str) -> PageSession:
    """The session of a browser whose user is known from now on: under another cookie, since the old one may be somebody else's gift."""
    await backend.cache.delete(_name(page.secret))
    known = {"user_id": user_id, "session_id": session_id, "noted_at": time.time(), "user_code": page.user_code, "agent": page.agent}
    return PageSession(secrets.token_urlsafe(32), page.address, page.public_url, **known)  # type: ignore[arg-type]


async def left(backend: Backend, page: PageSession, answer: Response) -> None:
    """End the session: on the list, here and in the browser."""
    if page.user_id is not None:
        with suppress(NotFoundError):
            async with backend.db.writing.begin() as session:
                await device_sessions.end(backend, session, page.user_id, page.session_id)
    await backend.cache.delete(_name(page.secret))
    answer.delete_cookie(_cookie_name(page.public_url), secure=page.is_secure, httponly=True, samesite="lax", path="/")


def browser_name(agent: str) -> str:
    """As the player knows it: `Firefox on Linux`, from a user agent."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), "A browser")
    system = next((name for mark, name in _SYSTEMS.items() if mark in agent), "")
    return f"{browser} on {system}" if system else browser


def _cookie_name(public_url: str) -> str:
    # the prefix makes browsers refuse the cookie to other hosts and to plain http, which can't have it for the same reason
    return "__Host-integ" if public_url.startswith("https://") else "integ"


def _name(secret: str) -> str:
    return f"page/{_hash(secret)}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
