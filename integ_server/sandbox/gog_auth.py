"""auth.gog.com: a sign-in page that approves at once, its landing page, and the token endpoint."""

from __future__ import annotations

import base64
import binascii
from html import escape
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from integ_server.sandbox.gog_ground import Asked, Knobs, Session, Sessions, json, route
from integ_server.sandbox.state import SandboxState

CLIENT_ID = "46899977096215655"
CLIENT_SECRET = "9d85c43b1482497dbbce61f6e4aa173a433796eeae2ca8c5f6129f2dc4de46d9"  # noqa: S105
"""The pair that every open client uses; it is no secret."""
REDIRECT = "https://embed.gog.com/on_login_success?origin=client"
_LANDINGS = {REDIRECT, "https://www.gog.com/on_login_success?origin=client"}
_LANDING_PATH = "on_login_success"


def routes(state: SandboxState) -> list[Route]:
    return [
        route(state, "/auth.gog.com/auth", _authorize),
        route(state, "/login.gog.com/auth", _authorize),
        route(state, f"/embed.gog.com/{_LANDING_PATH}", _landing),
        route(state, f"/www.gog.com/{_LANDING_PATH}", _landing),
        route(state, "/auth.gog.com/token", _token, "GET", "POST"),
    ]


def game_client(product_id: int) -> tuple[str, str]:
    """The client id and secret of one game, as its builds publish them."""
    return f"58{product_id:015d}", f"{product_id:064x}"


def _authorize(asked: Asked) -> Response:
    """Nobody has to type a password here: the player agrees at once."""
    redirect = asked.query.get("redirect_uri", "")
    if redirect not in _LANDINGS:
        said = "The redirect URI provided does not match registered URI(s)."
        return json({"error": "redirect_uri_mismatch", "error_description": said}, 400)
    if asked.query.get("response_type") != "code":
        return json({"error": "unsupported_response_type", "error_description": "Only code is supported."}, 400)
    state = asked.state
    code = state.secret(64)
    state.part(Sessions).codes[code] = (state.clock() + asked.knobs.code_ttl_s, asked.query.get("client_id", ""))
    landing = urlsplit(redirect)
    return RedirectResponse(f"{asked.base}{landing.netloc}{landing.path}?{landing.query}&code={code}", 302)


def _landing(asked: Asked) -> Response:
    """The real page is blank; this one shows the address, so that it can be copied where no address bar is at hand."""
    code = escape(asked.query.get("code", ""))
    address = f"https://embed.gog.com/{_LANDING_PATH}?origin=client&amp;code={code}"
    page = f"<html><head><title>Signed in</title></head><body><p>Paste this address into Integ:</p><pre>{address}</pre></body></html>"
    return HTMLResponse(page)


def _token(asked: Asked) -> Response:
    fields = {**asked.query, **dict(parse_qsl(asked.body.decode("utf-8", "replace"), keep_blank_values=True)), **_basic(asked)}
    client, secret = fields.get("client_id", ""), fields.get("client_secret", "")
    if asked.state.faults.hit("gog.wrong_client") or not _is_client(asked.state, client, secret):
        return _refused("invalid_client", "The client credentials are invalid")
    grant = fields.get("grant_type")
    if grant == "authorization_code":
        return _by_code(asked.state, fields.get("code", ""), client)
    if grant == "refresh_token":
        return _by_refresh(asked.state, fields.get("refresh_token", ""), client)
    return _refused("unsupported_grant_type", "The grant type is not supported")


def _basic(asked: Asked) -> dict[str, str]:
    """Client id and secret from HTTP Basic, which the endpoint takes too."""
    kind, _, encoded = asked.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return {}
    try:
        client, _, secret = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return {"client_id": ""}
    return {"client_id": client, "client_secret": secret}


def _is_client(state: SandboxState, client: str, secret: str) -> bool:
    if client == CLIENT_ID:
        return secret == CLIENT_SECRET
    return any((client, secret) == game_client(product) for product in state.world.gog_products)


def _by_code(state: SandboxState, code: str, client: str) -> Response:
    runs_out, made_for = state.part(Sessions).codes.pop(code, (0.0, ""))
    if state.faults.hit("gog.expired_code") or runs_out <= state.clock() or made_for != client:
        return _refused("invalid_grant", "Code doesn't exist or is invalid for the client")
    session = Session(str(6_100_000_000_000_000_000 + int(state.secret(12), 16)), client, state.world.gog_user_id, state.secret(64))
    return _granted(state, session)


def _by_refresh(state: SandboxState, token: str, client: str) -> Response:
    sessions, knobs = state.part(Sessions), state.part(Knobs)
    session = sessions.refresh.get(token)
    if session is None or state.faults.active("gog.signed_out"):
        return _refused("invalid_grant", "Invalid refresh token")
    if client != session.client_id:  # a game's client, with the main refresh token: a session of its own beside the main one
        scoped = Session(str(int(session.session_id) + 1), client, session.user_id, state.secret(64))
        return _granted(state, scoped, scope=None)
    if knobs.rotate_refresh:
        del sessions.refresh[token]
        session.refresh_token = state.secret(64)
    return _granted(state, session)


def _granted(state: SandboxState, session: Session, scope: str | None = "") -> Response:
    sessions, ttl = state.part(Sessions), state.part(Knobs).token_ttl_s
    access = state.secret(64)
    sessions.refresh[session.refresh_token] = session
    sessions.access[access] = (state.clock() + ttl, session)
    answer = {"expires_in": ttl, "scope": scope, "token_type": "bearer", "access_token": access, "user_id": session.user_id}
    said = {**answer, "refresh_token": session.refresh_token, "session_id": session.session_id}
    return json(said, headers={"cache-control": "no-store"})


def _refused(error: str, said: str) -> Response:
    return json({"error": error, "error_description": said}, 400)
