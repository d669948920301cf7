from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from integ_server.sandbox.steam_openid import ENDPOINT, NS, SELECT, SIGNED
from tests.conftest_sandbox import RunningSandbox

RETURN_TO = "http://127.0.0.1:4567/back?state=one-time&x=1"
ASKED = {
    "openid.ns": NS,
    "openid.mode": "checkid_setup",
    "openid.identity": SELECT,
    "openid.claimed_id": SELECT,
    "openid.return_to": RETURN_TO,
    "openid.realm": "http://127.0.0.1:4567/",
}

Pairs = list[tuple[str, str]]


async def sign_in(sandbox: RunningSandbox, **changes: str | None) -> httpx.Response:
    asked = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
    async with httpx.AsyncClient() as http:
        return await http.get(sandbox.at(ENDPOINT), params=asked)


async def assertion(sandbox: RunningSandbox) -> Pairs:
    """The fields that came back, in order, our own parameters first."""
    answer = await sign_in(sandbox)
    assert answer.status_code == 302, answer.text
    return parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True)


def of(pairs: Pairs) -> dict[str, str]:
    return dict(pairs)


async def check(sandbox: RunningSandbox, pairs: Pairs, **changes: str) -> httpx.Response:
    told = {**{name: value for name, value in pairs if name.startswith("openid.")}, "openid.mode": "check_authentication", **changes}
    async with httpx.AsyncClient() as http:
        return await http.post(sandbox.at(ENDPOINT), data=told)


async def test_the_answer_has_exactly_the_fields_of_steams_behind_the_callers_own(sandbox: RunningSandbox) -> None:
    pairs = await assertion(sandbox)
    assert [name for name, _ in pairs] == [
        "state", "x", "openid.ns", "openid.mode", "openid.op_endpoint", "openid.claimed_id", "openid.identity", "openid.return_to",
        "openid.response_nonce", "openid.assoc_handle", "openid.signed", "openid.sig",
    ]  # fmt: skip
    fields = of(pairs)
    assert fields["openid.mode"] == "id_res" and fields["openid.op_endpoint"] == ENDPOINT
    assert fields["openid.claimed_id"] == fields["openid.identity"] == f"https://steamcommunity.com/openid/id/{sandbox.world.steam_id}"
    assert fields["openid.return_to"] == RETURN_TO
    assert fields["openid.assoc_handle"] == "1234567890" and fields["openid.signed"] == SIGNED
    moment = time.strptime(fields["openid.response_nonce"][:20], "%Y-%m-%dT%H:%M:%SZ")
    assert len(fields["openid.response_nonce"]) > 30 and moment.tm_year >= 2024


async def test_a_return_address_without_a_query_gets_one(sandbox: RunningSandbox) -> None:
    answer = await sign_in(sandbox, **{"openid.return_to": "http://127.0.0.1:4567/back"})
    assert answer.headers["location"].startswith("http://127.0.0.1:4567/back?openid.ns=")


async def test_an_assertion_verifies_once(sandbox: RunningSandbox) -> None:
    pairs = await assertion(sandbox)
    first, second = await check(sandbox, pairs), await check(sandbox, pairs)
    assert first.text == f"ns:{NS}\nis_valid:true\n" and first.headers["content-type"].startswith("text/plain")
    assert (second.status_code, second.text) == (200, f"ns:{NS}\nis_valid:false\n")


async def test_of_two_checks_at_the_same_moment_only_one_is_told_yes(sandbox: RunningSandbox) -> None:
    pairs = await assertion(sandbox)
    answers = await asyncio.gather(*(check(sandbox, pairs) for _ in range(4)))
    assert sorted("is_valid:true" in answer.text for answer in answers) == [False, False, False, True]


@pytest.mark.parametrize("name", ["claimed_id", "identity", "return_to", "response_nonce", "sig", "signed"])
async def test_a_changed_field_does_not_verify(sandbox: RunningSandbox, name: str) -> None:
    pairs = await assertion(sandbox)
    changed = of(pairs)[f"openid.{name}"] + "0"
    assert "is_valid:false" in (await check(sandbox, pairs, **{f"openid.{name}": changed})).text


@pytest.mark.parametrize(
    "changes",
    [
        {"openid.realm": "http://127.0.0.1:9999/"},
        {"openid.realm": "http://127.0.0.1:4567/other/"},
        {"openid.realm": "http://127.0.0.1:456"},
        {"openid.mode": "checkid_immediate"},
        {"openid.claimed_id": "https://steamcommunity.com/openid/id/1"},
        {"openid.return_to": "javascript:alert(1)"},
        {"openid.return_to": None},
        {"openid.ns": None},
    ],
    ids=str,
)
async def test_a_request_that_steam_would_not_take_is_a_page_and_no_redirect(sandbox: RunningSandbox, changes: dict[str, Any]) -> None:
    answer = await sign_in(sandbox, **changes)
    assert answer.status_code == 200 and "<html" in answer.text and "invalid" in answer.text


async def test_without_a_realm_the_return_address_is_the_realm(sandbox: RunningSandbox) -> None:
    assert (await sign_in(sandbox, **{"openid.realm": None})).status_code == 302


async def test_a_player_who_says_no_comes_back_with_cancel_alone(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("openid.cancel")
    assert [pair for pair in await assertion(sandbox) if pair[0].startswith("openid.")] == [("openid.ns", NS), ("openid.mode", "cancel")]


async def test_a_forged_signature_does_not_verify(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("openid.forged")
    assert "is_valid:false" in (await check(sandbox, await assertion(sandbox))).text


@pytest.mark.parametrize(
    ("fault", "field", "bent"),
    [
        ("openid.wrong_op_endpoint", "openid.op_endpoint", "https://steamcommunity.com.login.example/openid/login"),
        ("openid.lookalike", "openid.claimed_id", "https://steamcommunity.com.login.example/openid/id/"),
        ("openid.lookalike", "openid.identity", "https://steamcommunity.com.login.example/openid/id/"),
        ("openid.other_return_to", "openid.return_to", "https://another-site.example/back"),
    ],
)
async def test_a_bent_assertion_verifies_so_that_only_the_callers_own_checks_can_refuse_it(
    sandbox: RunningSandbox, fault: str, field: str, bent: str
) -> None:
    sandbox.faults.on(fault, times=1)
    pairs = await assertion(sandbox)
    assert of(pairs)[field].startswith(bent)
    assert "is_valid:true" in (await check(sandbox, pairs)).text
    assert not of(await assertion(sandbox))[field].startswith(bent)


async def test_an_old_nonce_is_an_hour_old(sandbox: RunningSandbox) -> None:
    sandbox.sandbox.state.clock = lambda: 1_795_000_000.0
    fresh = of(await assertion(sandbox))["openid.response_nonce"]
    sandbox.faults.on("openid.old_nonce")
    old = of(await assertion(sandbox))["openid.response_nonce"]
    assert (fresh[:20], old[:20]) == ("2026-11-18T11:06:40Z", "2026-11-18T10:06:40Z")


async def test_a_doubled_field_names_two_players(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("openid.duplicate_field")
    claimed = [value for name, value in await assertion(sandbox) if name == "openid.claimed_id"]
    assert len(claimed) == 2 and claimed[0].endswith(sandbox.world.steam_id) and claimed[1] != claimed[0]


async def test_the_verification_can_end_its_lines_with_crlf(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("openid.crlf")
    assert (await check(sandbox, await assertion(sandbox))).text == f"ns:{NS}\r\nis_valid:true\r\n"


async def test_the_verification_can_say_no_with_yes_inside_its_text(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("openid.substring")
    lines = (await check(sandbox, await assertion(sandbox))).text.splitlines()
    assert "is_valid:false" in lines and "is_valid:true" not in lines and any("is_valid:true" in line for line in lines)


async def test_an_assertion_can_have_been_used_by_somebody_else_before(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("openid.reused", times=1)
    assert "is_valid:false" in (await check(sandbox, await assertion(sandbox))).text
    assert "is_valid:true" in (await check(sandbox, await assertion(sandbox))).text


@pytest.mark.parametrize("status", [403, 429, 503])
async def test_a_verification_that_fails_does_not_use_the_assertion_up(sandbox: RunningSandbox, status: int) -> None:
    sandbox.faults.on(f"openid.{status}", times=1)
    pairs = await assertion(sandbox)
    assert (await check(sandbox, pairs)).status_code == status
    assert "is_valid:true" in (await check(sandbox, pairs)).text


async def test_a_post_that_is_no_verification_is_a_page(sandbox: RunningSandbox) -> None:
    answer = await check(sandbox, await assertion(sandbox), **{"openid.mode": "id_res"})
    assert "<html" in answer.text


async def test_a_body_that_is_no_text_is_no_crash(sandbox: RunningSandbox) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(sandbox.at(ENDPOINT), content=b"\xff\xfe" + urlencode({"openid.mode": "x"}).encode())
    assert answer.status_code == 200
