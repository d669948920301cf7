"""
What a process that serves counts, for Prometheus; the embedded backend never loads this.

Each process has a registry of its own and is scraped by itself: `integ serve` answers `/metrics` at its own port, a worker at
`INTEG_METRICS_PORT`, and with `--processes N` process number n answers at `INTEG_METRICS_PORT + n` too, since the kernel chooses which
one a scrape of the shared port reaches. prometheus-client's mode for several processes would write a file for each on a local disk,
keep those of dead ones, and know no pools. What stands in the database or Redis (`integ_jobs`, `integ_queue_length`, `integ_sessions`)
is told by every process alike: take the `max`, not the `sum`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from integ_server.cache import RedisCache
from integ_server.contract.errors import IntegError
from integ_server.models.tables import jobs, sessions
from integ_server.services.backend import Backend

LOOKED_AT_EVERY_S = 10.0
"""However often it is scraped, the database and Redis are asked no more often than this."""
_LOOK_WITHIN_S = 3.0
_MOST_HOSTS = 50
_QUEUES = ("now", "soon", "later")
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_JOB_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


class Metrics:
    """The figures of one process. Counting is cheap: who counts often keeps the labelled child."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._requests = Histogram(
            "integ_request_seconds",
            "Time until an answer was sent, by route template",
            ("method", "route", "status"),
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("integ_requests_in_flight", "Requests that are being answered", registry=self.registry)
        self._limited = Counter("integ_requests_limited", "Requests refused for their number", ("by",), registry=self.registry)
        self._jobs = Histogram(
            "integ_job_seconds", "Time in which a job came to its end", ("kind", "state"), buckets=_JOB_BUCKETS, registry=self.registry
        )
        self.jobs_running = Gauge("integ_jobs_running", "Jobs that this process is doing", registry=self.registry)
        self._stores = Histogram(
            "integ_store_request_seconds",
            "Time until a store answered; status 0: not at all",
            ("host", "status"),
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._turns = Histogram(
            "integ_store_wait_seconds",
            "Time that a request to a store waited for its turn",
            ("host",),
            buckets=_JOB_BUCKETS,
            registry=self.registry,
        )
        self._hosts: set[str] = set()
        self._children: dict[tuple[str, str, int], Any] = {}
        self._ended: dict[tuple[str, str], Any] = {}
        self._looked_at = -LOOKED_AT_EVERY_S
        self._looking = asyncio.Lock()
        self._seen = _Seen()
        self.registry.register(self._seen)

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        child = self._children.get((method, route, status))
        if child is None:
            child = self._children[method, route, status] = self._requests.labels(method, route, str(status))
        child.observe(took_s)

    def limited(self, by: str) -> None:
        self._limited.labels(by).inc()

    def job_began(self) -> None:
        self.jobs_running.inc()

    def job_ended(self, kind: str, state: str, took_s: float) -> None:
        """*state* is what the job is in afterwards, or `dropped`."""
        self.jobs_running.dec()
        child = self._ended.get((kind, state))
        if child is None:
            child = self._ended[kind, state] = self._jobs.labels(kind, state)
        child.observe(took_s)

    def store_request(self, host: str, status: int, waited_s: float, took_s: float) -> None:
        if host not in self._hosts:
            host = host if len(self._hosts) < _MOST_HOSTS else "other"  # a payload may name any
            self._hosts.add(host)
        self._stores.labels(host, str(status)).observe(took_s)
        self._turns.labels(host).observe(waited_s)

    async def text(self, backend: Backend) -> bytes:
        """All of it, as Prometheus reads it; what the database or Redis does not tell in time is left out."""
        async with self._looking:
            if time.monotonic() - self._looked_at > LOOKED_AT_EVERY_S:
                self._seen.families = [*await _counted_jobs(backend), *await _counted_sessions(backend), *await _queues(backend)]
                self._looked_at = time.monotonic()
        self._seen.pools = _pools(backend)
        return generate_latest(self.registry)


class _Seen(Collector):
    """What was found by looking, as opposed to counted."""

    def __init__(self) -> None:
        self.families: list[Metric] = []
        self.pools: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        yield from self.families
        yield from self.pools

    def describe(self) -> Iterator[Metric]:
        return iter(())


async def _counted_jobs(backend: Backend) -> list[Metric]:
    found = GaugeMetricFamily("integ_jobs", "Jobs that are not finished", labels=("kind", "queue", "state"))
    unfinished = jobs.c.state.in_(("queued", "running"))
    by = (jobs.c.kind, jobs.c.queue, jobs.c.state)
    for kind, queue, state, count in await _rows(backend, select(*by, func.count()).where(unfinished).group_by(*by)):
        found.add_metric((kind, queue, state), count)
    return [found]


async def _counted_sessions(backend: Backend) -> list[Metric]:
    query = select(func.count()).select_from(sessions).where(sessions.c.revoked_at.is_(None), sessions.c.expires_at > datetime.now(UTC))
    return [
        GaugeMetricFamily("integ_sessions", "Devices and browsers that are signed in", value=count)
        for (count,) in await _rows(backend, query)
    ]


async def _rows(backend: Backend, query: Any) -> list[Any]:
    try:
        async with asyncio.timeout(_LOOK_WITHIN_S), backend.db.reading() as session:
            return list((await session.execute(query)).all())
    except (SQLAlchemyError, OSError, IntegError, TimeoutError):
        return []


async def _queues(backend: Backend) -> list[Metric]:
    """Messages by queue, dead ones (`.XQ`) included; the names are dramatiq's own. What waits is told by `integ_jobs`: these are hints."""
    if not isinstance(backend.cache, RedisCache):
        return []
    from redis.exceptions import RedisError

    redis: Any = backend.cache.redis
    found = GaugeMetricFamily("integ_queue_length", "Messages that wait, by queue", labels=("queue",))
    names = [f"{queue}{kind}" for queue in _QUEUES for kind in ("", ".XQ")]
    pipe = redis.pipeline(transaction=False)
    for name in names:
        (pipe.zcard if name.endswith(".XQ") else pipe.llen)(f"dramatiq:{name}")
    try:
        async with asyncio.timeout(_LOOK_WITHIN_S):
            lengths = await pipe.execute()
    except (RedisError, OSError, TimeoutError):
        return []
    for name, length in zip(names, lengths, strict=True):
        found.add_metric((name,), length)
    return [found]


def _pools(backend: Backend) -> list[Metric]:
    found: list[Metric] = []
    pool: Any = backend.db.engine.pool
    if hasattr(pool, "waits"):
        connections = GaugeMetricFamily("integ_database_connections", "Connections to the database", labels=("state",))
        connections.add_metric(("most",), pool.size() + max(0, pool._max_overflow))
        connections.add_metric(("used",), pool.checkedout())
        connections.add_metric(("idle",), pool.checkedin())
        waits = GaugeMetricFamily("integ_database_waits", "How often all connections were in use", value=pool.waits)
        waited = GaugeMetricFamily("integ_database_waited_seconds", "How long connections were waited for", value=pool.waited_s)
        found += [connections, waits, waited]
    if isinstance(backend.cache, RedisCache):
        connections = GaugeMetricFamily("integ_redis_connections", "Connections to Redis", labels=("state",))
        pool = backend.cache.redis.connection_pool
        connections.add_metric(("most",), pool.max_connections)
        for count, attributes in pool.get_connection_count():
            state = attributes.get("db.client.connection.state") or attributes.get("state") or "?"
            connections.add_metric((str(getattr(state, "value", state)),), count)
        found.append(connections)
    return found
