"""Achievements at the wire: Steam's three answers, GOG's one, and everything that may be missing in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from integ_server.contract.errors import (
    AuthenticationError,
    GameNotFoundError,
    PrivateProfileError,
    ProviderError,
    ProviderUnavailableError,
)
from integ_server.providers.base import Credentials, ProviderConfig, ReadsAchievements
from integ_server.providers.gog import Gog
from integ_server.providers.steam import Steam
from tests.conftest_sandbox import RunningSandbox
from tests.server.providers.outside import over, through

KEY = "0123456789abcdef0123456789ABCDEF"
STEAMID = "76561198000000001"
EARNED = [
    {"apiname": "FIRST", "achieved": 1, "unlocktime": 1_791_111_111, "name": "First Light", "description": "Light one"},
    {"apiname": "EARLY", "achieved": 1, "unlocktime": 0},
    {"apiname": "ALL", "achieved": 0, "unlocktime": 0, "name": "All Light", "description": ""},
]
SCHEMA = [
    {"name": "FIRST", "displayName": "First Light!", "hidden": 0, "description": "Light a lantern", "icon": "https://cdn.example/a.jpg"},
    {"name": "ALL", "displayName": "All Light", "hidden": 1, "icon": "https://cdn.example/b.jpg", "icongray": "javascript:alert(1)"},
]


def steam(earned: httpx.Response, schema: Any = None, shares: Any = None) -> Steam:
    def answer(request: httpx.Request) -> httpx.Response:
        if "GetPlayerAchievements" in request.url.path:
            return earned
        if "GetSchemaForGame" in request.url.path:
            return schema if isinstance(schema, httpx.Response) else httpx.Response(200, json=schema or {"game": {}})
        return shares if isinstance(shares, httpx.Response) else httpx.Response(200, json=shares or {})

    return Steam(over(answer), ProviderConfig())


def stats(**more: Any) -> httpx.Response:
    return httpx.Response(200, json={"playerstats": {"steamID": STEAMID, "gameName": "x", "success": True, **more}})


LOGIN = Credentials(STEAMID, KEY)


async def test_steams_three_answers_become_one_list() -> None:
    schema = {"game": {"gameName": "ValveTestApp1", "availableGameStats": {"achievements": SCHEMA}}}
    shares = {"achievementpercentages": {"achievements": [{"name": "FIRST", "percent": "81.44"}, {"name": "ALL", "percent": 3.0}]}}
    first, early, last = await steam(stats(achievements=EARNED), schema, shares).achievements(LOGIN, "70001")
    assert (first.name, first.description, first.rarity_percent) == ("First Light!", "Light a lantern", 81.4)
    assert first.unlocked_at == datetime.fromtimestamp(1_791_111_111, UTC) and first.icon_url == "https://cdn.example/a.jpg"
    assert (early.name, early.unlocked, early.unlocked_at, early.rarity_percent) == ("EARLY", True, None, None)
    assert (last.name, last.unlocked, last.hidden, last.rarity_percent) == ("All Light", False, True, 3.0)
    assert last.icon_url is None, "an address that is none is not handed on"


@pytest.mark.parametrize("broken", [httpx.Response(403, json={}), httpx.Response(200, text="<html>"), httpx.Response(503)])
async def test_without_schema_and_shares_the_list_stands_all_the_same(broken: httpx.Response) -> None:
    found = await steam(stats(achievements=EARNED), broken, broken).achievements(LOGIN, "70001")
    assert [(each.name, each.unlocked) for each in found] == [("First Light", True), ("EARLY", True), ("All Light", False)]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, json={"playerstats": {"error": "Requested app has no stats", "success": False}}),
        stats(),
        stats(achievements=[]),
    ],
)
async def test_a_steam_game_without_achievements_has_an_empty_list(answer: httpx.Response) -> None:
    assert await steam(answer).achievements(LOGIN, "70001") == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(403, json={"playerstats": {"error": "Profile is not public", "success": False}}), PrivateProfileError),
        (httpx.Response(403, text="<html>verify your key=</html>"), AuthenticationError),
        (httpx.Response(401, text="<html>Unauthorized</html>"), AuthenticationError),
        (httpx.Response(200, text="<html>maintenance</html>"), ProviderUnavailableError),
        (httpx.Response(200, json={"playerstats": []}), ProviderError),
        (httpx.Response(503, text="down"), ProviderUnavailableError),
    ],
)
async def test_what_else_steam_says_is_told_as_what_it_is(answer: httpx.Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        await steam(answer).achievements(LOGIN, "70001")


async def test_an_id_that_is_none_asks_nobody() -> None:
    with pytest.raises(GameNotFoundError):
        await steam(stats()).achievements(LOGIN, "../1")
    with pytest.raises(GameNotFoundError):
        await Gog(over(lambda _request: httpx.Response(500))).achievements(Credentials("1", "r", "a"), "x/../y")


def gog_item(number: int, **more: Any) -> dict[str, Any]:
    return {"achievement_id": str(number), "achievement_key": f"A{number}", "visible": True, "name": f"Name {number}", **more}


async def test_gogs_pages_become_one_list() -> None:
    pages = {
        "": {"items": [gog_item(1, date_unlocked="2024-03-05T10:00:00+0000", rarity=41.25)], "next_page_token": "2"},
        "2": {"items": [gog_item(2, visible=False, date_unlocked=None, rarity="odd", image_url_locked="https://images.gog.com/l.jpg")]},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer access"
        assert request.url.path == "/clients/1900000101/users/48/achievements"
        return httpx.Response(200, json=pages[request.url.params.get("page_token", "")])

    one, two = await Gog(over(answer)).achievements(Credentials("48", "refresh", "access"), "1900000101")
    assert (one.id, one.unlocked_at, one.rarity_percent) == ("A1", datetime(2024, 3, 5, 10, tzinfo=UTC), 41.2)
    assert (two.id, two.unlocked, two.hidden, two.rarity_percent, two.icon_url) == ("A2", False, True, None, "https://images.gog.com/l.jpg")


async def test_a_gog_list_without_an_end_is_refused_and_a_missing_one_is_empty() -> None:
    login = Credentials("48", "refresh", "access")
    turn = iter(range(10_000))
    endless = Gog(over(lambda _request: httpx.Response(200, json={"items": [], "next_page_token": str(next(turn))})))
    with pytest.raises(ProviderError, match="without an end"):
        await endless.achievements(login, "1")
    assert await Gog(over(lambda _request: httpx.Response(404, json={"error": "not_found"}))).achievements(login, "1") == []
    with pytest.raises(AuthenticationError):
        await Gog(over(lambda _request: httpx.Response(401, json={"error": "access_denied"}))).achievements(login, "1")


async def test_the_sandboxs_steam_tells_of_the_players_achievements(sandbox: RunningSandbox) -> None:
    game = next(app for app in sandbox.world.owned_steam if app.achievements > 0)
    async with through(sandbox.url) as http:
        store = Steam(http, ProviderConfig())
        assert isinstance(store, ReadsAchievements)
        login = Credentials(sandbox.world.steam_id, sandbox.world.steam_key)
        found = await store.achievements(login, str(game.appid))
        assert len(found) == game.achievements and any(each.unlocked for each in found) and any(each.hidden for each in found)
        assert all(each.rarity_percent is not None and each.icon_url for each in found)
        without = next(app for app in sandbox.world.owned_steam if app.achievements == -1)
        assert await store.achievements(login, str(without.appid)) == []
        sandbox.faults.on("steam.private_profile")
        with pytest.raises(PrivateProfileError):
            await store.achievements(login, str(game.appid))
