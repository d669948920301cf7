"""
Steam's OpenID 2.0 page and its verification; the player in front of it always says yes, at once.

An assertion that a fault bent (another op_endpoint, a look-alike host, an old nonce, another return_to) still verifies as true here: Steam
would sign some of them, and only then does a test show that the caller's own checks refused it. `openid.forged` alone does not verify.
"""

from __future__ import annotations

import base64
import hashlib
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from integ_server.sandbox.answers import html
from integ_server.sandbox.state import SandboxState

NS = "http://specs.openid.net/auth/2.0"
SELECT = "http://specs.openid.net/auth/2.0/identifier_select"
ENDPOINT = "https://steamcommunity.com/openid/login"
SIGNED = "signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle"

Fields = list[tuple[str, str]]


class Assertions:
    """What this Steam has signed and not yet been asked about."""

    def __init__(self) -> None:
        self.open: dict[str, frozenset[tuple[str, str]]] = {}


def routes(state: SandboxState) -> list[Route]:
    async def page(request: Request) -> Response:
        if request.method == "POST":
            return _verify(state, parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
        return _sign_in(state, dict(parse_qsl(request.url.query, keep_blank_values=True)))

    async def own_key(request: Request) -> Response:
        return html("Steam Community :: Steam Web API Key", f"<h2>Your Steam Web API Key</h2><p>Key: {state.world.steam_own_key}</p>")

    return [
        Route("/steamcommunity.com/openid/login", page, methods=["GET", "POST"]),
        Route("/steamcommunity.com/dev/apikey", own_key),
    ]


def _sign_in(state: SandboxState, asked: dict[str, str]) -> Response:
    return_to = asked.get("openid.return_to", "")
    proper = (
        asked.get("openid.ns") == NS
        and asked.get("openid.mode") == "checkid_setup"
        and asked.get("openid.identity") == SELECT
        and asked.get("openid.claimed_id") == SELECT
        and urlsplit(return_to).scheme in ("http", "https")
        and _lies_under(return_to, asked.get("openid.realm", return_to))
    )
    if not proper:
        return html("Sign In", "<p>This sign-in request is invalid.</p>")
    fields = [("openid.ns", NS), ("openid.mode", "cancel")] if state.faults.hit("openid.cancel") else _assertion(state, return_to)
    return RedirectResponse(f"{return_to}{'&' if urlsplit(return_to).query else '?'}{urlencode(fields)}", status_code=302)


def _lies_under(return_to: str, realm: str) -> bool:
    page, root = urlsplit(return_to), urlsplit(realm)
    folder = root.path.rstrip("/") + "/"
    return (page.scheme, page.netloc) == (root.scheme, root.netloc) and (page.path == root.path or f"{page.path}/".startswith(folder))


def _assertion(state: SandboxState, return_to: str) -> Fields:
    struck = state.faults.hit
    endpoint = "https://steamcommunity.com.login.example/openid/login" if struck("openid.wrong_op_endpoint") else ENDPOINT
    host = "https://steamcommunity.com.login.example" if struck("openid.lookalike") else "https://steamcommunity.com"
    made_at = state.clock() - (3_600 if struck("openid.old_nonce") else 0)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made_at))
    who = f"{host}/openid/id/{state.world.steam_id}"
    fields = [
        ("openid.ns", NS),
        ("openid.mode", "id_res"),
        ("openid.op_endpoint", endpoint),
        ("openid.claimed_id", who),
        ("openid.identity", who),
        ("openid.return_to", "https://another-site.example/back" if struck("openid.other_return_to") else return_to),
        ("openid.response_nonce", moment + base64.b64encode(bytes.fromhex(state.secret(36))).decode()),
        ("openid.assoc_handle", "1234567890"),
        ("openid.signed", SIGNED),
    ]
    signature = _signature(state)
    state.part(Assertions).open[signature] = frozenset((*_told(fields), ("openid.sig", signature)))
    fields.append(("openid.sig", _signature(state) if struck("openid.forged") else signature))
    if struck("openid.duplicate_field"):
        fields.append(("openid.claimed_id", f"{host}/openid/id/76561198000000001"))
    return fields


def _signature(state: SandboxState) -> str:
    return base64.b64encode(hashlib.sha1(state.secret().encode()).digest()).decode()


def _told(fields: Fields) -> Fields:
    """What a verification has to repeat unchanged."""
    return [(name, value) for name, value in fields if name.startswith("openid.") and name not in ("openid.ns", "openid.mode")]


def _verify(state: SandboxState, fields: Fields) -> Response:
    for status in (403, 429, 503):
        if state.faults.hit(f"openid.{status}"):
            return html("Error", "<p>Please try again later.</p>", status)
    if dict(fields).get("openid.mode") != "check_authentication" or dict(fields).get("openid.ns") != NS:
        return html("Sign In", "<p>This sign-in request is invalid.</p>")
    known = state.part(Assertions).open.pop(dict(fields).get("openid.sig", ""), None)
    valid = known == frozenset(_told(fields)) and not state.faults.hit("openid.reused")
    if state.faults.hit("openid.substring"):
        return PlainTextResponse(f"ns:{NS}\nerror:is_valid:true is what you hoped for\nis_valid:false\n")
    end = "\r\n" if state.faults.hit("openid.crlf") else "\n"
    return PlainTextResponse(f"ns:{NS}{end}is_valid:{'true' if valid else 'false'}{end}")
