"""The stand-in for Steam's sign-in by QR code: what it takes, what it says, and the phone."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from integ_server.sandbox.steam_auth import Knobs, Phone
from tests.conftest_sandbox import RunningSandbox

SERVICE = "https://api.steampowered.com/IAuthenticationService"
DETAILS = {"device_friendly_name": "Test", "platform_type": 3}


def post(sandbox: RunningSandbox, method: str, **body: Any) -> httpx.Response:
    return httpx.post(sandbox.at(f"{SERVICE}/{method}/v1/"), **body)


def begun(sandbox: RunningSandbox, platform: int = 3) -> dict[str, Any]:
    form = {"platform_type": str(platform), "device_details[platform_type]": str(platform)}
    return post(sandbox, "BeginAuthSessionViaQR", data=form).json()["response"]


def polled(sandbox: RunningSandbox, session: dict[str, Any]) -> httpx.Response:
    return post(sandbox, "PollAuthSessionStatus", data={"client_id": session["client_id"], "request_id": session["request_id"]})


def act(sandbox: RunningSandbox, action: str, **query: str) -> httpx.Response:
    return httpx.post(f"{sandbox.url}/_sandbox/steam/qr/{action}", params=query)


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"platform_type": "3", "device_friendly_name": "Test"}},
        {"data": {"device_details[platform_type]": "3", "device_details[device_friendly_name]": "Test"}},
        {"data": {"input_json": json.dumps({"device_details": DETAILS})}},
        {"files": {"platform_type": (None, "3"), "device_details[device_friendly_name]": (None, "Test")}},
    ],
    ids=["flat", "brackets", "input_json", "multipart"],
)
def test_every_encoding_begins_a_session(sandbox: RunningSandbox, body: dict[str, Any]) -> None:
    answer = post(sandbox, "BeginAuthSessionViaQR", **body)
    told = answer.json()["response"]
    assert answer.headers["x-eresult"] == "1"
    assert isinstance(told["client_id"], str), "64-bit numbers are texts"
    assert told["challenge_url"] == f"https://s.team/q/1/{told['client_id']}"
    newest = sandbox.sandbox.state.part(Phone).newest
    assert (newest.platform, newest.device) == (3, "Test")


def test_binary_bodies_get_and_unknown_methods_are_not_played(sandbox: RunningSandbox) -> None:
    assert post(sandbox, "BeginAuthSessionViaQR", data={"input_protobuf_encoded": "CgA="}).headers["x-eresult"] == "8"
    assert httpx.get(sandbox.at(f"{SERVICE}/BeginAuthSessionViaQR/v1/")).status_code == 405
    assert post(sandbox, "BeginLost").status_code == 404


def test_what_is_as_usual_is_left_out_until_the_phone_does_something(sandbox: RunningSandbox) -> None:
    session = begun(sandbox)
    assert polled(sandbox, session).json() == {"response": {}}
    assert act(sandbox, "scan").json()["stage"] == "scanned"
    assert polled(sandbox, session).json() == {"response": {"had_remote_interaction": True}}
    act(sandbox, "approve", client_id=session["client_id"])
    told = polled(sandbox, session).json()["response"]
    assert {"refresh_token", "access_token", "account_name", "had_remote_interaction"} == told.keys()
    assert polled(sandbox, session).headers["x-eresult"] == "9", "the tokens are told once"


def test_a_session_belongs_to_who_knows_both_its_numbers(sandbox: RunningSandbox) -> None:
    session = begun(sandbox)
    assert polled(sandbox, {**session, "request_id": "AAAAAAAAAAAAAAAAAAAAAA=="}).headers["x-eresult"] == "9"
    assert act(sandbox, "approve", client_id="1").status_code == 404
    assert act(sandbox, "explode").status_code == 404


@pytest.mark.parametrize(
    ("fault", "result", "status"),
    [("qr.denied", "9", 200), ("qr.unknown", "9", 200), ("qr.expired", "27", 200), ("qr.busy", "20", 200), ("qr.server_error", None, 500)],
)
def test_each_end_of_a_session_looks_as_it_does_at_steam(sandbox: RunningSandbox, fault: str, result: str | None, status: int) -> None:
    session = begun(sandbox)
    sandbox.faults.on(fault)
    answer = polled(sandbox, session)
    assert (answer.headers.get("x-eresult"), answer.status_code) == (result, status)
    assert result is None or answer.json() == {"response": {}}


def test_a_code_that_changes_keeps_its_request(sandbox: RunningSandbox) -> None:
    session = begun(sandbox)
    sandbox.faults.on("qr.rotated", times=1)
    told = polled(sandbox, session).json()["response"]
    assert told["new_challenge_url"].endswith(told["new_client_id"])
    assert polled(sandbox, session).headers["x-eresult"] == "9", "the old number is gone"
    assert polled(sandbox, {**session, "client_id": told["new_client_id"]}).json() == {"response": {}}


def approved(sandbox: RunningSandbox, platform: int = 3) -> dict[str, Any]:
    session = begun(sandbox, platform)
    act(sandbox, "approve")
    return polled(sandbox, session).json()["response"]


def generated(sandbox: RunningSandbox, refresh_token: str, **more: str) -> httpx.Response:
    return post(sandbox, "GenerateAccessTokenForApp", data={"refresh_token": refresh_token, "steamid": sandbox.world.steam_id, **more})


@pytest.mark.parametrize(("platform", "result"), [(1, "15"), (2, "15"), (3, "1")])
def test_a_mobile_app_s_token_alone_is_renewed(sandbox: RunningSandbox, platform: int, result: str) -> None:
    assert generated(sandbox, approved(sandbox, platform)["refresh_token"]).headers["x-eresult"] == result


def test_a_refresh_token_that_is_renewed_ends_the_old_one(sandbox: RunningSandbox) -> None:
    old = approved(sandbox)["refresh_token"]
    sandbox.sandbox.state.part(Knobs).rotates_refresh = True
    assert "refresh_token" not in generated(sandbox, old, renewal_type="0").json()["response"]
    new = generated(sandbox, old, renewal_type="1").json()["response"]["refresh_token"]
    assert generated(sandbox, old).headers["x-eresult"] == "15"
    assert generated(sandbox, new).headers["x-eresult"] == "1"
    assert generated(sandbox, "nonsense").headers["x-eresult"] == "5"


def test_an_access_token_sees_its_own_games_and_a_key_beside_it_is_refused(sandbox: RunningSandbox) -> None:
    told = approved(sandbox)
    owned = sandbox.at("https://api.steampowered.com/IPlayerService/GetOwnedGames/v1/")
    asked = {"access_token": told["access_token"], "steamid": sandbox.world.steam_id}
    sandbox.faults.on("steam.private_profile")
    assert httpx.get(owned, params=asked).json()["response"]["game_count"]
    assert httpx.get(owned, params={**asked, "key": sandbox.world.steam_key}).status_code == 401
    sandbox.faults.on("steam.access_over")
    assert httpx.get(owned, params=asked).status_code == 401


@pytest.mark.parametrize("press", ["approve", "deny"])
def test_the_code_s_address_is_a_page_that_stands_in_for_the_steam_app(sandbox: RunningSandbox, press: str) -> None:
    session = begun(sandbox)
    page = httpx.get(sandbox.at(session["challenge_url"])).text
    assert polled(sandbox, session).json()["response"] == {"had_remote_interaction": True}
    action = f"/_sandbox/steam/qr/{press}?client_id={session['client_id']}"
    assert action in page
    httpx.post(f"{sandbox.url}{action}")
    assert polled(sandbox, session).headers["x-eresult"] == ("1" if press == "approve" else "9")
    assert httpx.get(sandbox.at("https://s.team/q/1/1")).status_code == 404
