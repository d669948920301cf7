"""Requests with a session: tokens that are renewed in time, by one process at a time, and a sign-in that is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from integ_runtime.client.api import ApiClient
from integ_runtime.client.sign_in import SessionAuth, TokenAuth, session_of
from integ_runtime.client.transport import open_http
from integ_runtime.paths import read_paths
from integ_runtime.session_store import Session, SessionStore
from integ_runtime.settings import read_settings
from integ_server.contract.errors import BackendUnreachableError, NotSignedInError, UsageError
from tests.server.conftest import (  # noqa: F401
    OpenServed,
    Served,
    _redis,
    database_url,
    open_served,
    opened,
    postgres,
    redis_url,
)

URL = "https://integ.example"


@pytest.fixture(autouse=True)
def in_memory(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An $XDG_RUNTIME_DIR as a login makes it, where several "processes" find one session."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    return runtime_dir


class Line(httpx.AsyncBaseTransport):
    """The wire to a served app, which counts who asks for new tokens and can be cut."""

    def __init__(self, served: Served) -> None:
        self._inner = httpx.ASGITransport(served.app, raise_app_exceptions=False)
        self.refreshes = 0
        self.is_cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("cut")
        self.refreshes += request.url.path == "/auth/refresh"
        return await self._inner.handle_async_request(request)


@pytest.fixture
async def served(open_served: OpenServed) -> Served:  # noqa: F811
    return await open_served()


@pytest.fixture
def line(served: Served) -> Line:
    return Line(served)


@pytest.fixture
async def session(served: Served) -> Session:
    """A device that has just signed in, kept where every process of the player's finds it."""
    asked_at = time.time()
    made = session_of(await served.new_tokens(await served.new_user()), asked_at)
    await SessionStore(read_paths(), URL).save(made)
    return made


@asynccontextmanager
async def process(line: Line) -> AsyncIterator[ApiClient]:
    """What one process of the player's has: a store of its own over the same place."""
    auth = SessionAuth(SessionStore(read_paths(), URL), line, URL)
    async with httpx.AsyncClient(transport=line, base_url=URL, auth=auth) as http:
        yield ApiClient(http)


async def kept() -> Session:
    found = await SessionStore(read_paths(), URL).load()
    assert found is not None
    return found


async def put_due(session: Session) -> None:
    await SessionStore(read_paths(), URL).save(replace(session, expires_at=time.time() + 5))


async def test_a_session_that_is_good_asks_for_nothing_more(line: Line, session: Session) -> None:
    async with process(line) as api:
        assert (await api.me()).id == session.user_id
    assert line.refreshes == 0


async def test_tokens_are_renewed_before_they_end(line: Line, session: Session) -> None:
    await put_due(session)
    async with process(line) as api:
        assert (await api.me()).id == session.user_id
        assert (await api.me()).id == session.user_id
    assert line.refreshes == 1
    now = await kept()
    assert now.refresh_token != session.refresh_token
    assert not now.is_due


async def test_a_refused_token_is_renewed_and_the_request_sent_again(line: Line, session: Session) -> None:
    await SessionStore(read_paths(), URL).save(replace(session, access_token="e30.e30.e30"))
    async with process(line) as api:
        assert (await api.me()).id == session.user_id
    assert line.refreshes == 1


async def test_processes_that_renew_at_once_spend_one_refresh_token(line: Line, session: Session) -> None:
    await put_due(session)
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(process(line)) for _ in range(6)]
        answers = await asyncio.gather(*(api.me() for api in processes))
        assert {each.id for each in answers} == {session.user_id}
        assert line.refreshes == 1
        await put_due(await kept())
        await asyncio.gather(*(api.me() for api in processes))
    assert line.refreshes == 1, "each goes on with the tokens it has, which are good"


async def test_a_stolen_refresh_token_signs_out_with_a_hint(line: Line, session: Session, served: Served) -> None:
    thief = await served.http()
    first = (await thief.post("/auth/refresh", json={"refresh_token": session.refresh_token})).json()["data"]["refresh_token"]
    assert (await thief.post("/auth/refresh", json={"refresh_token": first})).is_success
    await put_due(session)
    async with process(line) as api:
        with pytest.raises(NotSignedInError) as told:
            await api.me()
    assert told.value.hint == "integ login --device"
    assert await SessionStore(read_paths(), URL).load() is None, "nothing is kept of it"
    async with process(line) as api:
        with pytest.raises(NotSignedInError):
            await api.me()


async def test_a_session_that_was_ended_elsewhere_is_over_at_once(line: Line, session: Session, served: Served) -> None:
    async with process(line) as api:
        await api.me()
        other = await served.http((await served.new_tokens(session.user_id)).access_token)
        assert (await other.delete(f"/auth/sessions/{session.session_id}")).is_success
        with pytest.raises(NotSignedInError):
            await api.me()
    assert await SessionStore(read_paths(), URL).load() is None


async def test_without_a_backend_the_sign_in_is_kept(line: Line, session: Session) -> None:
    await put_due(session)
    line.is_cut = True
    async with process(line) as api:
        with pytest.raises(BackendUnreachableError):
            await api.me()
        line.is_cut = False
        assert (await api.me()).id == session.user_id


async def test_who_is_told_to_end_keeps_the_tokens_that_were_asked_for(
    line: Line, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh token counts once: the answer must not be lost to an impatient Ctrl-C."""
    await put_due(session)
    asked = asyncio.Event()
    inner = line.handle_async_request

    async def slow(request: httpx.Request) -> httpx.Response:
        answer = await inner(request)
        asked.set()
        await asyncio.sleep(0.1)
        return answer

    monkeypatch.setattr(line, "handle_async_request", slow)
    async with process(line) as api:
        asking = asyncio.create_task(api.me())
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert (await kept()).refresh_token != session.refresh_token


async def test_nobody_signed_in_is_told_how_to(line: Line) -> None:
    async with process(line) as api:
        assert isinstance(await api.providers(), list), "what everybody may ask"
        with pytest.raises(NotSignedInError) as told:
            await api.me()
    assert told.value.hint == "integ login --device"


async def test_a_personal_token_is_sent_as_it_is_and_never_renewed(line: Line, served: Served) -> None:
    user = await served.new_user()
    token = await served.new_personal_token(user)
    async with httpx.AsyncClient(transport=line, base_url=URL, auth=TokenAuth(token.token, URL)) as http:
        assert (await ApiClient(http).me()).id == user
    async with httpx.AsyncClient(transport=line, base_url=URL, auth=TokenAuth("integ_pat_wrong", URL)) as http:
        with pytest.raises(NotSignedInError):
            await ApiClient(http).me()
    assert line.refreshes == 0


@pytest.mark.parametrize("elsewhere", ["https://integ.example.evil/", "http://integ.example/", "https://integ.example:8443/"])
async def test_no_token_goes_to_another_address(session: Session, elsewhere: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    wire = httpx.MockTransport(answer)
    for auth in (SessionAuth(SessionStore(read_paths(), URL), wire, URL), TokenAuth("integ_pat_x", URL)):
        async with httpx.AsyncClient(transport=wire, auth=auth) as http:
            await http.get(elsewhere)
            await http.get(f"{URL}/games")
    assert [("authorization" in each.headers) for each in seen] == [False, True, False, True]


async def test_a_backend_elsewhere_without_encryption_is_refused_unless_that_is_agreed_to() -> None:
    readable = read_settings()._replace(backend_url="http://nas.example:8000", token="integ_pat_x")
    with pytest.raises(UsageError, match="not encrypted") as told:
        async with open_http(readable):
            pass
    assert "plain_http allow" in told.value.hint
    async with open_http(readable._replace(plain_http="allow")) as http:
        assert http.base_url.host == "nas.example"
    async with open_http(readable._replace(backend_url="http://127.0.0.1:1")) as http:
        assert http.base_url.port == 1
