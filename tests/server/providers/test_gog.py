"""GOG: signing in and staying so, and a library that is whole or an error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from integ_server.contract.errors import AuthenticationError, IntegError, ProviderError, ProviderUnavailableError, RateLimitedError
from integ_server.contract.types import SignInAnswer, SignInWay
from integ_server.providers.base import Credentials, OwnedGame, ProviderConfig
from integ_server.providers.gog import LANDING, PUBLIC_CLIENT, Gog
from integ_server.sandbox.gog_ground import Knobs
from integ_server.upstream import rewritten
from tests.server.providers.outside import over, through

USER = "51234567890123456"
TOKEN = {
    "expires_in": 3600,
    "scope": "",
    "token_type": "bearer",
    "access_token": "acc3ss",
    "user_id": USER,
    "refresh_token": "r3fresh",
    "session_id": "6",
}
LOGIN = Credentials(USER, "r3fresh", "acc3ss", datetime.now(UTC) + timedelta(hours=1))
CODE = "c0deC0deC0de"
Reply = dict[str, Any] | httpx.Response | Callable[[httpx.Request], Any]


class Outside:
    """GOG, as far as a test sets it up: what a path answers; anything else is 404."""

    def __init__(self, **replies: Reply) -> None:
        self.asked: list[httpx.Request] = []
        self.replies: dict[str, Reply] = {
            "/token": TOKEN,
            "/userData.json": {"isLoggedIn": True, "username": "harborlight"},
            "/user/data/games": {"owned": []},
            "/account/getFilteredProducts": {"totalPages": 0, "totalProducts": 0, "products": []},
            f"/users/{USER}/releases": {"total_count": 0, "items": []},
        }
        names = {"token": "/token", "user": "/userData.json", "owned": "/user/data/games", "products": "/account/getFilteredProducts"}
        names["releases"] = f"/users/{USER}/releases"
        self.replies.update({names[name]: reply for name, reply in replies.items()})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        reply = self.replies.get(request.url.path)
        if callable(reply):
            reply = reply(request)
        if reply is None:
            return httpx.Response(404, json={"error": "not_found"})
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)


def gog(outside: Outside, **config: str) -> Gog:
    return Gog(over(outside), ProviderConfig(**config))


# --- sign-in -------------------------------------------------------------------------------------------------------


async def code_of(sandbox: Any) -> str:
    """What a player would paste: the address that the sign-in page ends on."""
    page = Gog(httpx.AsyncClient()).sign_in_address(SignInWay.CODE, "", "state")
    async with httpx.AsyncClient() as browser:
        return str((await browser.get(rewritten(page, sandbox.url))).headers["Location"])


async def signed_in(sandbox: Any, http: httpx.AsyncClient) -> Credentials:
    answer = SignInAnswer(way=SignInWay.CODE, code=await code_of(sandbox))
    return (await Gog(http).sign_in(answer, return_to="")).credentials


def test_the_page_is_gogs_own_and_ends_on_its_landing_page() -> None:
    parts = urlsplit(gog(Outside()).sign_in_address(SignInWay.CODE, "http://127.0.0.1:1/cb", "state"))
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://auth.gog.com/auth"
    assert asked == {"client_id": PUBLIC_CLIENT, "redirect_uri": LANDING, "response_type": "code", "layout": "galaxy"}


async def test_a_pasted_address_signs_in_and_counts_once(sandbox) -> None:  # type: ignore[no-untyped-def]
    async with through(sandbox.url) as http:
        answer = SignInAnswer(way=SignInWay.CODE, code=await code_of(sandbox))
        found = await Gog(http).sign_in(answer, return_to="")
        assert found.display_name == sandbox.world.gog_username
        assert found.credentials.account == sandbox.world.gog_user_id
        until = found.credentials.access_expires_at
        assert until is not None
        assert timedelta(minutes=50) < until - datetime.now(UTC) <= timedelta(hours=1)
        with pytest.raises(AuthenticationError, match="minute"):
            await Gog(http).sign_in(answer, return_to="")


async def test_a_code_is_exchanged_once_whatever_happens() -> None:
    def lost(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("x")

    for reply in (lost, httpx.Response(503), httpx.Response(429), httpx.Response(500, text="<html>")):
        outside = Outside(token=reply)
        with pytest.raises(ProviderUnavailableError):
            await gog(outside).sign_in(SignInAnswer(way=SignInWay.CODE, code=CODE), return_to="")
        assert len(outside.asked) == 1


async def test_the_exchange_says_what_gog_wants_to_hear() -> None:
    outside = Outside()
    await gog(outside).sign_in(SignInAnswer(way=SignInWay.CODE, code=CODE), return_to="")
    sent = dict(outside.asked[0].url.params)
    assert sent["grant_type"] == "authorization_code"
    assert sent["code"] == CODE
    assert sent["redirect_uri"] == LANDING
    assert sent["client_id"] == PUBLIC_CLIENT
    assert sent["client_secret"]


async def test_a_client_of_ones_own_is_used_when_it_is_whole() -> None:
    for config, used in (({"gog_client_id": "7", "gog_client_secret": "s"}, "7"), ({"gog_client_id": "7"}, PUBLIC_CLIENT)):
        outside = Outside()
        await gog(outside, **config).renew(LOGIN)
        assert outside.asked[0].url.params["client_id"] == used


@pytest.mark.parametrize(
    "user", [httpx.Response(503), httpx.Response(302), httpx.Response(200, text="<html>"), {"isLoggedIn": False}, {"isLoggedIn": True}]
)
async def test_a_name_that_cannot_be_had_does_not_undo_the_sign_in(user: Reply) -> None:
    found = await gog(Outside(user=user)).sign_in(SignInAnswer(way=SignInWay.CODE, code=CODE), return_to="")
    assert found.display_name == USER


async def test_a_sign_in_without_anything_that_lasts_is_none() -> None:
    with pytest.raises(ProviderError):
        await gog(Outside(token={**TOKEN, "refresh_token": ""})).sign_in(SignInAnswer(way=SignInWay.CODE, code=CODE), return_to="")


# --- staying signed in ---------------------------------------------------------------------------------------------


async def test_a_renewal_brings_a_fresh_token_and_keeps_the_session() -> None:
    outside = Outside(token={**TOKEN, "access_token": "fresh", "refresh_token": "another"})
    renewed = await gog(outside).renew(LOGIN)
    assert (renewed.account, renewed.secret, renewed.access_token) == (USER, "another", "fresh")
    assert outside.asked[0].url.params["without_new_session"] == "1"


async def test_a_renewal_without_a_new_refresh_token_keeps_the_old_one() -> None:
    answer = {name: value for name, value in TOKEN.items() if name != "refresh_token"}
    assert (await gog(Outside(token=answer)).renew(LOGIN)).secret == "r3fresh"
    assert (await gog(Outside(token={**answer, "refresh_token": None})).renew(LOGIN)).secret == "r3fresh"


async def test_only_invalid_grant_ends_a_sign_in() -> None:
    with pytest.raises(AuthenticationError) as told:
        await gog(Outside(token=httpx.Response(400, json={"error": "invalid_grant", "error_description": "gone"}))).renew(LOGIN)
    assert "integ login gog" in told.value.hint


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(400, json={"error": "invalid_client"}),
        httpx.Response(400, json={"error": "invalid_request"}),
        httpx.Response(400, text="<html>invalid_grant</html>"),
        httpx.Response(401, json={"error": "access_denied"}),
        httpx.Response(401, text=""),
        httpx.Response(403, text="<html>blocked</html>"),
        httpx.Response(404),
        httpx.Response(302, headers={"Location": "https://login.gog.com/"}),
        httpx.Response(429),
        httpx.Response(500, json={"error": "invalid_grant"}),
        httpx.Response(503),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={}),
        httpx.Response(200, json={**TOKEN, "access_token": ""}),
        httpx.Response(200, json={**TOKEN, "user_id": "666"}),
        httpx.Response(200, text='{"access_token":'),
    ],
    ids=lambda reply: f"{reply.status_code} {reply.text[:30]}",
)
async def test_nothing_else_does(reply: httpx.Response) -> None:
    with pytest.raises(ProviderError):
        await gog(Outside(token=reply)).renew(LOGIN)


async def test_a_refresh_token_that_gog_rotates_is_handed_out(sandbox) -> None:  # type: ignore[no-untyped-def]
    sandbox.sandbox.state.part(Knobs).rotate_refresh = True
    async with through(sandbox.url) as http:
        login = await signed_in(sandbox, http)
        renewed = await Gog(http).renew(login)
        assert renewed.secret != login.secret
        assert (await Gog(http).renew(renewed)).account == login.account
        with pytest.raises(AuthenticationError):
            await Gog(http).renew(login)


# --- the library ---------------------------------------------------------------------------------------------------


def row(product: int, **more: Any) -> dict[str, Any]:
    return {"platform_id": "gog", "external_id": str(product), "owned": True, "hidden": False, **more}


def product(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": f"Game {number}", "worksOn": {"Windows": True, "Mac": False, "Linux": False}, "isHidden": False, **more}


def shown(*products: dict[str, Any], hidden: tuple[dict[str, Any], ...] = ()) -> Reply:
    def answer(request: httpx.Request) -> dict[str, Any]:
        listed = hidden if request.url.params["hiddenFlag"] == "1" else products
        return {"totalPages": 1, "totalProducts": len(listed), "products": list(listed)}

    return answer


def releases(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"total_count": len(rows), "items": list(rows), **more}


async def library(outside: Outside) -> dict[str, OwnedGame]:
    return {game.provider_game_id: game async for game in gog(outside).owned_games(LOGIN)}


async def test_three_lists_make_one_library() -> None:
    listed = shown(product(1), product(2, worksOn={"Linux": True, "Windows": True, "Mac": True}), hidden=(product(3, isHidden=True),))
    rows = releases(
        row(1), row(4), row(5, hidden=True), row(6, owned=False), row(7, platform_id="steam"), row(8, external_id="not-a-number")
    )
    found = await library(Outside(products=listed, releases=rows, owned={"owned": [1, 2, 3, 4, 9]}))
    assert set(found) == {"1", "2", "3", "4", "5", "9"}
    assert (found["1"].title, found["1"].platforms, found["1"].hidden) == ("Game 1", ("windows",), False)
    assert found["2"].platforms == ("linux", "windows", "mac")
    assert found["3"].hidden
    assert (found["4"].title, found["4"].kind) == ("", "game")
    assert found["5"].hidden
    assert found["9"].kind == "tool"


async def test_requests_carry_the_token_to_gogs_own_hosts() -> None:
    outside = Outside()
    await library(outside)
    assert {request.url.host for request in outside.asked} == {"galaxy-library.gog.com", "embed.gog.com"}
    assert all(request.headers["Authorization"] == "Bearer acc3ss" for request in outside.asked)


async def test_a_new_account_owns_nothing() -> None:
    assert await library(Outside()) == {}


@pytest.mark.parametrize("works_on", [[], None, {}, {"Windows": None}, {"Windows": False, "Mac": False, "Linux": False}])
async def test_a_game_that_runs_nowhere_is_of_unknown_platform(works_on: object) -> None:
    found = await library(Outside(products=shown(product(1, worksOn=works_on))))
    assert found["1"].platforms == ()


async def test_films_and_packs_of_goodies_are_no_games() -> None:
    found = await library(Outside(products=shown(product(1, isMovie=True), product(1424856371))))
    assert {game.kind for game in found.values()} == {"tool"}


async def test_all_pages_are_read() -> None:
    def pages(request: httpx.Request) -> dict[str, Any]:
        token = request.url.params.get("page_token", "")
        start = int(token or 0)
        rows = [row(number) for number in range(start + 1, min(start + 500, 1201) + 1)]
        more = str(start + 500) if start + 500 < 1201 else ("", None)[start % 2]
        return {"total_count": 1201, "items": rows, "next_page_token": more}

    def products(request: httpx.Request) -> dict[str, Any]:
        page = int(request.url.params["page"])
        listed = (
            []
            if request.url.params["hiddenFlag"] == "1"
            else [product(number) for number in range((page - 1) * 100 + 1, min(page * 100, 250) + 1)]
        )
        return {"totalPages": 0 if not listed else 3, "totalProducts": 250 if listed else 0, "products": listed}

    found = await library(Outside(releases=pages, products=products))
    assert len(found) == 1201
    assert sum(1 for game in found.values() if game.title) == 250


@pytest.mark.parametrize(
    "half",
    [
        {"releases": releases(row(1), total_count=2)},
        {"releases": {"total_count": 0}},
        {"releases": {"items": None}},
        {"releases": releases(row(1), next_page_token="again")},
        {"owned": {}},
        {"owned": {"owned": [1, 2]}},
        {"owned": {"owned": ["x"]}},
        {"products": {"totalPages": 1, "products": [product(1)], "totalProducts": 2}},
        {"products": {"totalPages": 1, "products": [{"title": "no id"}]}},
        {"products": {"totalPages": 10**9, "products": [product(1)]}},
        {"products": httpx.Response(404, json={})},
        {"owned": httpx.Response(500)},
    ],
    ids=lambda half: str(half)[:60],
)
async def test_half_a_library_is_none(half: dict[str, Reply]) -> None:
    with pytest.raises(ProviderError):
        await library(Outside(**half))


@pytest.mark.parametrize("path", ["releases", "products", "owned"])
@pytest.mark.parametrize(
    "stale",
    [httpx.Response(302, headers={"Location": "https://www.gog.com/en##openlogin"}), httpx.Response(200, text="<html>sign in")],
    ids=["302", "html"],
)
async def test_embeds_ways_to_ask_for_a_sign_in_are_understood(path: str, stale: httpx.Response) -> None:
    kind: type[IntegError] = ProviderError if path == "releases" else AuthenticationError  # galaxy-library has a proper 401
    with pytest.raises(kind):
        await library(Outside(**{path: stale}))


async def test_a_list_given_as_php_gives_it_is_read() -> None:
    found = await library(Outside(owned={"owned": {"0": 1, "2": 5}}, releases=releases(row(1), row(5))))
    assert set(found) == {"1", "5"}


async def test_the_stand_ins_whole_library_is_read(sandbox) -> None:  # type: ignore[no-untyped-def]
    async with through(sandbox.url) as http:
        login = await signed_in(sandbox, http)
        found = {game.provider_game_id: game async for game in Gog(http).owned_games(login)}
    assert set(found) == {str(each.id) for each in sandbox.world.owned_gog}
    assert {number for number, game in found.items() if game.hidden} == {str(each.id) for each in sandbox.world.owned_gog if each.hidden}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("gog.signed_out", AuthenticationError),
        ("gog.stale_token", AuthenticationError),
        ("gog.rate_limited", RateLimitedError),
        ("gog.rate_limited_retry_after", RateLimitedError),
        ("gog.down", ProviderUnavailableError),
        ("gog.html", ProviderUnavailableError),
        ("gog.cut_body", ProviderUnavailableError),
        ("gog.half_list", ProviderUnavailableError),
        ("gog.no_owned_key", ProviderError),
        ("gog.repeating_token", ProviderError),
    ],
)
async def test_what_gogs_stand_in_can_get_wrong_is_told(sandbox, fault: str, kind: type[IntegError]) -> None:  # type: ignore[no-untyped-def]
    async with through(sandbox.url) as http:
        login = await signed_in(sandbox, http)
        sandbox.faults.on(fault)
        with pytest.raises(kind) as told:
            [game async for game in Gog(http).owned_games(login)]
    assert type(told.value) is kind
    if fault == "gog.rate_limited_retry_after":
        assert told.value.retry_after_s == 120


@pytest.mark.parametrize(("fault", "kind"), [("gog.expired_code", AuthenticationError), ("gog.wrong_client", ProviderError)])
async def test_a_sign_in_that_gog_refuses_is_told(sandbox, fault: str, kind: type[IntegError]) -> None:  # type: ignore[no-untyped-def]
    sandbox.faults.on(fault)
    async with through(sandbox.url) as http:
        with pytest.raises(kind) as told:
            await signed_in(sandbox, http)
    assert type(told.value) is kind
