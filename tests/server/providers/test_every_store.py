"""What every store has to keep, those that come later included: each way of failing is told as what it is, and names no secret."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

import httpx
import pytest

from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    NotFoundError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UsageError,
)
from integ_server.contract.types import DownloadRequest, SignInAnswer, SignInWay
from integ_server.providers import providers
from integ_server.providers.base import (
    Credentials,
    GameMetadata,
    GameProvider,
    PlansDownloads,
    ProviderConfig,
    ReadsMetadata,
    RenewsAccess,
    SignsInByQr,
)
from tests.server.providers.outside import Handler, over

SECRET = "0123456789abcdef0123456789abcdef"
TOKEN = "t0kenT0kenT0ken"
CODE = "c0deC0deC0de"
STORES = list(providers().values())
Call = Callable[[GameProvider], Awaitable[object]]

every_store = pytest.mark.parametrize("store", STORES, ids=lambda store: store.slug)


def opened(store: type[GameProvider], handler: Handler) -> GameProvider:
    """*store* over the real transport, with *handler* as the outside and no pause between tries."""

    return store(over(handler), ProviderConfig())


def login() -> Credentials:
    return Credentials("76561198000000001", SECRET, TOKEN, datetime.now(UTC) + timedelta(hours=1))


async def library(store: GameProvider) -> object:
    return [game async for game in store.owned_games(login())]


async def metadata(store: GameProvider) -> object:
    return await store.metadata(["1001", "1002"]) if isinstance(store, ReadsMetadata) else pytest.skip("it has no metadata")


async def renewal(store: GameProvider) -> object:
    return await store.renew(login()) if isinstance(store, RenewsAccess) else pytest.skip("its sign-in does not run out")


async def signing_in(store: GameProvider) -> object:
    way = SignInWay.API_KEY if SignInWay.API_KEY in store.ways else SignInWay.CODE
    return await store.sign_in(SignInAnswer(way=way, api_key=SECRET, account="ana-demo", code=CODE), return_to="")


ALL = [library, metadata, renewal, signing_in]
every_call = pytest.mark.parametrize("call", ALL, ids=lambda call: call.__name__)


def failing(error: Exception) -> Handler:
    def handle(_request: httpx.Request) -> httpx.Response:
        raise error

    return handle


def giving(status: int, body: str | bytes = "", **headers: str) -> Handler:
    return lambda _request: httpx.Response(status, content=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def failure(store: type[GameProvider], call: Call, handler: Handler) -> IntegError:
    with pytest.raises(IntegError) as told:
        await call(opened(store, handler))
    shown = "".join(traceback.format_exception(told.value)) + told.value.hint + repr(told.value)
    for secret in (SECRET, TOKEN, CODE):
        assert secret not in shown
    assert told.value.message
    assert "\n" not in told.value.message
    return told.value


@every_store
async def test_a_refused_login_is_told_as_one(store: type[GameProvider]) -> None:
    assert type(await failure(store, library, giving(401))) is AuthenticationError


@every_store
@every_call
@pytest.mark.parametrize("seconds", ["90", ""])
async def test_a_pause_that_a_store_asks_for_is_told_with_its_length(store: type[GameProvider], call: Call, seconds: str) -> None:
    headers = {"Retry_After": seconds} if seconds else {}
    told = await failure(store, call, giving(429, "<html>slow down</html>", **headers))
    assert type(told) is RateLimitedError
    assert told.retry_after_s == (90 if seconds else None)


@every_store
async def test_a_pause_given_as_a_date_is_told_in_seconds(store: type[GameProvider]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    told = await failure(store, library, giving(429, Retry_After=date))
    assert 500 < (told.retry_after_s or 0) <= 600


@every_store
@every_call
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_store_that_is_down_is_unavailable_and_nothing_else(store: type[GameProvider], call: Call, status: int) -> None:
    told = await failure(store, call, giving(status, "<html>", content_type="application/json"))
    assert type(told) is ProviderUnavailableError


@every_store
@every_call
@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), httpx.ProxyError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_no_answer_is_unavailable(store: type[GameProvider], call: Call, error: Exception) -> None:
    assert type(await failure(store, call, failing(error))) is ProviderUnavailableError


@every_store
@every_call
@pytest.mark.parametrize(
    "body", ["<!DOCTYPE html><p>We'll be back", "\ufeff  \n<html>", "", '{"response":{"game_count":', '{"items": [', "[[[[" * 5000]
)
async def test_a_web_page_or_a_cut_body_is_unavailable_never_a_library(store: type[GameProvider], call: Call, body: str) -> None:
    assert type(await failure(store, call, giving(200, body, content_type="application/json"))) is ProviderUnavailableError


@every_store
@every_call
@pytest.mark.parametrize(
    "body", ["null", "[]", "7", '"text"', '{"error":"odd"}', "{}", '{"response":7}', '{"response":{"games":{}}}', '{"items":7}']
)
async def test_odd_json_is_told_and_is_no_library(store: type[GameProvider], call: Call, body: str) -> None:
    if call is metadata and store.slug == "steam" and body == '{"response":{"games":{}}}':
        pytest.skip("a metadata answer may say nothing")
    assert isinstance(await failure(store, call, giving(200, body)), ProviderError)


@every_store
@every_call
@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_not_followed_with_credentials(store: type[GameProvider], call: Call, status: int) -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(status, headers={"Location": "https://elsewhere.example.com/"})

    await failure(store, call, handle)
    assert "elsewhere.example.com" not in asked


@every_store
@every_call
async def test_a_body_that_breaks_off_on_the_wire_is_unavailable(store: type[GameProvider], call: Call) -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"response":'
            raise httpx.ReadError("connection reset")

    assert type(await failure(store, call, lambda _request: httpx.Response(200, stream=Broken()))) is ProviderUnavailableError


@every_store
@every_call
async def test_an_answer_without_end_is_given_up(store: type[GameProvider], call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integ_server.providers._http.MOST_BYTES", 1 << 20)

    class Endless(httpx.AsyncByteStream):
        sent = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                Endless.sent += 1 << 16
                assert Endless.sent < 100 << 20, "nobody stopped reading"
                yield b"[" * (1 << 16)

    assert isinstance(await failure(store, call, lambda _request: httpx.Response(200, stream=Endless())), ProviderError)


@every_store
async def test_every_request_goes_to_a_public_https_address_and_carries_a_token_to_the_stores_own_hosts_only(
    store: type[GameProvider],
) -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(404, json={})

    for call in ALL:
        try:
            await call(opened(store, handle))
        except (IntegError, pytest.skip.Exception):
            continue
    assert asked
    for request in asked:
        assert request.url.scheme == "https"
        if "Authorization" in request.headers:
            assert request.url.host.endswith((".gog.com", ".steampowered.com"))


@every_store
async def test_metadata_answers_once_for_an_id_and_never_for_one_that_was_not_asked(store: type[GameProvider]) -> None:
    made = opened(store, giving(404, "{}"))
    if not isinstance(made, ReadsMetadata):
        pytest.skip("it has no metadata")
    try:
        found: list[GameMetadata] = await made.metadata(["not-a-number", "1001", "1001", "../../x", ""])
    except ProviderError:
        return
    ids = [each.provider_game_id for each in found]
    assert len(ids) == len(set(ids))
    assert set(ids) <= {"not-a-number", "1001", "../../x", ""}
    assert not any(each.found for each in found)


@every_store
async def test_no_metadata_is_asked_for_nothing(store: type[GameProvider]) -> None:
    made = opened(store, failing(AssertionError("nothing was to be asked")))
    if isinstance(made, ReadsMetadata):
        assert await made.metadata([]) == []


@every_store
@pytest.mark.parametrize("game_id", ["", "x", "../../etc", "1;2", "-1", "1/2", "\u0661\u0662", "9" * 40, "0"])
async def test_no_download_is_planned_for_what_is_no_id(store: type[GameProvider], game_id: str) -> None:
    made = opened(store, failing(AssertionError("nothing was to be asked")))
    if not isinstance(made, PlansDownloads):
        pytest.skip("it plans no downloads")
    with pytest.raises((NotFoundError, UsageError)):
        await made.download_plan(login(), game_id, DownloadRequest())


@every_store
def test_a_store_says_who_it_is_and_how_to_sign_in(store: type[GameProvider]) -> None:
    made = opened(store, failing(AssertionError("nothing was to be asked")))
    assert store.slug == store.slug.lower()
    assert store.title
    assert store.ways
    for way in store.ways:
        address = made.sign_in_address(way, "http://127.0.0.1:4000/callback", "the-state")
        assert (urlsplit(address).scheme == "https") is (way not in {SignInWay.API_KEY, SignInWay.QR})
        assert SECRET not in address
    assert isinstance(made, SignsInByQr) is (SignInWay.QR in store.ways)


@every_store
def test_credentials_are_not_shown(store: type[GameProvider]) -> None:
    assert SECRET not in repr(login())
    assert TOKEN not in repr(login())
    assert SECRET not in repr(ProviderConfig(steam_api_key=SECRET, gog_client_secret=SECRET))
    assert SECRET not in repr(SignInAnswer(way=SignInWay.API_KEY, api_key=SECRET, code=SECRET, query=SECRET))
