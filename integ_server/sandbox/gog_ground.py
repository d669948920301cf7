"""What every part of the sandbox's GOG stands on: requests in one shape, its faults, its knobs, and who is signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from integ_server.sandbox import answers
from integ_server.sandbox.faults import register
from integ_server.sandbox.state import SandboxState

FAULTS = {
    "gog.expired_code": "the code is refused as if its minute were over: 400 invalid_grant",
    "gog.wrong_client": "the token endpoint knows no such client: 400 invalid_client",
    "gog.signed_out": "the sign-in was ended elsewhere: no token works, refreshing says invalid_grant",
    "gog.stale_token": "the access token is refused as if its hour were over; a refreshed one works once the fault is spent",
    "gog.rate_limited": "429 with an HTML page about a temporary block, without Retry-After",
    "gog.rate_limited_retry_after": "429 with that page and Retry-After: 120",
    "gog.down": "503 from every GOG host but the CDN",
    "gog.html": "200 with an HTML page where JSON belongs",
    "gog.cut_body": "the connection closes in the middle of the JSON",
    "gog.half_list": "the second page of a library list fails with 502 (pages become short, so that there is one)",
    "gog.no_owned_key": "user/data/games answers 200 without its list",
    "gog.repeating_token": "galaxy-library hands out the same next_page_token for ever",
    "gog.works_on_broken": "the account list says of every game that it runs nowhere",
    "gog.gamesdb_down": "GamesDB fails with 502 for every id",
    "gog.chunk_corrupt": "a chunk arrives with one bit turned over",
    "gog.chunk_404": "a chunk is missing on every endpoint",
    "gog.link_expired": "signed addresses have run out: 403 until a new one is asked for",
    "gog.plain_json_meta": "build metas and depot manifests come as plain JSON instead of zlib",
    "gog.hostile_path": "a depot, or a Linux installer, holds a file that climbs out with ..",
    "gog.hostile_absolute": "a depot, or a Linux installer, holds a file with an absolute path",
    "gog.hostile_link": "a depot, or a Linux installer, writes through a link that leads out of the game",
    "gog.xml_404": "the checksum file is missing",
    "gog.xml_malformed": "the checksum file breaks off",
    "gog.xml_mismatch": "the checksum file belongs to another file of the same size",
    "gog.range_off": "the CDN ignores Range and sends the whole file",
    "gog.html_installer": "a page about a temporary block, with 200, where the installer belongs",
    "gog.cut_download": "an installer's connection closes half way",
    "gog.gcdn": "installers lead to the other CDN, whose signature covers one exact address",
    "gog.redirected": "installers lead over one more redirect, by plain http, to another host",
    "gog.slow": "each chunk waits 50 ms, an installer comes in small pieces (ten seconds at most)",
    "gog.update_out": "a newer version of each game with builds or installers has come out",
}
for _name, _meaning in FAULTS.items():
    register(_name, _meaning)

CHUNK_WAIT_S = 0.05
NICOSIA = timezone(timedelta(hours=2))
"""The store's time zone; its summer time adds nothing to a stand-in."""


@dataclass
class Knobs:
    """What a test may set on `state.part(Knobs)`."""

    token_ttl_s: int = 3600
    code_ttl_s: int = 60
    rotate_refresh: bool = False
    embed_unauth: Literal["302", "html"] = "302"
    releases_page: int = 500
    products_page: int = 100
    link_ttl_s: int = 24 * 3600
    downlink_ttl_s: int = 6 * 3600


@dataclass
class Session:
    """One sign-in: it survives refreshes, and may have several access tokens."""

    session_id: str
    client_id: str
    user_id: str
    refresh_token: str


@dataclass
class Sessions:
    """Codes and tokens that are good now."""

    codes: dict[str, tuple[float, str]] = field(default_factory=dict, repr=False)
    """Code to when it runs out and the client it was made for."""
    refresh: dict[str, Session] = field(default_factory=dict, repr=False)
    access: dict[str, tuple[float, Session]] = field(default_factory=dict, repr=False)
    """Access token to when it runs out and its session."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read whole."""

    state: SandboxState
    method: str
    at: dict[str, str]
    """Path parameters."""
    path: str
    """The path after the host."""
    query: dict[str, str]
    headers: Headers
    body: bytes
    base: str
    """The sandbox's own address, ending in a slash."""

    @property
    def session(self) -> Session | None:
        """Who is signed in by this request's Bearer token; None for nobody, or for a stale token."""
        faults = self.state.faults
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        runs_out, session = self.state.part(Sessions).access.get(token, (0.0, None))
        if kind.lower() != "bearer" or session is None or runs_out <= self.state.clock():
            return None
        return None if faults.active("gog.signed_out") or faults.hit("gog.stale_token") else session

    @property
    def knobs(self) -> Knobs:
        return self.state.part(Knobs)


Handler = Callable[[Asked], Response]


def route(state: SandboxState, path: str, handler: Handler, *methods: str, cdn: bool = False) -> Route:
    """
    *handler* at *path* (`/HOST/...`); a verb that is not among *methods* (GET when none is named) is answered 405 by Starlette.

    With *cdn*, the troubles of GOG's own hosts do not touch it.
    """

    async def answer(request: Request) -> Response:
        asked = Asked(
            state=state,
            method=request.method,
            at={key: str(value) for key, value in request.path_params.items()},
            path="/" + str(request.scope["path"]).removeprefix("/").partition("/")[2],
            query=dict(parse_qsl(request.url.query, keep_blank_values=True)),
            headers=request.headers,
            body=await request.body(),
            base=str(request.base_url),
        )
        if cdn:
            if state.faults.hit("gog.slow"):
                await asyncio.sleep(CHUNK_WAIT_S)
            return handler(asked)
        told = trouble(state)
        if told is not None:
            return told
        answered = handler(asked)
        if answered.status_code == 200 and isinstance(answered, JSONResponse) and state.faults.hit("gog.cut_body"):
            return answers.Cut(bytes(answered.body))
        return answered

    return Route(path, answer, methods=list(methods or ("GET",)))


def trouble(state: SandboxState) -> Response | None:
    """What every host of GOG answers while it is down, throttles, or shows people a page."""
    struck = state.faults.hit
    if struck("gog.down"):
        return answers.html("Service Unavailable", "<p>We'll be back soon.</p>", 503)
    if struck("gog.rate_limited"):
        return blocked(429)
    if struck("gog.rate_limited_retry_after"):
        limited = blocked(429)
        limited.headers["retry-after"] = "120"
        return limited
    if struck("gog.html"):
        return answers.html("GOG.com", "<p>Something went wrong on our side.</p>")
    return None


def blocked(status: int) -> Response:
    return answers.html("Temporarily blocked", "<p>Your address sent too many requests and was blocked for a while.</p>", status)


def json(data: object, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(data, status, headers)


def access_denied() -> Response:
    """401 as content-system, gameplay and galaxy-library word it."""
    return json({"error": "access_denied", "error_description": "OAuth2 authentication required"}, 401)


def not_signed_in(asked: Asked) -> Response:
    """What embed and www answer instead of a 401."""
    if asked.knobs.embed_unauth == "html":
        return answers.html("GOG.com", "<p>Sign in to see your games.</p>")
    return RedirectResponse("https://www.gog.com/en##openlogin", 302)


def unless_changed(asked: Asked, answer: JSONResponse, etag: str) -> Response:
    """*answer* with its ETag; 304 with an empty body when the caller has it already."""
    if asked.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    answer.headers["etag"] = etag
    return answer


def offset_date(unix_s: float) -> str:
    """`2024-03-05T10:00:00+0200`: no colon in the offset."""
    return datetime.fromtimestamp(unix_s, NICOSIA).strftime("%Y-%m-%dT%H:%M:%S%z")


def utc_date(year: int, month: int, day: int) -> str:
    return datetime(year, month, day, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S%z")


def ids_in(text: str) -> Iterable[int]:
    return (int(one) for one in text.split(",") if one.strip().isdigit())
