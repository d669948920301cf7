from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.server.sandbox.gog_player import Player, gog_player

LIST = "https://embed.gog.com/account/getFilteredProducts?mediaType=1"
RELEASES = "https://galaxy-library.gog.com/users/{user}/releases"


@pytest.fixture
async def player() -> AsyncIterator[Player]:
    async with gog_player() as player:
        yield player


async def listed(player: Player, more: str = "") -> dict[int, dict[str, Any]]:
    return {row["id"]: row for row in (await player.json(f"{LIST}{more}"))["products"]}


async def releases(player: Player) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    token = ""
    while True:
        page = await player.json(RELEASES.format(user=player.user), params={"page_token": token} if token else {})
        rows += page["items"]
        token = page.get("next_page_token") or ""
        if not token:
            return rows


async def test_user_data_tells_a_stranger_by_a_flag_alone(player: Player) -> None:
    assert (await player.json("https://embed.gog.com/userData.json", signed_in=False))["isLoggedIn"] is False
    own = await player.json("https://www.gog.com/userData.json")
    assert own["isLoggedIn"] is True
    assert own["galaxyUserId"] == player.user != own["userId"]
    assert len(own["checksum"]["games"]) == 32


async def test_a_user_is_found_by_the_galaxy_id_only(player: Player) -> None:
    user = await player.json(f"https://users.gog.com/users/{player.user}")
    assert (user["id"], user["username"]) == (player.user, player.world.gog_username)
    assert user["avatar"]["sdk_img_32"].startswith("https://images.gog.com/")
    unknown = await player.ask("https://users.gog.com/users/1")
    assert unknown.status_code == 404 and "not found" in unknown.text


async def test_owned_ids_are_numbers_and_hold_dlc_packs_hidden_and_delisted_ones(player: Player) -> None:
    owned = (await player.json("https://embed.gog.com/user/data/games"))["owned"]
    assert all(isinstance(product, int) for product in owned)
    assert {1_900_000_102, 1_900_000_503, 1_900_000_502, 1_900_000_501} <= set(owned)
    assert 1_900_000_103 not in owned
    assert owned != sorted(owned)
    licences = await player.json("https://menu.gog.com/v1/account/licences")
    assert sorted(licences) == sorted(str(product) for product in owned)


async def test_the_account_list_has_visible_base_games_or_hidden_ones_never_dlc(player: Player) -> None:
    visible, hidden = await listed(player), await listed(player, "&hiddenFlag=1")
    assert 1_900_000_101 in visible and 1_900_000_102 not in visible
    assert 1_900_000_503 in visible, "a pack looks like a game here"
    assert set(hidden) == {1_900_000_502} and hidden[1_900_000_502]["isHidden"] is True
    assert (visible[1_900_000_101]["dlcCount"], visible[1_900_000_201]["dlcCount"], visible[1_900_000_301]["dlcCount"]) == (1, 1, 0)
    page = await player.json(LIST)
    assert page["hasHiddenProducts"] is True and page["productsPerPage"] == 100 and page["totalPages"] == 1


async def test_the_account_list_shows_every_quirk_somewhere(player: Player) -> None:
    rows = [*(await listed(player)).values(), *(await listed(player, "&hiddenFlag=1")).values()]
    assert all(row["image"].startswith("//images-") and "." not in row["image"].rpartition("/")[2] for row in rows)
    assert not any((await listed(player))[1_900_000_201]["worksOn"].values()), "works_on_broken of this one game"
    large = [row for row in await quirks(player) if row]
    assert {type(row["updates"]) for row in large} == {int, str, type(None)}
    assert {type(row["releaseDate"]) for row in large} == {dict, type(None)}
    assert {row["url"] if row["url"] in ("", None) else row["url"].split("/")[1] for row in large} == {"", None, "en", "game"}
    assert any(row["releaseDate"] and row["releaseDate"]["date"].startswith("1970") for row in large)


async def quirks(player: Player) -> list[dict[str, Any]]:
    """Rows for products of every last digit: the quirks hang on the id alone."""
    from dataclasses import replace

    from integ_server.sandbox.gog_account import _row

    title = player.world.gog_products[1_900_000_101]
    assert title.gog is not None
    products = [replace(title.gog, id=1_900_000_600 + number) for number in range(5)]
    return [_row(player.sandbox.state, title, product, {}, {}) for product in products]


async def test_tags_have_text_ids_and_counts_and_filter_the_list(player: Player) -> None:
    page = await player.json(LIST)
    cozy = next(tag for tag in page["tags"] if tag["name"] == "Cozy")
    assert cozy == {"id": "70001", "name": "Cozy", "productCount": "2"}
    assert set(await listed(player, f"&tags={cozy['id']}")) == {1_900_000_301}


async def test_the_account_list_can_be_searched_sorted_and_paged(player: Player) -> None:
    assert set(await listed(player, "&search=lantern")) == {1_900_000_101}
    newest = list((await listed(player, "&sortBy=release_date_desc")).values())
    assert newest[0]["title"] == "Lantern Keep"
    player.knobs.products_page = 3
    first, last = await player.json(f"{LIST}&page=1"), await player.json(f"{LIST}&page=3")
    assert (first["totalPages"], len(first["products"]), len(last["products"])) == (3, 3, 2)
    assert (await player.json(f"{LIST}&page=4"))["products"] == []


async def test_movies_are_none(player: Player) -> None:
    page = await player.json("https://embed.gog.com/account/getFilteredProducts?mediaType=2")
    assert (page["products"], page["totalPages"]) == ([], 0)


async def test_an_update_shows_in_the_list_once_it_is_out(player: Player) -> None:
    assert await listed(player, "&isUpdated=1") == {}
    player.faults.on("gog.update_out")
    assert set(await listed(player, "&isUpdated=1")) == {1_900_000_101, 1_900_000_201}


async def test_works_on_can_be_broken_for_all(player: Player) -> None:
    assert any(any(row["worksOn"].values()) for row in (await listed(player)).values())
    player.faults.on("gog.works_on_broken")
    assert not any(any(row["worksOn"].values()) for row in (await listed(player)).values())


async def test_the_galaxy_library_has_dlc_unowned_rows_and_linked_steam_rows_without_titles(player: Player) -> None:
    rows = await releases(player)
    own = {row["external_id"] for row in rows if row["platform_id"] == "gog" and row["owned"]}
    assert own == {str(product.id) for product in player.world.owned_gog}
    assert [row["external_id"] for row in rows if row["platform_id"] == "gog" and not row["owned"]] == ["1900000103"]
    assert sum(row["platform_id"] == "steam" for row in rows) == 3
    assert all(row["title"] is None and row["summary"] is None for row in rows)
    assert {row["hidden"] for row in rows} == {True, False, None}
    assert any(row["owned_since"] is None for row in rows)
    assert all(row["date_created"] >= 1_554_000_000 and row["certificate"].startswith("eyJ") for row in rows)
    assert next(row for row in rows if row["external_id"] == "1900000502")["tags"] == [{"name": "Cozy"}, {"name": "Done"}]


async def test_the_galaxy_library_pages_by_an_opaque_token(player: Player) -> None:
    whole = await releases(player)
    player.knobs.releases_page = 4
    first = await player.json(RELEASES.format(user=player.user))
    assert (len(first["items"]), first["total_count"], first["limit"]) == (4, len(whole), 4)
    assert await releases(player) == whole


async def test_a_page_of_the_galaxy_library_is_not_sent_twice(player: Player) -> None:
    address = RELEASES.format(user=player.user)
    etag = (await player.ask(address)).headers["etag"]
    again = await player.ask(address, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    player.knobs.releases_page = 4
    assert (await player.ask(address, headers={"if-none-match": etag})).status_code == 200


async def test_somebody_elses_library_is_denied(player: Player) -> None:
    assert (await player.ask(RELEASES.format(user="1"))).status_code == 401


async def test_play_time_adds_up_in_minutes(player: Player) -> None:
    address = f"https://gameplay.gog.com/games/1900000101/users/{player.user}/sessions"
    before = await player.json(address)
    assert before["time_sum"] == 95 and "last_session_date" in before
    sent = await player.ask(address, method="POST", json={"session_date": 1_790_000_000, "time": 12})
    assert sent.status_code == 201
    assert (await player.json(address))["time_sum"] == 107
    assert (await player.ask(address, method="POST", content=b"{}")).status_code == 400
    assert (await player.ask(address, method="DELETE")).status_code == 405


async def test_a_game_has_achievements_an_empty_list_or_404(player: Player) -> None:
    address = "https://gameplay.gog.com/clients/{client}/users/" + player.user + "/achievements"
    found = await player.json(address.format(client="1900000102"))
    assert found["total_count"] == len(found["items"]) == 3
    assert [item["date_unlocked"] is None for item in found["items"]] == [False, True, True]
    assert (await player.json(address.format(client="1900000103")))["items"] == []
    assert (await player.ask(address.format(client="1900000101"))).status_code == 404


async def test_the_owned_list_can_come_without_its_key(player: Player) -> None:
    player.faults.on("gog.no_owned_key", times=1)
    assert await player.json("https://embed.gog.com/user/data/games") == {}
    assert (await player.json("https://embed.gog.com/user/data/games"))["owned"]


async def test_half_a_list_fails_on_its_second_page(player: Player) -> None:
    player.faults.on("gog.half_list")
    page = await player.json(RELEASES.format(user=player.user))
    broken = await player.ask(RELEASES.format(user=player.user), params={"page_token": page["next_page_token"]})
    assert broken.status_code == 502
    assert (await player.json(LIST))["totalPages"] > 1
    assert (await player.ask(f"{LIST}&page=2")).status_code == 502


async def test_a_page_token_can_repeat_for_ever(player: Player) -> None:
    player.faults.on("gog.repeating_token")
    address = RELEASES.format(user=player.user)
    first = await player.json(address)
    second = await player.json(address, params={"page_token": first["next_page_token"]})
    assert second["next_page_token"] == first["next_page_token"]


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [("gog.down", 503, "<"), ("gog.rate_limited", 429, "<"), ("gog.rate_limited_retry_after", 429, "<"), ("gog.html", 200, "<")],
)
async def test_every_api_host_has_the_same_troubles(player: Player, fault: str, status: int, start: str) -> None:
    player.faults.on(fault)
    for address in (
        "https://auth.gog.com/token",
        "https://embed.gog.com/userData.json",
        RELEASES.format(user=player.user),
        "https://gamesdb.gog.com/platforms/gog/external_releases/1900000101",
        "https://api.gog.com/products/1900000101",
        "https://content-system.gog.com/products/1900000201/os/windows/builds",
    ):
        answer = await player.ask(address)
        assert (answer.status_code, answer.text[:1]) == (status, start), address
        assert answer.headers.get("retry-after") == ("120" if fault == "gog.rate_limited_retry_after" else None)
        assert answer.headers["content-type"].startswith("text/html")
