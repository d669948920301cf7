"""What `/metrics` tells, and whom."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from integ_server.metrics import Metrics
from integ_server.migrations.upgrade import migrate
from integ_server.services.backend import Backend
from integ_server.transport import UpstreamTransport
from tests.server.api.test_health import opened_app
from tests.server.conftest import KEY
from tests.server.serving_process import served


def figures(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and its labels, `le` aside; that Prometheus can read them is a test in itself."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "le" not in sample.labels
    }


@pytest.fixture
def served_sqlite(sqlite_url: str) -> str:
    asyncio.run(migrate(sqlite_url))
    return sqlite_url


async def test_requests_are_counted_by_route_method_and_status(served_sqlite: str) -> None:
    async with opened_app(served_sqlite, is_embedded=False) as (_, http):
        for path in ("/healthz", "/healthz", "/nothing/at-all", "/nothing/else"):
            await http.get(path)
        found = figures((await http.get("/metrics")).text)
    healthy = (("method", "GET"), ("route", "/healthz"), ("status", "200"))
    nowhere = (("method", "GET"), ("route", "-"), ("status", "404"))
    assert found["integ_request_seconds_count", healthy] == 2 and found["integ_request_seconds_count", nowhere] == 2
    assert found["integ_request_seconds_sum", healthy] > 0
    assert found["integ_requests_in_flight", ()] == 1, "the scrape itself"
    assert found["process_resident_memory_bytes", ()] > 0


async def test_jobs_sessions_queues_and_pools_are_told(database_url: str, redis_url: str) -> None:
    async with opened_app(database_url, is_embedded=False, redis_url=redis_url) as (app, http):
        backend: Backend = app.state.backend
        assert backend.metrics is not None
        for state in ("done", "dropped"):
            backend.metrics.job_began()
            backend.metrics.job_ended("sync", state, 0.5)
        found = figures((await http.get("/metrics")).text)
    names = {name for name, _ in found}
    assert {"integ_sessions", "integ_queue_length", "integ_redis_connections", "integ_jobs_running"} <= names
    assert found["integ_job_seconds_count", (("kind", "sync"), ("state", "done"))] == 1
    assert found["integ_job_seconds_count", (("kind", "sync"), ("state", "dropped"))] == 1
    assert found["integ_jobs_running", ()] == 0
    if database_url.startswith("postgresql"):
        assert found["integ_database_connections", (("state", "most"),)] >= 1 and ("integ_database_waits", ()) in found


async def test_waiting_for_a_connection_is_counted(empty_postgres: str) -> None:
    await migrate(empty_postgres)
    async with opened_app(empty_postgres, is_embedded=False, database_pool=5) as (app, http):
        backend: Backend = app.state.backend

        async def hold() -> None:
            async with backend.db.reading() as session:
                await session.connection()
                await asyncio.sleep(0.05)

        await asyncio.gather(*(hold() for _ in range(8)))
        found = figures((await http.get("/metrics")).text)
    assert found["integ_database_waits", ()] >= 2 and found["integ_database_waited_seconds", ()] >= 0.05


async def test_stores_are_counted_by_host_and_only_so_many_hosts() -> None:
    metrics = Metrics()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/down":
            raise httpx.ConnectError("no")
        return httpx.Response(200 if request.url.path == "/" else 404)

    async def no_sleep(seconds: float) -> None: ...

    transport = UpstreamTransport(open_transport=lambda proxy: httpx.MockTransport(answer), sleep=no_sleep, watch=metrics.store_request)
    async with httpx.AsyncClient(transport=transport) as http:
        await http.get("https://api.gog.com/")
        await http.get("https://api.gog.com/missing")
        with pytest.raises(httpx.ConnectError):
            await http.post("https://api.gog.com/down")
        for number in range(60):
            await http.get(f"https://h{number}.example/")
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    counted = {
        (sample.labels["host"], sample.labels["status"]): sample.value
        for sample in samples
        if sample.name == "integ_store_request_seconds_count"
    }
    gog = {status: count for (host, status), count in counted.items() if host == "api.gog.com"}
    assert gog == {"200": 1, "404": 1, "0": 1}
    assert len({host for host, _ in counted}) <= 51 and counted["other", "200"] >= 9
    assert sum(sample.value for sample in samples if sample.name == "integ_store_wait_seconds_count") == 63


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("192.168.1.5", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "8.8.8.8"}, 403),
        ("127.0.0.1", {"via": "1.1 proxy"}, 403),
        ("127.0.0.1", {"host": "integ.example"}, 403),
    ],
)
async def test_without_a_token_this_machine_alone_may_read_them(
    served_sqlite: str, client: str, headers: dict[str, str], status: int
) -> None:
    async with opened_app(served_sqlite, is_embedded=False) as (app, _):
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get("/metrics", headers=headers)).status_code == status


async def test_with_a_token_who_brings_it_may_and_nobody_else(served_sqlite: str) -> None:
    async with opened_app(served_sqlite, is_embedded=False, metrics_token="a-token-for-figures") as (_, http):
        for offered in ("", "Bearer wrong", "Bearer a-token-for-figures-too", "Basic a-token-for-figures", "Bearer é"):
            assert (await http.get("/metrics", headers={b"authorization": offered.encode()})).status_code == 401
        assert (await http.get("/metrics", headers={"authorization": "Bearer a-token-for-figures"})).status_code == 200


async def test_the_embedded_backend_counts_nothing_and_loads_nothing_for_it(sqlite_url: str, tmp_path: Path) -> None:
    async with opened_app(sqlite_url) as (_, http):
        assert (await http.get("/metrics")).status_code == 404
    ask = "import sys, integ_server.app; print('prometheus_client' in sys.modules, 'uvicorn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", ask], text=True).split() == ["False", "False"]


def free_ports(count: int) -> int:
    """The first of *count* ports in a row that are free."""
    for first in range(21_000, 30_000, count):
        doors: list[socket.socket] = []
        try:
            doors += [socket.create_server(("127.0.0.1", first + each)) for each in range(count)]
            return first
        except OSError:
            continue
        finally:
            for door in doors:
                door.close()
    raise AssertionError("no free ports")


@pytest.fixture
def environ(served_sqlite: str, redis_url: str) -> Iterator[dict[str, Any]]:
    yield {"INTEG_DATABASE_URL": served_sqlite, "INTEG_SECRET_KEY": KEY, "INTEG_REDIS_URL": redis_url}


def test_each_of_several_processes_tells_its_own_at_a_port_of_its_own(environ: dict[str, Any]) -> None:
    port = free_ports(2)
    with served({**environ, "INTEG_METRICS_PORT": str(port)}, processes=2) as server:
        for _ in range(40):
            httpx.get(f"{server.address}/healthz")  # a connection each, shared out between both
        told = [figures(httpx.get(f"http://127.0.0.1:{port + number}/metrics").text) for number in range(2)]
        healthy = ("integ_request_seconds_count", (("method", "GET"), ("route", "/healthz"), ("status", "200")))
        counts = [each.get(healthy, 0) for each in told]
        assert sum(counts) == 40 and all(count > 0 for count in counts)
        assert server.end() == 0


def test_a_port_that_is_taken_does_not_keep_it_from_working(environ: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with served({**environ, "INTEG_METRICS_PORT": str(taken.getsockname()[1])}, processes=2) as server:
            assert httpx.get(f"{server.address}/healthz").status_code == 200
            assert server.end() == 0
        assert any("nobody can read this process's figures" in line["message"] for line in server.lines)
