"""The client for the outside: retries, limits, rewriting, cookies, proxies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import ProviderError, UsageError
from integ_server.gates import Gates, TokenBucket
from integ_server.pacing import FAR_OFF_S, LONGEST_PAUSE_S, TRIES, Pace, pace_for, pause_before_retry, retry_after_s
from integ_server.proxies import proxy_for, tls_for
from integ_server.transport import UpstreamTransport
from integ_server.upstream import open_upstream

UPSTREAM = "http://127.0.0.1:4321"
Handler = Callable[[httpx.Request], httpx.Response]


class Pauses:
    """Stands in for `asyncio.sleep`."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(0)


def client(handler: Handler, pauses: Pauses | None = None, upstream_url: str | None = None, **options: object) -> httpx.AsyncClient:
    transport = UpstreamTransport(upstream_url, open_transport=lambda _proxy: httpx.MockTransport(handler), sleep=pauses or Pauses())
    return httpx.AsyncClient(transport=transport, **options)  # type: ignore[arg-type]


def answers(*given: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """A handler that gives these one after the other, the last one for ever; and what it was asked."""
    left = list(given)
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        told = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(told, Exception):
            raise told
        return httpx.Response(told.status_code, headers=told.headers, content=told.content)

    return handle, seen


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_busy_store_is_asked_again_after_a_pause(status: int) -> None:
    handle, seen = answers(httpx.Response(status), httpx.Response(200, text="there"))
    pauses = Pauses()
    async with client(handle, pauses) as http:
        assert (await http.get("https://api.gog.com/a")).text == "there"
    assert len(seen) == 2
    assert len(pauses.waited) == 1
    assert 0 < pauses.waited[0] <= LONGEST_PAUSE_S


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")]
)
async def test_no_answer_is_asked_again_and_in_the_end_told(error: Exception) -> None:
    handle, seen = answers(error)
    async with client(handle) as http:
        with pytest.raises(type(error)):
            await http.get("https://api.gog.com/a")
    assert len(seen) == TRIES


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 416, 501])
async def test_any_other_answer_is_taken_as_it_is(status: int) -> None:
    handle, seen = answers(httpx.Response(status))
    async with client(handle) as http:
        assert (await http.get("https://api.gog.com/a")).status_code == status
    assert len(seen) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("told", [httpx.ConnectError("x"), httpx.Response(503)], ids=["unreachable", "503"])
async def test_what_may_have_an_effect_is_sent_once(method: str, told: httpx.Response | Exception) -> None:
    handle, seen = answers(told)
    async with client(handle) as http:
        try:
            await http.request(method, "https://steamcommunity.com/openid/login", data={"openid.mode": "check_authentication"})
        except httpx.ConnectError:
            assert isinstance(told, Exception)
    assert len(seen) == 1


async def test_a_call_that_counts_once_is_repeated_only_when_it_was_never_sent() -> None:
    for told, tries in ((httpx.ConnectError("x"), TRIES), (httpx.ReadTimeout("x"), 1), (httpx.Response(503), 1)):
        handle, seen = answers(told)
        async with client(handle) as http:
            try:
                await http.get("https://auth.gog.com/token", extensions={"integ_retries": "unsent"})
            except httpx.TransportError:
                assert isinstance(told, Exception)
        assert len(seen) == tries


async def test_a_short_retry_after_is_waited_for() -> None:
    handle, seen = answers(httpx.Response(429, headers={"Retry-After": "3"}), httpx.Response(200))
    pauses = Pauses()
    async with client(handle, pauses) as http:
        assert (await http.get("https://api.gog.com/a")).status_code == 200
    assert len(seen) == 2
    assert 3 <= pauses.waited[0] <= 4


@pytest.mark.parametrize("as_date", [False, True])
async def test_a_long_retry_after_is_handed_to_the_caller_at_once(as_date: bool) -> None:
    asked = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True) if as_date else "120"
    handle, seen = answers(httpx.Response(429, headers={"Retry-After": asked}))
    pauses = Pauses()
    async with client(handle, pauses) as http:
        answer = await http.get("https://api.gog.com/a")
    assert answer.status_code == 429
    assert (retry_after_s(answer.headers["Retry-After"]) or 0) > 60
    assert len(seen) == 1
    assert pauses.waited == []


@given(
    st.integers(1, 5), st.sampled_from([None, 429, 500, 503]), st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0, 1, exclude_max=True)
)
def test_all_pauses_of_one_request_together_are_short(attempt: int, status: int | None, asked_s: float | None, chance: float) -> None:
    pause = pause_before_retry(attempt, status, asked_s, chance=lambda: chance)
    if pause is not None:
        assert attempt < TRIES
        assert 0 <= pause <= LONGEST_PAUSE_S + 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("-5", None),
        ("1e3", None),
        ("soon", None),
        ("99999999999999999999", FAR_OFF_S),
        ("Tue, 24 Nov 2026 10:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
        ("Tue, 24 Nov 2026 10:00:30", 30.0),
        ("Tue, 99 Nov 2026 10:00:30 GMT", None),
        ("\u0663\u0660", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, now=datetime(2026, 11, 24, 10, 0, tzinfo=UTC)) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_read_without_a_failure(value: str) -> None:
    seconds = retry_after_s(value)
    assert seconds is None or 0 <= seconds <= FAR_OFF_S


async def test_requests_go_to_the_upstream_and_look_to_the_caller_as_if_they_had_not() -> None:
    handle, seen = answers(httpx.Response(200))
    async with client(handle, upstream_url=UPSTREAM) as http:
        answer = await http.post("https://auth.gog.com/token?a=b%20c", content=b"body", headers={"Authorization": "Bearer t"})
    assert str(seen[0].url) == f"{UPSTREAM}/auth.gog.com/token?a=b%20c"
    assert seen[0].headers["Host"] == "127.0.0.1:4321"
    assert seen[0].headers["Authorization"] == "Bearer t"
    assert seen[0].content == b"body"
    assert str(answer.url) == "https://auth.gog.com/token?a=b%20c"


@pytest.mark.parametrize("there", ["https://cdn.example.com/b", f"{UPSTREAM}/cdn.example.com/b"])
async def test_a_redirect_to_another_original_host_loses_the_token(there: str) -> None:
    handle, seen = answers(httpx.Response(302, headers={"Location": there}), httpx.Response(200))
    async with client(handle, upstream_url=UPSTREAM, follow_redirects=True) as http:
        answer = await http.get("https://api.gog.com/a", headers={"Authorization": "Bearer t"})
    assert str(seen[1].url) == f"{UPSTREAM}/cdn.example.com/b"
    assert "Authorization" not in seen[1].headers
    assert str(answer.url) == "https://cdn.example.com/b"


@pytest.mark.parametrize("there", ["/b", "https://api.gog.com/b", f"{UPSTREAM}/api.gog.com/b"])
async def test_a_redirect_on_the_same_original_host_keeps_it(there: str) -> None:
    handle, seen = answers(httpx.Response(302, headers={"Location": there}), httpx.Response(200))
    async with client(handle, upstream_url=UPSTREAM, follow_redirects=True) as http:
        await http.get("https://api.gog.com/a", headers={"Authorization": "Bearer t"})
    assert str(seen[1].url) == f"{UPSTREAM}/api.gog.com/b"
    assert seen[1].headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize(
    "there", ["http://api.gog.com/b", "ftp://api.gog.com/b", "file:///etc/passwd", "https://127.0.0.1/b", "https://169.254.169.254/"]
)
async def test_a_redirect_out_of_the_public_https_internet_is_not_followed(there: str) -> None:
    handle, seen = answers(httpx.Response(302, headers={"Location": there}), httpx.Response(200))
    async with client(handle, follow_redirects=True) as http:
        with pytest.raises((ProviderError, httpx.UnsupportedProtocol)):
            await http.get("https://api.gog.com/a")
    assert len(seen) == 1


async def test_no_cookie_of_one_account_reaches_the_next(sandbox, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    handle, seen = answers(httpx.Response(200, headers={"Set-Cookie": "gog-al=mine; Path=/; Domain=gog.com"}))
    monkeypatch.setattr("integ_server.transport._Wires.__call__", lambda _self, _proxy: httpx.MockTransport(handle))
    async with open_upstream(None) as http:
        await http.get("https://embed.gog.com/a")
        await http.get("https://embed.gog.com/b")
        assert not http.cookies
    assert "Cookie" not in seen[1].headers


async def test_the_client_says_who_it_is(sandbox) -> None:  # type: ignore[no-untyped-def]
    async with open_upstream(sandbox.url, version="1.2.3") as http:
        assert http.headers["User-Agent"] == "Integ/1.2.3"
        assert http.timeout.read is not None
        assert http.timeout.connect is not None
        assert (await http.get("https://gamesdb.gog.com/platforms/gog/external_releases/1")).status_code == 404


async def test_a_netrc_file_is_not_used(home, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    (home / ".netrc").write_text("machine api.gog.com login bob password secret\n")
    handle, seen = answers(httpx.Response(200))
    monkeypatch.setattr("integ_server.transport._Wires.__call__", lambda _self, _proxy: httpx.MockTransport(handle))
    async with open_upstream(None) as http:
        await http.get("https://api.gog.com/a")
    assert "Authorization" not in seen[0].headers


def test_the_environments_proxy_is_used_for_the_outside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("https://api.gog.com/a") is None
    monkeypatch.setenv("https_proxy", "http://bob:secret@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "steampowered.com")
    assert proxy_for("https://api.gog.com/a") == "http://bob:secret@proxy.example:3128"
    assert proxy_for("https://api.steampowered.com/a") is None
    assert proxy_for("http://127.0.0.1:4321/api.gog.com/a") is None
    assert proxy_for("https://localhost:4321/api.gog.com/a") is None


def test_a_proxy_without_a_scheme_is_http_and_a_socks_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    assert proxy_for("https://api.gog.com/a") == "http://proxy.example:3128"
    monkeypatch.setenv("https_proxy", "socks5://bob:secret@proxy.example")
    with pytest.raises(UsageError, match="HTTPS_PROXY") as told:
        proxy_for("https://api.gog.com/a")
    assert "secret" not in str(told.value)


def test_tls_checks_certificates_always() -> None:
    import ssl

    for upstream in (None, UPSTREAM, "https://mirror.example"):
        assert tls_for(upstream).verify_mode is ssl.CERT_REQUIRED
        assert tls_for(upstream).check_hostname


async def test_gog_is_asked_four_things_at_once_and_no_more() -> None:
    open_now = 0
    most = 0
    go_on = asyncio.Event()

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            if open_now == 4:
                go_on.set()
            await go_on.wait()
            await asyncio.sleep(0)
            open_now -= 1
            return httpx.Response(200, text="x")

    async with httpx.AsyncClient(transport=UpstreamTransport(open_transport=lambda _proxy: Slow())) as http:
        hosts = ["api", "gamesdb", "embed", "galaxy-library", "content-system"]
        await asyncio.gather(*(http.get(f"https://{host}.gog.com/{number}") for host in hosts for number in range(4)))
    assert most == 4


async def test_a_place_is_held_until_the_body_is_read_and_given_back_when_it_is_dropped() -> None:
    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x"

    class Wire(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=Body())

    async with httpx.AsyncClient(transport=UpstreamTransport(open_transport=lambda _proxy: Wire())) as http:
        held = [await http.send(http.build_request("GET", "https://api.gog.com/a"), stream=True) for _ in range(4)]
        fifth = asyncio.create_task(http.get("https://api.gog.com/b"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not fifth.done()
        await held[0].aclose()
        await held[0].aclose()  # twice gives back once
        assert (await fifth).status_code == 200
        sixth = asyncio.create_task(http.get("https://api.gog.com/c"))
        assert (await sixth).status_code == 200
        for each in held[1:]:
            await each.aclose()


async def test_a_failed_or_cancelled_request_gives_its_place_back() -> None:
    never = asyncio.Event()
    fail = True

    class Wire(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if fail:
                if request.url.path == "/hang":
                    await never.wait()
                raise httpx.ReadError("x")
            return httpx.Response(200)

    async with httpx.AsyncClient(transport=UpstreamTransport(open_transport=lambda _proxy: Wire(), sleep=Pauses())) as http:
        for _ in range(5):
            with pytest.raises(httpx.ReadError):
                await http.get("https://api.gog.com/a")
        hanging = [asyncio.create_task(http.get("https://api.gog.com/hang")) for _ in range(6)]
        for _ in range(20):
            await asyncio.sleep(0)
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        fail = False
        done = await asyncio.wait_for(asyncio.gather(*(http.get("https://api.gog.com/b") for _ in range(4))), 5)
    assert [each.status_code for each in done] == [200] * 4


async def test_a_token_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = 0.0
    pauses = Pauses()
    bucket = TokenBucket(3, 2.0, clock=lambda: now, sleep=pauses)
    for _ in range(3):
        await bucket.take()
    assert pauses.waited == []
    for _ in range(3):
        await bucket.take()
    assert pauses.waited == [0.5, 1.0, 1.5]
    now = 100.0
    await bucket.take()
    assert len(pauses.waited) == 3


async def test_a_gate_gives_its_place_back_when_the_wait_for_a_token_is_cancelled() -> None:
    never = asyncio.Event()

    async def forever(_seconds: float) -> None:
        await never.wait()

    gates = Gates(clock=lambda: 0.0, sleep=forever)
    pace = Pace("one", at_once=1, burst=1, per_s=1)
    (await gates.enter(pace)).release()
    waiting = asyncio.create_task(gates.enter(pace))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    again = asyncio.create_task(gates.enter(pace))  # gets the place, and waits for its token in turn
    await asyncio.sleep(0)
    assert not again.done()
    assert gates._open["one"][0].locked()
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert not gates._open["one"][0].locked()


def test_each_host_has_its_pace() -> None:
    assert pace_for("api.gog.com", "/").group == pace_for("gamesdb.gog.com", "/").group
    assert pace_for("api.gog.com", "/").at_once == 4
    assert pace_for("gog-cdn-fastly.gog.com", "/").at_once == 10
    assert pace_for("example.com", "/").group == "example.com"
    keyed = pace_for("api.steampowered.com", "/IPlayerService/GetOwnedGames/v1/")
    assert keyed.per_s * 86_400 <= 100_000
    details = pace_for("store.steampowered.com", "/api/appdetails")
    assert details.burst + details.per_s * 300 <= 200
