"""What whoever runs a backend sees of it: a request and its job in the log, figures of API and worker, and what is missing."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends import Served, served
from tests.conftest_sandbox import RunningSandbox
from tests.server.conftest import personal_token_on
from tests.server.test_metrics import figures, free_ports
from tests.servers import postgres_server, redis_server

pytestmark = pytest.mark.integration


@pytest.fixture
def port() -> int:
    return free_ports(1)


@pytest.fixture
def backend(tmp_path: Path, sandbox: RunningSandbox, port: int) -> Iterator[Served]:
    with postgres_server() as postgres, redis_server() as redis:
        url, redis_url = postgres.new_database(), f"unix://{redis.folder}/s"
        with served(tmp_path / "b", sandbox.url, url, redis_url, INTEG_METRICS_PORT=str(port), INTEG_LOG_FORMAT="json") as running:
            yield running


def data(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()["data"]


def sign_in_at_gog(http: httpx.Client) -> str:
    """The code that proves it."""
    page = data(http.post("/auth/gog/login", json={"way": "code"}))
    landed = httpx.get(page["address"], follow_redirects=True)
    data(http.post("/auth/gog/callback", json={"way": "code", "code": str(landed.url), "state": page["state"]}))
    return landed.url.params["code"]


def lines(backend: Served, name: str) -> list[dict[str, Any]]:
    """The log of the programs called *name*, every line of which has to be JSON."""
    files = sorted(backend.folder.glob(f"{name}-*.log"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_sync_is_followed_from_the_request_to_the_end_of_its_job(backend: Served, port: int) -> None:
    token = asyncio.run(personal_token_on(backend.environ["INTEG_DATABASE_URL"]))
    with httpx.Client(base_url=backend.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
        code = sign_in_at_gog(http)
        jobs = data(http.post("/games/sync", json={}, headers={"X-Request-Id": "follow-me"}))
        until = time.monotonic() + 60
        while any(data(http.get(f"/jobs/{job['id']}"))["state"] in {"queued", "running"} for job in jobs):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert data(http.get(f"/jobs/{jobs[0]['id']}"))["state"] == "done"
        ready = {check["name"]: check["state"] for check in data(http.get("/readyz"))["checks"]}
        assert set(ready.values()) == {"ok"} and "workers" in ready
        api = figures(httpx.get(f"{backend.url}/metrics").text)
        worker = figures(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
    asked = [line for line in lines(backend, "serve") if line.get("request_id") == "follow-me"]
    assert [(line["logger"], line["route"], line["status"]) for line in asked] == [("integ.access", "/games/sync", 202)]
    done = [line for line in lines(backend, "worker") if line.get("request_id") == "follow-me"]
    ended = [(line["kind"], line["job"], line["state"]) for line in done if "job" in line]
    assert ended[0] == ("sync", jobs[0]["id"], "done")
    assert {kind for kind, _, _ in ended} <= {"sync", "metadata", "achievements"}, "what the sync asked for belongs to the request too"
    assert api["integ_request_seconds_count", (("method", "POST"), ("route", "/games/sync"), ("status", "202"))] == 1
    assert worker["integ_job_seconds_count", (("kind", "sync"), ("state", "done"))] == 1
    assert sum(count for (name, _), count in worker.items() if name == "integ_store_request_seconds_count") > 0
    assert token not in backend.said and code not in backend.said

    until = time.monotonic() + 45
    backend.programs[1].end(signal.SIGKILL)
    while True:  # a worker that died is noticed, and the API goes on
        checks = {check["name"]: check["state"] for check in data(httpx.get(f"{backend.url}/readyz"))["checks"]}
        if checks["workers"] == "warn":
            break
        assert time.monotonic() < until
        time.sleep(0.5)
