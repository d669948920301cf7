"""
Events on their way from a transaction to the clients that listen.

Each user's events lie in a stream of the cache, which a client that comes back resumes from. One more stream, the bell, says whose
stream has something new: one reader a process follows it and wakes those who wait, so that ten thousand listening clients do not cost
ten thousand connections to Redis.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from integ_server.cache import Cache
from integ_server.contract.errors import BackendUnreachableError, IntegError, RateLimitedError
from integ_server.contract.events import Event, EventName

KEPT_FOR_S = 86_400.0
"""So long a stream is kept after its last event; whoever comes back later reads by revision."""
MOST_STREAMS = 8
"""Clients of one user that listen at once, over all processes."""
CHECK_EVERY_S = 15.0
"""How often a listening client is asked whether it still may, and its stream is looked at without any bell."""
_PLACE_LIVES_S = 3 * CHECK_EVERY_S
_MOST_WAITING = 10_000
_AT_ONCE = 200
"""Events in one call to Redis, which does nothing else meanwhile: about a millisecond."""
_BELL_WAITS_S = 3.0
_OUTAGE_S = 60.0
_START = "0-0"
_BEGIN = "begin"
_BELL = "events-bells"
_POSITION = re.compile(r"(\d{1,16}-\d{1,16})\.(\d{1,16}-\d{1,16})", re.ASCII)
_log = logging.getLogger("integ.events")


@dataclass(frozen=True, slots=True)
class _Position:
    """The last event that was told: of the user's own stream and of everybody's."""

    mine: str
    all: str

    def __str__(self) -> str:
        return f"{self.mine}.{self.all}"


@dataclass(frozen=True, slots=True)
class _News:
    user_id: str | None
    """None: for everybody."""
    value: str


class Place:
    """One of the few streams that a user may have at once. One whose process died is free again by itself."""

    def __init__(self, cache: Cache, name: str, holder: str) -> None:
        self._cache, self._name, self._holder = cache, name, holder

    async def keep(self) -> None:
        with suppress(BackendUnreachableError):
            await self._cache.lease(self._name, self._holder, _PLACE_LIVES_S)

    async def leave(self) -> None:
        with suppress(BackendUnreachableError):
            await self._cache.release(self._name, self._holder)


class EventHub:
    """
    One for each backend, in its loop. Publishing never waits and never fails: an event is a hint, and the database is the truth.

    Events of one process keep their order.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._waiting: asyncio.Queue[_News] = asyncio.Queue(_MOST_WAITING)
        self._missed: set[str | None] = set()
        self._sender: asyncio.Task[None] | None = None
        self._ringer: asyncio.Task[None] | None = None
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._ended = False

    def publish(self, user_id: str | None, event: EventName, data: dict[str, Any]) -> None:
        """Tell the clients of *user_id*, or of everybody; to be called in the loop's own thread."""
        try:
            self._waiting.put_nowait(_News(user_id, json.dumps({"event": event.value, "data": data})))
        except asyncio.QueueFull:
            self._missed.add(user_id)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_waiting())

    async def take_place(self, user_id: str) -> Place:
        """
        Raises:
            RateLimitedError: The user has as many streams as there may be.
        """
        holder = secrets.token_hex(8)
        for number in range(MOST_STREAMS):
            name = f"events-place/{user_id}/{number}"
            if await self._cache.lease(name, holder, _PLACE_LIVES_S):
                return Place(self._cache, name, holder)
        raise RateLimitedError(
            f"{MOST_STREAMS} clients listen for events already",
            hint="end one of them, or ask again in a minute",
            retry_after_s=_PLACE_LIVES_S,
        )

    async def forget(self, user_id: str) -> None:
        """Drop what is kept for the user; nobody is to read it any more."""
        with suppress(BackendUnreachableError):
            await self._cache.delete(_stream(user_id))

    async def follow(
        self, user_id: str, last_id: str | None, check: Callable[[], Awaitable[object]], *, waits: bool = True
    ) -> AsyncIterator[Event]:
        """
        The position alone (an event without a name, or `reset`), then what came after *last_id*, then each event as it comes.

        *check* is awaited every quarter of a minute; its IntegError ends the stream. Without *waits* the stream ends with what there is.
        """
        clock = asyncio.get_running_loop().time
        with self._listening(user_id) as woken:
            position, is_known = await self._begin(user_id, last_id)
            yield _placed(position, is_known=is_known)
            checked_at = clock()
            while not self._ended:
                woken.clear()
                try:
                    fresh = await self._after(user_id, position)
                except BackendUnreachableError:
                    returned = await self._wait_for_cache(user_id)
                    if returned is None:
                        return
                    position = returned
                    yield _placed(position, is_known=False)  # what came meanwhile was sent to nobody
                    continue
                for reached, event in fresh:
                    position = reached
                    yield event
                if not fresh and not waits:
                    return
                if clock() - checked_at >= CHECK_EVERY_S:
                    checked_at = clock()
                    try:
                        await check()
                    except IntegError:
                        return
                if not fresh:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(max(0.05, CHECK_EVERY_S - (clock() - checked_at))):
                            await woken.wait()

    def end(self) -> None:
        """Let every stream come to its end: the server stops."""
        self._ended = True
        self._wake(None)

    async def close(self) -> None:
        self.end()
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=1)
        tasks = [task for task in (self._sender, self._ringer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_waiting(self) -> None:
        """What waits goes together: while one lot is on its way, the next one gathers."""
        while not self._waiting.empty():
            lot = [self._waiting.get_nowait() for _ in range(min(self._waiting.qsize(), _AT_ONCE))]
            whose = dict.fromkeys(news.user_id for news in lot)
            missed = self._missed & whose.keys()
            reset = json.dumps({"event": EventName.RESET.value, "data": {}})
            entries = [(_stream(user_id), reset) for user_id in whose if user_id in missed]
            entries += [(_stream(news.user_id), news.value) for news in lot]
            entries.append((_BELL, json.dumps(list(whose))))
            try:
                await self._cache.append_all(entries, KEPT_FOR_S)
                self._missed -= missed
            except BackendUnreachableError as error:
                if not self._missed:
                    _log.warning("an event was not sent: %s", error)
                if len(self._missed) < _MOST_WAITING:
                    self._missed |= whose.keys()

    @contextmanager
    def _listening(self, user_id: str) -> Iterator[asyncio.Event]:
        woken = asyncio.Event()
        self._listeners[user_id].add(woken)
        if self._ringer is None or self._ringer.done():
            self._ringer = asyncio.create_task(self._follow_bell())
        try:
            yield woken
        finally:
            self._listeners[user_id].discard(woken)
            if not self._listeners[user_id]:
                del self._listeners[user_id]

    async def _follow_bell(self) -> None:
        """Wake whom the bell names, while anybody listens."""
        at = _START
        while self._listeners and not self._ended:
            try:
                if at == _START:
                    span = await self._cache.span(_BELL)
                    at = span[1] if span else _START
                    self._wake(None)  # what came before this look
                rung = await self._cache.after(_BELL, at, _BELL_WAITS_S)
                for entry_id, whose in rung:
                    at = entry_id
                    for user_id in json.loads(whose):
                        self._wake(user_id)
            except BackendUnreachableError:
                at = _START
                await asyncio.sleep(1)

    def _wake(self, user_id: str | None) -> None:
        """Let those who listen for *user_id*, or everybody, look at their stream."""
        chosen = list(self._listeners.values()) if user_id is None else [self._listeners[user_id]] if user_id in self._listeners else []
        for listeners in chosen:
            for woken in listeners:
                woken.set()

    async def _begin(self, user_id: str, last_id: str | None) -> tuple[_Position, bool]:
        """Where to go on, and whether nothing was missed before."""
        ends = [await self._span(each) for each in (user_id, None)]
        now = _Position(*(span[1] for span in ends))
        if last_id is None:
            return now, True
        found = _POSITION.fullmatch(last_id)
        if found is None or not all(_is_kept(at, span) for at, span in zip(found.groups(), ends, strict=True)):
            return now, False
        return _Position(*found.groups()), True

    async def _span(self, user_id: str | None) -> tuple[str, str]:
        """The ends of the stream; an empty one is begun, so that every position is an entry which is still there or is not."""
        found = await self._cache.span(_stream(user_id))
        if found is not None:
            return found
        entry_id = await self._cache.append(_stream(user_id), _BEGIN, KEPT_FOR_S)
        return entry_id, entry_id

    async def _after(self, user_id: str, position: _Position) -> list[tuple[_Position, Event]]:
        """What came after *position* in both streams, in the order it came, each with the position it leads to."""
        told: list[tuple[tuple[int, ...], bool, str, str]] = []
        for is_mine, at in ((True, position.mine), (False, position.all)):
            fresh = await self._cache.after(_stream(user_id if is_mine else None), at)
            told += [(_order(entry_id), is_mine, entry_id, value) for entry_id, value in fresh if value != _BEGIN]
        found: list[tuple[_Position, Event]] = []
        for _, is_mine, entry_id, value in sorted(told):
            position = _Position(entry_id, position.all) if is_mine else _Position(position.mine, entry_id)
            found.append((position, Event.model_validate({**json.loads(value), "id": str(position)})))
        return found

    async def _wait_for_cache(self, user_id: str) -> _Position | None:
        """The end of the streams once they can be read again; None when that takes too long."""
        clock = asyncio.get_running_loop().time
        until = clock() + _OUTAGE_S
        while not self._ended and clock() < until:
            await asyncio.sleep(1)
            with suppress(BackendUnreachableError):
                return (await self._begin(user_id, None))[0]
        return None


@asynccontextmanager
async def open_hub(cache: Cache) -> AsyncIterator[EventHub]:
    hub = EventHub(cache)
    try:
        yield hub
    finally:
        await hub.close()


def _stream(user_id: str | None) -> str:
    return "events-all" if user_id is None else f"events/{user_id}"


def _placed(position: _Position, *, is_known: bool) -> Event:
    return Event(id=str(position), event="" if is_known else EventName.RESET.value)


def _order(entry_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split("-"))


def _is_kept(at: str, span: tuple[str, str]) -> bool:
    """Whether nothing after *at* was dropped."""
    return _order(span[0]) <= _order(at) <= _order(span[1])
