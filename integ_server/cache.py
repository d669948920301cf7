"""What is short-lived and shared: Redis when there is one, else a stand-in in this process."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from integ_server.contract.errors import BackendUnreachableError
from integ_server.redis_reads import Reads

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_ENTRIES = 10_000
MOST_STREAM_ENTRIES = 1_000
FOREVER_S = 1e9


class Cache(Protocol):
    """
    Text by name, each with an end; whoever asks is alone with `add`, `take`, `increase` and `lease`, however many processes there are.

    Every call raises BackendUnreachableError while Redis does not answer: what is kept here can be had again, so nobody loses anything.
    """

    async def get(self, name: str) -> str | None: ...

    async def get_many(self, names: Sequence[str]) -> list[str | None]:
        """The values of *names*, asked for at once."""
        ...

    async def set(self, name: str, value: str, ttl_s: float) -> None: ...

    async def add(self, name: str, value: str, ttl_s: float) -> bool:
        """Store *value* unless *name* is taken; says whether it was stored."""
        ...

    async def take(self, name: str) -> str | None:
        """The value, which is gone afterwards: only one caller ever gets it."""
        ...

    async def delete(self, name: str) -> None:
        """Forget a value or a stream."""
        ...

    async def increase(self, name: str, ttl_s: float, by: int = 1) -> int:
        """Count up from 0; the count ends *ttl_s* after its first step."""
        ...

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        """Be, or stay, the only holder of *name* for *ttl_s*; False while it is somebody else's."""
        ...

    async def release(self, name: str, holder: str) -> None:
        """Let go of a lease; somebody else's is left alone."""
        ...

    async def wait_for_turn(self, name: str, *, burst: float, per_s: float, most_s: float = FOREVER_S) -> float:
        """
        Take a place in the queue *name*, which lets *burst* through at once and then *per_s* a second: how many seconds to wait for it.

        The place counts whether it is used or not, so a caller who asks has to wait; a wait of more than *most_s* is told, and no
        place is taken.
        """
        ...

    async def append(self, stream: str, value: str, ttl_s: float) -> str:
        """Put *value* at the end of *stream*, which keeps the newest `MOST_STREAM_ENTRIES`; its id there, which sorts last."""
        ...

    async def append_all(self, entries: Sequence[tuple[str, str]], ttl_s: float) -> None:
        """`append` for many (stream, value), in their order and in one go: all of them, or none."""
        ...

    async def after(self, stream: str, entry_id: str, wait_s: float = 0.0) -> list[tuple[str, str]]:
        """(id, value) of what came after *entry_id* (`0-0`: all that is kept), waiting up to *wait_s* for the first."""
        ...

    async def span(self, stream: str) -> tuple[str, str] | None:
        """The oldest and the newest id that *stream* keeps; None for an empty one."""
        ...


class MemoryCache:
    """For one process. No call but a waiting `after` awaits inside, so each is one step to every other."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, float]] = {}
        self._turns: dict[str, float] = {}
        self._streams: dict[str, deque[tuple[str, str]]] = {}
        self._stream_ends: dict[str, float] = {}
        self._last_id = (0, 0)
        self._news = asyncio.Condition()

    async def get(self, name: str) -> str | None:
        return self._alive(name)

    async def get_many(self, names: Sequence[str]) -> list[str | None]:
        return [self._alive(name) for name in names]

    async def set(self, name: str, value: str, ttl_s: float) -> None:
        self._store(name, value, ttl_s)

    async def add(self, name: str, value: str, ttl_s: float) -> bool:
        if self._alive(name) is not None:
            return False
        self._store(name, value, ttl_s)
        return True

    async def take(self, name: str) -> str | None:
        value = self._alive(name)
        self._entries.pop(name, None)
        return value

    async def delete(self, name: str) -> None:
        self._entries.pop(name, None)
        self._streams.pop(name, None)

    async def increase(self, name: str, ttl_s: float, by: int = 1) -> int:
        value = self._alive(name)
        if value is None:
            self._store(name, str(by), ttl_s)
            return by
        count = int(value) + by
        self._entries[name] = (str(count), self._entries[name][1])
        return count

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        if self._alive(name) not in {None, holder}:
            return False
        self._store(name, holder, ttl_s)
        return True

    async def release(self, name: str, holder: str) -> None:
        if self._alive(name) == holder:
            del self._entries[name]

    async def wait_for_turn(self, name: str, *, burst: float, per_s: float, most_s: float = FOREVER_S) -> float:
        now = self._clock()
        free_at = max(self._turns.get(name, now), now) + 1 / per_s
        wait_s = max(0.0, free_at - now - burst / per_s)
        if wait_s <= most_s:
            self._turns[name] = free_at
        return wait_s

    async def append(self, stream: str, value: str, ttl_s: float) -> str:
        entry_id = self._append(stream, value, ttl_s)
        async with self._news:
            self._news.notify_all()
        return entry_id

    async def append_all(self, entries: Sequence[tuple[str, str]], ttl_s: float) -> None:
        for stream, value in entries:
            self._append(stream, value, ttl_s)
        async with self._news:
            self._news.notify_all()

    async def after(self, stream: str, entry_id: str, wait_s: float = 0.0) -> list[tuple[str, str]]:
        wanted = _id_parts(entry_id)
        try:
            async with asyncio.timeout(wait_s or None), self._news:
                while not (found := self._later(stream, wanted)) and wait_s:
                    await self._news.wait()
                return found
        except TimeoutError:
            return []

    async def span(self, stream: str) -> tuple[str, str] | None:
        kept = self._kept(stream)
        return (kept[0][0], kept[-1][0]) if kept else None

    def _append(self, stream: str, value: str, ttl_s: float) -> str:
        now_ms = int(time.time() * 1000)
        last_ms, last_number = self._last_id
        self._last_id = (now_ms, 0) if now_ms > last_ms else (last_ms, last_number + 1)
        entry_id = f"{self._last_id[0]}-{self._last_id[1]}"
        self._streams.setdefault(stream, deque(maxlen=MOST_STREAM_ENTRIES)).append((entry_id, value))
        self._stream_ends[stream] = self._clock() + ttl_s
        return entry_id

    def _clock(self) -> float:
        return time.monotonic()

    def _later(self, stream: str, wanted: tuple[int, int]) -> list[tuple[str, str]]:
        return [each for each in self._kept(stream) if _id_parts(each[0]) > wanted]

    def _kept(self, stream: str) -> deque[tuple[str, str]]:
        if self._stream_ends.get(stream, 0.0) <= self._clock():
            self._streams.pop(stream, None)
            self._stream_ends.pop(stream, None)
        return self._streams.get(stream, deque())

    def _alive(self, name: str) -> str | None:
        value, ends = self._entries.get(name, ("", 0.0))
        return value if ends > self._clock() else None

    def _store(self, name: str, value: str, ttl_s: float) -> None:
        self._entries.pop(name, None)
        if len(self._entries) >= MOST_ENTRIES:
            now = self._clock()
            self._entries = {each: entry for each, entry in self._entries.items() if entry[1] > now}
            while len(self._entries) >= MOST_ENTRIES:  # still full: the oldest goes
                del self._entries[next(iter(self._entries))]
        self._entries[name] = (value, self._clock() + ttl_s)


_INCREASE = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count
"""
_LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
# The moment at which the queue is free again is all there is to remember; Redis's own clock, since those of many machines differ.
_TURN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local step = 1000 / tonumber(ARGV[2])
local free_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + step
local wait = math.max(0, free_at - now - tonumber(ARGV[1]) * step)
if wait <= tonumber(ARGV[3]) * 1000 then
  redis.call('SET', KEYS[1], string.format('%.3f', free_at), 'PX', math.ceil(free_at - now + 1000))
end
return string.format('%.3f', wait)
"""
# One call with many words costs the client a tenth of as many commands.
_APPEND_ALL = """
local ends = {}
for at, key in ipairs(KEYS) do
  redis.call('XADD', key, 'MAXLEN', ARGV[1], '*', 'v', ARGV[at + 2])
  ends[key] = true
end
for key in pairs(ends) do redis.call('PEXPIRE', key, ARGV[2]) end
"""


class RedisCache:
    """For many processes; every name gets the prefix `integ:`."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import ExponentialBackoff

        # One more try on a new connection: after a restart of Redis every pooled one is dead.
        self._redis: Redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=5,
            socket_connect_timeout=5,
            max_connections=200,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        )
        self._scripts: dict[str, Any] = {}
        self._reads = Reads(self._redis)

    @property
    def redis(self) -> Redis:
        """The client itself, for what needs more than a cache."""
        return self._redis

    async def get(self, name: str) -> str | None:
        return (await self.get_many([name]))[0]

    async def get_many(self, names: Sequence[str]) -> list[str | None]:
        return [_text(value) for value in await self._asked(self._reads.read([_key(name) for name in names]))]

    async def set(self, name: str, value: str, ttl_s: float) -> None:
        await self._asked(self._redis.set(_key(name), value, px=_ms(ttl_s)))

    async def add(self, name: str, value: str, ttl_s: float) -> bool:
        return bool(await self._asked(self._redis.set(_key(name), value, px=_ms(ttl_s), nx=True)))

    async def take(self, name: str) -> str | None:
        return _text(await self._asked(self._redis.getdel(_key(name))))

    async def delete(self, name: str) -> None:
        await self._asked(self._redis.delete(_key(name)))

    async def increase(self, name: str, ttl_s: float, by: int = 1) -> int:
        return int(await self.run(_INCREASE, [name], by, _ms(ttl_s)))

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        return bool(await self.run(_LEASE, [name], holder, _ms(ttl_s)))

    async def release(self, name: str, holder: str) -> None:
        await self.run(_RELEASE, [name], holder)

    async def wait_for_turn(self, name: str, *, burst: float, per_s: float, most_s: float = FOREVER_S) -> float:
        return float(await self.run(_TURN, [name], burst, per_s, most_s)) / 1000

    async def append(self, stream: str, value: str, ttl_s: float) -> str:
        pipe = self._redis.pipeline(transaction=False)
        pipe.xadd(_key(stream), {"v": value}, maxlen=MOST_STREAM_ENTRIES, approximate=False)
        pipe.pexpire(_key(stream), _ms(ttl_s))
        answers = await self._asked(pipe.execute())
        return str(_text(answers[0]))

    async def append_all(self, entries: Sequence[tuple[str, str]], ttl_s: float) -> None:
        streams, values = [stream for stream, _ in entries], [value for _, value in entries]
        await self.run(_APPEND_ALL, streams, MOST_STREAM_ENTRIES, _ms(ttl_s), *values)

    async def after(self, stream: str, entry_id: str, wait_s: float = 0.0) -> list[tuple[str, str]]:
        block = {"block": _ms(min(wait_s, 3.0))} if wait_s else {}  # below the socket's own time-out; the caller asks again
        found: Any = await self._asked(self._redis.xread({_key(stream): entry_id}, count=200, **block))
        if not found:
            return []
        batches = found.values() if isinstance(found, dict) else (entries for _, entries in found)
        return [(str(at), str(fields["v"])) for entries in batches for at, fields in _flat(entries)]

    async def span(self, stream: str) -> tuple[str, str] | None:
        oldest: Any = await self._asked(self._redis.xrange(_key(stream), count=1))
        newest: Any = await self._asked(self._redis.xrevrange(_key(stream), count=1))
        return (str(oldest[0][0]), str(newest[0][0])) if oldest and newest else None

    async def close(self) -> None:
        await self._redis.aclose()

    async def run(self, script: str, names: Sequence[str], *words: object) -> Any:
        """Let Redis run a Lua *script* about *names*, all in one step."""
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        return await self._asked(self._scripts[script](keys=[_key(name) for name in names], args=list(words)))

    async def _asked(self, call: Any) -> Any:
        from redis.exceptions import RedisError

        asker = asyncio.current_task()
        ended = asker.cancelling() if asker is not None else 0
        try:
            return await cast(Coroutine[Any, Any, Any], call)
        except (RedisError, OSError) as error:
            raise BackendUnreachableError("the backend's Redis does not answer", hint="try again in a moment", retry_after_s=1) from error
        finally:
            # The client sends with `wait_for`, which on Python 3.11 forgets that it was cancelled when that comes just as it has sent.
            if asker is not None and asker.cancelling() > ended:
                raise asyncio.CancelledError


def _flat(entries: Any) -> Any:
    """RESP3 wraps each stream's entries once more than RESP2."""
    return entries[0] if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], list | tuple) else entries


def _key(name: str) -> str:
    return f"integ:{name}"


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _id_parts(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


@asynccontextmanager
async def open_cache(redis_url: str | None) -> AsyncIterator[Cache]:
    if redis_url is None:
        yield MemoryCache()
        return
    cache = RedisCache(redis_url)
    try:
        yield cache
    finally:
        await cache.close()
