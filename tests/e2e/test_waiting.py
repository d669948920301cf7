"""A backend that begins before its database does: it answers, says what is missing, and goes on by itself once that is there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integ_server.migrations.upgrade import known_revisions
from tests.backends import SECRET_KEY, Program
from tests.servers import Postgres, postgres_server, redis_server

pytestmark = pytest.mark.integration
INTEG = (sys.executable, "-m", "integ_cli")


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def environ(postgres: Postgres, tmp_path: Path) -> Iterator[dict[str, str]]:
    with redis_server() as redis:
        known = {"INTEG_DATABASE_URL": postgres.new_database(), "INTEG_REDIS_URL": f"unix://{redis.folder}/s"}
        yield {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "INTEG_SECRET_KEY": SECRET_KEY, **known}


@pytest.fixture
def programs() -> Iterator[list[Any]]:
    """Whatever is put in ends with the test."""
    found: list[Any] = []
    yield found
    for each in found:
        each.kill() if isinstance(each, subprocess.Popen) else each.end()


def serving(programs: list[Any], folder: Path, environ: dict[str, str], *words: str) -> tuple[Program, str]:
    """A running `integ serve` and its address."""
    program = Program(folder, environ, "serve", "--port", "0", *words)
    programs.append(program)
    return program, str(program.data["address"])


def worker(programs: list[Any], folder: Path, environ: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
    """`integ worker`, which may not be ready yet, and its log."""
    log = folder / "worker.log"
    with log.open("wb") as said:
        programs.append(subprocess.Popen([*INTEG, "worker"], env=environ, cwd=folder, stdout=subprocess.DEVNULL, stderr=said))
    return programs[-1], log


def until(said: Callable[[], Any], within_s: float = 40) -> Any:
    ends = time.monotonic() + within_s
    while not (found := said()):
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.1)
    return found


def missing(address: str) -> dict[str, Any] | None:
    """What `/readyz` says of the database; None when all is well."""
    answer = httpx.get(f"{address}/readyz", timeout=30)
    if answer.status_code == 200:
        return None
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
    (found,) = [each for each in answer.json()["data"]["checks"] if each["name"] == "database"]
    return dict(found)


def migrate(environ: dict[str, str], folder: Path) -> None:
    subprocess.run([*INTEG, "migrate"], env=environ, cwd=folder, check=True, capture_output=True)


def test_from_no_database_over_an_empty_one_to_work(
    postgres: Postgres, environ: dict[str, str], tmp_path: Path, programs: list[Any]
) -> None:
    postgres.stop()
    _, address = serving(programs, tmp_path, environ, "--processes", "2")
    waiting, log = worker(programs, tmp_path, environ)
    assert httpx.get(f"{address}/healthz").status_code == 200
    assert until(lambda: missing(address))["mend"] == "check INTEG_DATABASE_URL and the database server"
    refused = httpx.get(f"{address}/games", headers={"Authorization": "Bearer integ_pat_x"})
    assert (refused.status_code, refused.json()["error"], refused.headers["retry-after"]) == (503, "BackendUnreachableError", "5")
    assert refused.json()["hint"] == "/readyz says what is missing"
    told = httpx.post(f"{address}/games/sync", headers={"Authorization": "Bearer integ_pat_x", "Idempotency-Key": "one"})
    assert told.status_code == 503
    page = httpx.get(f"{address}/sign-in")
    assert page.status_code == 503 and "text/html" in page.headers["content-type"] and "not ready" in page.text
    assert httpx.get(f"{address}/metrics").status_code == 200
    until(lambda: "waiting for the database: the backend's database does not answer" in log.read_text())

    postgres.start()
    assert until(lambda: (found := missing(address)) and found["mend"] == "integ migrate" and found)["state"] == "fail"
    until(lambda: "what mends it: integ migrate" in log.read_text())
    assert waiting.poll() is None

    migrate(environ, tmp_path)
    until(lambda: missing(address) is None)
    # Each of the two processes looks for itself.
    until(lambda: {httpx.get(f"{address}/users/me").status_code for _ in range(12)} == {401})
    assert httpx.get(f"{address}/sign-in").status_code == 200
    until(
        lambda: (
            httpx.get(f"{address}/readyz").json()["data"]["checks"][2]
            == {"name": "workers", "state": "ok", "found": "at least one lives", "mend": ""}
        )
    )
    assert "the database is ready" in log.read_text()
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(30) == 0


def test_a_newer_database_is_told_and_only_the_worker_gives_up(
    postgres: Postgres, environ: dict[str, str], tmp_path: Path, programs: list[Any]
) -> None:
    migrate(environ, tmp_path)
    name = environ["INTEG_DATABASE_URL"].partition("?")[0].rpartition("/")[2]
    postgres.run("UPDATE alembic_version SET version_num = '9999'", name)
    _, address = serving(programs, tmp_path, environ)
    found = missing(address)
    assert found is not None and "newer version" in found["found"] and "restart this process with the newer version" in found["mend"]
    ending, log = worker(programs, tmp_path, environ)
    assert ending.wait(40) == 7
    assert "written by a newer Integ" in log.read_text()
    postgres.run(f"UPDATE alembic_version SET version_num = '{known_revisions()[-1]}'", name)
    until(lambda: missing(address) is None)


def test_a_file_that_is_not_there_is_waited_for_and_not_made(environ: dict[str, str], tmp_path: Path, programs: list[Any]) -> None:
    file = tmp_path / "data" / "integ.db"
    alone = {**environ, "INTEG_DATABASE_URL": f"sqlite+aiosqlite:///{file}", "INTEG_REDIS_URL": ""}
    program, address = serving(programs, tmp_path, alone)
    found = missing(address)
    assert found is not None and found["mend"] == "integ migrate"
    assert httpx.get(f"{address}/metrics").status_code == 200
    assert str(tmp_path) not in httpx.get(f"{address}/readyz").text and not file.exists()
    migrate(alone, tmp_path)
    until(lambda: missing(address) is None)

    def tasks() -> int:
        with sqlite3.connect(file) as database:
            return int(database.execute("SELECT count(*) FROM periodic_tasks").fetchone()[0])

    until(tasks)  # without workers it does by itself what is due
    assert program.end() == 0
    assert not [line for line in program.said.splitlines() if '"ERROR"' in line]
