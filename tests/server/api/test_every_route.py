"""
Every route there is, found in the app itself: refused to nobody, to a scope that is too narrow, and to another user.

A new route is found by itself. It fails here when it asks for no scope and stands in none of the lists below, and when its path has a
parameter that `World.ids` does not know: then give it an id of Ann's, which Eve must not reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import routing
from fastapi.dependencies.models import Dependant

from integ_server.api import page_session
from integ_server.app import create_app
from integ_server.contract.scopes import ALL_SCOPES, Scope
from integ_server.models.tables import webhook_deliveries, webhooks
from integ_server.services import sync
from integ_server.settings import ServerSettings
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import KEY, OpenServed, Player, Served

PUBLIC = {
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),  # asks for this machine, or for a token of its own
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/auth/providers"),
    ("POST", "/auth/refresh"),  # brings its own proof
    ("POST", "/auth/device"),
    ("POST", "/auth/device/token"),
    ("GET", "/pages/{name}"),  # what the pages are drawn with
}
"""What answers whoever asks."""
ANY_SCOPE = {("POST", "/auth/logout")}
"""What every sign-in may do: to end itself; out of the stores it asks for a scope."""
STREAMS = {("GET", "/events")}
"""What answers without an end; `test_event_stream` holds it."""
MARK = "8f3a21"
"""In everything that is Ann's."""


@dataclass(frozen=True)
class Found:
    method: str
    path: str
    scope: Scope | None
    parameters: tuple[str, ...]
    is_page: bool
    """For browsers: it knows them by a cookie, and takes forms of its own pages only."""

    @property
    def name(self) -> tuple[str, str]:
        return self.method, self.path

    def at(self, ids: dict[str, str]) -> str:
        return self.path.format(**ids)


def scopes_of(dependant: Dependant) -> Iterator[Scope]:
    for each in dependant.dependencies:
        scope = getattr(each.call, "scope", None)
        if isinstance(scope, Scope):
            yield scope
        yield from scopes_of(each)


def is_page(dependant: Dependant) -> bool:
    asked = dependant.dependencies
    return any(getattr(each.call, "__module__", "") == page_session.__name__ or is_page(each) for each in asked)


def every_route() -> list[Found]:
    app = create_app(ServerSettings(database_url="sqlite+aiosqlite:////x", secret_key=KEY), stores={})
    found = []
    for route in routing.iter_route_contexts(app.routes):
        dependant: Dependant | None = getattr(route, "dependant", None)
        scopes = sorted(set(scopes_of(dependant))) if dependant else []
        assert len(scopes) <= 1, f"{route.path} asks for several scopes: {scopes}"
        parameters = tuple(each.name for each in dependant.path_params) if dependant else ()
        for method in sorted((route.methods or {"GET"}) - {"HEAD", "OPTIONS"}):
            page = dependant is not None and is_page(dependant)
            found.append(Found(method, str(route.path), scopes[0] if scopes else None, parameters, page))
    assert len(found) > 20
    return found


ROUTES = every_route()
GUARDED = [each for each in ROUTES if each.scope is not None]


@dataclass
class World:
    """A backend with Ann, who has something of everything, and whoever else comes."""

    served: Served
    ann: httpx.AsyncClient
    ids: dict[str, str]
    """By the names of parameters in paths: what is Ann's, or what is everybody's."""

    async def stranger(self, scopes: frozenset[Scope] = ALL_SCOPES) -> httpx.AsyncClient:
        return await self.served.signed_in("Eve", scopes)

    async def state(self) -> dict[str, Any]:
        """All that Ann can read."""
        read = [each for each in GUARDED if each.method == "GET" and each.name not in STREAMS]
        return {each.path: _told(await self.ann.get(each.at(self.ids))) for each in read}


def _told(answer: httpx.Response) -> Any:
    return answer.status_code, answer.json().get("data") if "json" in answer.headers.get("content-type", "") else answer.content


async def a_world(open_served: OpenServed) -> World:
    shelf = Shelf(games={f"ann-{MARK}": [owned("1", f"Lantern Keep {MARK}"), owned("2")], "eve": [owned("3")]})
    served: Served = await open_served({"fake": fake_store(shelf, reads_metadata=False)}, requests_per_min=0)
    user = await served.new_user(f"Ann {MARK}")
    player = Player(served.backend, user)
    await player.sign_in("fake", f"ann-{MARK}")
    (job_id,) = await player.start()
    tokens = await served.new_tokens(user, device=f"Deck {MARK}")
    ann = await served.http(tokens.access_token)
    if served.backend.settings.redis_url is not None:  # else this process works too, and has begun
        await sync.pull_account(served.backend, await player.claim(job_id))
    async with asyncio.timeout(20):
        while (await ann.get(f"/jobs/{job_id}")).json()["data"]["state"] != "done":
            await asyncio.sleep(0.02)
    noted = await ann.put("/games/fake:1/preferences", json={"notes": f"finish it {MARK}", "tags": [f"tag-{MARK}"]})
    assert noted.status_code == 200, noted.text
    ids = {
        "provider": "fake",
        "key": "fake:1",
        "version": "GE-Proton9-1",
        "name": "page.css",
        "job_id": job_id,
        "session_id": tokens.session_id,
        "token_id": (await served.new_personal_token(user)).id,
        "webhook_id": "0123456789abcdef0123456789abcdef",
        "delivery_id": "fedcba9876543210fedcba9876543210",
    }
    now = datetime.now(UTC)
    async with served.backend.db.writing.begin() as session:
        hook = {"id": ids["webhook_id"], "user_id": user, "url": f"https://{MARK}.example/", "events": [], "failures": 0}
        secret = served.backend.vault.seal("a secret", f"webhooks.secret/{ids['webhook_id']}")
        await session.execute(webhooks.insert().values(**hook, secret=secret, created_at=now))
        sent = {"id": ids["delivery_id"], "webhook_id": ids["webhook_id"], "event": "test", "payload": {"mark": MARK}, "state": "done"}
        times = {"created_at": now, "finished_at": now}
        await session.execute(webhook_deliveries.insert().values(**sent, **times, attempts=1, status=200, error=""))
    return World(served, ann, ids)


def test_every_route_asks_for_a_scope_or_is_known_to_be_public() -> None:
    open_ones = {each.name for each in ROUTES if each.scope is None and not each.is_page}
    assert open_ones == PUBLIC | ANY_SCOPE


def test_the_description_says_of_every_route_what_it_takes() -> None:
    document = create_app(ServerSettings(database_url="sqlite+aiosqlite:////x", secret_key=KEY), stores={}).openapi()
    schemes = document["components"]["securitySchemes"]
    assert document["openapi"].startswith("3.1"), "where a bearer scheme may name scopes"
    described = {
        (method.upper(), path): each["security"] for path, methods in document["paths"].items() for method, each in methods.items()
    }
    expected: dict[tuple[str, str], list[dict[str, list[str]]]] = {
        route.name: [{"integ": [str(route.scope)] if route.scope else []}] for route in ROUTES if route.scope or route.name in ANY_SCOPE
    }
    expected |= {name: [] for name in PUBLIC if name in described} | {("GET", "/metrics"): [{"metrics": []}, {}]}
    assert described == expected
    assert all(f"`{scope}`" in schemes["integ"]["description"] for scope in Scope)
    assert {name for each in described.values() for scheme in each for name in scheme} == set(schemes)


async def test_the_page_for_people_says_so_too_and_embedded_there_is_nothing_to_say(open_served: OpenServed) -> None:
    for is_embedded in (False, True):
        served = await open_served({}, is_embedded=is_embedded)
        page = (await (await served.http()).get("/docs")).text
        assert ("bearer token: <code>integ library:read</code>" in page) is not is_embedded
        assert ("securitySchemes" in (await (await served.http()).get("/openapi.json")).text) is not is_embedded


def test_every_scope_is_of_use_somewhere_or_not_yet() -> None:
    assert {each.scope for each in GUARDED} >= {Scope.LIBRARY_READ, Scope.SYNC, Scope.DOWNLOADS, Scope.ACCOUNTS, Scope.USER}


async def test_nobody_is_refused_everywhere(open_served: OpenServed) -> None:
    world = await a_world(open_served)
    for token in (None, "integ_pat_" + "A" * 43, "e30.e30.e30"):
        http = await world.served.http(token)
        for route in ROUTES:
            if route.name in PUBLIC or route.is_page:
                continue
            answer = await http.request(route.method, route.at(world.ids), json={})
            assert (answer.status_code, answer.json()["error"]) == (401, "NotSignedInError"), route
            assert MARK not in answer.text


async def test_a_browser_that_nobody_knows_sees_nothing_of_anybody_and_no_form_but_our_own_is_taken(open_served: OpenServed) -> None:
    world = await a_world(open_served)
    before = await world.state()
    pages = [each for each in ROUTES if each.is_page]
    assert {each.method for each in pages} == {"GET", "POST"} and not [each for each in pages if each.scope is not None]
    for route in pages:
        for cookies in ({}, {"__Host-integ": "A" * 43}):
            http = await world.served.http()
            http.cookies.update(cookies)
            answer = await http.request(route.method, route.at(world.ids), data={"form_key": "made up"} if route.method == "POST" else None)
            assert answer.status_code < 500 and MARK not in answer.text, route
            assert answer.status_code == 403 or route.method == "GET", route
    assert await world.state() == before


async def test_a_scope_that_is_too_narrow_is_refused_by_its_name_and_the_right_one_is_enough(open_served: OpenServed) -> None:
    world = await a_world(open_served)
    for route in GUARDED:
        assert route.scope is not None
        narrow = await world.stranger(ALL_SCOPES - {route.scope})
        refused = await narrow.request(route.method, route.at(world.ids), json={})
        assert (refused.status_code, refused.json()["error"]) == (403, "PermissionDeniedError"), route
        assert refused.json()["data"] == {"scope": route.scope}
        user = await world.served.new_user("Eve")
        script = await world.served.http((await world.served.new_personal_token(user, ALL_SCOPES - {route.scope})).token)
        assert (await script.request(route.method, route.at(world.ids), json={})).status_code == 403, route
        if route.name not in STREAMS:
            wide = await world.stranger(frozenset({route.scope}))
            let_in = await wide.request(route.method, route.at(world.ids), json={})
            assert "NotSignedInError" not in let_in.text and '"scope"' not in let_in.text, route


async def test_another_user_reads_nothing_and_changes_nothing_of_anns(open_served: OpenServed) -> None:
    world = await a_world(open_served)
    before = await world.state()
    assert MARK in str(before)
    theirs = {value for name, value in world.ids.items() if name.endswith("_id")}
    for route in GUARDED:
        if route.name in STREAMS:
            continue
        unknown = set(route.parameters) - world.ids.keys()
        assert not unknown, f"{route.path}: give World.ids something of Ann's for {unknown}"
        eve = await world.stranger()
        bodies: list[Any] = [{}, {"provider": "fake", "account": f"ann-{MARK}"}, {"keys": ["fake:1", "fake:2"], "key": "fake:1"}]
        for body in [None] if route.method == "GET" else bodies:
            answer = await eve.request(route.method, route.at(world.ids), json=body)
            sent = route.at(world.ids) + str(body)
            assert answer.status_code < 500, (route, answer.text)
            assert MARK not in answer.text.replace(f"ann-{MARK}", "") if MARK in sent else MARK not in answer.text, route
            assert not [each for each in theirs if each in answer.text and each not in sent], route
            if any(name.endswith("_id") for name in route.parameters):
                assert answer.status_code in {401, 404, 422}, (route, answer.text)
    assert await world.state() == before
