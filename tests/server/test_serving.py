"""The server's processes: how they begin, die, and end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from integ_server.migrations.upgrade import migrate
from tests.server.conftest import KEY
from tests.server.serving_process import _RUN, Served, served


@pytest.fixture
def environ(sqlite_url: str) -> dict[str, str]:
    asyncio.run(migrate(sqlite_url))
    return {"INTEG_DATABASE_URL": sqlite_url, "INTEG_SECRET_KEY": KEY}


def until(said: Callable[[], object], within_s: float = 20) -> Any:
    ends = time.monotonic() + within_s
    while not (found := said()):
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.05)
    return found


def connected(server: Served) -> socket.socket:
    place = urlsplit(server.address)
    return socket.create_connection((place.hostname, place.port), timeout=20)


def answer_of(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def test_a_request_that_has_begun_is_answered_before_the_end(environ: dict[str, str]) -> None:
    with served(environ) as server:
        head = b"POST /games/sync HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n"
        with connected(server) as client, connected(server) as idle:
            client.sendall(head + b"{")
            assert httpx.get(f"{server.address}/healthz").status_code == 200
            server.process.send_signal(signal.SIGTERM)
            assert answer_of(idle) == b"", "who only waits is let go at once"
            with pytest.raises(OSError):
                until(lambda: connected(server).close(), 5)
            client.sendall(b'"a": 1}')
            assert answer_of(client).startswith(b"HTTP/1.1 4"), "an answer, not a broken connection"
        assert server.end() == 0
        assert not [line for line in server.lines if line["level"] in {"ERROR", "CRITICAL"}]


def test_a_process_that_dies_is_replaced_and_all_end_together(environ: dict[str, str], redis_url: str) -> None:
    with served({**environ, "INTEG_REDIS_URL": redis_url}, processes=2) as server:
        assert httpx.get(f"{server.address}/healthz").status_code == 200
        first = until(lambda: len(server.children) == 2 and server.children)
        os.kill(first[0], signal.SIGKILL)
        until(lambda: len(server.children) == 2 and first[0] not in server.children)
        # Whichever process a connection belongs to: it waits for the one that is being started, and is answered.
        assert {httpx.get(f"{server.address}/healthz", timeout=20).status_code for _ in range(8)} == {200}
        last = server.children
        assert server.end(signal.SIGTERM) == 0
        assert [line["message"] for line in server.lines if line["level"] == "ERROR"] == ["process 0 ended by itself (signal 9)"]
        assert not [pid for pid in last if Path(f"/proc/{pid}").exists()]


def test_processes_end_by_themselves_when_their_watcher_is_killed(environ: dict[str, str], redis_url: str) -> None:
    with served({**environ, "INTEG_REDIS_URL": redis_url}, processes=2) as server:
        assert httpx.get(f"{server.address}/healthz").status_code == 200
        children = server.children
        assert len(children) == 2
        server.process.kill()
        server.process.wait()
        until(lambda: not [pid for pid in children if Path(f"/proc/{pid}").exists()])


def test_several_processes_need_a_redis_that_they_share(environ: dict[str, str]) -> None:
    run = [sys.executable, "-c", _RUN, "0", "2"]
    ended = subprocess.run(run, env={**os.environ, **environ}, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode != 0 and "several processes share" in ended.stderr


def test_what_keeps_it_from_starting_is_told_once_and_without_retries(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        run = [sys.executable, "-c", _RUN, str(taken.getsockname()[1]), "1"]
        env = {**os.environ, **environ}
        ended = subprocess.run(run, env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "UsageError" in ended.stderr and ended.stderr.count("Traceback") == 1


def test_a_socket_of_systemd_is_taken_and_the_manager_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    with (
        socket.socket() as door,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        door.bind(("127.0.0.1", 0))
        door.listen(16)
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        as_systemd = (
            f"import os, sys; os.dup2({door.fileno()}, 3); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        before = (sys.executable, "-c", as_systemd)
        env = {**environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with served(env, before=before, pass_fds=(door.fileno(),)) as server:
            assert server.address == "http://{}:{}".format(*door.getsockname())
            assert manager.recv(100) == b"READY=1"
            assert httpx.get(f"{server.address}/healthz").status_code == 200
            assert server.end() == 0
            assert manager.recv(100) == b"STOPPING=1"


def test_the_manager_hears_of_several_processes_once_all_of_them_answer(environ: dict[str, str], redis_url: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        with served({**environ, "INTEG_REDIS_URL": redis_url, "NOTIFY_SOCKET": str(tmp_path / "notify")}, processes=2) as server:
            assert manager.recv(100) == b"READY=1"
            assert server.end() == 0
            assert manager.recv(100) == b"STOPPING=1"
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
