"""The pages as a browser asks for them, without one: sessions, forms that others send, sign-ins that were never begun here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import func, select

from integ_server.api import page_session
from integ_server.auth import departure, device
from integ_server.contract.sessions import DeviceStart
from integ_server.contract.types import SignInAnswer, SignInWay
from integ_server.models.tables import accounts as account_rows
from integ_server.models.tables import users as user_rows
from integ_server.providers.gog import Gog
from integ_server.providers.steam import Steam
from integ_server.sandbox.steam_auth import Phone
from integ_server.services import accounts
from tests.conftest_sandbox import RunningSandbox
from tests.server.conftest import OpenServed, Served

HERE = "https://integ.example"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""`test_pages_of_many.py` asks several processes on PostgreSQL and Redis."""
STORES: dict[str, Any] = {"steam": Steam, "gog": Gog}
_FORM_KEY = re.compile(r'name="form_key" value="([^"]+)"')


@dataclass
class Browser:
    """Keeps cookies, follows what stays on the backend, and sends the forms of the page it is on."""

    http: httpx.AsyncClient
    sandbox: RunningSandbox
    page: httpx.Response | None = None

    @property
    def text(self) -> str:
        assert self.page is not None
        return self.page.text

    @property
    def where(self) -> str:
        assert self.page is not None
        return self.page.url.path

    @property
    def form_key(self) -> str:
        found = _FORM_KEY.search(self.text)
        assert found is not None, self.text
        return found[1]

    async def open(self, path: str, **headers: str) -> Browser:
        self.page = await self.http.get(path, headers=headers)
        return await self._follow()

    async def send(self, path: str, *, status: int = 303, headers: dict[str, str] | None = None, **form: str) -> Browser:
        sent = {"form_key": self.form_key, **form} if "form_key" not in form else form
        self.page = await self.http.post(path, data=sent, headers={"origin": HERE, "sec-fetch-site": "same-origin", **(headers or {})})
        assert self.page.status_code == status, self.text
        return await self._follow()

    async def _follow(self) -> Browser:
        assert self.page is not None
        while self.page.status_code == 303 and self.page.headers["location"].startswith("/"):
            self.page = await self.http.get(self.page.headers["location"])
        return self

    async def at_steam(self) -> str:
        """Go to Steam and agree there: the address on which it sends the browser back."""
        begun = await self.http.get("/sign-in/steam/openid")
        assert begun.status_code == 303, begun.text
        assert begun.headers["location"].startswith(f"{self.sandbox.url}/steamcommunity.com/openid/login?")
        async with httpx.AsyncClient() as outside:
            back = (await outside.get(begun.headers["location"])).headers["location"]
        assert back.startswith(f"{HERE}/auth/steam/callback?")
        return back.removeprefix(HERE)

    async def by_steam(self) -> Browser:
        return await self.open(await self.at_steam())

    async def gog_landing(self) -> str:
        """The blank page's address."""
        page = await self.http.get("/auth/gog/login")
        self.page = page
        address = re.search(r'href="([^"]+)" target="_blank"', page.text)
        assert address is not None
        async with httpx.AsyncClient() as outside:
            return (await outside.get(address[1].replace("&amp;", "&"))).headers["location"]

    async def by_gog(self) -> Browser:
        landing = await self.gog_landing()
        return await self.send("/sign-in/gog/code", code=landing)


@pytest.fixture
async def served(open_served: OpenServed, sandbox: RunningSandbox) -> Served:
    return await open_served(STORES, upstream_url=sandbox.url, steam_api_key=sandbox.world.steam_key)


@pytest.fixture
async def browser(served: Served, sandbox: RunningSandbox) -> Browser:
    return Browser(await served.http(), sandbox)


async def another(served: Served, sandbox: RunningSandbox) -> Browser:
    return Browser(await served.http(), sandbox)


async def begun(served: Served, name: str = "Ann's Deck") -> dict[str, Any]:
    made = await device.begin(served.backend, DeviceStart(device=name), HERE, "192.0.2.9")
    return made.model_dump()


async def polled(served: Served, start: dict[str, Any]) -> httpx.Response:
    http = await served.http()
    return await http.post("/auth/device/token", json={"device_code": start["device_code"]})


async def count(served: Served, table: Any) -> int:
    async with served.backend.db.reading() as session:
        return int((await session.execute(select(func.count()).select_from(table))).scalar_one())


# --- the way through -----------------------------------------------------------------------------------------------


async def test_a_device_is_signed_in_from_its_code_over_steam(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    start = await begun(served)
    await browser.open(start["verification_uri_complete"].removeprefix(HERE))
    assert f'value="{start["user_code"]}"' in browser.text
    await browser.send("/device", user_code=start["user_code"])
    assert browser.where == "/sign-in" and "then your device comes next" in browser.text
    await browser.by_steam()
    assert browser.where == "/device/confirm"
    for told in ("Ann&#39;s Deck", start["user_code"], "192.0.2.9", sandbox.world.persona, "Read the library."):
        assert told in browser.text
    await browser.send("/device/decision", status=200, decision="approve", user_code=start["user_code"])
    assert "Your device is signed in" in browser.text
    tokens = (await polled(served, start)).json()["data"]
    signed_in = await served.http(tokens["access_token"])
    (linked,) = (await signed_in.get("/users/me/accounts")).json()["data"]
    assert (linked["provider"], linked["account"]) == ("steam", sandbox.world.steam_id)


async def test_a_player_of_gog_comes_by_the_pasted_address(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    await browser.by_gog()
    assert browser.where == "/account"
    assert sandbox.world.gog_username in browser.text


async def test_a_second_store_is_linked_to_the_user_who_is_signed_in(served: Served, browser: Browser) -> None:
    await browser.by_steam()
    await browser.by_gog()
    assert browser.text.count('class="more store"') == 2
    assert await count(served, user_rows) == 1


async def test_whoever_comes_back_is_the_same_user(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    await browser.by_steam()
    await (await another(served, sandbox)).by_steam()
    assert (await count(served, user_rows), await count(served, account_rows)) == (1, 1)


async def test_a_phone_signs_in_by_the_code_on_the_page(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    phone = sandbox.sandbox.state.part(Phone)
    await browser.open("/auth/steam/login")
    await browser.send("/sign-in/steam/qr")
    assert browser.where == "/sign-in/steam/qr" and "Waiting for your phone" in browser.text
    picture = re.search(r'src="(/sign-in/steam/qr.svg[^"]+)"', browser.text)
    assert picture is not None
    drawn = await browser.http.get(picture[1])
    assert drawn.headers["content-type"] == "image/svg+xml" and drawn.text.lstrip().startswith("<")

    async def state() -> dict[str, Any]:
        await served.backend.cache.delete(f"sign-in-qr-turn/{await _qr_state(served, browser)}")
        return (await browser.http.get("/sign-in/steam/qr/state")).json()

    sandbox.faults.on("qr.rotated", times=1)
    rotated = await state()
    assert rotated["address"] == sandbox.at(phone.newest.challenge) and rotated["picture"] != picture[1]
    phone.newest.stage = "scanned"
    assert (await state())["text"] == "Scanned. Now confirm it on your phone."
    sandbox.faults.on("steam.down", times=1)
    assert "not available" in (await state())["text"]
    phone.newest.stage = "approved"
    assert await state() == {"next": "/account"}
    await browser.open("/account")
    assert sandbox.world.persona in browser.text


async def _qr_state(served: Served, browser: Browser) -> str:
    import json

    kept = await served.backend.cache.get(page_session._name(browser.http.cookies["__Host-integ"]))
    return str(json.loads(kept or "{}").get("qr_state"))


async def test_a_no_on_the_phone_is_told_with_a_way_on(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    await browser.open("/auth/steam/login")
    await browser.send("/sign-in/steam/qr")
    sandbox.faults.on("qr.denied")
    await served.backend.cache.delete(f"sign-in-qr-turn/{await _qr_state(served, browser)}")
    assert (await browser.http.get("/sign-in/steam/qr/state")).json() == {"next": "/sign-in/steam/failed"}
    await browser.open("/sign-in/steam/failed")
    assert "refused on the phone" in browser.text and "/auth/steam/login" in browser.text
    assert (await browser.open("/sign-in/steam/failed")).where == "/auth/steam/login"


async def test_without_a_script_the_page_itself_ends_the_waiting(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    await browser.open("/auth/steam/login")
    await browser.send("/sign-in/steam/qr")
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in browser.text
    sandbox.sandbox.state.part(Phone).newest.stage = "approved"
    await served.backend.cache.delete(f"sign-in-qr-turn/{await _qr_state(served, browser)}")
    assert (await browser.open("/sign-in/steam/qr")).where == "/account"


# --- a backend without a key ---------------------------------------------------------------------------------------


@pytest.fixture
async def keyless(open_served: OpenServed, sandbox: RunningSandbox) -> Served:
    return await open_served(STORES, upstream_url=sandbox.url)


async def test_where_nothing_reads_the_library_a_key_is_asked_for(keyless: Served, sandbox: RunningSandbox) -> None:
    browser = await another(keyless, sandbox)
    await browser.open("/auth/steam/login")
    assert "asks for your own Web API key" in browser.text
    await browser.by_steam()
    assert browser.where == "/sign-in/steam/key"
    assert await count(keyless, user_rows) == 0, "nobody is made before the library can be read"
    await browser.send("/sign-in/steam/key", status=401, api_key="0" * 32)
    assert "refused the API key" in browser.text and 'aria-invalid="true"' in browser.text
    assert "0" * 32 not in browser.text
    await browser.send("/sign-in/steam/key", api_key=f" {sandbox.world.steam_own_key} ")
    assert browser.where == "/account" and sandbox.world.persona in browser.text


async def test_who_can_be_read_already_needs_no_key_again(keyless: Served, sandbox: RunningSandbox) -> None:
    browser = await another(keyless, sandbox)
    await browser.by_steam()
    await browser.send("/sign-in/steam/key", api_key=sandbox.world.steam_own_key)
    assert (await (await another(keyless, sandbox)).by_steam()).where == "/account"
    from integ_server.services import access

    assert (await access.usable_login(keyless.backend, 1)).secret == sandbox.world.steam_own_key


@pytest.mark.parametrize("path", ["/sign-in/steam/key", "/sign-in/gog/key"])
async def test_a_key_for_nobody_in_particular_is_not_taken(keyless: Served, sandbox: RunningSandbox, path: str) -> None:
    browser = await another(keyless, sandbox)
    await browser.open("/auth/steam/login")
    await browser.send(path, api_key=sandbox.world.steam_own_key)
    assert browser.where.endswith("/login")
    assert await count(keyless, account_rows) == 0


# --- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["BCDF-GHJK", "", "nonsense!", "<script>alert(1)</script>", "x" * 199])
async def test_a_wrong_code_is_told_where_it_was_typed(served: Served, browser: Browser, code: str) -> None:
    await browser.open("/device")
    await browser.send("/device", status=404, user_code=code)
    assert "no device shows this code" in browser.text.lower() and "<script>alert" not in browser.text


async def test_guessing_codes_ends_soon(served: Served, browser: Browser) -> None:
    await browser.open("/device")
    for _ in range(device.MOST_GUESSES):
        await browser.send("/device", status=404, user_code="BCDF-GHJK")
    start = await begun(served)
    await browser.send("/device", status=429, user_code=start["user_code"])
    assert "Too many tries" in browser.text


async def test_no_means_no(served: Served, browser: Browser) -> None:
    start = await begun(served)
    await browser.by_steam()
    await browser.open("/device")
    await browser.send("/device", user_code=start["user_code"])
    await browser.send("/device/decision", status=200, decision="deny", user_code=start["user_code"])
    assert "Refused" in browser.text
    assert (await polled(served, start)).json()["data"]["error"] == "access_denied"


async def test_the_yes_counts_for_the_device_that_was_shown(served: Served, browser: Browser) -> None:
    shown, other = await begun(served), await begun(served, "Somebody else's")
    await browser.by_steam()
    await browser.open("/device")
    await browser.send("/device", user_code=shown["user_code"])
    await browser.send("/device/decision", decision="approve", user_code=other["user_code"])
    assert browser.where == "/device/confirm"
    assert (await polled(served, other)).json()["data"]["error"] == "authorization_pending"


async def test_nobody_says_yes_without_being_somebody(served: Served, browser: Browser) -> None:
    start = await begun(served)
    await browser.open("/device")
    await browser.send("/device", user_code=start["user_code"])
    await browser.open("/device")
    await browser.send("/device/decision", decision="approve", user_code=start["user_code"])
    assert browser.where == "/sign-in"
    assert (await polled(served, start)).json()["data"]["error"] == "authorization_pending"


async def test_a_closed_backend_takes_no_new_players(open_served: OpenServed, sandbox: RunningSandbox) -> None:
    served = await open_served(STORES, upstream_url=sandbox.url, steam_api_key=sandbox.world.steam_key, registration="closed")
    browser = await another(served, sandbox)
    await browser.open(await browser.at_steam())
    assert browser.page is not None and browser.page.status_code == 403
    assert "takes no new players" in browser.text
    assert await count(served, user_rows) == 0


async def test_an_account_of_another_user_is_refused_with_a_way_out(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    await browser.by_steam()
    eve = await another(served, sandbox)
    await eve.by_gog()
    await eve.by_steam()
    assert "belongs to another user" in eve.text and "Sign out of this browser" in eve.text
    assert eve.page is not None and eve.page.status_code == 403
    await eve.open("/account")
    assert eve.text.count('class="more store"') == 1


@pytest.mark.parametrize("fault", ["openid.503", "openid.429", "openid.403"])
async def test_a_store_that_is_down_is_told_as_down(served: Served, browser: Browser, sandbox: RunningSandbox, fault: str) -> None:
    sandbox.faults.on(fault)
    await browser.by_steam()
    assert browser.page is not None and browser.page.status_code in {429, 503}
    assert "could not check the sign-in" in browser.text and "/auth/steam/login" in browser.text
    assert await count(served, account_rows) == 0


@pytest.mark.parametrize("pasted", ["", "nonsense", "https://evil.example/on_login_success?code=abcdefgh", "x" * 20_000])
async def test_what_is_no_landing_address_is_told_where_it_was_pasted(served: Served, browser: Browser, pasted: str) -> None:
    await browser.open("/auth/gog/login")
    answer = await browser.http.post("/sign-in/gog/code", data={"form_key": browser.form_key, "code": pasted})
    assert answer.status_code in {400, 401, 422}
    assert 'role="alert"' in answer.text and answer.headers["content-type"].startswith("text/html")
    assert await count(served, account_rows) == 0


@pytest.mark.parametrize(
    "path",
    [
        "/auth/epic/login",
        "/sign-in/epic/openid",
        "/auth/epic/callback",
        "/sign-in/epic/qr",
        "/sign-in/gog/openid",
        "/auth/gog/callback",
        "/pages/secrets.txt",
    ],
)
async def test_what_there_is_not_is_told(served: Served, browser: Browser, path: str) -> None:
    answer = await browser.http.get(path)
    assert answer.status_code in {400, 404}
    assert "Traceback" not in answer.text


# --- sign-ins that were never begun here ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    ["openid.cancel", "openid.forged", "openid.wrong_op_endpoint", "openid.lookalike", "openid.old_nonce", "openid.other_return_to",
     "openid.duplicate_field", "openid.reused", "openid.substring"],
)  # fmt: skip
async def test_an_assertion_that_is_not_steam_s_own_signs_nobody_in(
    served: Served, browser: Browser, sandbox: RunningSandbox, fault: str
) -> None:
    sandbox.faults.on(fault)
    await browser.by_steam()
    assert browser.page is not None and browser.page.status_code in {401, 503}, browser.text
    assert 'role="alert"' in browser.text
    assert await count(served, account_rows) == 0
    assert (await browser.open("/account")).where == "/sign-in"


async def test_an_assertion_is_good_once(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    back = await browser.at_steam()
    await browser.open(back)
    assert browser.where == "/account"
    await browser.send("/account/leave")
    await browser.open(back)
    assert browser.page is not None and browser.page.status_code == 401


async def test_another_browser_can_t_use_an_assertion(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    """Login CSRF: somebody is sent the address that signs them in as somebody else."""
    back = await browser.at_steam()
    victim = await another(served, sandbox)
    await victim.open("/sign-in")
    await victim.open(back)
    assert victim.page is not None and victim.page.status_code == 401
    assert (await victim.open("/account")).where == "/sign-in"
    assert await count(served, account_rows) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"openid.claimed_id": "https://steamcommunity.com/openid/id/76561198000000002", "openid.identity": "https://steamcommunity.com/openid/id/76561198000000002"},
        {"openid.op_endpoint": "https://evil.example/openid/login"},
        {"openid.claimed_id": "https://steamcommunity.com.evil.example/openid/id/76561198000000001"},
        {"openid.claimed_id": "https://steamcommunityXcom/openid/id/76561198000000001"},
        {"openid.return_to": "https://integ.example.evil.example/auth/steam/callback"},
        {"openid.ns": "http://openid.net/signon/1.0"},
        {"openid.mode": "check_authentication"},
        {"openid.signed": "op_endpoint"},
        {"state": "made-up"},
        {"state": ""},
    ],
    ids=lambda changes: " ".join(f"{name}={value[:60]}" for name, value in changes.items()),
)  # fmt: skip
async def test_a_changed_assertion_signs_nobody_in(
    served: Served, browser: Browser, sandbox: RunningSandbox, changes: dict[str, str]
) -> None:
    parts = urlsplit(await browser.at_steam())
    fields = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **changes}
    await browser.open(f"{parts.path}?{urlencode(fields)}")
    assert browser.page is not None and browser.page.status_code == 401, browser.text
    assert await count(served, account_rows) == 0


async def test_a_link_from_elsewhere_does_not_send_a_browser_to_sign_in(served: Served, browser: Browser) -> None:
    answer = await browser.http.get("/sign-in/steam/openid", headers={"sec-fetch-site": "cross-site"})
    assert answer.headers["location"] == "/auth/steam/login"


# --- forms that somebody else sends --------------------------------------------------------------------------------

FORMS = [
    ("/device", {"user_code": "BCDF-GHJK"}),
    ("/device/decision", {"decision": "approve", "user_code": "BCDF-GHJK"}),
    ("/sign-in/gog/code", {"code": "abcdefgh"}),
    ("/sign-in/steam/qr", {}),
    ("/sign-in/steam/key", {"api_key": "0" * 32}),
    ("/account/leave", {}),
]


@pytest.mark.parametrize(("path", "form"), FORMS, ids=[path for path, _ in FORMS])
async def test_a_form_without_the_page_s_own_key_is_refused(served: Served, browser: Browser, path: str, form: dict[str, str]) -> None:
    await browser.by_steam()
    for key in ({}, {"form_key": ""}, {"form_key": "x" * 32}, {"form_key": "é"}):
        answer = await browser.http.post(path, data={**form, **key})
        assert answer.status_code == 403, (path, key)
        assert "too old, or came from another page" in answer.text
    assert (await browser.open("/account")).where == "/account"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://integ.example"},
        {"origin": "https://integ.example:8443"},
        {"origin": "https://integ.example.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
async def test_a_form_from_another_site_is_refused_although_it_knows_the_key(
    served: Served, browser: Browser, headers: dict[str, str]
) -> None:
    await browser.by_steam()
    await browser.send("/account/leave", status=403, headers=headers)
    assert (await browser.open("/account")).where == "/account"


async def test_a_key_of_another_browser_s_page_is_none(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    await browser.by_steam()
    eve = await another(served, sandbox)
    await eve.open("/device")
    await browser.send("/account/leave", status=403, form_key=eve.form_key)


# --- what a browser is told to keep to -----------------------------------------------------------------------------

PAGES = [
    "/device",
    "/device?user_code=BCDF-GHJK",
    "/sign-in",
    "/auth/steam/login",
    "/auth/gog/login",
    "/account",
    "/auth/steam/callback?x=1",
]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_keeps_browsers_from_more_than_it_needs(served: Served, browser: Browser, path: str) -> None:
    answer = await browser.http.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", answer.text)


async def test_the_cookie_is_the_host_s_own_and_out_of_scripts_reach(served: Served, browser: Browser) -> None:
    answer = await browser.http.get("/device")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-integ=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= {each.strip() for each in cookie.split(";")}
    assert "Domain" not in cookie


async def test_a_browser_that_signs_in_gets_another_cookie(served: Served, browser: Browser) -> None:
    await browser.open("/sign-in")
    before = browser.http.cookies["__Host-integ"]
    await browser.by_steam()
    after = browser.http.cookies["__Host-integ"]
    assert after != before
    planted = await served.http()
    planted.cookies.set("__Host-integ", before)
    assert (await planted.get("/account")).headers["location"] == "/sign-in"


async def test_signing_out_ends_the_session_on_the_backend_too(served: Served, browser: Browser) -> None:
    await browser.by_steam()
    kept = browser.http.cookies["__Host-integ"]
    await browser.open("/account")
    await browser.send("/account/leave")
    again = await served.http()
    again.cookies.set("__Host-integ", kept)
    assert (await again.get("/account")).headers["location"] == "/sign-in"


async def test_the_session_of_a_user_who_is_gone_is_nobody_s(served: Served, browser: Browser, sandbox: RunningSandbox) -> None:
    await browser.by_steam()
    await browser.open("/account")
    async with served.backend.db.writing.begin() as session:
        (user_id,) = (await session.execute(select(user_rows.c.id))).scalars()
        await departure.leave(served.backend, session, user_id)
    assert (await browser.open("/account")).where == "/sign-in"


async def test_the_cache_knows_no_cookie(served: Served, browser: Browser) -> None:
    await browser.open("/device")
    secret = browser.http.cookies["__Host-integ"]
    assert await served.backend.cache.get(f"page/{secret}") is None
    assert await served.backend.cache.get(page_session._name(secret)) is not None


async def test_assets_are_kept_for_ever_under_an_address_that_changes_with_them(served: Served, browser: Browser) -> None:
    await browser.open("/device")
    for address in re.findall(r'"(/pages/[^"]+\?v=[0-9a-f]{16})"', browser.text):
        answer = await browser.http.get(address)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]


async def test_many_sessions_from_one_address_are_not_made(served: Served) -> None:
    statuses = []
    for _ in range(70):
        http = await served.http()
        statuses.append((await http.get("/device")).status_code)
    assert statuses[0] == 200 and statuses[-1] == 429


async def test_names_that_others_chose_are_text_and_no_markup(served: Served, browser: Browser) -> None:
    start = await begun(served, "<img src=x onerror=alert(1)>\x1b[31m")
    await browser.by_steam()
    await browser.open("/device")
    await browser.send("/device", user_code=start["user_code"])
    assert "&lt;img src=x onerror=alert(1)&gt;" in browser.text and "<img src=x" not in browser.text


async def test_embedded_there_are_no_pages(open_served: OpenServed) -> None:
    served = await open_served({}, is_embedded=True)
    assert (await (await served.http()).get("/device")).status_code == 404


async def test_a_key_still_proves_nothing_to_the_api(served: Served, sandbox: RunningSandbox) -> None:
    user = await served.new_user()
    from integ_server.contract.errors import PermissionDeniedError

    answer = SignInAnswer(way=SignInWay.API_KEY, api_key=sandbox.world.steam_key, account=sandbox.world.steam_id)
    with pytest.raises(PermissionDeniedError):
        await accounts.confirm(served.backend, user, "steam", answer)
