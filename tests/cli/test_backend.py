"""serve, worker and migrate, as an admin or a service manager runs them."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends import SECRET_KEY, served
from tests.cli.conftest import Answer, Integ, check_document
from tests.servers import redis_server

Valid = Callable[[Answer], dict[str, Any]]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a backend's settings name, which is not there yet."""
    file = tmp_path / "backend" / "integ.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTEG_DATABASE_URL", f"sqlite+aiosqlite:///{file}")
    monkeypatch.setenv("INTEG_SECRET_KEY", SECRET_KEY)
    return file


def answers(address: str, path: str = "/healthz") -> httpx.Response:
    """The first answer of a process that has just begun to listen."""
    until = time.monotonic() + 30
    while True:
        try:
            return httpx.get(address + path, timeout=30)
        except httpx.TransportError:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_migrate_says_what_it_did_and_check_changes_nothing(integ: Integ, database: Path, valid: Valid) -> None:
    before = integ("migrate", "--check", "--json")
    assert (before.code, valid(before)["current"], database.exists()) == (1, False, False)
    done = valid(integ("migrate", "--json"))
    assert (done["from"], done["migrated"], done["current"], done["database"]) == (None, True, True, "sqlite")
    again = integ("migrate", "--json")
    assert (again.code, valid(again)["from"], valid(again)["migrated"]) == (0, done["to"], False)
    assert integ("migrate", "--check").out == f"The sqlite database is at revision {done['to']} already: nothing to do.\n"


def test_serve_answers_until_it_is_told_to_end_and_writes_no_query_down(tmp_path: Path) -> None:
    with served(tmp_path / "b", "http://127.0.0.1:9") as backend:
        assert answers(backend.url, "/healthz?code=a-secret-in-an-address").status_code == 200
        assert answers(backend.url, "/readyz").json()["status"] == "ok"
        assert backend.programs[0].end(signal.SIGTERM) == 0
        assert "a-secret-in-an-address" not in backend.said
        backend.programs.clear()
        backend.start()
        answers(backend.url)
        assert backend.programs[0].end(signal.SIGINT) == 130


def test_several_processes_answer_at_one_address_and_a_worker_works(tmp_path: Path, database: Path) -> None:
    with redis_server() as redis, served(tmp_path / "b", "http://127.0.0.1:9", "", f"unix://{redis.folder}/s") as backend:
        backend.stop()
        backend.start(processes=2)
        assert answers(backend.url, "/readyz").json()["status"] == "ok"
        assert [program.end() for program in backend.programs] == [0, 0]


def test_two_processes_without_a_redis_are_refused(integ: Integ, database: Path) -> None:
    integ("migrate")
    told = integ("serve", "--port", "0", "--processes", "2")
    assert told.code == 2
    assert "INTEG_REDIS_URL" in told.err


def test_a_worker_without_a_redis_is_told_who_does_the_jobs(integ: Integ, database: Path, valid: Valid) -> None:
    integ("migrate")
    told = integ("worker", "--json")
    assert told.code == 2
    valid(told)
    assert "integ serve does the jobs itself" in told.err


@pytest.mark.parametrize("words", [["serve", "--processes", "2"], ["worker"]], ids=lambda words: words[0])
def test_another_machine_sees_everybody_s_sign_ins_only_when_that_is_agreed_to(
    integ: Integ, database: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", "https://mirror.example")
    refused = integ(*words)
    assert refused.code == 2
    assert "mirror.example" in refused.err
    assert "--allow-upstream" in refused.err
    assert "--allow-upstream" not in integ(*words, "--allow-upstream").err, "the next thing that is wrong is told"


def test_a_port_that_is_taken_is_told(integ: Integ, database: Path) -> None:
    integ("migrate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = integ("serve", "--port", str(taken.getsockname()[1]))
    assert told.code == 2
    assert "can't be listened at" in told.err


def test_a_setting_that_is_missing_is_named(integ: Integ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["serve"], ["worker"], ["migrate"]):
        told = integ(*words)
        assert told.code == 2
        assert "INTEG_DATABASE_URL" in told.err


def test_what_serve_prints_is_as_promised(tmp_path: Path) -> None:
    with served(tmp_path / "b", "http://127.0.0.1:9") as backend:
        document = {"schema": "integ/serve@1", "status": "ok", "data": backend.programs[0].data, "timestamp": "2026-11-22T10:00:00Z"}
        assert check_document(document)["address"] == backend.url
