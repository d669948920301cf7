"""What GamesDB and GOG's product pages say, put together; one id's trouble is its own."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import ProviderError, ProviderUnavailableError, RateLimitedError
from integ_server.providers._gog_metadata import _day
from integ_server.providers._text import LONGEST_TEXT, plain_line, plain_text
from integ_server.providers.base import GameMetadata
from integ_server.providers.gog import Gog
from tests.server.providers.outside import over, through

DIGEST = "ab" * 32


def release(number: int, kind: str = "game", **more: Any) -> dict[str, Any]:
    """A GamesDB answer as it really looks, its polymorphic fields included."""
    game = {
        "id": f"51{number}",
        "dlcs_ids": {"0": "7", "3": "8"},
        "releases": [
            {"id": "1", "platform_id": "gog", "external_id": str(number)},
            {"id": "2", "platform_id": "steam", "external_id": "620"},
            {"id": "3", "platform_id": "humble", "external_id": "lantern_steam"},
        ],
        "title": {"*": f"Title {number}", "en-US": f"Title {number}"},
        "summary": {"*": "Keep &amp; <i>be kept</i>."},
        "type": kind,
        "developers": [{"id": "1", "name": "Quay Works"}],
        "publishers": [{"id": "1", "name": "Pier Nine"}],
        "genres": [{"id": "1", "name": {"*": "Adventure"}, "slug": "adventure"}],
        "first_release_date": "2021-05-06T00:00:00+0000",
        "visible_in_library": kind in {"game", "mod"},
        "vertical_cover": {"url_format": f"https://images.gog.com/{DIGEST}{{formatter}}.{{ext}}?namespace=gamesdb"},
    }
    systems = [{"slug": "osx", "name": "macOS"}, {"slug": "windows", "name": "Windows"}]
    whole = {
        "id": "9",
        "game_id": f"51{number}",
        "type": kind,
        "dlcs": [],
        "supported_operating_systems": systems,
        "title": {"*": f"Edition {number}"},
    }
    return {**whole, "game": {**game, **more.pop("game", {})}, **more}


def card(number: int, *systems: str, **more: Any) -> dict[str, Any]:
    installers = [{"os": system, "language": "en", "files": [{"id": "1", "size": 1, "downlink": "x"}]} for system in systems]
    whole = {"id": number, "title": f"Card {number}", "game_type": "game", "dlcs": [], "downloads": {"installers": installers}}
    return {**whole, "links": {"product_card": f"https://www.gog.com/game/g{number}"}, **more}


class Outside:
    def __init__(self, releases: dict[int, Any], cards: list[dict[str, Any]] | httpx.Response, games: dict[int, Any] | None = None) -> None:
        self.releases, self.cards, self.games = releases, cards, games or {}
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        last = request.url.path.rpartition("/")[2]
        if request.url.host == "gamesdb.gog.com":
            reply = self.releases.get(int(last), httpx.Response(404, json={"error": "not_found"}))
        elif request.url.path.startswith("/v2/games/"):
            reply = self.games.get(int(last), httpx.Response(404))
        else:
            assert len(request.url.params["ids"].split(",")) <= 50
            reply = self.cards
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)


async def read(outside: Outside, *ids: int) -> dict[str, GameMetadata]:
    found = await Gog(over(outside)).metadata([str(each) for each in ids])
    assert len({each.provider_game_id for each in found}) == len(found)
    return {each.provider_game_id: each for each in found}


async def test_both_sources_make_one_answer() -> None:
    found = (await read(Outside({1: release(1)}, [card(1, "linux", "windows")]), 1))["1"]
    assert (found.found, found.title, found.kind, found.year) == (True, "Title 1", "game", 2021)
    assert found.group_id == "gamesdb:511"
    assert found.siblings == (("steam", "620"), ("humble", "lantern_steam"))
    assert found.platforms == ("linux", "windows")
    details = found.details
    assert details is not None
    assert details.description == "Keep & be kept."
    assert (details.developers, details.publishers, details.genres) == (["Quay Works"], ["Pier Nine"], ["Adventure"])
    assert details.release_date == "2021-05-06"
    assert details.cover_url == f"https://images.gog.com/{DIGEST}_glx_vertical_cover.jpg?namespace=gamesdb"
    assert details.links == {"store": "https://www.gog.com/game/g1"}


async def test_without_installers_gamesdb_knows_the_platforms() -> None:
    assert (await read(Outside({1: release(1)}, [card(1)]), 1))["1"].platforms == ("windows", "mac")


async def test_without_either_the_store_page_does() -> None:
    page = {"_embedded": {"supportedOperatingSystems": [{"operatingSystem": {"name": "linux"}}, {"operatingSystem": {"name": "osx"}}]}}
    found = await read(Outside({1: release(1, supported_operating_systems=[])}, [card(1)], {1: page}), 1)
    assert found["1"].platforms == ("linux", "mac")


async def test_what_gamesdb_does_not_know_the_store_may_know() -> None:
    shown = card(
        1, "windows", release_date="2009-03-05T00:00:00+0300", description={"lead": "<p>Old &amp; good</p>", "full": "<p>more</p>"}
    )
    found = (await read(Outside({}, [shown]), 1))["1"]
    assert (found.found, found.title, found.group_id, found.siblings, found.year) == (True, "Card 1", None, (), 2009)
    assert found.details is not None
    assert found.details.description == "Old & good"


async def test_what_neither_knows_is_found_to_be_nothing() -> None:
    assert not (await read(Outside({}, []), 1))["1"].found


async def test_a_delisted_game_keeps_what_gamesdb_knows() -> None:
    found = (await read(Outside({1: release(1)}, []), 1))["1"]
    assert (found.found, found.title) == (True, "Title 1")


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(502, text="<html>"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text='{"a'),
        httpx.Response(403),
        httpx.Response(200, json={}),
    ],
)
async def test_one_ids_trouble_costs_that_id_for_now_and_no_other(trouble: httpx.Response) -> None:
    found = await read(Outside({1: release(1), 2: trouble}, [card(1, "windows"), card(2, "windows")]), 1, 2)
    assert set(found) == {"1"}


async def test_when_every_id_is_in_trouble_it_is_told() -> None:
    with pytest.raises(ProviderUnavailableError):
        await read(Outside({1: httpx.Response(502), 2: httpx.Response(502)}, [card(1), card(2)]), 1, 2)
    with pytest.raises(ProviderError):
        await read(Outside({1: httpx.Response(401)}, []), 1)


@pytest.mark.parametrize("where", ["gamesdb", "cards", "games"])
async def test_a_pause_that_gog_asks_for_ends_the_batch(where: str) -> None:
    pause = httpx.Response(429, headers={"Retry-After": "60"})
    outside = Outside({1: release(1, "dlc"), 2: release(2)}, [card(1)], {1: pause})
    if where == "gamesdb":
        outside.releases[2] = pause
    elif where == "cards":
        outside.cards = pause
    with pytest.raises(RateLimitedError) as told:
        await read(outside, 1, 2)
    assert told.value.retry_after_s == 60


async def test_when_the_store_is_down_gamesdb_is_enough_and_absence_is_not_proven() -> None:
    found = await read(Outside({1: release(1)}, httpx.Response(503)), 1, 2)
    assert set(found) == {"1"}
    assert found["1"].platforms == ("windows", "mac")


@pytest.mark.parametrize(
    ("wire", "kind"), [("game", "game"), ("mod", "game"), ("dlc", "dlc"), ("spam", "tool"), ("", "game"), ("something new", "game")]
)
async def test_a_kind_is_told(wire: str, kind: str) -> None:
    found = await read(Outside({1: release(1, wire, game={"visible_in_library": None})}, []), 1)
    if kind == "dlc":
        found = await read(Outside({1: release(1, wire)}, [], {1: {"_links": {}}}), 1)
    assert found["1"].kind == kind


async def test_the_stores_own_word_that_it_is_a_dlc_counts_and_a_pack_is_no_game() -> None:
    outside = Outside({1: release(1)}, [card(1, game_type="dlc"), card(2, game_type="pack")], {1: {"_links": {}}})
    found = await read(outside, 1, 2)
    assert (found["1"].kind, found["2"].kind) == ("dlc", "tool")


async def test_what_gamesdb_hides_from_libraries_is_no_game() -> None:
    assert (await read(Outside({1: release(1, game={"visible_in_library": False})}, []), 1))["1"].kind == "tool"


async def test_a_dlc_finds_its_game_in_the_same_batch_or_on_its_page() -> None:
    dlc_of_2 = {"products": [{"id": 12}], "all_products_url": "x"}
    releases = {
        1: release(1, dlcs=[{"platform_id": "gog", "external_id": "11"}, {"platform_id": "steam", "external_id": "13"}]),
        2: release(2),
        **{number: release(number, "dlc") for number in (11, 12, 13, 14)},
    }
    page = {"_links": {"requiresGames": [{"href": "https://api.gog.com/v2/games/77?locale=en-US"}]}}
    found = await read(Outside(releases, [card(2, dlcs=dlc_of_2)], {13: page, 14: {"_links": {"requiresGames": []}}}), 1, 2, 11, 12, 13, 14)
    assert {number: each.parent_id for number, each in found.items()} == {
        "1": None,
        "2": None,
        "11": "1",
        "12": "2",
        "13": "77",
        "14": None,
    }


async def test_a_dlc_whose_game_cannot_be_asked_for_now_is_left_out() -> None:
    found = await read(Outside({1: release(1, "dlc"), 2: release(2)}, [], {1: httpx.Response(503)}), 1, 2)
    assert set(found) == {"2"}


async def test_php_ways_of_saying_nothing_are_understood() -> None:
    odd = release(
        1,
        dlcs={"0": {"platform_id": "gog", "external_id": 11}},
        supported_operating_systems=None,
        summary=[],
        title=None,
        game={
            "developers": None,
            "publishers": {"2": {"name": "Pier Nine"}},
            "genres": [{"name": None}],
            "vertical_cover": None,
            "summary": [],
            "releases": {},
            "title": {"*": None, "de-DE": "Titel"},
        },
    )
    found = (await read(Outside({1: odd}, [card(1, "windows", images=None, links=[], description=[], dlcs=None)]), 1))["1"]
    assert found.title == "Titel"
    assert found.details is not None
    assert (found.details.developers, found.details.publishers, found.details.genres) == ([], ["Pier Nine"], [])
    assert found.details.cover_url is None


@pytest.mark.parametrize(
    "address",
    [
        "http://images.gog.com/a.jpg",
        "https://evil.example/a.jpg",
        "https://images.gog.com.evil.example/a",
        "//evil.example/a",
        "https://[x",
        "javascript:1",
    ],
)
async def test_a_picture_of_somebody_elses_is_none(address: str) -> None:
    shown = card(1, images={"logo2x": address}, links={"product_card": "https://evil.example/"})
    found = (await read(Outside({1: release(1, game={"vertical_cover": {"url_format": address}})}, [shown]), 1))["1"]
    assert found.details is not None
    assert found.details.cover_url is None
    assert found.details.links == {}


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2021-05-06T00:00:00+0300", "2021-05-06"),
        ("2021-05-06", "2021-05-06"),
        ("1991-12-25T00:00:00+0200", None),
        ("1970-01-01T00:00:00+0000", None),
        ("2000-12-31T23:59:59+0200", None),
        ("1993-12-10T00:00:00+0000", "1993-12-10"),
        ("2021-13-45", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_read_and_a_pseudo_date_is_none(text: str | None, day: str | None) -> None:
    found = _day(text)
    assert (found.isoformat() if found else None) == day


async def test_many_ids_are_asked_in_batches() -> None:
    ids = list(range(1, 121))
    outside = Outside({number: release(number) for number in ids}, [])
    assert len(await read(outside, *ids)) == 120
    assert sum(1 for request in outside.asked if request.url.path == "/products") == 3


async def test_no_token_goes_along() -> None:
    outside = Outside({1: release(1)}, [card(1)])
    await read(outside, 1)
    assert not any("Authorization" in request.headers for request in outside.asked)


async def test_the_stand_ins_games_are_joined_with_steams(sandbox) -> None:  # type: ignore[no-untyped-def]
    world = sandbox.world
    owned = {str(each.id): each for each in world.owned_gog}
    async with through(sandbox.url) as http:
        found = {each.provider_game_id: each for each in await Gog(http).metadata(list(owned))}
    for number, each in owned.items():
        if each.gamesdb == 502:
            assert number not in found
            continue
        assert found[number].found
        assert found[number].kind == {"dlc": "dlc", "pack": "tool", "game": "game"}[each.type]
        assert found[number].parent_id == (str(each.parent_id) if each.parent_id else None)
        assert (found[number].group_id is not None) is (each.gamesdb == "ok" and bool(world.gog_products[each.id].gamesdb_id))
        steam = world.gog_products[each.id].steam
        if steam is not None and found[number].group_id:
            assert ("steam", str(steam.appid)) in found[number].siblings


async def test_a_gamesdb_that_is_down_is_told(sandbox) -> None:  # type: ignore[no-untyped-def]
    sandbox.faults.on("gog.gamesdb_down")
    async with through(sandbox.url) as http:
        with pytest.raises(ProviderUnavailableError):
            await Gog(http).metadata([str(each.id) for each in sandbox.world.owned_gog])


# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>One &amp; two</p><p>three<br>four</p>", "One & two\n\nthree\nfour"),
        ("<ul><li>a</li><li>b</li></ul>", "a\n\nb"),
        ("a<script>alert(1)</script><style>x{}</style>b", "ab"),
        ("5 < 6 &lt;b&gt;", "5 < 6 <b>"),
        ("\x1b[31mred\x07\u202etxt", "[31mredtxt"),
        (None, ""),
        (7, ""),
        ("   ", ""),
    ],
)
def test_markup_becomes_plain_text(markup: object, text: str) -> None:
    assert plain_text(markup) == text


@given(st.text(max_size=300))
def test_any_markup_becomes_text_without_controls(markup: str) -> None:
    text = plain_text(markup)
    assert not any(letter < " " and letter != "\n" for letter in text)
    assert len(text) <= LONGEST_TEXT
    assert "\n" not in plain_line(markup)


def test_a_huge_description_is_cut() -> None:
    assert len(plain_text("<p>word</p>" * 100_000)) <= LONGEST_TEXT
