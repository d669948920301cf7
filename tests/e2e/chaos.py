"""
Many players sync at once on one PostgreSQL and one Redis, while API processes and workers are killed and the two servers are started anew.

Everything is the real thing: `integ serve` and `integ worker` as processes, the client's own transport with its own patience, and
between the two what any proxy does: a connection that is refused goes to the next process.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from integ_runtime.client.api import ApiClient
from integ_runtime.client.patience import PatientTransport
from integ_runtime.client.sign_in import TokenAuth
from integ_server.auth import tokens as personal_tokens
from integ_server.auth.caller import Caller
from integ_server.contract.errors import IntegError
from integ_server.contract.scopes import ALL_SCOPES
from integ_server.contract.sessions import TokenRequest
from integ_server.migrations.upgrade import migrate
from integ_server.models.account import Account
from integ_server.models.tables import games, jobs, library_entries
from integ_server.opening import open_backend
from integ_server.providers.base import Credentials
from integ_server.sandbox.world import SteamApp, World, make_world
from integ_server.services import access, users
from integ_server.settings import ServerSettings
from tests.backends import SECRET_KEY, Program
from tests.servers import Postgres, Server, postgres_server, redis_server

API, WORKERS = 3, 2
_OVER = {"done", "failed", "cancelled"}
_HISTORY = "chaos_history"
_BALANCED = "http://127.0.0.1:1"
"""The one address that clients know; the balancer knows the processes behind it."""


@dataclass(frozen=True)
class Player:
    steam_id: str
    user_id: str
    token: str


@dataclass
class Figures:
    """What it came to."""

    seed: int
    users: int
    games_each: int
    kills: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    """What the clients wanted."""
    requests: int = 0
    """What they sent for it."""
    syncs: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "users": self.users,
            "games_each": self.games_each,
            "kills": dict(self.kills),
            "restarts": dict(self.restarts),
            "calls": self.calls,
            "requests": self.requests,
            "retries": self.requests - self.calls,
            "syncs": self.syncs,
            "seconds": round(self.seconds, 1),
            "failures": self.failures[:20],
        }


class Balancer(httpx.AsyncBaseTransport):
    """Spreads requests over the API processes; one that refuses the connection was not reached, so the next is asked."""

    def __init__(self, ports: Sequence[int], figures: Figures) -> None:
        self._ports = list(ports)
        self._turn = itertools.count()
        self._figures = figures
        self._wire = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=400, max_keepalive_connections=100), trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._figures.requests += 1
        first = next(self._turn)
        for offset in range(len(self._ports)):
            url = request.url.copy_with(port=self._ports[(first + offset) % len(self._ports)])
            asked = httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions)
            try:
                answer = await self._wire.handle_async_request(asked)
            except httpx.TransportError as error:
                self._note(request, type(error).__name__)
                if not isinstance(error, httpx.ConnectError) or offset == len(self._ports) - 1:
                    raise
            else:
                self._note(request, str(answer.status_code))
                return answer
        raise AssertionError("the last one answers or raises")

    async def aclose(self) -> None:
        await self._wire.aclose()

    @staticmethod
    def _note(request: httpx.Request, what: str) -> None:
        """A request is the same object each time it is sent: what became of it so far goes with it."""
        request.extensions.setdefault(_HISTORY, []).append(f"{time.monotonic() % 1000:.2f} {what}")


class Counted(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, figures: Figures) -> None:
        self._inner, self._figures = inner, figures

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._figures.calls += 1
        try:
            answer = await self._inner.handle_async_request(request)
        except httpx.TransportError:
            self._tell(request)
            raise
        if answer.status_code >= 400:
            self._tell(request)
        return answer

    def _tell(self, request: httpx.Request) -> None:
        self._figures.failures.append(f"{request.method} {request.url.path}: {request.extensions.get(_HISTORY)}")


class Fleet:
    """The processes of one backend, each killed and begun again at its own port."""

    def __init__(self, folder: Path, environ: dict[str, str], figures: Figures) -> None:
        self._folder, self._environ, self._figures = folder, environ, figures
        self._programs: dict[str, Program] = {}
        self.ports: dict[str, int] = {}

    def start(self) -> None:
        for number in range(API):
            self._begin(f"api {number}")
        for number in range(WORKERS):
            self._begin(f"worker {number}")

    def kill(self, name: str) -> None:
        self._programs[name].end(signal.SIGKILL)
        self._figures.kills[name.partition(" ")[0]] += 1
        self._begin(name)

    def end(self) -> list[int]:
        """Ask all to end, and answer their exit codes."""
        return [program.end() for program in self._programs.values()]

    @property
    def said(self) -> str:
        return "".join(file.read_text(errors="replace") for file in sorted(self._folder.glob("*.log")))

    def _begin(self, name: str) -> None:
        if name.startswith("api"):
            program = Program(self._folder, self._environ, "serve", "--port", str(self.ports.get(name, 0)))
            self.ports[name] = int(str(program.data["address"]).rpartition(":")[2])
        else:
            program = Program(self._folder, self._environ, "worker", "--threads", "8")
        self._programs[name] = program


@contextlib.contextmanager
def crowd_sandbox() -> Iterator[str]:
    """The stores, in a process of their own: its work is not to slow the clients down."""
    running = subprocess.Popen([sys.executable, "-m", "integ_server.sandbox", "--world", "crowd"], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        yield running.stdout.readline().strip()
    finally:
        running.terminate()
        running.communicate(timeout=20)


async def run(folder: Path, *, seed: int, players: int, kills: int, every_s: tuple[float, float], rounds: int) -> Figures:
    """
    *players* sync *rounds* times each, and go on until *kills* processes of each sort were killed, some seconds apart; Redis and
    PostgreSQL are each started anew once on the way. What went wrong stands in the figures' failures.
    """
    world = make_world("crowd")
    steam_ids = sorted(world.libraries)[:players]
    figures = Figures(seed, players, len(world.libraries[steam_ids[0]]))
    with postgres_server() as postgres, redis_server() as redis, crowd_sandbox() as sandbox:
        url = await asyncio.to_thread(postgres.new_database)
        await migrate(url)
        environ = {
            "INTEG_DATABASE_URL": url,
            "INTEG_DATABASE_POOL": "10",
            "INTEG_REDIS_URL": f"unix://{redis.folder}/s",
            "INTEG_SECRET_KEY": SECRET_KEY,
            "INTEG_UPSTREAM_URL": sandbox,
            "INTEG_UPSTREAM_UNPACED": "1",
            "INTEG_STEAM_API_KEY": world.steam_key,
            "INTEG_SYNC_EVERY_H": "0",
        }
        settings = ServerSettings.model_validate({name.lower().removeprefix("integ_"): value for name, value in environ.items()})
        people = await _people(settings, world, steam_ids)
        fleet = Fleet(folder, environ, figures)
        try:
            await asyncio.to_thread(fleet.start)
            began = time.monotonic()
            storm = asyncio.create_task(_storm(fleet, figures, [redis, postgres], kills=kills, every_s=every_s))
            wire = Balancer(list(fleet.ports.values()), figures)
            await asyncio.gather(*(_play(player, world, wire, figures, storm, rounds) for player in people))
            await storm
            await wire.aclose()
            figures.failures += await _left_over(settings)
            figures.seconds = time.monotonic() - began
            figures.failures += await _differences(settings, world, people)
        finally:
            codes = await asyncio.to_thread(fleet.end)
        if any(codes):
            figures.failures.append(f"exit codes after a signal to end: {codes}")
    return figures


async def _people(settings: ServerSettings, world: World, steam_ids: Sequence[str]) -> list[Player]:
    """Users with a Steam account and a personal token each, as sign-in makes them."""
    people: list[Player] = []
    async with open_backend(settings) as backend, backend.db.writing.begin() as session:
        for steam_id in steam_ids:
            user_id = await users.make_user(session, f"Player {steam_id[-4:]}")
            account = Account(
                user_id=user_id, provider="steam", account=steam_id, display_name=f"Player {steam_id[-4:]}", created_at=datetime.now(UTC)
            )
            access.seal_into(account, Credentials(steam_id, world.steam_key), backend.vault)
            session.add(account)
            wanted = TokenRequest(name="chaos", scopes=sorted(ALL_SCOPES))
            token = (await personal_tokens.make(session, Caller(user_id, ALL_SCOPES), wanted)).token
            people.append(Player(steam_id, user_id, token))
    return people


async def _play(
    player: Player, world: World, wire: httpx.AsyncBaseTransport, figures: Figures, storm: asyncio.Task[None], rounds: int
) -> None:
    """Sync, wait for its end, compare; again, until the storm is over."""
    transport = Counted(PatientTransport(wire), figures)
    async with httpx.AsyncClient(transport=transport, base_url=_BALANCED, auth=TokenAuth(player.token, _BALANCED), timeout=30) as http:
        api = ApiClient(http)
        done = 0
        while done < rounds or not storm.done():
            try:
                for job in await api.start_sync([]):
                    while job.state not in _OVER:
                        await asyncio.sleep(0.5 + random.random())
                        job = await api.job(job.id)
                    if job.state != "done":
                        figures.failures.append(f"{player.steam_id}: a job ended {job.state}: {job.error}")
                owned = await _owned(api)
            except IntegError as error:
                figures.failures.append(f"{player.steam_id}: {type(error).__name__}: {error.message} ({error.__cause__!r})")
                return
            figures.syncs += 1
            done += 1
            wanted = Counter(f"steam:{app.appid}" for app in world.libraries[player.steam_id])
            if owned != wanted:
                figures.failures.append(f"{player.steam_id}: {(owned - wanted).total()} too many, {(wanted - owned).total()} missing")
            await asyncio.sleep(random.random() * 2)


async def _owned(api: ApiClient) -> Counter[str]:
    found: Counter[str] = Counter()
    since, more = 0, True
    while more:
        changes = await api.changes(since)
        found.update(each.key for each in changes.releases if not each.removed)
        since, more = changes.revision, changes.more
    return found


async def _storm(fleet: Fleet, figures: Figures, servers: Sequence[Server], *, kills: int, every_s: tuple[float, float]) -> None:
    luck = random.Random(figures.seed)
    restarts = dict(zip(sorted(luck.sample(range(1, max(kills, 3)), len(servers))), servers, strict=True))
    for number in range(max(kills, 3)):
        await asyncio.sleep(luck.uniform(*every_s))
        if number in restarts:
            server = restarts[number]
            figures.restarts["postgresql" if isinstance(server, Postgres) else "redis"] += 1
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            continue
        victims = [f"api {luck.randrange(API)}", f"worker {luck.randrange(WORKERS)}"]
        await asyncio.gather(*(asyncio.to_thread(fleet.kill, victim) for victim in victims))


async def _left_over(settings: ServerSettings) -> list[str]:
    """Jobs that do not come to their end; the work that nobody waits for is waited for here."""
    async with open_backend(settings, {}) as backend:
        query = select(jobs.c.kind, jobs.c.state, jobs.c.error).where(jobs.c.state != "done")
        until = time.monotonic() + 120
        while True:
            async with backend.db.reading() as session:
                rows = (await session.execute(query)).all()
            if not any(row.state not in _OVER for row in rows) or time.monotonic() > until:
                return [f"a {row.kind} job is {row.state}: {row.error}" for row in rows]
            await asyncio.sleep(0.5)


async def _differences(settings: ServerSettings, world: World, people: Sequence[Player]) -> list[str]:
    """What the tables say otherwise than the sandbox's world."""
    wrong: list[str] = []
    async with open_backend(settings, {}) as backend, backend.db.reading() as session:
        facts = library_entries.c.user_id, library_entries.c.game_key, library_entries.c.playtime_min, library_entries.c.removed_at
        stored: dict[str, list[tuple[str, int]]] = {}
        for user_id, key, minutes, removed_at in (await session.execute(select(*facts))).all():
            if removed_at is not None:
                wrong.append(f"{key} of {user_id} is gone")
            stored.setdefault(user_id, []).append((key, minutes))
        for player in people:
            wanted = sorted(_row(app) for app in world.libraries[player.steam_id])
            if sorted(stored.get(player.user_id, [])) != wanted:
                wrong.append(f"the rows of {player.steam_id} differ")
        owned = {app.appid for player in people for app in world.libraries[player.steam_id]}
        count, untold = (
            await session.execute(select(func.count(), func.count().filter(games.c.metadata_read_at.is_(None))).select_from(games))
        ).one()
        if count != len(owned):
            wrong.append(f"{count} releases in place of {len(owned)}")
        if untold:
            wrong.append(f"{untold} releases were never asked about")
        twice = select(games.c.key).group_by(games.c.key).having(func.count() > 1)
        wrong += [f"{key} is there twice" for key in (await session.execute(twice)).scalars()]
    return wrong


def _row(app: SteamApp) -> tuple[str, int]:
    return f"steam:{app.appid}", app.playtime_min
