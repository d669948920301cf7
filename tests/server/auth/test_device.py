from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest

from integ_server.auth import device
from integ_server.contract.errors import NotFoundError, RateLimitedError
from integ_server.contract.scopes import Scope
from tests.server.conftest import OpenServed, Served

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
HERE = "192.0.2.1"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two questions may follow each other at once, for most tests."""
    monkeypatch.setattr(device, "TOO_EARLY_BY_S", 4.999)


async def begun(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await http.post("/auth/device", json={"device": "Ann's Deck", **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()["data"]
    return found


async def polled(http: httpx.AsyncClient, device_code: str) -> httpx.Response:
    return await http.post("/auth/device/token", json={"device_code": device_code})


def word(answer: httpx.Response) -> tuple[int, str, str]:
    told = answer.json()
    return answer.status_code, told["error"], told["data"]["error"]


async def test_a_device_is_signed_in_once_the_player_said_yes_on_the_page(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    start = await begun(http)
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", start["user_code"])
    assert start["verification_uri"] == "https://integ.example/device"
    assert start["verification_uri_complete"] == f"https://integ.example/device?user_code={start['user_code']}"
    assert word(await polled(http, start["device_code"])) == (401, "AuthenticationError", "authorization_pending")

    typed = start["user_code"].lower().replace("-", " ")
    shown = await device.look_up(served.backend, typed, address=HERE)
    assert (shown.device, shown.user_code, shown.address) == ("Ann's Deck", start["user_code"], "127.0.0.1")
    user = await served.new_user()
    await device.approve(served.backend, typed, user, address=HERE)

    answer = await polled(http, start["device_code"])
    tokens = answer.json()["data"]
    assert (tokens["user_id"], answer.headers["cache-control"]) == (user, "no-store")
    signed_in = await served.http(tokens["access_token"])
    assert (await signed_in.get("/users/me")).json()["data"]["id"] == user
    (listed,) = (await signed_in.get("/auth/sessions")).json()["data"]
    assert (listed["device"], listed["is_current"]) == ("Ann's Deck", True)


async def test_a_used_a_made_up_and_an_expired_code_are_over(open_served: OpenServed, monkeypatch: pytest.MonkeyPatch) -> None:
    served: Served = await open_served()
    http = await served.http()
    start = await begun(http)
    await device.approve(served.backend, start["user_code"], await served.new_user(), address=HERE)
    assert (await polled(http, start["device_code"])).status_code == 200
    over = (401, "AuthenticationError", "expired_token")
    assert word(await polled(http, start["device_code"])) == over  # replayed
    assert word(await polled(http, "integ_dc_made-up")) == over
    with pytest.raises(NotFoundError):
        await device.look_up(served.backend, start["user_code"], address=HERE)

    monkeypatch.setattr(device, "LIVES_S", 1)
    late = await device.begin(served.backend, device.DeviceStart(), "https://integ.example")
    await asyncio.sleep(1.1)
    assert word(await polled(http, late.device_code)) == over


async def test_a_no_is_told_to_the_device_and_only_the_first_decision_counts(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    start = await begun(http)
    await device.deny(served.backend, start["user_code"], address=HERE)
    with pytest.raises(NotFoundError):
        await device.approve(served.backend, start["user_code"], await served.new_user(), address=HERE)
    assert word(await polled(http, start["device_code"])) == (403, "PermissionDeniedError", "access_denied")
    assert word(await polled(http, start["device_code"])) == (401, "AuthenticationError", "expired_token")


async def test_a_device_that_asks_too_often_has_to_wait_longer_each_time(open_served: OpenServed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "TOO_EARLY_BY_S", 0.5)
    served: Served = await open_served()
    http = await served.http()
    start = await begun(http)
    assert start["interval"] == 5
    assert word(await polled(http, start["device_code"]))[2] == "authorization_pending"
    for interval in (10, 15):
        answer = await polled(http, start["device_code"])
        assert word(answer) == (429, "RateLimitedError", "slow_down")
        assert (answer.json()["data"]["interval"], answer.headers["retry-after"]) == (interval, str(interval))


async def test_a_device_gets_the_scopes_that_it_asked_for_and_no_more(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    start = await begun(http, scopes=["library:read"])
    assert (await device.look_up(served.backend, start["user_code"], address=HERE)).scopes == {Scope.LIBRARY_READ}
    await device.approve(served.backend, start["user_code"], await served.new_user(), address=HERE)
    tokens = (await polled(http, start["device_code"])).json()["data"]
    signed_in = await served.http(tokens["access_token"])
    assert (await signed_in.get("/users/me")).status_code == 200
    assert (await signed_in.get("/auth/sessions")).status_code == 403


@pytest.mark.parametrize("by", ["address", "page"])
async def test_guessing_codes_ends_after_a_few_wrong_ones_and_right_ones_cost_nothing(open_served: OpenServed, by: str) -> None:
    served: Served = await open_served()
    code = (await begun(await served.http()))["user_code"]

    async def guess(at: int, user_code: str) -> None:
        address, page = (HERE, "") if by == "address" else (f"192.0.2.{at + 1}", "the same page")
        await device.look_up(served.backend, user_code, address=address, page_session=page)

    for at in range(device.MOST_GUESSES + 5):
        await guess(at, code)
    for at in range(device.MOST_GUESSES):
        with pytest.raises(NotFoundError):
            await guess(at, "BCDF-BCDF" if code != "BCDF-BCDF" else "BCDF-BCDG")
    with pytest.raises(RateLimitedError) as caught:
        await guess(0, code)
    assert 0 < (caught.value.retry_after_s or 0) <= device.GUESSES_PER_S


async def test_what_is_no_code_is_none(open_served: OpenServed) -> None:
    served: Served = await open_served()
    for at, text in enumerate(("", "-", "AAAA-AAAA", "BCDF", "BCDF-GHJK-L", "\0", "ｂcdf-ghjk", "B" * 9999)):
        with pytest.raises(NotFoundError):
            await device.look_up(served.backend, text, address=f"192.0.2.{at}")


async def test_the_names_of_devices_are_cleaned_before_they_are_shown(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    start = await begun(http, device="Deck\x1b[2J\u202e\nfrom Valve")
    assert (await device.look_up(served.backend, start["user_code"], address=HERE)).device == "Deck[2J from Valve"


async def test_a_form_is_answered_as_the_rfc_has_it(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    start = (await http.post("/auth/device", data={"client_id": "some client", "scope": "library:read sync"})).json()
    assert start.keys() >= {"device_code", "user_code", "verification_uri", "expires_in", "interval"}
    ask = {"grant_type": GRANT, "device_code": start["device_code"], "client_id": "some client"}
    await served.backend.cache.set(device._asked(device._mark(start["device_code"])), "1", 60)
    assert (await http.post("/auth/device/token", data=ask)).json()["error"] == "slow_down"
    await served.backend.cache.delete(device._asked(device._mark(start["device_code"])))
    pending = await http.post("/auth/device/token", data=ask)
    assert (pending.status_code, pending.json()["error"]) == (400, "authorization_pending")
    await served.backend.cache.delete(device._asked(device._mark(start["device_code"])))
    await device.approve(served.backend, start["user_code"], await served.new_user(), address=HERE)
    answer = await http.post("/auth/device/token", data=ask)
    assert (answer.json()["token_type"], answer.json()["scope"]) == ("Bearer", "library:read sync")
    assert (await (await served.http(answer.json()["access_token"])).get("/users/me")).status_code == 200


@pytest.mark.parametrize(
    ("path", "form", "error"),
    [
        ("/auth/device", {"scope": "everything"}, "invalid_scope"),
        ("/auth/device/token", {"grant_type": "password", "device_code": "x"}, "unsupported_grant_type"),
        ("/auth/device/token", {"grant_type": GRANT}, "invalid_request"),
        ("/auth/device/token", {"grant_type": GRANT, "device_code": "x" * 201}, "invalid_request"),
        ("/auth/device/token", {"grant_type": GRANT, "device_code": "x"}, "expired_token"),
    ],
)
async def test_a_wrong_form_is_told_in_the_rfcs_words(open_served: OpenServed, path: str, form: dict[str, str], error: str) -> None:
    served: Served = await open_served()
    answer = await (await served.http()).post(path, data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_a_body_that_is_neither_is_wrong_usage_and_not_repeated(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    for path in ("/auth/device", "/auth/device/token"):
        for body in (
            b"",
            b"[]",
            b'{"device_code": {"sekrit": 1}, "device": ["sekrit"]}',
            b"\xff",
            b'{"device": "\\ud800", "device_code": "\\ud800"}',
        ):
            answer = await http.post(path, content=body, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["error"]) == (422, "UsageError"), body
            assert "sekrit" not in answer.text
