"""
A backend for many as its admin runs it: `integ migrate`, `integ serve` and `integ worker` as processes of their own; and what its
players do there, by the services themselves, on the same database and Redis.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from integ_server.auth import device
from integ_server.auth import session as device_sessions
from integ_server.auth import tokens as personal_tokens
from integ_server.auth.caller import Caller
from integ_server.contract.scopes import ALL_SCOPES
from integ_server.contract.sessions import TokenRequest, Tokens
from integ_server.opening import open_backend
from integ_server.services import users
from integ_server.services.backend import Backend
from integ_server.settings import ServerSettings

T = TypeVar("T")
SECRET_KEY = "k1:5f0c9a7be2d14836af907c1d3e8b6452"


class Program:
    """A command that prints its document and then goes on until a signal ends it."""

    def __init__(self, folder: Path, environ: dict[str, str], *words: str) -> None:
        known = {"HOME": str(folder), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environ}
        self.log = folder / f"{words[0]}-{time.monotonic_ns()}.log"  # a pipe that nobody reads would stop it once it is full
        with self.log.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "integ_cli", *words, "--json"],
                env=known,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        assert self._process.stdout is not None
        document = json.loads(self._process.stdout.readline() or "{}")
        if document.get("status") != "ok":
            self.end()
            raise AssertionError(f"integ {' '.join(words)} did not start: {document}\n{self.said}")
        self.data: dict[str, Any] = document["data"]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        return self.log.read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and answer its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


@dataclass
class Served:
    """One backend: where its data is, and what runs of it."""

    folder: Path
    environ: dict[str, str]
    port: int = 0
    programs: list[Program] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What all that ran of it wrote to stderr."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))

    def start(self, *, processes: int = 1) -> None:
        """Serve at the port it had before, with a worker beside it where there is a Redis."""
        words = ["serve", "--port", str(self.port), "--processes", str(processes)]
        self.programs.append(Program(self.folder, self.environ, *words))
        self.port = int(str(self.programs[0].data["address"]).rpartition(":")[2])
        if "INTEG_REDIS_URL" in self.environ:
            self.programs.append(Program(self.folder, self.environ, "worker"))

    def new_user(self, name: str = "Ann") -> str:
        async def work(backend: Backend) -> str:
            async with backend.db.writing.begin() as session:
                return await users.make_user(session, name)

        return self._do(work)

    def say_yes(self, user_code: str, user_id: str) -> None:
        """What the player says on the page of the device login."""
        self._do(lambda backend: device.approve(backend, user_code, user_id, address="127.0.0.1"))

    def say_no(self, user_code: str) -> None:
        self._do(lambda backend: device.deny(backend, user_code, address="127.0.0.1"))

    def new_session(self, user_id: str) -> Tokens:
        """What a device of the user's has after it signed in."""

        async def work(backend: Backend) -> Tokens:
            async with backend.db.writing.begin() as session:
                return await device_sessions.begin(backend, session, user_id, "a test", ALL_SCOPES)

        return self._do(work)

    def new_token(self, user_id: str) -> str:
        """A personal token of the user's, for everything."""

        async def work(backend: Backend) -> str:
            async with backend.db.writing.begin() as session:
                wanted = TokenRequest(name="a test", scopes=sorted(ALL_SCOPES))
                return (await personal_tokens.make(session, Caller(user_id, ALL_SCOPES), wanted)).token

        return self._do(work)

    def _do(self, work: Callable[[Backend], Coroutine[Any, Any, T]]) -> T:
        names = {name.lower().removeprefix("integ_"): value for name, value in self.environ.items()}

        async def inside() -> T:
            async with open_backend(ServerSettings.model_validate(names), {}) as backend:
                return await work(backend)

        with ThreadPoolExecutor(1) as thread:  # the caller may have a loop of its own
            return thread.submit(asyncio.run, inside()).result()

    def stop(self) -> None:
        for program in self.programs:
            program.end()
        self.programs.clear()


@contextmanager
def served(folder: Path, upstream_url: str, database_url: str = "", redis_url: str = "", **more: str) -> Iterator[Served]:
    """A migrated backend that answers, below *folder*; on SQLite without Redis unless they are named."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = {
        "INTEG_DATABASE_URL": database_url or f"sqlite+aiosqlite:///{folder / 'integ.db'}",
        "INTEG_SECRET_KEY": SECRET_KEY,
        "INTEG_UPSTREAM_URL": upstream_url,
        **({"INTEG_REDIS_URL": redis_url} if redis_url else {}),
        **more,
    }
    backend = Served(folder, environ)
    known = {"HOME": str(folder), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environ}
    subprocess.run([sys.executable, "-m", "integ_cli", "migrate", "--json"], env=known, cwd=folder, check=True, capture_output=True)
    try:
        backend.start()
        yield backend
    finally:
        backend.stop()
