"""Steam's sign-in page: each known mistake of other clients, made here once, and refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import AuthenticationError, IntegError, ProviderUnavailableError, UsageError
from integ_server.contract.types import SignInAnswer, SignInWay
from integ_server.providers import _openid
from integ_server.providers.base import ProviderConfig
from integ_server.providers.steam import Steam
from integ_server.upstream import rewritten
from tests.server.providers.outside import over, through

KEY = "0123456789ABCDEF0123456789ABCDEF"
STEAMID = "76561198000000001"
RETURN_TO = "http://127.0.0.1:4000/callback?state=0nce"
CLAIMED = f"https://steamcommunity.com/openid/id/{STEAMID}"
GOOD = f"ns:{_openid.NS}\nis_valid:true\n"
Fields = dict[str, str]


def assertion(**changed: str | None) -> Fields:
    """What a right answer of Steam's brings; `None` leaves a field out. Names with `__` for dots."""
    fields = {
        "state": "0nce",
        "openid.ns": _openid.NS,
        "openid.mode": "id_res",
        "openid.op_endpoint": _openid.ENDPOINT,
        "openid.claimed_id": CLAIMED,
        "openid.identity": CLAIMED,
        "openid.return_to": RETURN_TO,
        "openid.response_nonce": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") + "aB+/c=",
        "openid.assoc_handle": "1234567890",
        "openid.signed": "signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle",
        "openid.sig": "c2ln+/=",
    }
    for name, value in changed.items():
        name = name.replace("__", ".")
        if value is None:
            del fields[name]
        else:
            fields[name] = value
    return fields


class Outside:
    """Steam's end: verifies what it is told to, and remembers what it was asked."""

    def __init__(self, verification: str | bytes | httpx.Response | Exception = GOOD) -> None:
        self.verification = verification
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.host == "api.steampowered.com":
            return httpx.Response(200, json={"response": {"players": [{"steamid": STEAMID, "personaname": "Ana"}]}})
        if isinstance(self.verification, Exception):
            raise self.verification
        if isinstance(self.verification, httpx.Response):
            return self.verification
        return httpx.Response(200, content=self.verification, headers={"Content-Type": "text/plain"})

    @property
    def verified(self) -> list[httpx.Request]:
        return [request for request in self.asked if request.url.host == "steamcommunity.com"]


async def sign_in(outside: Callable[[httpx.Request], httpx.Response], query: str | Fields, return_to: str = RETURN_TO) -> str:
    query = query if isinstance(query, str) else urlencode(query)
    async with over(outside) as http:
        answer = SignInAnswer(way=SignInWay.OPENID, query=query, api_key=KEY, state="0nce")
        signed_in = await Steam(http).sign_in(answer, return_to=return_to)
    assert signed_in.display_name == "Ana"
    assert signed_in.credentials.secret == KEY
    return signed_in.credentials.account


async def test_a_right_assertion_signs_in_as_the_account_it_names() -> None:
    outside = Outside()
    fields = assertion()
    assert await sign_in(outside, fields) == STEAMID
    (asked,) = outside.verified
    assert asked.method == "POST"
    assert str(asked.url) == "https://steamcommunity.com/openid/login"
    sent = dict(parse_qsl(asked.content.decode(), keep_blank_values=True))
    assert sent == {**{name: value for name, value in fields.items() if name != "state"}, "openid.mode": "check_authentication"}


async def test_a_closing_slash_and_crlf_are_fine() -> None:
    claimed = f"{CLAIMED}/"
    outside = Outside(GOOD.replace("\n", "\r\n"))
    assert await sign_in(outside, assertion(openid__claimed_id=claimed, openid__identity=claimed)) == STEAMID


@pytest.mark.parametrize(
    "wrong",
    [
        {"openid__mode": "check_authentication"},
        {"openid__mode": None},
        {"openid__mode": "error"},
        {"openid__mode": "setup_needed"},
        {"openid__ns": "http://openid.net/signon/1.1"},
        {"openid__ns": None},
        {"openid__op_endpoint": "https://evil.example/openid/login"},
        {"openid__op_endpoint": "https://steamcommunity.com/openid/login/"},
        {"openid__op_endpoint": "http://steamcommunity.com/openid/login"},
        {"openid__op_endpoint": None},
        {"openid__identity": f"https://steamcommunity.com/openid/id/{int(STEAMID) + 1}"},
        {"openid__identity": None},
        {"openid__claimed_id": None},
        {"openid__sig": None},
        {"openid__sig": ""},
        {"openid__assoc_handle": None},
        {"openid__signed": None},
        {"openid__signed": ""},
        {"openid__signed": "signed,op_endpoint,identity,return_to,response_nonce,assoc_handle"},
        {"openid__signed": "signed,op_endpoint,claimed_id,identity,response_nonce,assoc_handle"},
        {"openid__signed": "signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle,ghost"},
        {"openid__signed": "claimed_id,claimed_id,op_endpoint,identity,return_to,response_nonce"},
        {"openid__return_to": "https://other.example/callback?state=0nce"},
        {"openid__return_to": f"{RETURN_TO}&x=1"},
        {"openid__return_to": RETURN_TO.replace("0nce", "twice")},
        {"openid__return_to": RETURN_TO.upper()},
        {"openid__return_to": None},
        {"state": "another"},
        {"state": None},
        {"openid__response_nonce": None},
        {"openid__response_nonce": ""},
        {"openid__response_nonce": "yesterday"},
        {"openid__response_nonce": "2026-13-45T99:99:99Zx"},
    ],
    ids=lambda wrong: ",".join(f"{name}={value}" for name, value in wrong.items())[:60],
)
async def test_an_assertion_with_a_mistake_is_refused_without_asking_steam(wrong: dict[str, str | None]) -> None:
    outside = Outside()
    with pytest.raises(AuthenticationError) as told:
        await sign_in(outside, assertion(**wrong))
    assert outside.asked == []
    assert told.value.hint


@pytest.mark.parametrize(
    "claimed",
    [
        "https://steamcommunity.com.evil.example/openid/id/76561198000000001",
        "https://steamcommunityxcom/openid/id/76561198000000001",
        "http://steamcommunity.com/openid/id/76561198000000001",
        "https://evil.example/?https://steamcommunity.com/openid/id/76561198000000001",
        "https://steamcommunity.com/openid/id/../../76561198000000001",
        "https://steamcommunity.com/openid/id/76561198000000001\n",
        "https://steamcommunity.com/openid/id/76561198000000001/x",
        "https://steamcommunity.com/openid/id/7656119800000000",
        "https://steamcommunity.com/openid/id/765611980000000011",
        "https://steamcommunity.com/openid/id/12345678901234567",
        "https://steamcommunity.com/openid/id/7656119800000000\u0661",
        "https://steamcommunity.com/openid/id/",
        "https://steamcommunity.com/id/ana",
        "76561198000000001",
        "",
    ],
)
async def test_a_claimed_id_that_only_looks_like_steams_is_refused(claimed: str) -> None:
    outside = Outside()
    with pytest.raises(AuthenticationError):
        await sign_in(outside, assertion(openid__claimed_id=claimed, openid__identity=claimed))
    assert outside.asked == []


@pytest.mark.parametrize("field", ["openid.claimed_id", "openid.identity", "openid.mode", "openid.return_to", "openid.sig", "state"])
async def test_a_field_that_comes_twice_is_refused(field: str) -> None:
    outside = Outside()
    fields = assertion()
    with pytest.raises(AuthenticationError, match="twice"):
        await sign_in(outside, urlencode([*fields.items(), (field, fields[field])]))
    assert outside.asked == []


@pytest.mark.parametrize("age_s", [-400, 400, 86_400])
async def test_a_nonce_from_another_time_is_refused(age_s: int) -> None:
    made = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    outside = Outside()
    with pytest.raises(AuthenticationError, match=r"too long|clock"):
        await sign_in(outside, assertion(openid__response_nonce=f"{made}abc"))
    assert outside.asked == []


async def test_an_assertion_without_an_issued_address_is_refused() -> None:
    with pytest.raises(AuthenticationError):
        await sign_in(Outside(), assertion(openid__return_to=""), return_to="")


async def test_a_player_who_says_no_is_told_so() -> None:
    with pytest.raises(AuthenticationError, match="cancelled"):
        await sign_in(Outside(), "state=0nce&openid.mode=cancel")


@pytest.mark.parametrize(
    "said",
    [
        f"ns:{_openid.NS}\nis_valid:false\n",
        f"ns:{_openid.NS}\nis_valid:True\n",
        f"ns:{_openid.NS}\nis_valid: true\n",
        f"ns:{_openid.NS}\nis_valid:true \n",
        "is_valid:true\n",
        "ns:http://openid.net/signon/1.1\nis_valid:true\n",
    ],
)
async def test_what_steam_does_not_confirm_is_refused(said: str) -> None:
    outside = Outside(said)
    with pytest.raises(AuthenticationError):
        await sign_in(outside, assertion())
    assert len(outside.verified) == 1


@pytest.mark.parametrize(
    "said",
    [
        "",
        "<html>is_valid:true</html>",
        f"ns:{_openid.NS}\nnot is_valid:true\n",
        f"ns:{_openid.NS}\nis_valid:false\nis_valid:true\n",
        f"ns:{_openid.NS}\nis_valid:true\n<p>hello</p>\n",
        b"\xff\xfe",
        httpx.Response(403, text="is_valid:true"),
        httpx.Response(429, headers={"Retry-After": "30"}),
        httpx.Response(500, text=GOOD),
        httpx.Response(503, text=GOOD),
        httpx.Response(302, headers={"Location": "https://evil.example/"}),
        httpx.Response(201, text=GOOD),
        httpx.ReadTimeout("x"),
        httpx.ConnectError("x"),
        httpx.RemoteProtocolError("x"),
    ],
    ids=lambda said: str(said)[:40] if not isinstance(said, httpx.Response) else f"HTTP {said.status_code}",
)
async def test_a_verification_that_says_nothing_is_neither_yes_nor_no_and_is_sent_once(
    said: str | bytes | httpx.Response | Exception,
) -> None:
    outside = Outside(said)
    with pytest.raises(ProviderUnavailableError) as told:
        await sign_in(outside, assertion())
    assert len(outside.asked) == 1
    if isinstance(said, httpx.Response) and said.status_code == 429:
        assert told.value.retry_after_s == 30


async def test_a_name_that_cannot_be_had_does_not_undo_the_sign_in() -> None:
    def outside(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=GOOD) if request.method == "POST" else httpx.Response(404, text="<html>")

    async with over(outside) as http:
        answer = SignInAnswer(way=SignInWay.OPENID, query=urlencode(assertion()))
        signed_in = await Steam(http, ProviderConfig(steam_api_key=KEY)).sign_in(answer, return_to=RETURN_TO)
    assert signed_in.display_name == STEAMID
    assert signed_in.credentials.secret == ""


async def test_without_any_key_it_says_who_it_is_and_nothing_that_reads_a_library() -> None:
    outside = Outside()
    async with over(outside) as http:
        told = await Steam(http).sign_in(SignInAnswer(way=SignInWay.OPENID, query=urlencode(assertion())), return_to=RETURN_TO)
    assert (told.credentials.secret, told.display_name) == ("", "")
    assert told.credentials.account in assertion()["openid.claimed_id"]
    assert [request.method for request in outside.asked] == ["POST"], "the assertion was checked, and nothing else asked"


@pytest.mark.parametrize("key", ["short", "g" * 32])
async def test_with_a_wrong_key_the_assertion_is_not_spent(key: str) -> None:
    outside = Outside()
    async with over(outside) as http:
        answer = SignInAnswer(way=SignInWay.OPENID, query=urlencode(assertion()), api_key=key)
        with pytest.raises(AuthenticationError, match="Steam Web API key") as told:
            await Steam(http).sign_in(answer, return_to=RETURN_TO)
    assert "https://steamcommunity.com/dev/apikey" in told.value.hint
    assert outside.asked == []


def test_the_page_is_steams_own_and_carries_the_state() -> None:
    page = Steam(httpx.AsyncClient()).sign_in_address(SignInWay.OPENID, "http://127.0.0.1:4000/callback", "0nce")
    parts = urlsplit(page)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://steamcommunity.com/openid/login"
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert asked["openid.return_to"] == RETURN_TO
    assert asked["openid.realm"] == "http://127.0.0.1:4000/"
    assert asked["openid.mode"] == "checkid_setup"
    assert asked["openid.identity"] == asked["openid.claimed_id"] == "http://specs.openid.net/auth/2.0/identifier_select"


@pytest.mark.parametrize(
    ("return_to", "issued"),
    [
        ("https://integ.example/cb", "https://integ.example/cb?state=a%2Fb"),
        ("https://integ.example/cb?x=1", "https://integ.example/cb?x=1&state=a%2Fb"),
        ("https://integ.example/cb?state=there", "https://integ.example/cb?state=there"),
    ],
)
def test_the_state_is_put_into_the_address_once(return_to: str, issued: str) -> None:
    assert _openid.with_state(return_to, "a/b") == issued


@pytest.mark.parametrize(
    "return_to",
    ["", "/callback", "javascript:alert(1)", "file:///x", "https://u:p@integ.example/", "https://integ.example/#x", "https://[x/"],
)
def test_an_address_that_nobody_can_come_back_to_is_refused(return_to: str) -> None:
    with pytest.raises(UsageError):
        Steam(httpx.AsyncClient()).sign_in_address(SignInWay.OPENID, return_to, "0nce")


def test_the_nonce_of_an_assertion_can_be_kept_and_that_of_nonsense_not() -> None:
    fields = assertion()
    assert Steam.nonce_of(urlencode(fields)) == fields["openid.response_nonce"]
    assert Steam.nonce_of("?" + urlencode(fields)) == fields["openid.response_nonce"]
    for query in (
        "",
        "openid.response_nonce=",
        "openid.response_nonce=a&openid.response_nonce=b",
        "openid.response_nonce=" + "x" * 400,
        "%ff=%ff",
        "a&" * 200,
    ):
        assert Steam.nonce_of(query) is None


@given(st.text(max_size=200))
def test_any_query_is_refused_without_another_failure(query: str) -> None:
    with pytest.raises(AuthenticationError):
        _openid.checked_fields(query, RETURN_TO, now=datetime.now(UTC))


@given(
    st.dictionaries(st.text("abc._", min_size=1, max_size=8), st.text("abc:/=. ", max_size=12), max_size=6), st.sampled_from(["\n", "\r\n"])
)
def test_key_values_are_read_back_as_they_were_written(pairs: dict[str, str], end: str) -> None:
    body = "".join(f"{key}:{value}{end}" for key, value in pairs.items())
    assert _openid.key_values(body.encode()) == pairs


@given(st.binary(max_size=200))
def test_no_reply_but_a_plain_yes_is_a_yes(body: bytes) -> None:
    with pytest.raises((AuthenticationError, ProviderUnavailableError)):
        _openid.check_confirmed(body)


async def test_the_whole_way_works_against_steams_stand_in_and_counts_once(sandbox) -> None:  # type: ignore[no-untyped-def]
    async with through(sandbox.url) as http, httpx.AsyncClient() as browser:
        steam = Steam(http)
        page = rewritten(steam.sign_in_address(SignInWay.OPENID, "http://127.0.0.1:4000/callback", "0nce"), sandbox.url)
        landed = (await browser.get(page)).headers["Location"]
        answer = SignInAnswer(way=SignInWay.OPENID, query=urlsplit(landed).query, api_key=sandbox.world.steam_key)
        signed_in = await steam.sign_in(answer, return_to=RETURN_TO)
        assert signed_in.credentials.account == sandbox.world.steam_id
        assert signed_in.display_name == sandbox.world.persona
        with pytest.raises(AuthenticationError, match="once"):
            await steam.sign_in(answer, return_to=RETURN_TO)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("openid.cancel", AuthenticationError),
        ("openid.forged", AuthenticationError),
        ("openid.wrong_op_endpoint", AuthenticationError),
        ("openid.old_nonce", AuthenticationError),
        ("openid.lookalike", AuthenticationError),
        ("openid.other_return_to", AuthenticationError),
        ("openid.duplicate_field", AuthenticationError),
        ("openid.reused", AuthenticationError),
        ("openid.substring", IntegError),
        ("openid.403", ProviderUnavailableError),
        ("openid.429", ProviderUnavailableError),
        ("openid.503", ProviderUnavailableError),
    ],
)
async def test_what_steams_stand_in_can_get_wrong_is_refused(sandbox, fault: str, kind: type[IntegError]) -> None:  # type: ignore[no-untyped-def]
    sandbox.faults.on(fault)
    async with through(sandbox.url) as http, httpx.AsyncClient() as browser:
        steam = Steam(http)
        page = rewritten(steam.sign_in_address(SignInWay.OPENID, "http://127.0.0.1:4000/callback", "0nce"), sandbox.url)
        landed = (await browser.get(page)).headers["Location"]
        answer = SignInAnswer(way=SignInWay.OPENID, query=urlsplit(landed).query, api_key=sandbox.world.steam_key)
        with pytest.raises(kind):
            await steam.sign_in(answer, return_to=RETURN_TO)
