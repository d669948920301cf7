"""Steam: keys and accounts, whole libraries or none, metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    PrivateProfileError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UsageError,
)
from integ_server.contract.types import DownloadRequest, SignInAnswer, SignInWay
from integ_server.providers._steam_ids import SteamAccount, read_account
from integ_server.providers.base import Credentials, GameMetadata, OwnedGame, ProviderConfig
from integ_server.providers.steam import Steam
from tests.server.providers.outside import through

KEY = "0123456789abcdef0123456789ABCDEF"
STEAMID = "76561198000000001"
LOGIN = Credentials(STEAMID, KEY)
BASE = 76561197960265728
Handler = Callable[[httpx.Request], httpx.Response]


def steam(handler: Handler | httpx.Response, config: ProviderConfig | None = None) -> Steam:
    given_handler = handler if callable(handler) else lambda _request: handler
    return Steam(httpx.AsyncClient(transport=httpx.MockTransport(given_handler)), config)


def app(appid: int, **more: Any) -> dict[str, Any]:
    return {"appid": appid, "name": f"Game {appid}", "playtime_forever": 0, **more}


async def library(response: Any) -> list[OwnedGame]:
    return [game async for game in steam(httpx.Response(200, json={"response": response})).owned_games(LOGIN)]


# --- accounts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "account"),
    [
        (STEAMID, SteamAccount(steamid=STEAMID)),
        (f"  {STEAMID}\n", SteamAccount(steamid=STEAMID)),
        (f'"{STEAMID}"', SteamAccount(steamid=STEAMID)),
        (f"https://steamcommunity.com/profiles/{STEAMID}", SteamAccount(steamid=STEAMID)),
        (f"https://steamcommunity.com/profiles/{STEAMID}/games/?tab=all", SteamAccount(steamid=STEAMID)),
        (f"http://www.steamcommunity.com/profiles/{STEAMID}/", SteamAccount(steamid=STEAMID)),
        ("https://steamcommunity.com/profiles/[U:1:39734273]", SteamAccount(steamid=STEAMID)),
        ("steamcommunity.com/id/ana-demo", SteamAccount(vanity="ana-demo")),
        ("https://steamcommunity.com/id/ana-demo/", SteamAccount(vanity="ana-demo")),
        ("https://SteamCommunity.com/id/ana-demo?l=german", SteamAccount(vanity="ana-demo")),
        ("ana_demo", SteamAccount(vanity="ana_demo")),
        ("12345", SteamAccount(vanity="12345")),
        ("[U:1:39734273]", SteamAccount(steamid=STEAMID)),
        ("u:1:39734273", SteamAccount(steamid=STEAMID)),
        ("STEAM_0:1:19867136", SteamAccount(steamid=STEAMID)),
        ("steam_1:1:19867136", SteamAccount(steamid=STEAMID)),
    ],
)
def test_an_account_is_read_in_each_of_its_spellings(text: str, account: SteamAccount) -> None:
    assert read_account(text) == account


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "ana demo",
        "x" * 33,
        "Anä",
        "12345678901234567",
        str(BASE),
        str(BASE + 2**32),
        "[U:1:0]",
        "[U:1:99999999999]",
        "[G:1:5]",
        "STEAM_0:2:5",
        "https://steamcommunity.com/",
        "https://steamcommunity.com/profiles/",
        "https://steamcommunity.com/profiles/ana",
        "https://steamcommunity.com/groups/valve",
        "https://steamcommunity.com.evil.example/id/ana",
        "https://evil.example/steamcommunity.com/id/ana",
        "ftp://steamcommunity.com/id/ana",
        "https://[steamcommunity.com/id/ana",
        "\u0667\u0666\u0665\u0666\u0661\u0661\u0669\u0668\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661",
    ],
)
def test_what_is_no_account_is_a_wrong_usage_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as told:
        read_account(text)
    assert told.value.hint


@given(st.integers(1, 2**32 - 1))
def test_every_account_number_has_one_steamid_in_all_spellings(number: int) -> None:
    steamid = str(BASE + number)
    for text in (steamid, f"[U:1:{number}]", f"STEAM_0:{number % 2}:{number // 2}", f"https://steamcommunity.com/profiles/{steamid}"):
        assert read_account(text) == SteamAccount(steamid=steamid)


@given(st.text(max_size=60))
def test_any_text_is_an_account_or_a_wrong_usage(text: str) -> None:
    try:
        found = read_account(text)
    except UsageError:
        return
    assert bool(found.steamid) != bool(found.vanity)


# --- a key ---------------------------------------------------------------------------------------------------------


async def test_a_key_and_a_profile_name_sign_in_and_show_the_name_steam_has(sandbox) -> None:  # type: ignore[no-untyped-def]
    async with through(sandbox.url) as http:
        for account in (sandbox.world.vanity, sandbox.world.steam_id, f"https://steamcommunity.com/id/{sandbox.world.vanity}/"):
            answer = SignInAnswer(way=SignInWay.API_KEY, api_key=f" {sandbox.world.steam_key}\n", account=account)
            signed_in = await Steam(http).sign_in(answer, return_to="")
            assert signed_in.credentials.account == sandbox.world.steam_id
            assert signed_in.credentials.secret == sandbox.world.steam_key
            assert signed_in.display_name == sandbox.world.persona


async def test_a_profile_name_that_nobody_has_is_told() -> None:
    handler = httpx.Response(200, json={"response": {"success": 42, "message": "No match"}})
    with pytest.raises(AuthenticationError, match="nobody-here"):
        await steam(handler).sign_in(SignInAnswer(way=SignInWay.API_KEY, api_key=KEY, account="nobody-here"), return_to="")


async def test_an_account_that_steam_does_not_know_is_told() -> None:
    with pytest.raises(AuthenticationError, match="no such account"):
        await steam(httpx.Response(200, json={"response": {"players": []}})).sign_in(
            SignInAnswer(way=SignInWay.API_KEY, api_key=KEY, account=STEAMID), return_to=""
        )


async def test_the_backends_own_key_serves_who_has_none() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"response": {"game_count": 0}})

    store = steam(handle, ProviderConfig(steam_api_key=KEY))
    assert [game async for game in store.owned_games(Credentials(STEAMID, ""))] == []
    assert asked[0].url.params["key"] == KEY


async def test_without_any_key_nothing_is_asked() -> None:
    with pytest.raises(AuthenticationError) as told:
        [game async for game in steam(httpx.Response(500)).owned_games(Credentials(STEAMID, ""))]
    assert "apikey" in told.value.hint


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, "<html>Access is denied. Retrying will not help. Please verify your <pre>key=</pre> parameter.</html>", AuthenticationError),
        (403, "", AuthenticationError),
        (401, "<html><title>Unauthorized</title></html>", AuthenticationError),
        (400, "<html>Required parameter 'key' is missing</html>", AuthenticationError),
        (400, "<html>Required parameter 'steamid' is missing</html>".replace("key", ""), ProviderError),
        (404, "<html>Method 'X' not found in interface 'Y'</html>", ProviderError),
        (403, '{"playerstats":{"error":"Profile is not public","success":false}}', IntegError),
    ],
)
async def test_a_wrong_key_is_told_from_other_refusals(status: int, body: str, kind: type[IntegError]) -> None:
    with pytest.raises(kind) as told:
        [game async for game in steam(httpx.Response(status, text=body)).owned_games(LOGIN)]
    assert isinstance(told.value, AuthenticationError) is (kind is AuthenticationError)


# --- the library ---------------------------------------------------------------------------------------------------


async def test_everything_is_asked_for() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"response": {"game_count": 0}})

    [game async for game in steam(handle).owned_games(LOGIN)]
    params = dict(asked[0].url.params)
    assert asked[0].url.path == "/IPlayerService/GetOwnedGames/v1/"
    assert params["steamid"] == STEAMID
    assert params["skip_unvetted_apps"] == "0"
    assert all(params[name] == "1" for name in ("include_appinfo", "include_played_free_games", "include_free_sub"))


async def test_a_game_has_its_offline_minutes_and_the_moment_it_was_last_played() -> None:
    (game,) = await library(
        {"game_count": 1, "games": [app(620, playtime_forever=100, playtime_disconnected=5, rtime_last_played=1_793_000_000)]}
    )
    assert game == OwnedGame("620", "Game 620", playtime_min=105, last_played_at=datetime.fromtimestamp(1_793_000_000, UTC))


@pytest.mark.parametrize("moment", [0, 86_400, None, -5, 10**14, "soon"])
async def test_an_unknown_moment_is_none(moment: object) -> None:
    (game,) = await library({"game_count": 1, "games": [app(620, rtime_last_played=moment)]})
    assert game.last_played_at is None


@pytest.mark.parametrize("minutes", [None, -3, "x", float(2**80)])
async def test_an_odd_number_of_minutes_does_not_cost_the_library(minutes: object) -> None:
    (game,) = await library({"game_count": 1, "games": [app(620, playtime_forever=minutes)]})
    assert 0 <= game.playtime_min <= 2**53


async def test_a_title_is_one_plain_line() -> None:
    (game,) = await library({"game_count": 1, "games": [app(620, name=" Tom &amp; Jerry\x1b[31m\n\u202e II ")]})
    assert game.title == "Tom & Jerry[31m II"


async def test_a_hidden_library_is_no_empty_one() -> None:
    with pytest.raises(PrivateProfileError) as told:
        await library({})
    assert "Privacy" in told.value.hint


async def test_a_library_is_empty_only_when_steam_says_so() -> None:
    assert await library({"game_count": 0}) == []
    assert await library({"game_count": 0, "games": []}) == []


@pytest.mark.parametrize(
    "half",
    [
        {"game_count": 3, "games": [app(1), app(2)]},
        {"game_count": 1, "games": [app(1), app(2)]},
        {"game_count": 5},
        {"game_count": 5, "games": []},
        {"games": [app(1)]},
        {"games": []},
        {"game_count": 1, "games": [{"name": "no id"}]},
        {"game_count": 1, "games": [app(-1)]},
        {"game_count": 1, "games": [app(2**40)]},
        {"game_count": 1, "games": {"0": app(1)}},
        {"game_count": "many", "games": [app(1)]},
    ],
    ids=lambda half: json.dumps(half)[:50],
)
async def test_half_a_library_is_none(half: dict[str, Any]) -> None:
    with pytest.raises(ProviderError):
        await library(half)


async def test_a_game_that_comes_twice_counts_once_with_its_longer_play_time() -> None:
    twice = [app(1, playtime_forever=50), app(1), app(2)]
    for count in (2, 3):
        found = {game.provider_game_id: game.playtime_min for game in await library({"game_count": count, "games": twice})}
        assert found == {"1": 50, "2": 0}


async def test_fifty_thousand_games_are_read() -> None:
    assert len(await library({"game_count": 50_000, "games": [app(number) for number in range(1, 50_001)]})) == 50_000


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("steam.private_profile", PrivateProfileError),
        ("steam.wrong_key", AuthenticationError),
        ("steam.unauthorized", AuthenticationError),
        ("steam.rate_limited", RateLimitedError),
        ("steam.rate_limited_date", RateLimitedError),
        ("steam.down", ProviderUnavailableError),
        ("steam.html", ProviderUnavailableError),
        ("steam.cut_body", ProviderUnavailableError),
        ("steam.half_list", ProviderError),
    ],
)
async def test_what_steams_stand_in_can_get_wrong_is_told(sandbox, fault: str, kind: type[IntegError]) -> None:  # type: ignore[no-untyped-def]
    sandbox.faults.on(fault)
    async with through(sandbox.url) as http:
        with pytest.raises(kind) as told:
            # the private profile hides its games from everybody's key but its owner's
            login = Credentials(sandbox.world.steam_id, sandbox.world.steam_key)
            [game async for game in Steam(http).owned_games(login)]
    assert type(told.value) is kind


async def test_the_stand_ins_whole_library_is_read(sandbox) -> None:  # type: ignore[no-untyped-def]
    async with through(sandbox.url) as http:
        store = Steam(http)
        games = {game.provider_game_id async for game in store.owned_games(Credentials(sandbox.world.steam_id, sandbox.world.steam_key))}
    owned = {str(each.appid) for each in sandbox.world.owned_steam}
    assert games
    assert games <= owned


# --- metadata ------------------------------------------------------------------------------------------------------


def item(appid: int, **more: Any) -> dict[str, Any]:
    return {"item_type": 0, "id": appid, "success": 1, "appid": appid, "type": 0, "name": f"Game {appid}", **more}


async def described(*items: dict[str, Any], ids: tuple[str, ...] = ("620",)) -> dict[str, GameMetadata]:
    answer = httpx.Response(200, json={"response": {"store_items": list(items)}})
    return {each.provider_game_id: each for each in await steam(answer).metadata(ids)}


async def test_metadata_is_plain_and_complete() -> None:
    shown = item(
        620,
        name="Lantern Keep™",
        basic_info={
            "short_description": "Keep the light &amp; the <b>sea</b>.<br>Now.",
            "publishers": [{"name": "Pier Nine"}],
            "developers": [{"name": "Quay"}],
        },
        assets={"asset_url_format": "steam/apps/620/${FILENAME}?t=179", "library_capsule": "0bff/library_600x900.jpg"},
        release={"steam_release_date": 1_700_000_000, "original_release_date": 1_600_000_000},
        platforms={"windows": True, "steamos_linux": True},
    )
    found = (await described(shown))["620"]
    assert (found.title, found.kind, found.year, found.platforms) == ("Lantern Keep™", "game", 2020, ("linux", "windows"))
    assert found.details is not None
    assert found.details.description == "Keep the light & the sea.\nNow."
    assert found.details.developers == ["Quay"]
    assert found.details.publishers == ["Pier Nine"]
    assert found.details.release_date == "2023-11-14"
    assert (
        found.details.cover_url == "https://shared.akamai.steamstatic.com/store_item_assets/steam/apps/620/0bff/library_600x900.jpg?t=179"
    )


async def test_what_the_store_does_not_show_is_found_to_be_nothing() -> None:
    found = await described(item(620, success=15), ids=("620", "70"))
    assert not found["620"].found
    assert "70" not in found


@pytest.mark.parametrize(
    ("kind", "name"), [(0, "game"), (1, "game"), (2, "game"), (4, "dlc"), (6, "tool"), (11, "tool"), (13, "tool"), (99, "game")]
)
async def test_a_kind_is_told(kind: int, name: str) -> None:
    found = (await described(item(620, type=kind, related_items={"parent_appid": 600})))["620"]
    assert found.kind == name
    assert found.parent_id == ("600" if name == "dlc" else None)


async def test_an_item_that_was_not_asked_for_is_passed_over() -> None:
    assert set(await described(item(999), item(620))) == {"620"}


@pytest.mark.parametrize("name", ["../../evil.jpg", "a b.jpg", "x\n.jpg", "https://evil.example/x.jpg", ""])
async def test_a_cover_that_would_lead_elsewhere_is_none(name: str) -> None:
    shown = item(620, assets={"asset_url_format": "steam/apps/620/${FILENAME}", "library_capsule": name})
    found = (await described(shown))["620"]
    assert found.details is not None
    assert found.details.cover_url is None


async def test_many_ids_are_asked_fifty_at_a_time() -> None:
    sizes: list[int] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.url.params["input_json"])
        assert asked["context"]["country_code"]
        assert "key" not in request.url.params
        sizes.append(len(asked["ids"]))
        return httpx.Response(200, json={"response": {"store_items": [item(each["appid"]) for each in asked["ids"]]}})

    found = await steam(handle).metadata([str(number) for number in range(1, 121)])
    assert sizes == [50, 50, 20]
    assert len(found) == 120


async def test_a_blocked_address_is_no_refused_sign_in() -> None:
    for status in (401, 403):
        with pytest.raises(ProviderUnavailableError):
            await steam(httpx.Response(status, text="<html>")).metadata(["620"])


async def test_steams_own_client_downloads() -> None:
    plan = await steam(httpx.Response(500)).download_plan(LOGIN, "620", DownloadRequest())
    assert (plan.key, plan.kind, plan.steam_url) == ("steam:620", "steam_client", "steam://install/620")
