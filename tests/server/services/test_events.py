from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from integ_server.cache import Cache, MemoryCache
from integ_server.contract.errors import AuthenticationError, BackendUnreachableError, RateLimitedError
from integ_server.contract.events import Event, EventName, JobChanged
from integ_server.models.tables import users
from integ_server.opening import open_backend
from integ_server.services import event_hub, events
from integ_server.services.backend import Backend
from integ_server.services.event_hub import MOST_STREAMS, EventHub
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import Player, settings_for


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(games={"ann": [owned("1"), owned("2")]})


@pytest.fixture
async def backend(database_url: str, shelf: Shelf) -> AsyncIterator[Backend]:
    async with open_backend(settings_for(database_url), {"fake": fake_store(shelf)}) as backend:
        async with backend.db.writing.begin() as session:
            row = {"name": "", "revision": 1, "first_revision": 1, "created_at": datetime.now(UTC)}
            await session.execute(users.insert(), [{"id": each, **row} for each in ("ann", "ben")])
        yield backend


async def _unasked() -> None:
    """Of somebody who may go on listening."""


async def _there(backend: Backend, user: str, last_id: str | None = None) -> list[Event]:
    """The position, and what is there."""
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while backend.events._sender is not None and not backend.events._sender.done():
            await asyncio.sleep(0.01)
        return [event async for event in backend.events.follow(user, last_id, _unasked, waits=False)]


async def _revised(backend: Backend, user: str, revision: int) -> None:
    async with backend.db.writing.begin() as session:
        events.library_changed(session, user, revision)


def _names(found: list[Event]) -> list[str]:
    return [each.event for each in found]


async def test_a_sync_is_told_as_it_goes(backend: Backend) -> None:
    player = Player(backend, "ann")
    (start,) = await _there(backend, "ann")
    await player.sign_in("fake", "ann")
    await player.pull()
    position, *told = await _there(backend, "ann", start.id)
    assert (position.id, position.event) == (start.id, "")
    assert told[0].data == {"provider": "fake", "account": "ann", "state": "ok"}
    states = [each.data["state"] for each in told if each.event == EventName.JOB_CHANGED and each.data["kind"] == "sync"]
    assert (states[0], states[1], states[-1]) == ("queued", "running", "done")
    for each in told:
        if each.event == EventName.JOB_CHANGED:
            assert JobChanged.model_validate(each.data, extra="forbid").model_dump(mode="json") == each.data
    (library,) = [each for each in told if each.event == EventName.LIBRARY_CHANGED]
    assert library.data == {"revision": (await player.changes()).revision}
    assert _names(await _there(backend, "ben")) == [""], "nobody hears of another user"


async def test_what_is_undone_is_not_told(backend: Backend) -> None:
    (start,) = await _there(backend, "ann")
    with suppress(ZeroDivisionError):
        async with backend.db.writing.begin() as session:
            events.library_changed(session, "ann", 7)
            raise ZeroDivisionError
    assert _names(await _there(backend, "ann", start.id)) == [""]


async def test_many_changes_of_one_transaction_are_one_event(backend: Backend) -> None:
    (start,) = await _there(backend, "ann")
    async with backend.db.writing.begin() as session:
        for revision in (5, 6, 7):
            events.library_changed(session, "ann", revision)
    _, *told = await _there(backend, "ann", start.id)
    assert [each.data for each in told] == [{"revision": 7}]


async def test_a_client_that_comes_back_hears_what_it_missed_and_nothing_twice(backend: Backend) -> None:
    (start,) = await _there(backend, "ann")
    for revision in range(5):
        await _revised(backend, "ann", revision)
    _, *first = await _there(backend, "ann", start.id)
    assert [each.data["revision"] for each in first] == [0, 1, 2, 3, 4]
    position, *rest = await _there(backend, "ann", first[1].id)
    assert (position.event, [each.data["revision"] for each in rest]) == ("", [2, 3, 4])
    assert len({each.id for each in first}) == 5


async def test_news_for_everybody_stand_in_their_order_between_ones_own(backend: Backend) -> None:
    (start,), (bens,) = await _there(backend, "ann"), await _there(backend, "ben")
    await _revised(backend, "ann", 1)
    await asyncio.sleep(0.01)  # two streams are put in order by their milliseconds
    async with backend.db.writing.begin() as session:
        events.proton_changed(session, "GE-Proton11-6", "ready")
    await asyncio.sleep(0.01)
    await _revised(backend, "ann", 2)
    _, *told = await _there(backend, "ann", start.id)
    assert _names(told) == ["library.changed", "proton.changed", "library.changed"]
    _, *rest = await _there(backend, "ann", told[1].id)
    assert [each.data for each in rest] == [{"revision": 2}]
    assert _names(await _there(backend, "ben", bens.id)) == ["", "proton.changed"]


@pytest.mark.parametrize("last_id", ["", "nonsense", "1-0.0-0", "9999999999999-0.0-0", "0-0.5-5", "0-0", "99999999999999999999-0.0-0"])
async def test_an_id_that_is_not_of_this_stream_is_answered_by_a_reset(backend: Backend, last_id: str) -> None:
    await _revised(backend, "ann", 1)
    await _there(backend, "ann")
    position, *told = await _there(backend, "ann", last_id)
    assert (position.event, told) == ("reset", [])
    assert _names(await _there(backend, "ann", position.id)) == [""], "from there on it goes as usual"


async def test_an_id_from_before_what_is_kept_is_answered_by_a_reset(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integ_server.cache.MOST_STREAM_ENTRIES", 3)
    await _revised(backend, "ann", 1)
    (old,) = await _there(backend, "ann")
    for revision in range(2, 8):
        await _revised(backend, "ann", revision)
    assert _names(await _there(backend, "ann", old.id)) == ["reset"]


async def test_a_listener_hears_at_once(backend: Backend) -> None:
    async with aclosing(backend.events.follow("ann", None, _unasked)) as stream:
        assert (await anext(stream)).event == ""
        hearing = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        assert not hearing.done()
        await _revised(backend, "ann", 3)
        told = await asyncio.wait_for(hearing, 2)
        assert told.data == {"revision": 3}
    assert not backend.events._listeners


async def test_two_processes_on_one_redis_hear_each_other(redis_url: str, tmp_path: Any) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'data' / 'integ.db'}"
    settings = settings_for(url, redis_url=redis_url)
    async with (
        open_backend(settings, {}) as one,
        open_backend(settings, {}) as two,
        aclosing(two.events.follow("local", None, _unasked)) as stream,
    ):
        await anext(stream)
        await _revised(one, "local", 4)
        assert (await asyncio.wait_for(anext(stream), 5)).data == {"revision": 4}


async def test_a_listener_whose_sign_in_is_over_is_sent_away(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "CHECK_EVERY_S", 0.1)

    async def check() -> None:
        raise AuthenticationError("the session was revoked")

    async with asyncio.timeout(5):
        assert _names([each async for each in backend.events.follow("ann", None, check)]) == [""]


async def test_a_server_that_stops_ends_every_stream(backend: Backend) -> None:
    async with aclosing(backend.events.follow("ann", None, _unasked)) as stream:
        await anext(stream)
        hearing = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0.05)
        backend.events.end()
        assert await asyncio.wait_for(hearing, 1) is None


async def test_a_user_has_a_few_streams_and_no_more(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [await backend.events.take_place("ann") for _ in range(MOST_STREAMS)]
    with pytest.raises(RateLimitedError):
        await backend.events.take_place("ann")
    await backend.events.take_place("ben")
    await places[3].leave()
    await backend.events.take_place("ann")


class _Failing(MemoryCache):
    """A Redis that can be away."""

    away = False

    async def append(self, stream: str, value: str, ttl_s: float) -> str:
        return await self._unless_away(lambda: MemoryCache.append(self, stream, value, ttl_s))

    async def append_all(self, entries: Sequence[tuple[str, str]], ttl_s: float) -> None:
        return await self._unless_away(lambda: MemoryCache.append_all(self, entries, ttl_s))

    async def after(self, stream: str, entry_id: str, wait_s: float = 0.0) -> list[tuple[str, str]]:
        return await self._unless_away(lambda: MemoryCache.after(self, stream, entry_id, wait_s))

    async def span(self, stream: str) -> tuple[str, str] | None:
        return await self._unless_away(lambda: MemoryCache.span(self, stream))

    async def _unless_away(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.away:
            raise BackendUnreachableError("Redis is away")
        return await call()


async def test_an_outage_of_redis_costs_a_reset_and_nothing_else() -> None:
    cache = _Failing()
    the_cache: Cache = cache
    hub = EventHub(the_cache)
    async with aclosing(hub.follow("ann", None, _unasked)) as stream:
        await anext(stream)
        cache.away = True
        hub.publish("ann", EventName.LIBRARY_CHANGED, {"revision": 1})
        hub._wake("ann")
        hearing = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        cache.away = False
        assert (await asyncio.wait_for(hearing, 5)).event == "reset"
        hub.publish("ann", EventName.LIBRARY_CHANGED, {"revision": 2})
        told = [await asyncio.wait_for(anext(stream), 5) for _ in range(2)]
        assert (_names(told), told[1].data) == (["reset", "library.changed"], {"revision": 2})
    await hub.close()
