from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from integ_server.sandbox.faults import KNOWN, Faults, UnknownFaultError, register
from integ_server.sandbox.proton_archive import VARIANTS
from tests.conftest_sandbox import RunningSandbox


def test_a_fault_with_times_stops_by_itself_after_as_many_hits() -> None:
    faults = Faults()
    faults.on("steam.down", times=2)
    assert [faults.hit("steam.down") for _ in range(4)] == [True, True, False, False]
    assert faults.names() == []


def test_a_fault_without_times_lasts_until_it_is_turned_off() -> None:
    faults = Faults()
    faults.on("steam.down")
    assert all(faults.hit("steam.down") for _ in range(100))
    faults.off("steam.down")
    assert not faults.hit("steam.down")


def test_looking_at_a_fault_does_not_use_it_up() -> None:
    faults = Faults()
    faults.on("feed.no_assets", times=1)
    assert faults.active("feed.no_assets") and faults.active("feed.no_assets")
    assert faults.names() == ["feed.no_assets"]
    faults.clear()
    assert faults.names() == []


def test_a_mistyped_fault_is_an_error_and_never_just_nothing() -> None:
    faults = Faults()
    for use in (faults.on, faults.off, faults.active, faults.hit):
        with pytest.raises(UnknownFaultError):
            use("steam.dwon")
    with pytest.raises(ValueError, match="once"):
        faults.on("steam.down", times=0)


def test_a_part_of_the_sandbox_adds_its_own_faults_but_takes_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "other.fault", "goes wrong")
    register("other.fault", "goes wrong")
    Faults().on("other.fault")
    with pytest.raises(ValueError, match="already"):
        register("other.fault", "means something else")


async def test_faults_are_turned_over_http_too(sandbox: RunningSandbox) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url) as http:
        assert (await http.post("/_sandbox/faults/steam.down?times=2")).json() == {"on": ["steam.down"]}
        assert sandbox.faults.hit("steam.down")
        assert (await http.delete("/_sandbox/faults/steam.down")).json() == {"on": []}
        assert not sandbox.faults.active("steam.down")
        assert (await http.post("/_sandbox/faults/steam.dwon")).status_code == 404
        assert (await http.post("/_sandbox/faults/steam.down?times=often")).status_code == 400
        assert (await http.post("/_sandbox/faults/steam.down?times=0")).status_code == 400
        assert set((await http.get("/_sandbox/faults")).json()["known"]) == set(KNOWN)


async def test_what_was_asked_is_remembered_in_order_with_its_query_and_headers(sandbox: RunningSandbox) -> None:
    async with httpx.AsyncClient() as http:
        await http.get(sandbox.at("https://api.steampowered.com/ISteamApps/GetAppList/v2?a=b"), headers={"X-Mine": "yes"})
        await http.post(sandbox.at("https://nobody.example/x"))
        told = (await http.get(f"{sandbox.url}/_sandbox/requests")).json()
    assert list(sandbox.requests) == [("GET", "api.steampowered.com", "/ISteamApps/GetAppList/v2"), ("POST", "nobody.example", "/x")]
    assert (sandbox.requests[0].query, sandbox.requests[0].headers["x-mine"]) == ("a=b", "yes")
    assert [(seen["method"], seen["host"], seen["path"]) for seen in told] == list(sandbox.requests)


async def test_a_script_can_ask_who_plays_and_a_player_where_the_key_is(sandbox: RunningSandbox) -> None:
    async with httpx.AsyncClient() as http:
        told = (await http.get(f"{sandbox.url}/_sandbox/world")).json()
        page = await http.get(sandbox.at("https://steamcommunity.com/dev/apikey"))
    assert (told["steam_id"], told["steam_key"], told["name"]) == (sandbox.world.steam_id, sandbox.world.steam_key, "small")
    assert f"Key: {sandbox.world.steam_own_key}" in page.text


async def test_a_host_that_the_sandbox_does_not_play_is_a_plain_404(sandbox: RunningSandbox) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{sandbox.url}/nobody.example/x")
    assert answer.status_code == 404 and "does not play" in answer.text


def test_two_sandboxes_share_a_world_and_no_memory() -> None:
    from integ_server.sandbox.app import create_sandbox
    from integ_server.sandbox.world import make_world

    one, other = create_sandbox(make_world()), create_sandbox(make_world())
    one.faults.on("steam.down")
    assert other.faults.names() == [] and one.world is other.world
    assert one.state.secret() != other.state.secret()
    assert one.state.part(dict) is one.state.part(dict) is not other.state.part(dict)


def test_every_fault_of_steam_and_of_the_feed_is_turned_on_by_some_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    patterns = {"openid.403": 'f"openid.{status}"', "openid.429": 'f"openid.{status}"', "openid.503": 'f"openid.{status}"'}
    patterns |= {f"feed.{variant}": 'f"feed.{variant}"' for variant in VARIANTS}
    mine = [name for name in KNOWN if name.startswith(("steam.", "openid.", "feed."))]
    assert len(mine) > 45
    assert [name for name in mine if patterns.get(name, f'"{name}"') not in tests] == []
