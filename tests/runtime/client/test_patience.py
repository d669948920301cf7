"""A backend that is away for a moment is asked again; whatever must not be done twice is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest

from integ_runtime.client import patience
from integ_runtime.client.patience import BROKEN_TRIES, KEY, RETRIES, TRIES, PatientTransport

Wire = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


class Flaky:
    """A wire on which the first few requests meet what they are told to."""

    def __init__(self, *meets: Exception | httpx.Response) -> None:
        self._meets = list(meets)
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if not self._meets:
            return httpx.Response(200, json={"n": len(self.seen)})
        met = self._meets.pop(0)
        if isinstance(met, Exception):
            raise met
        return met


def client(wire: Wire) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=PatientTransport(httpx.MockTransport(wire)), base_url="https://integ.example")


@pytest.mark.parametrize(
    "met",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(503, json={"status": "error", "error": "BackendUnreachableError"}),
        httpx.Response(504),
        httpx.Response(429, headers={"Retry-After": "0"}),
        httpx.Response(409, headers={"Retry-After": "0"}),
    ],
    ids=lambda met: type(met).__name__ if isinstance(met, Exception) else str(met.status_code),
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_was_away_is_asked_again(method: str, met: Exception | httpx.Response) -> None:
    wire = Flaky(met)
    async with client(wire) as http:
        assert (await http.request(method, "/games/sync", json={"full": True} if method == "POST" else None)).json() == {"n": 2}
    assert wire.seen[0].content == wire.seen[1].content
    assert wire.seen[0].headers.get(KEY) == wire.seen[1].headers.get(KEY)


async def test_a_write_has_one_key_for_all_its_tries_and_the_next_write_another() -> None:
    wire = Flaky(httpx.ReadError("reset"))
    async with client(wire) as http:
        await http.post("/games/sync", json={})
        await http.put("/games/gog:1/preferences", json={}, headers={KEY: "mine"})
        await http.get("/games")
    keys = [each.headers.get(KEY) for each in wire.seen]
    assert keys[0] == keys[1] and len(str(keys[0])) == 32
    assert keys[2:] == ["mine", None]


@pytest.mark.parametrize("path", ["/auth/device/token", "/auth/gog/callback", "/auth/tokens"])
async def test_a_sign_in_that_may_have_arrived_is_not_sent_again(path: str) -> None:
    wire = Flaky(httpx.ReadError("reset"))
    async with client(wire) as http:
        with pytest.raises(httpx.ReadError):
            await http.post(path, json={})
        assert KEY not in wire.seen[0].headers
        wire._meets = [httpx.ConnectError("refused")]
        assert (await http.post(path, json={})).is_success, "it never arrived"
        wire._meets = [httpx.ReadError("reset")]
        assert (await http.post(path, json={}, extensions={RETRIES: "any"})).is_success, "who asks knows better"


@pytest.mark.parametrize("error", ["ProviderError", "ProviderUnavailableError"])
async def test_a_store_that_is_down_is_told_at_once(error: str) -> None:
    wire = Flaky(httpx.Response(503, json={"status": "error", "error": error}))
    async with client(wire) as http:
        answer = await http.get("/games/gog:1/achievements")
    assert (answer.status_code, answer.json()["error"], len(wire.seen)) == (503, error, 1)


@pytest.mark.parametrize("asked", ["60", "Wed, 25 Nov 2026 04:00:00 GMT", "soon"])
async def test_a_long_pause_is_left_to_the_player(asked: str) -> None:
    wire = Flaky(httpx.Response(429, headers={"Retry-After": asked}))
    async with client(wire) as http:
        assert (await http.get("/games")).headers["Retry-After"] == asked
    assert len(wire.seen) == 1


async def test_a_short_pause_is_kept() -> None:
    wire = Flaky(httpx.Response(503, headers={"Retry-After": "0.2"}))
    began = time.monotonic()
    async with client(wire) as http:
        assert (await http.get("/games")).is_success
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500, 507])
async def test_what_would_be_no_better_is_asked_once(status: int) -> None:
    wire = Flaky(httpx.Response(status))
    async with client(wire) as http:
        assert (await http.get("/games")).status_code == status
    assert len(wire.seen) == 1


async def test_who_stays_away_is_given_up() -> None:
    wire = Flaky(*[httpx.ConnectError("refused")] * 10)
    async with client(wire) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/games")
        assert len(wire.seen) == TRIES
        wire._meets = [httpx.Response(503)] * 10
        assert (await http.get("/games")).status_code == 503
        assert len(wire.seen) == 2 * TRIES


async def test_connections_that_break_on_the_way_to_the_answer_are_borne_for_longer_than_a_backend_that_is_away() -> None:
    wire = Flaky(*[httpx.RemoteProtocolError("closed")] * (BROKEN_TRIES - 1), *[httpx.ConnectError("refused")] * (TRIES - 1))
    async with client(wire) as http:
        assert (await http.get("/games")).is_success
    broken = Flaky(*[httpx.ReadError("reset")] * (BROKEN_TRIES + 1))
    async with client(broken) as http:
        with pytest.raises(httpx.ReadError):
            await http.get("/games")
    assert len(broken.seen) == BROKEN_TRIES
