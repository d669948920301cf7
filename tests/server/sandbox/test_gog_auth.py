from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from integ_server.sandbox.gog_auth import CLIENT_ID, CLIENT_SECRET, REDIRECT, game_client
from tests.server.sandbox.gog_player import AUTH, Player, gog_player

GAMES = "https://embed.gog.com/user/data/games"


@pytest.fixture
async def player() -> AsyncIterator[Player]:
    async with gog_player() as player:
        yield player


async def test_the_sign_in_page_leads_to_a_landing_page_that_shows_the_address_to_paste(player: Player) -> None:
    answer = await player.ask(f"{AUTH}/auth", params={"client_id": CLIENT_ID, "redirect_uri": REDIRECT, "response_type": "code"})
    landing = answer.headers["location"]
    assert landing.startswith("http://sandbox.test/embed.gog.com/on_login_success?origin=client&code=")
    page = (await player.http.get(landing)).text
    code = landing.partition("code=")[2]
    assert f"https://embed.gog.com/on_login_success?origin=client&amp;code={code}" in page


async def test_a_code_in_the_landing_page_cannot_bring_markup_along(player: Player) -> None:
    page = (await player.ask("https://embed.gog.com/on_login_success", params={"origin": "client", "code": "<script>1</script>"})).text
    assert "<script>" not in page


async def test_an_unregistered_redirect_is_refused_in_json(player: Player) -> None:
    asked = {"client_id": CLIENT_ID, "redirect_uri": "http://127.0.0.1:4000/", "response_type": "code"}
    answer = await player.ask(f"{AUTH}/auth", params=asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "redirect_uri_mismatch")


async def test_a_code_gives_a_token_of_the_galaxy_user(player: Player) -> None:
    answer = await player.exchange(await player.code())
    token = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert token.keys() == {"expires_in", "scope", "token_type", "access_token", "user_id", "refresh_token", "session_id"}
    assert (token["expires_in"], token["scope"], token["token_type"]) == (3600, "", "bearer")
    assert token["user_id"] == player.world.gog_user_id
    assert isinstance(token["session_id"], str) and token["session_id"].isdigit()


async def test_a_code_works_once(player: Player) -> None:
    code = await player.code()
    assert (await player.exchange(code)).status_code == 200
    again = await player.exchange(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert again.json()["error_description"] == "Code doesn't exist or is invalid for the client"


async def test_a_code_runs_out_after_a_minute(player: Player) -> None:
    fresh, late = await player.code(), await player.code()
    player.now += 59
    assert (await player.exchange(fresh)).status_code == 200
    player.now += 2
    assert (await player.exchange(late)).json()["error"] == "invalid_grant"


async def test_a_code_is_good_for_the_client_that_asked_for_it_only(player: Player) -> None:
    client, secret = game_client(1_900_000_101)
    answer = await player.exchange(await player.code(), client_id=client, client_secret=secret)
    assert answer.json()["error"] == "invalid_grant"


async def test_a_wrong_client_is_told_before_the_code_is_looked_at(player: Player) -> None:
    code = await player.code()
    answer = await player.exchange(code, client_secret="wrong")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")
    assert (await player.exchange(code)).status_code == 200


async def test_the_token_endpoint_takes_a_form_and_basic_authentication_too(player: Player) -> None:
    form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "grant_type": "authorization_code", "code": await player.code()}
    assert (await player.ask(f"{AUTH}/token", method="POST", data=form, signed_in=False)).status_code == 200
    basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    asked = {"grant_type": "authorization_code", "code": await player.code()}
    answer = await player.ask(f"{AUTH}/token", params=asked, signed_in=False, headers={"authorization": f"Basic {basic}"})
    assert answer.status_code == 200
    broken = await player.ask(f"{AUTH}/token", params=asked, signed_in=False, headers={"authorization": "Basic ?"})
    assert broken.json()["error"] == "invalid_client"


async def test_another_grant_is_refused(player: Player) -> None:
    answer = await player.exchange(await player.code(), grant_type="password")
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


async def test_refreshing_keeps_the_refresh_token_and_the_session(player: Player) -> None:
    before = player.token
    after = (await player.refresh()).json()
    assert (after["refresh_token"], after["session_id"]) == (before["refresh_token"], before["session_id"])
    assert after["access_token"] != before["access_token"]
    assert (await player.refresh()).status_code == 200


async def test_a_rotated_refresh_token_is_good_once(player: Player) -> None:
    player.knobs.rotate_refresh = True
    after = (await player.refresh()).json()
    assert after["refresh_token"] != player.token["refresh_token"]
    reused = await player.refresh()
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    assert (await player.refresh(refresh_token=after["refresh_token"])).status_code == 200


async def test_a_game_gets_a_session_of_its_own_beside_the_main_one(player: Player) -> None:
    client, secret = game_client(1_900_000_101)
    scoped = (await player.refresh(client_id=client, client_secret=secret)).json()
    assert scoped["scope"] is None
    assert scoped["user_id"] == player.token["user_id"]
    assert scoped["session_id"] != player.token["session_id"]
    assert scoped["refresh_token"] != player.token["refresh_token"]
    assert (await player.refresh()).status_code == 200


async def test_an_access_token_runs_out_after_an_hour(player: Player) -> None:
    assert (await player.ask(GAMES)).status_code == 200
    player.now += 3600
    assert (await player.ask(GAMES)).status_code == 302
    player.token = (await player.refresh()).json()
    assert (await player.ask(GAMES)).status_code == 200


@pytest.mark.parametrize("path", ["user/data/games", "account/getFilteredProducts?mediaType=1"])
async def test_embed_answers_a_stranger_by_a_redirect_or_a_page(player: Player, path: str) -> None:
    refused = await player.ask(f"https://embed.gog.com/{path}", signed_in=False)
    assert (refused.status_code, refused.headers["location"]) == (302, "https://www.gog.com/en##openlogin")
    player.knobs.embed_unauth = "html"
    page = await player.ask(f"https://embed.gog.com/{path}", signed_in=False)
    assert (page.status_code, page.text[:1]) == (200, "<")


@pytest.mark.parametrize(
    "address",
    [
        "https://users.gog.com/users/{user}",
        "https://galaxy-library.gog.com/users/{user}/releases",
        "https://gameplay.gog.com/games/1900000101/users/{user}/sessions",
        "https://gameplay.gog.com/clients/1900000101/users/{user}/achievements",
        "https://content-system.gog.com/products/1900000101/secure_link?path=/",
        "https://content-system.gog.com/products/1900000101/patches",
        "https://api.gog.com/products/1900000101/downlink/installer/en3installer0",
    ],
)
async def test_the_other_hosts_answer_a_stranger_by_401_in_json(player: Player, address: str) -> None:
    refused = await player.ask(address.format(user=player.user), signed_in=False)
    assert refused.status_code == 401
    assert refused.json() == {"error": "access_denied", "error_description": "OAuth2 authentication required"}


async def test_a_code_is_refused_while_it_counts_as_expired(player: Player) -> None:
    player.faults.on("gog.expired_code", times=1)
    assert (await player.exchange(await player.code())).json()["error"] == "invalid_grant"
    assert (await player.exchange(await player.code())).status_code == 200


async def test_no_client_is_known_while_the_client_is_wrong(player: Player) -> None:
    player.faults.on("gog.wrong_client")
    assert (await player.exchange(await player.code())).json()["error"] == "invalid_client"
    assert (await player.refresh()).json()["error"] == "invalid_client"


async def test_a_sign_in_that_was_ended_elsewhere_can_neither_refresh_nor_ask(player: Player) -> None:
    player.faults.on("gog.signed_out")
    refused = await player.refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await player.ask(GAMES)).status_code == 302


async def test_a_stale_token_is_refused_until_the_fault_is_spent(player: Player) -> None:
    player.faults.on("gog.stale_token", times=1)
    assert (await player.ask(GAMES)).status_code == 302
    player.token = (await player.refresh()).json()
    assert (await player.ask(GAMES)).status_code == 200
