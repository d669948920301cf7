from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conftest_sandbox import RunningSandbox

API = "https://api.steampowered.com"
TIN, DELISTED, FREE, DLC, DEMO, TOOL = 90_000_010, 90_000_080, 90_000_100, 90_000_011, 90_000_012, 90_000_110
EVERYTHING = {"include_assets": True, "include_release": True, "include_platforms": True, "include_basic_info": True,
              "include_reviews": True, "include_tag_count": 20}  # fmt: skip


async def get(sandbox: RunningSandbox, address: str, **parameters: object) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(sandbox.at(address), params={name: str(value) for name, value in parameters.items()})


async def items(sandbox: RunningSandbox, *appids: int, wanted: dict[str, Any] = EVERYTHING) -> list[dict[str, Any]]:
    asked = {
        "ids": [{"appid": appid} for appid in appids],
        "context": {"language": "english", "country_code": "HR"},
        "data_request": wanted,
    }
    answer = await get(sandbox, f"{API}/IStoreBrowseService/GetItems/v1/", input_json=json.dumps(asked))
    assert answer.status_code == 200 and answer.headers["x-eresult"] == "1"
    found: list[dict[str, Any]] = answer.json()["response"]["store_items"]
    return found


async def test_items_need_no_key_and_come_in_an_order_of_their_own(sandbox: RunningSandbox) -> None:
    found = await items(sandbox, TIN, FREE, DLC)
    assert [item["appid"] for item in found] == [DLC, FREE, TIN]


async def test_an_item_says_what_was_asked_for_and_no_more(sandbox: RunningSandbox) -> None:
    (full,), (bare,) = await items(sandbox, TIN), await items(sandbox, TIN, wanted={"include_assets": False})
    assert {"assets", "release", "platforms", "basic_info", "reviews", "tags"} <= full.keys()
    assert not {"assets", "release", "platforms", "basic_info", "reviews", "tags"} & bare.keys()
    assert bare["success"] == 1 and bare["name"] == "Tin Harbour™" and bare["type"] == 0


async def test_descriptions_are_escaped_linux_has_its_own_name_and_cents_are_text(sandbox: RunningSandbox) -> None:
    (item,) = await items(sandbox, TIN)
    assert "port &amp; its" in item["basic_info"]["short_description"]
    assert item["platforms"]["steamos_linux"] is True and "mac" not in item["platforms"] and "linux" not in item["platforms"]
    assert item["platforms"]["steam_deck_compat_category"] == 3
    assert isinstance(item["best_purchase_option"]["final_price_in_cents"], str)
    assert item["release"]["original_release_date"] > 1_600_000_000


async def test_unknown_and_delisted_apps_are_a_15_with_few_fields(sandbox: RunningSandbox) -> None:
    for item in await items(sandbox, DELISTED, 4_000_000_000):
        assert item["success"] == 15 and "name" not in item and item["appid"] == item["id"]


async def test_kinds_are_told_by_number_with_their_parent(sandbox: RunningSandbox) -> None:
    found = {item["appid"]: item for item in await items(sandbox, DLC, DEMO, TOOL, FREE)}
    assert {appid: item["type"] for appid, item in found.items()} == {DLC: 4, DEMO: 1, TOOL: 13, FREE: 0}
    assert found[DLC]["related_items"]["parent_appid"] == found[DEMO]["related_items"]["parent_appid"] == TIN
    assert found[FREE]["is_free"] is True and "best_purchase_option" not in found[FREE]
    assert "assets" not in found[DLC]


async def test_a_request_without_a_list_of_ids_is_a_400(sandbox: RunningSandbox) -> None:
    for inside in ("{}", '{"ids": 5}', "nothing"):
        assert (await get(sandbox, f"{API}/IStoreBrowseService/GetItems/v1", input_json=inside)).status_code == 400
    assert await items(sandbox) == []


async def test_tags_are_listed_once_and_then_only_as_unchanged(sandbox: RunningSandbox) -> None:
    told = (await get(sandbox, f"{API}/IStoreService/GetTagList/v1", language="english")).json()["response"]
    assert {"tagid": 21, "name": "Adventure"} in told["tags"]
    again = await get(sandbox, f"{API}/IStoreService/GetTagList/v1", have_version_hash=told["version_hash"])
    assert again.json() == {"response": {}}
    (item,) = await items(sandbox, TIN)
    assert set(item["tagids"]) <= {tag["tagid"] for tag in told["tags"]}


async def test_the_app_list_comes_in_pages_and_the_last_lacks_both_trailing_fields(sandbox: RunningSandbox) -> None:
    seen: list[int] = []
    last = 0
    for _ in range(20):
        given = {"key": sandbox.world.steam_key, "max_results": 3, "last_appid": last, "include_dlc": 1}
        page = (await get(sandbox, f"{API}/IStoreService/GetAppList/v1/", **given)).json()["response"]
        seen += [app["appid"] for app in page["apps"]]
        if "have_more_results" not in page:
            assert "last_appid" not in page
            break
        last = page["last_appid"]
    assert seen == sorted(set(seen)) and DLC in seen and TIN in seen and DELISTED not in seen and TOOL not in seen
    assert (await get(sandbox, f"{API}/IStoreService/GetAppList/v1/")).status_code == 400


# --- appdetails ----------------------------------------------------------------------------------------------------

DETAILS = "https://store.steampowered.com/api/appdetails"


async def test_details_have_text_keys_and_their_quirks(sandbox: RunningSandbox) -> None:
    details = (await get(sandbox, DETAILS, appids=TIN, cc="hr", l="english")).json()
    data = details[str(TIN)]["data"]
    assert details[str(TIN)]["success"] and data["steam_appid"] == TIN and data["required_age"] == "18"
    assert isinstance(data["pc_requirements"], dict) and data["mac_requirements"] == [] and isinstance(data["linux_requirements"], dict)
    assert {genre["id"] for genre in data["genres"]} == {"25", "28"} and data["categories"][0]["id"] == 2
    assert data["release_date"]["date"] == "6 May, 2021" and data["dlc"] == [DLC]
    parent = (await get(sandbox, DETAILS, appids=DLC)).json()[str(DLC)]["data"]["fullgame"]
    assert parent["appid"] == str(TIN)
    free = (await get(sandbox, DETAILS, appids=FREE)).json()[str(FREE)]["data"]
    assert free["is_free"] and free["required_age"] == 0 and "price_overview" not in free


async def test_unknown_apps_are_told_without_data(sandbox: RunningSandbox) -> None:
    for appid in (DELISTED, 4_000_000_000):
        assert (await get(sandbox, DETAILS, appids=appid)).json() == {str(appid): {"success": False}}


async def test_several_apps_at_once_work_for_prices_alone(sandbox: RunningSandbox) -> None:
    refused = await get(sandbox, DETAILS, appids=f"{TIN},{FREE}")
    assert refused.status_code == 400 and refused.json() is None
    prices = (await get(sandbox, DETAILS, appids=f"{TIN},{FREE}", filters="price_overview")).json()
    assert prices[str(TIN)]["data"]["price_overview"]["currency"] == "EUR" and prices[str(FREE)]["data"] == []


async def test_two_hundred_calls_in_five_minutes_are_the_limit(sandbox: RunningSandbox) -> None:
    now = 1_795_000_000.0
    sandbox.sandbox.state.clock = lambda: now
    async with httpx.AsyncClient() as http:
        for _ in range(200):
            assert (await http.get(sandbox.at(DETAILS), params={"appids": TIN})).status_code == 200
        refused = await http.get(sandbox.at(DETAILS), params={"appids": TIN})
        assert refused.status_code == 429 and refused.json() is None
        now += 301
        assert (await http.get(sandbox.at(DETAILS), params={"appids": TIN})).status_code == 200


async def test_details_can_be_a_bare_null_and_fall_with_the_rest_of_steam(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.null", times=1)
    throttled = await get(sandbox, DETAILS, appids=TIN)
    assert throttled.status_code == 200 and throttled.json() is None
    sandbox.faults.on("steam.down", times=1)
    assert (await get(sandbox, DETAILS, appids=TIN)).status_code == 503


# --- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["shared.akamai.steamstatic.com", "shared.fastly.steamstatic.com"])
async def test_a_picture_is_where_the_item_says_and_nowhere_else(sandbox: RunningSandbox, host: str) -> None:
    (item,) = await items(sandbox, TIN)
    path = item["assets"]["asset_url_format"].replace("${FILENAME}", item["assets"]["library_capsule"])
    found = await get(sandbox, f"https://{host}/store_item_assets/{path}")
    assert found.status_code == 200 and found.content.startswith(b"\x89PNG\r\n")
    guessed = await get(sandbox, f"https://cdn.cloudflare.steamstatic.com/steam/apps/{TIN}/library_600x900.jpg")
    assert guessed.status_code == 404


async def test_an_older_app_has_its_pictures_where_they_can_be_guessed(sandbox: RunningSandbox) -> None:
    for address in (
        f"https://cdn.cloudflare.steamstatic.com/steam/apps/{FREE}/library_600x900.jpg",
        f"https://shared.akamai.steamstatic.com/store_item_assets/steam/apps/{FREE}/header.jpg?t=1",
    ):
        assert (await get(sandbox, address)).status_code == 200
    assert (await get(sandbox, f"https://cdn.cloudflare.steamstatic.com/steam/apps/{FREE}/nothing.jpg")).status_code == 404
