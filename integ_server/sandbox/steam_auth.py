"""
IAuthenticationService: sign-in by QR code, its tokens, and the phone that scans.

Nobody holds a phone up to a test: `Phone` is it, for tests in this process; `/_sandbox/steam/qr/ACTION` does the same for others, and
the code's own address, opened at the sandbox, is a page with the two buttons of the Steam app.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from integ_server.sandbox.answers import html
from integ_server.sandbox.faults import register
from integ_server.sandbox.state import SandboxState

for _name, _meaning in {
    "qr.rotated": "the code has changed: the next poll names a new client_id and address",
    "qr.denied": "the player presses deny: result 9",
    "qr.expired": "the session ran out: result 27",
    "qr.unknown": "the session is unknown: result 9",
    "qr.server_error": "a session that ran out ends in HTTP 500",
    "qr.busy": "the service is busy: result 20",
    "qr.too_often": "too many sign-ins: result 84",
    "qr.agreement": "the player has to accept an agreement first",
    "qr.no_access_token": "the player agreed, and the access token is an empty text, as for some days in 2023",
    "qr.not_offered": "a sign-in can't be begun: result 2",
    "steam.access_over": "every access token is refused as if its day were over: 401 and HTML",
    "steam.refresh_over": "no refresh token is good any more: result 15",
    "steam.keys_only": "the classic interfaces take no access token: 401 and HTML",
}.items():
    register(_name, _meaning)

MOBILE_APP = 3
Stage = Literal["waiting", "scanned", "approved", "denied"]
_BRACKETS = re.compile(r"([A-Za-z_]+)((?:\[[A-Za-z0-9_]+\])+)")


@dataclass
class Knobs:
    """What a test may set on `state.part(Knobs)`."""

    interval_s: float = 5.0
    access_ttl_s: int = 24 * 3600
    refresh_ttl_s: int = 205 * 24 * 3600
    rotates_refresh: bool = False
    """A renewal that allows it gives a new refresh token, and ends the old one."""


@dataclass
class Session:
    """One code on somebody's screen."""

    client_id: int
    request_id: str
    platform: int
    device: str
    stage: Stage = "waiting"
    is_rotated: bool = False
    polls: int = 0

    @property
    def challenge(self) -> str:
        return f"https://s.team/q/1/{self.client_id}"


@dataclass
class Phone:
    """The sessions, newest last, and the tokens that came of them. `stage` of a session is what the player did on the phone."""

    sessions: list[Session] = field(default_factory=list)
    access: dict[str, float] = field(default_factory=dict)
    """Access tokens and when they run out."""
    refresh: dict[str, int] = field(default_factory=dict)
    """Refresh tokens and the platform that they were made for."""

    @property
    def newest(self) -> Session:
        return self.sessions[-1]

    def find(self, client_id: str) -> Session | None:
        return next((each for each in self.sessions if str(each.client_id) == client_id), None)


class _RefusedError(Exception):
    """Ends a call with this result number."""

    def __init__(self, result: int) -> None:
        super().__init__(result)
        self.result = result


Method = Callable[[SandboxState, Mapping[str, Any]], dict[str, object]]


def takes(state: SandboxState, token: str, interface: str) -> bool:
    """Whether *token* is one that the interface answers."""
    if state.faults.hit("steam.access_over") or (interface == "ISteamUser" and state.faults.hit("steam.keys_only")):
        return False
    return state.part(Phone).access.get(token, 0.0) > state.clock()


def routes(state: SandboxState, trouble: Callable[[SandboxState], Response | None]) -> list[Route]:
    """*trouble* answers what all of Steam does while it is down."""

    async def service(request: Request) -> Response:
        if (down := trouble(state)) is not None:
            return down
        method = _METHODS.get(request.path_params["method"])
        if method is None or request.path_params["version"] not in {"v1", "v0001"}:
            return html("Not Found", "<p>Method not found in interface 'IAuthenticationService'</p>", 404)
        if request.method != "POST":
            return html("Method Not Allowed", "<p>This method must be called with a HTTP POST request.</p>", 405)
        try:
            told = method(state, _parameters([(name, str(value)) for name, value in (await request.form()).multi_items()]))
        except _RefusedError as refused:
            return _answer({}, refused.result)
        except _BrokenError:
            return html("Internal Server Error", "", 500)
        return _answer(told, 1)

    async def act(request: Request) -> Response:
        phone, action = state.part(Phone), request.path_params["action"]
        stages: dict[str, Stage] = {"scan": "scanned", "approve": "approved", "deny": "denied"}
        wanted = request.query_params.get("client_id")
        session = phone.find(wanted) if wanted else phone.newest if phone.sessions else None
        if session is None or action not in stages:
            return JSONResponse({"message": "no such code, or nothing a phone can do"}, 404)
        session.stage = stages[action]
        return JSONResponse({"client_id": str(session.client_id), "device": session.device, "stage": session.stage})

    async def challenge(request: Request) -> Response:
        session = state.part(Phone).find(request.path_params["client_id"])
        if session is None:
            return html("Steam", "<p>This code is none any more.</p>", 404)
        if session.stage == "waiting":
            session.stage = "scanned"
        buttons = "".join(
            f'<form method="post" action="/_sandbox/steam/qr/{action}?client_id={session.client_id}"><button>{action}</button></form>'
            for action in ("approve", "deny")
        )
        return html("Sign in with Steam", f"<p>{re.sub('[<>&]', '', session.device)} wants to sign in.</p>{buttons}")

    path = "/api.steampowered.com/IAuthenticationService/{method}/{version}"
    return [
        Route(path, service, methods=["GET", "POST"]),
        Route(path + "/", service, methods=["GET", "POST"]),
        Route("/s.team/q/{version}/{client_id}", challenge),
        Route("/_sandbox/steam/qr/{action}", act, methods=["POST"]),
    ]


class _BrokenError(Exception):
    """Ends a call with HTTP 500."""


def _answer(told: dict[str, object], result: int) -> Response:
    body = json.dumps({"response": told}, separators=(",", ":"))
    return Response(body, headers={"x-eresult": str(result)}, media_type="application/json; charset=UTF-8")


def _parameters(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Flat fields, fields with brackets, or one JSON text; each is taken as the service takes it."""
    given = dict(pairs)
    if "input_protobuf_encoded" in given:
        raise _RefusedError(8)  # a caller who wants binary answers: the sandbox speaks JSON
    if "input_json" in given:
        try:
            inside = json.loads(given["input_json"])
        except ValueError:
            raise _RefusedError(8) from None
        return inside if isinstance(inside, dict) else {}
    found: dict[str, Any] = {}
    for name, value in pairs:
        nested = _BRACKETS.fullmatch(name)
        if nested is None:
            found[name] = value
            continue
        at = found.setdefault(nested[1], {})
        *folders, last = re.findall(r"\[(\w+)\]", nested[2])
        for folder in folders:
            at = at.setdefault(folder, {})
        at[last] = value
    return found


def _begin(state: SandboxState, given: Mapping[str, Any]) -> dict[str, object]:
    if state.faults.hit("qr.not_offered"):
        raise _RefusedError(2)
    if state.faults.hit("qr.too_often"):
        raise _RefusedError(84)
    details = given.get("device_details") or {}
    platform = details.get("platform_type", given.get("platform_type", 0))
    device = details.get("device_friendly_name", given.get("device_friendly_name", ""))
    request_id = base64.b64encode(secrets.token_bytes(16)).decode()
    session = Session(_client_id(), request_id, int(platform), str(device))
    state.part(Phone).sessions.append(session)
    return {
        "client_id": str(session.client_id),
        "challenge_url": session.challenge,
        "request_id": session.request_id,
        "interval": state.part(Knobs).interval_s,
        "version": 1,
        "allowed_confirmations": [{"confirmation_type": 4}],
    }


def _poll(state: SandboxState, given: Mapping[str, Any]) -> dict[str, object]:
    struck = state.faults.hit
    session = state.part(Phone).find(str(given.get("client_id", "")))
    if session is None or session.request_id != given.get("request_id") or struck("qr.unknown"):
        raise _RefusedError(9)
    session.polls += 1
    if struck("qr.denied") or session.stage == "denied":
        raise _RefusedError(9)
    if struck("qr.expired"):
        raise _RefusedError(27)
    if struck("qr.busy"):
        raise _RefusedError(20)
    if struck("qr.server_error"):
        raise _BrokenError
    if struck("qr.agreement"):
        return {"agreement_session_url": "https://store.steampowered.com/agreement/1"}
    if struck("qr.rotated"):
        session.client_id, session.stage = _client_id(), "waiting"
        return {"new_client_id": str(session.client_id), "new_challenge_url": session.challenge}
    if session.stage == "approved":
        state.part(Phone).sessions.remove(session)
        refresh = _refresh_token(state, session.platform)
        access = "" if struck("qr.no_access_token") else _access_token(state, refresh)
        told = {"refresh_token": refresh, "access_token": access, "had_remote_interaction": True, "account_name": "robin_signs_in"}
        return {name: value for name, value in told.items() if value}
    return {"had_remote_interaction": True} if session.stage == "scanned" else {}


def _generate(state: SandboxState, given: Mapping[str, Any]) -> dict[str, object]:
    phone, knobs = state.part(Phone), state.part(Knobs)
    token = str(given.get("refresh_token", ""))
    platform = phone.refresh.get(token)
    if platform is None or str(given.get("steamid", "")) != state.world.steam_id:
        raise _RefusedError(5 if token.count(".") != 2 else 15)
    if platform != MOBILE_APP or state.faults.hit("steam.refresh_over"):
        raise _RefusedError(15)
    told: dict[str, object] = {}
    if knobs.rotates_refresh and str(given.get("renewal_type", "0")) == "1":
        del phone.refresh[token]
        token = told["refresh_token"] = _refresh_token(state, platform)
    return {"access_token": _access_token(state, token), **told}


_METHODS: dict[str, Method] = {
    "BeginAuthSessionViaQR": _begin,
    "PollAuthSessionStatus": _poll,
    "GenerateAccessTokenForApp": _generate,
}


def _client_id() -> int:
    return secrets.randbelow(2**63) + 2**62


def _refresh_token(state: SandboxState, platform: int) -> str:
    kind = {2: [], 1: ["client"], MOBILE_APP: ["mobile"]}.get(platform, [])
    token = _token(state, "steam", ["web", *kind, "renew", "derive"], state.part(Knobs).refresh_ttl_s, per=1)
    state.part(Phone).refresh[token] = platform
    return token


def _access_token(state: SandboxState, refresh_token: str) -> str:
    ttl_s = state.part(Knobs).access_ttl_s
    token = _token(state, f"r:{_payload(refresh_token)['jti']}", ["web", "mobile"], ttl_s, per=0, rt_exp=_payload(refresh_token)["exp"])
    state.part(Phone).access[token] = state.clock() + ttl_s
    return token


def _token(state: SandboxState, issuer: str, audience: list[str], ttl_s: int, **more: object) -> str:
    """It looks like Steam's: spaces in its JSON, and a signature that nobody outside can check."""
    now = int(state.clock())
    claims = {"iss": issuer, "sub": state.world.steam_id, "aud": audience, "exp": now + ttl_s, "nbf": now - 30, "iat": now}
    claims |= {"jti": f"{secrets.token_hex(2).upper()}_{state.secret(12).upper()}", "oat": now, **more}
    claims |= {"ip_subject": "192.0.2.7", "ip_confirmer": "192.0.2.8"}
    parts = (json.dumps({"typ": "JWT", "alg": "EdDSA"}).encode(), json.dumps(claims).encode(), secrets.token_bytes(64))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found
