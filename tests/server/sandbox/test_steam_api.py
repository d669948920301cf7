from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from integ_server.sandbox.app import create_sandbox
from integ_server.sandbox.serve import serve
from integ_server.sandbox.world import PLAYED_SOMETIME, make_world
from tests.conftest_sandbox import RunningSandbox

API = "https://api.steampowered.com"
OWNED = "IPlayerService/GetOwnedGames/v1"


async def get(sandbox: RunningSandbox, method: str, **parameters: object) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(sandbox.at(f"{API}/{method}/"), params={name: str(value) for name, value in parameters.items()})


async def owned(sandbox: RunningSandbox, **parameters: object) -> Any:
    given = {"key": sandbox.world.steam_key, "steamid": sandbox.world.steam_id, **parameters}
    answer = await get(sandbox, OWNED, **given)
    assert answer.status_code == 200, answer.text
    return answer.json()["response"]


EVERYTHING = {"include_appinfo": 1, "include_played_free_games": 1, "include_free_sub": 1, "skip_unvetted_apps": "false"}


# --- keys and failures ---------------------------------------------------------------------------------------------


async def test_a_missing_key_is_a_400_page(sandbox: RunningSandbox) -> None:
    answer = await get(sandbox, OWNED, steamid=sandbox.world.steam_id)
    assert answer.status_code == 400 and "<html" in answer.text and "'key'" in answer.text


@pytest.mark.parametrize("key", ["0" * 32, "x", "' or 1=1"])
async def test_a_wrong_key_is_a_403_page_that_talks_of_the_key(sandbox: RunningSandbox, key: str) -> None:
    answer = await get(sandbox, OWNED, key=key, steamid=sandbox.world.steam_id)
    assert answer.status_code == 403 and "verify your" in answer.text and answer.headers["content-type"].startswith("text/html")


async def test_a_token_that_nobody_issued_is_a_401_page(sandbox: RunningSandbox) -> None:
    answer = await get(sandbox, OWNED, access_token="eyA", steamid=sandbox.world.steam_id)
    assert answer.status_code == 401 and "<html" in answer.text


async def test_a_missing_or_malformed_parameter_is_a_400_page(sandbox: RunningSandbox) -> None:
    for parameters in ({}, {"steamid": "robin"}, {"steamid": "²"}):
        answer = await get(sandbox, OWNED, key=sandbox.world.steam_key, **parameters)
        assert answer.status_code == 400 and "<html" in answer.text


@pytest.mark.parametrize(
    "method", ["IPlayerService/GetLost/v1", "ISteamApps/GetAppList/v2", "ISteamApps/GetAppList/v1", f"{OWNED[:-1]}9", f"{OWNED[:-2]}one"]
)
async def test_what_steam_does_not_have_is_a_404_page_that_names_it(sandbox: RunningSandbox, method: str) -> None:
    answer = await get(sandbox, method, key=sandbox.world.steam_key)
    interface, name, _ = method.split("/")
    assert answer.status_code == 404 and f"Method '{name}' not found in interface '{interface}'" in answer.text


async def test_a_404_page_repeats_no_markup_of_the_caller(sandbox: RunningSandbox) -> None:
    answer = await get(sandbox, "IPlayerService/<script>/v1", key=sandbox.world.steam_key)
    assert answer.status_code == 404 and "<script>" not in answer.text


async def test_versions_are_numbers_however_many_zeros_they_have(sandbox: RunningSandbox) -> None:
    for version in ("v1", "v0001"):
        for end in ("", "/"):
            async with httpx.AsyncClient() as http:
                address = sandbox.at(f"{API}/IPlayerService/GetOwnedGames/{version}{end}")
                answer = await http.get(address, params={"key": sandbox.world.steam_key, "steamid": sandbox.world.steam_id})
            assert answer.json()["response"]["game_count"]


@pytest.mark.parametrize(("fault", "status"), [("steam.wrong_key", 403), ("steam.unauthorized", 401)])
async def test_a_good_key_can_be_refused_too(sandbox: RunningSandbox, fault: str, status: int) -> None:
    sandbox.faults.on(fault)
    answer = await get(sandbox, OWNED, key=sandbox.world.steam_key, steamid=sandbox.world.steam_id)
    assert answer.status_code == status and "<html" in answer.text


async def test_a_pause_is_asked_for_in_seconds_as_a_date_or_without_a_word(sandbox: RunningSandbox) -> None:
    said = []
    for fault in ("steam.rate_limited", "steam.rate_limited_date", "steam.rate_limited_silent"):
        sandbox.faults.on(fault, times=1)
        answer = await get(sandbox, OWNED, key=sandbox.world.steam_key, steamid=sandbox.world.steam_id)
        assert answer.status_code == 429
        said.append(answer.headers.get("retry-after"))
    assert said[0] == "1" and parsedate_to_datetime(said[1] or "") and said[2] is None


async def test_steam_that_is_down_claims_json_and_sends_a_page(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.down")
    answer = await get(sandbox, OWNED, key=sandbox.world.steam_key, steamid=sandbox.world.steam_id)
    assert answer.status_code == 503 and answer.headers["content-type"].startswith("application/json") and "<html" in answer.text


async def test_a_page_with_200_can_stand_where_json_belongs(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.html")
    answer = await get(sandbox, OWNED, key=sandbox.world.steam_key, steamid=sandbox.world.steam_id)
    assert answer.status_code == 200 and "<html" in answer.text


async def test_a_cut_body_ends_before_the_announced_length_and_the_next_one_is_whole(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.cut_body", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await owned(sandbox)
    assert (await owned(sandbox))["game_count"]


# --- the library ---------------------------------------------------------------------------------------------------


async def test_the_whole_library_is_listed_when_everything_is_asked_for(sandbox: RunningSandbox) -> None:
    library = await owned(sandbox, **EVERYTHING)
    assert library["game_count"] == len(library["games"]) == len(sandbox.world.owned_steam)
    assert {game["appid"] for game in library["games"]} == {app.appid for app in sandbox.world.owned_steam}


async def test_names_and_icons_come_only_when_asked_for(sandbox: RunningSandbox) -> None:
    bare, named = await owned(sandbox), await owned(sandbox, include_appinfo="true")
    assert not any("name" in game or "img_icon_url" in game for game in bare["games"])
    assert all("name" in game and "img_icon_url" in game for game in named["games"])
    assert "sort_as" not in named["games"][0]
    extended = await owned(sandbox, include_appinfo=1, include_extended_appinfo=1)
    assert {"capsule_filename", "sort_as", "has_dlc"} <= extended["games"][0].keys()
    assert "sort_as" not in (await owned(sandbox, include_extended_appinfo=1))["games"][0]


async def test_played_free_games_and_unvetted_ones_are_hidden_by_default(sandbox: RunningSandbox) -> None:
    free = {app.appid for app in sandbox.world.owned_steam if app.free}
    unvetted = {app.appid for app in sandbox.world.owned_steam if app.unvetted}
    listed = {game["appid"] for game in (await owned(sandbox))["games"]}
    assert free and unvetted and not listed & (free | unvetted)
    assert free <= {game["appid"] for game in (await owned(sandbox, include_played_free_games=1))["games"]}
    assert unvetted <= {game["appid"] for game in (await owned(sandbox, skip_unvetted_apps="0"))["games"]}


async def test_dlc_and_what_is_not_owned_are_never_listed(sandbox: RunningSandbox) -> None:
    listed = {game["appid"] for game in (await owned(sandbox, **EVERYTHING))["games"]}
    others = {title.steam.appid for title in sandbox.world.titles if title.steam and (title.steam.kind == "dlc" or not title.steam.owned)}
    assert others and not listed & others


async def test_times_are_minutes_and_what_is_empty_is_left_out(sandbox: RunningSandbox) -> None:
    games = {game["appid"]: game for game in (await owned(sandbox, **EVERYTHING))["games"]}
    played, never = games[90_000_010], games[90_000_020]
    assert (played["playtime_forever"], played["playtime_2weeks"], played["playtime_linux_forever"]) == (754, 31, 654)
    assert (
        played["playtime_windows_forever"] == 100 and played["playtime_deck_forever"] == 212 and played["content_descriptorids"] == [2, 5]
    )
    assert never["playtime_forever"] == never["rtime_last_played"] == 0
    assert not {"playtime_2weeks", "content_descriptorids"} & never.keys()
    assert games[90_000_040]["rtime_last_played"] == PLAYED_SOMETIME
    assert games[90_000_100]["playtime_disconnected"] == 3


async def test_a_filter_works_indexed_or_as_json_and_is_ignored_as_a_plain_list(sandbox: RunningSandbox) -> None:
    everything = (await owned(sandbox))["game_count"]
    assert (await owned(sandbox, **{"appids_filter[0]": 90_000_010, "appids_filter[1]": 90_000_020}))["game_count"] == 2
    assert (await owned(sandbox, appids_filter="90000010"))["game_count"] == everything
    inside = json.dumps({"steamid": sandbox.world.steam_id, "appids_filter": [90_000_010]})
    answer = await get(sandbox, OWNED, key=sandbox.world.steam_key, input_json=inside)
    assert answer.json()["response"]["game_count"] == 1


async def test_with_input_json_parameters_beside_it_do_not_count(sandbox: RunningSandbox) -> None:
    for inside in ("{}", "[]", "{", '"x"'):
        answer = await get(sandbox, OWNED, key=sandbox.world.steam_key, steamid=sandbox.world.steam_id, input_json=inside)
        assert answer.status_code == 400


async def test_parameters_may_be_posted(sandbox: RunningSandbox) -> None:
    async with httpx.AsyncClient() as http:
        address = sandbox.at(f"{API}/{OWNED}/")
        answer = await http.post(address, data={"key": sandbox.world.steam_key, "steamid": sandbox.world.steam_id})
    assert answer.json()["response"]["game_count"]


async def test_private_empty_and_full_are_three_different_answers(sandbox: RunningSandbox) -> None:
    full = await owned(sandbox)
    sandbox.faults.on("steam.private_profile", times=1)
    private = await owned(sandbox)
    sandbox.faults.on("steam.empty_library", times=1)
    empty = await owned(sandbox)
    assert full["games"] and private == {} and empty == {"game_count": 0}


async def test_the_players_own_key_sees_a_private_library(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.private_profile")
    assert await owned(sandbox) == {}
    assert (await owned(sandbox, key=sandbox.world.steam_own_key))["games"]


async def test_somebody_elses_library_is_private(sandbox: RunningSandbox) -> None:
    assert await owned(sandbox, steamid="76561198000000001") == {}


async def test_half_a_list_announces_more_than_it_holds(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.half_list")
    library = await owned(sandbox)
    assert 0 < len(library["games"]) < library["game_count"]


async def test_five_thousand_games_are_one_answer() -> None:
    large = create_sandbox(make_world("large"))
    with serve(large) as url:
        library = await owned(RunningSandbox(url, large), **EVERYTHING)
    assert library["game_count"] == len(library["games"]) == 5_000


async def test_lately_played_games_come_most_played_first(sandbox: RunningSandbox) -> None:
    given = {"key": sandbox.world.steam_key, "steamid": sandbox.world.steam_id}
    lately = (await get(sandbox, "IPlayerService/GetRecentlyPlayedGames/v1", **given)).json()["response"]
    assert lately["total_count"] == 2 and [game["playtime_2weeks"] for game in lately["games"]] == [31, 12]
    one = (await get(sandbox, "IPlayerService/GetRecentlyPlayedGames/v1", count=1, **given)).json()["response"]
    assert one["total_count"] == 2 and len(one["games"]) == 1
    sandbox.faults.on("steam.private_profile")
    assert (await get(sandbox, "IPlayerService/GetRecentlyPlayedGames/v1", **given)).json() == {"response": {}}


# --- users ---------------------------------------------------------------------------------------------------------


async def test_a_vanity_name_is_resolved_and_an_unknown_one_is_a_42_with_200(sandbox: RunningSandbox) -> None:
    key = sandbox.world.steam_key
    found = await get(sandbox, "ISteamUser/ResolveVanityURL/v1", key=key, vanityurl=sandbox.world.vanity.upper())
    assert found.json() == {"response": {"steamid": sandbox.world.steam_id, "success": 1}}
    for other in ({"vanityurl": "nobody-here"}, {"vanityurl": sandbox.world.vanity, "url_type": 2}):
        answer = await get(sandbox, "ISteamUser/ResolveVanityURL/v0001", key=key, **other)
        assert answer.status_code == 200 and answer.json() == {"response": {"success": 42, "message": "No match"}}
    assert (await get(sandbox, "ISteamUser/ResolveVanityURL/v1", key=key)).status_code == 400


async def test_unknown_players_are_missing_from_the_summaries(sandbox: RunningSandbox) -> None:
    asked = f"76561198000000001,{sandbox.world.steam_id}"
    players = (await get(sandbox, "ISteamUser/GetPlayerSummaries/v2", key=sandbox.world.steam_key, steamids=asked)).json()["response"][
        "players"
    ]
    assert [player["steamid"] for player in players] == [sandbox.world.steam_id]
    assert players[0]["personaname"] == sandbox.world.persona and players[0]["communityvisibilitystate"] == 3
    assert "realname" not in players[0]
    nobody = await get(sandbox, "ISteamUser/GetPlayerSummaries/v2", key=sandbox.world.steam_key, steamids="1")
    assert nobody.json() == {"response": {"players": []}}
    assert (await get(sandbox, "ISteamUser/GetPlayerSummaries/v2", key=sandbox.world.steam_key)).status_code == 400


async def test_of_more_than_a_hundred_players_only_the_first_hundred_are_looked_up(sandbox: RunningSandbox) -> None:
    asked = ",".join([*(str(76_561_198_000_000_000 + at) for at in range(100)), sandbox.world.steam_id])
    answer = await get(sandbox, "ISteamUser/GetPlayerSummaries/v2", key=sandbox.world.steam_key, steamids=asked)
    assert answer.json()["response"]["players"] == []


async def test_a_private_profile_shows_as_hidden_to_others_alone(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.private_profile")
    states = []
    for key in (sandbox.world.steam_key, sandbox.world.steam_own_key):
        answer = await get(sandbox, "ISteamUser/GetPlayerSummaries/v2", key=key, steamids=sandbox.world.steam_id)
        states.append(answer.json()["response"]["players"][0]["communityvisibilitystate"])
    assert states == [1, 3]


# --- achievements --------------------------------------------------------------------------------------------------


async def achievements(sandbox: RunningSandbox, appid: int, **parameters: object) -> httpx.Response:
    given = {"key": sandbox.world.steam_key, "steamid": sandbox.world.steam_id, "appid": appid, **parameters}
    return await get(sandbox, "ISteamUserStats/GetPlayerAchievements/v1", **given)


async def test_achievements_have_names_only_in_a_language(sandbox: RunningSandbox) -> None:
    bare, named = await achievements(sandbox, 90_000_010), await achievements(sandbox, 90_000_010, l="english")
    stats = bare.json()["playerstats"]
    assert stats["success"] is True and len(stats["achievements"]) == 14
    assert set(stats["achievements"][0]) == {"apiname", "achieved", "unlocktime"}
    assert {"name", "description"} <= set(named.json()["playerstats"]["achievements"][0])
    assert bare.json() == (await achievements(sandbox, 90_000_010)).json()


async def test_an_app_without_stats_is_a_400_in_json_and_one_without_achievements_a_200(sandbox: RunningSandbox) -> None:
    for appid in (90_000_050, 4_000_000_000):
        answer = await achievements(sandbox, appid)
        assert answer.status_code == 400
        assert answer.json() == {"playerstats": {"error": "Requested app has no stats", "success": False}}
    without = await achievements(sandbox, 90_000_020)
    assert without.status_code == 200 and without.json()["playerstats"]["success"] and "achievements" not in without.json()["playerstats"]


async def test_a_private_profiles_achievements_are_a_403_in_json_while_a_wrong_key_is_one_in_html(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.private_profile", times=1)
    private = await achievements(sandbox, 90_000_010)
    assert private.status_code == 403 and private.json()["playerstats"]["error"] == "Profile is not public"
    refused = await achievements(sandbox, 90_000_010, key="0" * 32)
    assert refused.status_code == 403 and "<html" in refused.text


async def test_the_schema_hides_descriptions_of_hidden_ones_and_is_empty_where_there_is_nothing(sandbox: RunningSandbox) -> None:
    key = sandbox.world.steam_key
    rows = (await get(sandbox, "ISteamUserStats/GetSchemaForGame/v2", key=key, appid=90_000_010)).json()["game"]["availableGameStats"][
        "achievements"
    ]
    assert len(rows) == 14 and {("description" in row) for row in rows if row["hidden"]} == {False}
    assert all("description" in row for row in rows if not row["hidden"])
    nothing = await get(sandbox, "ISteamUserStats/GetSchemaForGame/v2", key=key, appid=90_000_050)
    assert nothing.json() == {"game": {}}
    stats = (await get(sandbox, "ISteamUserStats/GetSchemaForGame/v2", key=key, appid=90_000_020)).json()["game"]["availableGameStats"]
    assert "achievements" not in stats


async def test_shares_need_no_key_come_as_text_and_are_a_403_with_an_empty_object_for_other_apps(sandbox: RunningSandbox) -> None:
    method = "ISteamUserStats/GetGlobalAchievementPercentagesForApp/v2"
    shares = (await get(sandbox, method, gameid=90_000_010)).json()["achievementpercentages"]["achievements"]
    assert len(shares) == 14 and isinstance(shares[0]["percent"], str)
    nothing = await get(sandbox, method, gameid=90_000_050)
    assert nothing.status_code == 403 and nothing.json() == {}
