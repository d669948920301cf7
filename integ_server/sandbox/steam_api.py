"""api.steampowered.com: keys and their HTML refusals, the player's library, users and achievements."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integ_server.sandbox import steam_auth, steam_player, store
from integ_server.sandbox.answers import Cut, html, http_date, too_many
from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.steam_player import MissingParameterError

_VERSION = re.compile(r"v0*([1-9][0-9]*)")
_JSON = "application/json; charset=UTF-8"

Answer = Callable[[SandboxState, Mapping[str, Any], bool], tuple[int, object]]
"""(state, parameters, whether the key or token is the player's own) -> status and JSON value."""


@dataclass(frozen=True, slots=True)
class _Method:
    answer: Answer
    needs_key: bool = True


_METHODS: dict[tuple[str, str, int], _Method] = {
    ("ISteamUser", "ResolveVanityURL", 1): _Method(steam_player.resolve_vanity),
    ("ISteamUser", "GetPlayerSummaries", 2): _Method(steam_player.summaries),
    ("IPlayerService", "GetOwnedGames", 1): _Method(steam_player.owned_games),
    ("IPlayerService", "GetRecentlyPlayedGames", 1): _Method(steam_player.recently_played),
    ("ISteamUserStats", "GetPlayerAchievements", 1): _Method(steam_player.achievements),
    ("ISteamUserStats", "GetSchemaForGame", 2): _Method(steam_player.achievement_schema),
    ("ISteamUserStats", "GetGlobalAchievementPercentagesForApp", 2): _Method(steam_player.achievement_shares, needs_key=False),
    ("IStoreBrowseService", "GetItems", 1): _Method(store.items, needs_key=False),
    ("IStoreService", "GetTagList", 1): _Method(store.tag_list, needs_key=False),
    ("IStoreService", "GetAppList", 1): _Method(store.app_list),
}


def routes(state: SandboxState) -> list[Route]:
    async def call(request: Request) -> Response:
        pairs = parse_qsl(request.url.query, keep_blank_values=True)
        if request.method == "POST":
            pairs += parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        at = request.path_params
        return _answer(state, at["interface"], at["method"], at["version"], dict(pairs))

    path = "/api.steampowered.com/{interface}/{method}/{version}"
    return [Route(path, call, methods=["GET", "POST"]), Route(path + "/", call, methods=["GET", "POST"])]


def trouble(state: SandboxState) -> Response | None:
    """What every host of Steam answers while it is down, throttles, or shows people a page."""
    struck = state.faults.hit
    if struck("steam.down"):
        return html("Service Unavailable", "<p>Steam is down.</p>", 503, claims=_JSON)
    if struck("steam.html"):
        return html("Steam Maintenance", "<p>Steam is currently down for maintenance.</p>")
    if struck("steam.rate_limited"):
        return too_many(state, "1")
    if struck("steam.rate_limited_date"):
        return too_many(state, http_date(state.clock() + 2))
    if struck("steam.rate_limited_silent"):
        return too_many(state, None)
    return None


def _answer(state: SandboxState, interface: str, name: str, version: str, given: dict[str, str]) -> Response:
    if (down := trouble(state)) is not None:
        return down
    number = _VERSION.fullmatch(version)
    method = _METHODS.get((interface, name, int(number.group(1)))) if number else None
    if method is None:
        return html("Not Found", f"<p>Method '{_plain(name)}' not found in interface '{_plain(interface)}'</p>", 404)
    refusal, own_key = _check_key(state, interface, given) if method.needs_key else (None, False)
    if refusal is not None:
        return refusal
    try:
        status, value = method.answer(state, _parameters(interface, given), own_key)
    except MissingParameterError as missing:
        return html("Bad Request", f"<p>Please verify that all required parameters are being sent: '{missing}'</p>", 400)
    body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if state.faults.hit("steam.cut_body"):
        return Cut(body, media_type=_JSON)
    return Response(body, status, {"x-eresult": "1"} if interface.endswith("Service") else None, media_type=_JSON)


def _check_key(state: SandboxState, interface: str, given: dict[str, str]) -> tuple[Response | None, bool]:
    """The refusal, if any, and whether the key or the token is the player's own."""
    own = given.get("key") == state.world.steam_own_key
    unauthorized = html(
        "Unauthorized", "<p>Access is denied. Retrying will not help. Please verify your <pre>key=</pre> parameter.</p>", 401
    )
    if "access_token" in given and "key" not in given and steam_auth.takes(state, given["access_token"], interface):
        return None, True
    if "access_token" in given or state.faults.hit("steam.unauthorized"):
        return unauthorized, own
    if not given.get("key"):
        return html("Bad Request", "<p>Required parameter 'key' is missing</p>", 400), own
    if state.faults.hit("steam.wrong_key") or given["key"] not in (state.world.steam_key, state.world.steam_own_key):
        text = "<p>Access is denied. Retrying will not help. Please verify your <pre>key=</pre> parameter.</p>"
        return html("Forbidden", text, 403), own
    return None, own


def _parameters(interface: str, given: dict[str, str]) -> dict[str, Any]:
    """`input_json`, where a service was given one, holds all parameters; whatever stands beside it is ignored."""
    if not interface.endswith("Service") or "input_json" not in given:
        return dict(given)
    try:
        inside = json.loads(given["input_json"])
    except ValueError:
        raise MissingParameterError("input_json") from None
    if not isinstance(inside, dict):
        raise MissingParameterError("input_json")
    return inside


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "", text)
