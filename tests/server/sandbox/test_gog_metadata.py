from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.server.sandbox.gog_player import Player, gog_player

DB = "https://gamesdb.gog.com/platforms"
API = "https://api.gog.com"


@pytest.fixture
async def player() -> AsyncIterator[Player]:
    async with gog_player(signed_in=False) as player:
        yield player


async def test_gamesdb_joins_one_game_from_either_store(player: Player) -> None:
    gog = await player.json(f"{DB}/gog/external_releases/1900000301")
    steam = await player.json(f"{DB}/steam/external_releases/90000010")
    assert gog["game_id"] == steam["game_id"] == gog["game"]["id"]
    pairs = {(release["platform_id"], release["external_id"]) for release in gog["game"]["releases"]}
    assert {("gog", "1900000301"), ("steam", "90000010")} < pairs and any(platform == "humble" for platform, _ in pairs)
    assert gog["title"]["*"] == "Tin Harbour - Definitive Edition"
    assert gog["game"]["title"] == {"*": "Tin Harbour", "en-US": "Tin Harbour"}
    assert gog["id"] in {release["id"] for release in gog["game"]["releases"]}


async def test_gamesdb_writes_children_as_a_list_or_as_an_object_with_gaps(player: Player) -> None:
    one = (await player.json(f"{DB}/gog/external_releases/1900000201"))["game"]["dlcs_ids"]
    two = (await player.json(f"{DB}/gog/external_releases/1900000101"))["game"]["dlcs_ids"]
    assert one == ["51100000000000202"]
    assert two == {"0": "51100000000000102", "3": "51100000000000103"}


async def test_gamesdb_knows_a_dlc_and_its_parent(player: Player) -> None:
    dlc = await player.json(f"{DB}/gog/external_releases/1900000102")
    assert (dlc["type"], dlc["game"]["type"], dlc["game"]["parent_id"]) == ("dlc", "dlc", "51100000000000101")
    assert dlc["game"]["visible_in_library"] is False
    base = await player.json(f"{DB}/gog/external_releases/1900000101")
    assert [one["external_id"] for one in base["dlcs"]] == ["1900000102", "1900000103"]


async def test_gamesdb_leaves_things_out_for_some(player: Player) -> None:
    known = [product.id for product in player.world.owned_gog if product.gamesdb == "ok"]
    cards = [await player.json(f"{DB}/gog/external_releases/{product}") for product in known]
    assert {type(card["game"]["aggregated_rating"]) for card in cards} == {int, float, type(None)}
    assert {card["game"]["square_icon"] is None for card in cards} == {True, False}
    assert "slug" not in (await player.json(f"{DB}/steam/external_releases/90000040"))["game"]
    assert all(card["logo"] is None for card in cards)
    art = cards[0]["game"]["vertical_cover"]["url_format"]
    assert art.startswith("https://images.gog.com/") and art.endswith("{formatter}.{ext}?namespace=gamesdb")


@pytest.mark.parametrize(
    "release", ["gog/external_releases/1900000503", "steam/external_releases/90000020", "steam/external_releases/999999999"]
)
async def test_gamesdb_does_not_know_everything(player: Player, release: str) -> None:
    answer = await player.ask(f"{DB}/{release}")
    assert answer.status_code == 404
    platform, _, external = release.split("/")
    assert answer.json() == {"error": "not_found", "error_description": f"Release with per platform id: {platform}_{external} not found"}


@pytest.mark.parametrize("release", ["epic/external_releases/Fern", "gog/external_releases/none"])
async def test_gamesdb_is_asked_for_odd_ids_without_harm(player: Player, release: str) -> None:
    assert (await player.ask(f"{DB}/{release}")).status_code == 404


async def test_gamesdb_fails_on_one_id_for_ever_and_on_all_when_it_is_down(player: Player) -> None:
    assert (await player.ask(f"{DB}/gog/external_releases/1900000504")).status_code == 502
    player.faults.on("gog.gamesdb_down")
    assert (await player.ask(f"{DB}/gog/external_releases/1900000101")).status_code == 502


@pytest.mark.parametrize("release", ["gog/external_releases/1900000101", "gog/external_releases/1900000202"])
async def test_gamesdb_answers_304_to_its_own_etag_word_for_word(player: Player, release: str) -> None:
    etag = (await player.ask(f"{DB}/{release}")).headers["etag"]
    again = await player.ask(f"{DB}/{release}", headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    changed = await player.ask(f"{DB}/{release}", headers={"if-none-match": etag.strip('W/"')})
    assert changed.status_code == 200


async def test_a_product_without_dlc_has_a_list_where_others_have_an_object(player: Player) -> None:
    assert (await player.json(f"{API}/products/1900000301"))["dlcs"] == []
    dlcs = (await player.json(f"{API}/products/1900000101"))["dlcs"]
    assert [dlc["id"] for dlc in dlcs["products"]] == [1_900_000_102, 1_900_000_103]
    assert dlcs["all_products_url"] == f"{API}/products?ids=1900000102,1900000103"


async def test_a_product_shows_more_only_when_it_is_asked(player: Player) -> None:
    plain = await player.json(f"{API}/products/1900000101")
    more = {"downloads", "expanded_dlcs", "description", "screenshots", "videos", "related_products", "changelog"}
    assert not more & plain.keys()
    full = await player.json(f"{API}/products/1900000101", params={"expand": ",".join(sorted(more)), "locale": "en-US"})
    assert full.keys() == plain.keys() | more
    assert [dlc["id"] for dlc in full["expanded_dlcs"]] == [1_900_000_102], "incomplete, as it is since 2026"
    assert "&amp;" in full["description"]["lead"] and full["changelog"] is None
    assert isinstance(full["id"], int) and full["game_type"] == "game"
    assert full["images"]["logo"].startswith("//")


async def test_a_pack_is_no_game_to_install(player: Player) -> None:
    pack = await player.json(f"{API}/products/1900000503")
    assert (pack["game_type"], pack["is_installable"]) == ("pack", False)


async def test_a_delisted_product_is_404_although_it_is_owned(player: Player) -> None:
    for address in (f"{API}/products/1900000501", f"{API}/v2/games/1900000501", f"{API}/products/5", f"{API}/v2/games/5"):
        assert (await player.ask(address)).status_code == 404


async def test_fifty_products_can_be_asked_for_at_once(player: Player) -> None:
    fifty = ",".join(["1900000101", "1900000501", *(str(number) for number in range(48))])
    assert [product["id"] for product in await player.json(f"{API}/products?ids={fifty}")] == [1_900_000_101]
    assert [product["id"] for product in await player.json(f"{API}/products/?ids=1900000101,1900000201")] == [1_900_000_101, 1_900_000_201]
    assert (await player.ask(f"{API}/products?ids={fifty},99")).status_code == 400


async def test_the_newer_api_links_games_and_dlc_and_names_systems_its_own_way(player: Player) -> None:
    game = await player.json(f"{API}/v2/games/1900000101?locale=en-US")
    assert [link["href"] for link in game["_links"]["isRequiredByGames"]] == [
        f"{API}/v2/games/{dlc}?locale=en-US" for dlc in (1_900_000_102, 1_900_000_103)
    ]
    embedded = game["_embedded"]
    assert [system["operatingSystem"]["name"] for system in embedded["supportedOperatingSystems"]] == ["windows", "linux"]
    assert embedded["productType"] == "GAME" and embedded["publisher"] == {"name": "Quay Works"} and embedded["series"] is None
    assert [tag["name"] for tag in embedded["tags"]] == ["Adventure", "Indie"]
    dlc = await player.json(f"{API}/v2/games/1900000102")
    assert dlc["_embedded"]["productType"] == "DLC"
    assert dlc["_links"]["requiresGames"][0]["href"] == f"{API}/v2/games/1900000101?locale=en-US"
    assert (await player.json(f"{API}/v2/games/1900000503"))["_embedded"]["publisher"] is None


async def test_pictures_exist_for_known_formatters_only(player: Player) -> None:
    name = "a" * 64
    for picture in (f"{name}.jpg?namespace=gamesdb", f"{name}_glx_vertical_cover.webp?namespace=gamesdb", f"{name}_product_tile_256.png"):
        answer = await player.ask(f"https://images.gog.com/{picture}")
        assert (answer.status_code, answer.content[:4]) == (200, b"\x89PNG")
    assert (await player.ask(f"https://images-3.gog-statics.com/{name}_392.jpg")).status_code == 200
    assert (await player.ask(f"https://images.gog.com/{name}_nonsense.webp")).status_code == 400
