"""Browsers that are signed in: listed beside devices, and ended from anywhere, in whichever process that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from integ_server.api import page_session
from integ_server.api.page_session import browser_name
from integ_server.auth import session as device_sessions
from integ_server.contract.user_data import CONFIRMATION
from integ_server.models.tables import sessions, users
from tests.conftest_sandbox import RunningSandbox
from tests.server.api.test_pages import STORES, Browser
from tests.server.conftest import OpenServed, Served

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


@pytest.fixture
async def processes(open_served: OpenServed, sandbox: RunningSandbox, database_url: str) -> list[Served]:
    """Two of the same backend on PostgreSQL and Redis; on SQLite without Redis there is one only, which is both."""
    settings = {"upstream_url": sandbox.url, "steam_api_key": sandbox.world.steam_key}
    first = await open_served(STORES, **settings)
    return [first, await open_served(STORES, **settings) if database_url.startswith("postgresql") else first]


@pytest.fixture
async def browser(processes: list[Served], sandbox: RunningSandbox) -> Browser:
    """Signed in at the first process."""
    http = await processes[0].http()
    http.headers["user-agent"] = FIREFOX
    return await Browser(http, sandbox).by_steam()


async def device_of(served: Served, name: str = "Ann's Deck") -> Any:
    """A client on a device of the only user's."""
    async with served.backend.db.reading() as session:
        user_id = (await session.execute(select(users.c.id))).scalar_one()
    return await served.http((await served.new_tokens(user_id, device=name)).access_token)


async def listed(http: Any) -> dict[str, dict[str, Any]]:
    return {each["device"]: each for each in (await http.get("/auth/sessions")).json()["data"]}


async def test_a_browser_is_listed_and_ended_from_a_device_at_another_process(processes: list[Served], browser: Browser) -> None:
    deck = await device_of(processes[1])
    found = await listed(deck)
    assert {name: each["kind"] for name, each in found.items()} == {"Firefox on Linux": "browser", "Ann's Deck": "device"}
    await browser.open("/account")
    key, kept = browser.form_key, browser.http.cookies["__Host-integ"]
    assert (await deck.delete(f"/auth/sessions/{found['Firefox on Linux']['id']}")).status_code == 200
    await browser.send("/account/leave-everywhere", status=403, form_key=key)
    assert list(await listed(deck)) == ["Ann's Deck"], "a form that was open still does nothing"
    browser.http.cookies.set("__Host-integ", kept)
    assert (await browser.open("/account")).where == "/sign-in"
    assert await processes[0].backend.cache.get(page_session._name(kept)) is None


async def test_deleting_all_data_ends_the_user_s_browsers_at_every_process(processes: list[Served], browser: Browser) -> None:
    deck = await device_of(processes[1])
    assert (await deck.request("DELETE", "/users/me", json={"confirm": CONFIRMATION})).status_code == 200
    assert (await browser.open("/account")).where == "/sign-in"


async def test_the_account_s_page_ends_a_device_and_another_browser(
    processes: list[Served], browser: Browser, sandbox: RunningSandbox
) -> None:
    deck = await device_of(processes[1])
    other = await Browser(await processes[1].http(), sandbox).by_steam()
    await browser.open("/account")
    assert "this browser" in browser.text and browser.text.count("used ") == 2
    for each in (await listed(deck)).values():
        if each["device"] != "Firefox on Linux":
            await browser.send("/account/sessions/end", session_id=each["id"])
    assert (await deck.get("/auth/sessions")).status_code == 401
    assert (await other.open("/account")).where == "/sign-in"
    assert (await browser.open("/account")).where == "/account" and "used " not in browser.text


async def test_nobody_ends_another_user_s_session_by_the_page(processes: list[Served], browser: Browser) -> None:
    eve = await processes[0].new_tokens(await processes[0].new_user("Eve"))
    await browser.open("/account")
    await browser.send("/account/sessions/end", session_id=eve.session_id)
    assert (await (await processes[0].http(eve.access_token)).get("/auth/sessions")).status_code == 200


async def test_everywhere_is_every_device_and_browser(processes: list[Served], browser: Browser, sandbox: RunningSandbox) -> None:
    deck = await device_of(processes[1])
    other = await Browser(await processes[1].http(), sandbox).by_steam()
    await browser.open("/account")
    await browser.send("/account/leave-everywhere")
    assert browser.where == "/sign-in"
    assert (await deck.get("/auth/sessions")).status_code == 401
    assert (await other.open("/account")).where == "/sign-in"
    assert (await browser.open("/account")).where == "/sign-in"


async def test_signing_out_of_the_browser_takes_it_off_the_list_and_leaves_devices(processes: list[Served], browser: Browser) -> None:
    deck = await device_of(processes[1])
    await browser.open("/account")
    await browser.send("/account/leave")
    assert list(await listed(deck)) == ["Ann's Deck"]


async def test_linking_a_second_store_is_no_second_session(processes: list[Served], browser: Browser) -> None:
    await browser.by_gog()
    assert sorted(await listed(await device_of(processes[0]))) == ["Ann's Deck", "Firefox on Linux"]


async def test_a_browser_in_use_stays_on_the_list_and_one_that_was_ended_does_not_come_back(
    processes: list[Served], browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_session, "BROWSER_IS_NOTED_EVERY_S", 0)
    backend = processes[0].backend
    async with backend.db.reading() as session:
        row = (await session.execute(select(sessions))).one()
    soon = row.expires_at.replace(year=row.expires_at.year + 1)
    async with backend.db.writing.begin() as session:
        await session.execute(update(sessions).values(expires_at=soon))
    await browser.open("/account")
    async with backend.db.reading() as session:
        assert (await session.execute(select(sessions.c.expires_at))).scalar_one() < soon, "reckoned from this page on"
    async with backend.db.writing.begin() as session:
        await device_sessions.end(backend, session, row.user_id, row.id)
    await device_sessions.note_browser(backend, row.id, row.user_id)  # by a page that was being answered meanwhile
    assert not await device_sessions.is_alive(backend, row.id, row.user_id)


async def test_a_browser_s_session_can_t_be_refreshed_like_a_device_s(processes: list[Served], browser: Browser) -> None:
    found = (await listed(await device_of(processes[0])))["Firefox on Linux"]
    http = await processes[0].http()
    for secret in ("", "x"):
        answer = await http.post("/auth/refresh", json={"refresh_token": f"integ_rt_{found['id']}.{secret}"})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/142.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Safari/604.1", "Safari on an iPhone"),
        ("", "A browser"),
    ],
)
def test_browsers_are_called_as_players_know_them(agent: str, name: str) -> None:
    assert browser_name(agent) == name
