"""What clients ask for most: answered quickly, and as everything else is; right in every process, whichever of them changed something."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from redis import Redis

from integ_server.contract.errors import GameNotFoundError
from integ_server.contract.preferences import GameWishes
from integ_server.contract.scopes import Scope
from integ_server.services import jobs, preferences
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenServed, Player, Served

LIST, STATUS = "/games?limit=50", "/games/sync-status"


class World:
    """A user whose clients ask one process, and who changes things by another where there can be two."""

    def __init__(self, asked: Served, changed: Served, shelf: Shelf) -> None:
        self.asked, self.changed, self.shelf = asked, changed, shelf
        self.player = Player(changed.backend)

    async def begin(self) -> httpx.AsyncClient:
        self.player.user = await self.asked.new_user()
        await self.player.sign_in("fake", "ann")
        await self.player.pull()
        return await self.asked.http((await self.asked.new_personal_token(self.player.user)).token)


@pytest.fixture
async def world(open_served: OpenServed, database_url: str) -> World:
    shelf = Shelf(games={"ann": [owned(str(at), f"Game {at}") for at in range(3)]})
    stores: dict[str, Any] = {"fake": fake_store(shelf, reads_metadata=False)}
    asked = await open_served(stores)
    changed = await open_served(stores) if database_url.startswith("postgresql") else asked
    changed.backend.send = lambda *_: None  # the test does the work, step by step
    return World(asked, changed, shelf)


async def held(http: httpx.AsyncClient, path: str) -> dict[str, str]:
    """The ETag of an answer that was given twice, so that whatever is kept of it is kept by now."""
    first, again = await http.get(path), await http.get(path)
    assert first.status_code == again.status_code == 200, first.text
    assert first.headers["ETag"] == again.headers["ETag"]
    assert first.json()["data"] == again.json()["data"]
    tag = {"If-None-Match": first.headers["ETag"]}
    unchanged = await http.get(path, headers=tag)
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", first.headers["ETag"])
    return tag


async def test_an_unchanged_list_is_told_so_until_another_process_changes_it(world: World) -> None:
    http = await world.begin()
    tag = await held(http, LIST)

    world.shelf.games["ann"].append(owned("9", "Game 9"))
    await world.player.pull()
    answer = await http.get(LIST, headers=tag)
    assert (answer.status_code, len(answer.json()["data"]["items"])) == (200, 4)

    tag = await held(http, LIST)
    async with world.changed.backend.db.writing.begin() as session:
        await preferences.change_game(session, world.player.user, "fake:1", GameWishes(launch_options="-window"))
    answer = await http.get(LIST, headers=tag)
    assert answer.status_code == 200
    assert [each["launch_options"] for each in answer.json()["data"]["items"]] == [None, "-window", None, None]

    tag = await held(http, LIST)
    await world.player.pull()
    assert (await http.get(LIST, headers=tag)).status_code == 304, "a sync that found nothing new changes nothing"
    await world.player.sign_out("fake")
    assert (await http.get(LIST, headers=tag)).json()["data"]["items"] == []


async def test_a_change_that_is_undone_is_none(world: World) -> None:
    http = await world.begin()
    tag = await held(http, LIST)
    with pytest.raises(GameNotFoundError):
        async with world.changed.backend.db.writing.begin() as session:
            await preferences.change_game(session, world.player.user, "fake:1", GameWishes(favourite=True))
            raise GameNotFoundError("and then something went wrong")
    assert (await http.get(LIST, headers=tag)).status_code == 304
    await held(http, LIST)


async def test_each_step_of_a_job_is_heard_of_at_once(world: World) -> None:
    http = await world.begin()

    async def told() -> dict[str, Any]:
        await held(http, STATUS)
        [found] = [each for each in (await http.get(STATUS)).json()["data"]["jobs"] if each["id"] == job_id]
        return dict(found)

    await held(http, STATUS)
    [job_id] = await world.player.start()
    assert (await told())["state"] == "queued"
    await world.player.claim(job_id)
    assert (await told())["state"] == "running"
    await jobs.tell(world.changed.backend, job_id, "reading", 2, 3)
    assert (await told())["done"] == 2
    await jobs.hand_back(world.changed.backend, job_id)
    assert (await told())["state"] == "queued"
    await world.player.sign_out("fake")
    assert (await http.get(STATUS)).json()["data"]["accounts"] == []


async def test_a_redis_that_lost_everything_is_no_reason_to_tell_anything_old(world: World, request: pytest.FixtureRequest) -> None:
    http = await world.begin()
    tag, status = await held(http, LIST), await held(http, STATUS)
    if world.asked is not world.changed:
        with Redis.from_url(request.getfixturevalue("_redis")) as redis:
            redis.flushall()
    assert (await http.get(LIST, headers=tag)).status_code == (await http.get(STATUS, headers=status)).status_code == 304
    world.shelf.games["ann"].pop()
    await world.player.pull()
    assert (await http.get(LIST, headers=tag)).status_code == (await http.get(STATUS, headers=status)).status_code == 200


async def test_the_quick_way_and_the_usual_one_answer_the_same(world: World) -> None:
    http = await world.begin()
    for quick, usual in (
        ("/games", "/games?sort=title"),
        (LIST, "/games?limit=50&sort=title"),
        ("/games?limit=2", "/games?sort=title&limit=2"),
        (STATUS, f"{STATUS}?x=1"),
    ):
        first, second = await http.get(quick), await http.get(usual)
        assert first.json() | {"timestamp": ""} == second.json() | {"timestamp": ""}
        assert {**first.headers, "x-request-id": ""} == {**second.headers, "x-request-id": ""}
        tag = {"If-None-Match": f'"other", W/{first.headers["ETag"]}'}
        for path in (quick, usual):
            unchanged = await http.get(path, headers=tag)
            assert (unchanged.status_code, unchanged.headers["ETag"]) == (304, first.headers["ETag"])
    page = (await http.get("/games?limit=2")).json()["data"]
    rest = (await http.get(f"/games?limit=2&cursor={page['next_cursor']}")).json()["data"]
    assert [each["title"] for each in page["items"] + rest["items"]] == ["Game 0", "Game 1", "Game 2"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=5&cursor=nonsense", "limit=٣", "limit=5&cursor=%00"])
async def test_a_request_that_makes_no_sense_is_told_so(world: World, query: str) -> None:
    http = await world.begin()
    answer = await http.get(f"/games?{query}")
    assert (answer.status_code // 100, answer.json()["error"]) == (4, "UsageError"), answer.text


async def test_only_who_may_read_the_library_does(world: World) -> None:
    nobody = await world.asked.http()
    stranger = await world.asked.http("ey.no.token")
    syncer = await world.asked.signed_in("Bob", {Scope.SYNC})
    for path in (LIST, STATUS):
        for client in (nobody, stranger):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        answer = await syncer.get(path)
        assert (answer.status_code, answer.json()["error"]) == (403, "PermissionDeniedError")
    device = await world.asked.signed_in("Cid")
    current = (await device.get("/auth/sessions")).json()["data"][0]["id"]
    assert (await device.get(LIST)).json()["data"]["items"] == []
    assert (await device.delete(f"/auth/sessions/{current}")).status_code == 200
    assert (await device.get(LIST)).status_code == (await device.get(STATUS)).status_code == 401


async def test_the_figures_know_it_by_its_route(world: World) -> None:
    http = await world.begin()
    await http.get(LIST)
    await http.get(STATUS)
    backend = world.asked.backend
    assert backend.metrics is not None
    told = (await backend.metrics.text(backend)).decode()
    for route in ("/games", STATUS):
        assert f'integ_request_seconds_count{{method="GET",route="{route}",status="200"}} 1.0' in told
