"""
`just bench api`: the API over 1,000,000 library rows of 10,000 users, beside FastAPI answering from memory.

`integ serve` as it runs (PostgreSQL and Redis, its log, its limits, real sign-ins of many users that are checked with every request)
is loaded by wrk over 16 connections. The yardsticks are a FastAPI app of one endpoint in one process on the same server with the
same settings: `memory` answers the very bytes of one of the lists, encoded once; `hello` two words. They get the same requests, with the
same headers, which they do not look at.

All of it shares the machine's cores, load maker and database too. So two processes are set against one with each held to the same
share of a core, by stopping it while it is over that: what is left is enough for all the rest, or two could not show what they can.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fastapi import FastAPI, Response

from integ_server.auth import session as device_sessions
from integ_server.contract.scopes import ALL_SCOPES
from integ_server.migrations.upgrade import migrate
from integ_server.opening import open_backend
from integ_server.settings import ServerSettings
from tests.backends import SECRET_KEY, Program
from tests.bench.load import CONNECTIONS, children_of, cpu_s, free_port, held_to, need_wrk, wait_for, wrk
from tests.bench.measure import versions, write_result
from tests.servers import Postgres, postgres_server, redis_server

TARGETS = {"list": 0.20, "unchanged": 0.45, "sync-status": 0.45, "p99 to p50": 4.0, "two for one": 1.7}
SHARE = 0.2
"""Of one core, for each API process."""
USERS, GAMES, EACH_OWNS = 10_000, 20_000, 100
SIGNED_IN = 2_000
"""Users whose requests come in turn: no one of them comes near the limit of requests a minute."""
LIST, STATUS = "/games?limit=50", "/games/sync-status"
_SCRIPT = Path(__file__).parent / "load.lua"
_ROWS = (
    "INSERT INTO users (id, name, revision, first_revision, preferences, created_at) "
    "SELECT 'user' || u, 'User ' || u, 1000, 1, '{{}}', {now} FROM generate_series(1, {users}) u",
    "INSERT INTO accounts (id, user_id, provider, account, display_name, state, last_sync_at, created_at) "
    "SELECT u, 'user' || u, 'steam', (76561197960265728 + u)::text, 'User ' || u, 'ok', {now}, {now} FROM generate_series(1, {users}) u",
    "INSERT INTO titles (id, founder, face, name, sort, guessed, seniority) "
    "SELECT 'title-' || g, 'steam:' || g, 'steam:' || g, {name}, {sort}, false, g FROM generate_series(1, {games}) g",
    "INSERT INTO games (key, provider, provider_game_id, title_id, name, sort, match_name, kind, platforms, metadata_found) "
    "SELECT 'steam:' || g, 'steam', g::text, 'title-' || g, {name}, {sort}, {sort}, 'game', '[\"linux\", \"windows\"]', true "
    "FROM generate_series(1, {games}) g",
    # 197 and 20,000 have no divisor in common: nobody owns a game twice
    "INSERT INTO library_entries (account_id, game_key, user_id, provider, sort, playtime_min, last_played_at, hidden, added_at, revision) "
    "SELECT u, 'steam:' || g, 'user' || u, 'steam', {sort}, g % 900, {now} - g, false, {now}, 1000 FROM "
    "(SELECT u, (u * 37 + k * 197) % {games} + 1 AS g FROM generate_series(1, {users}) u, generate_series(1, {each}) k) AS owned",
    'INSERT INTO jobs (id, kind, provider, account, subject, user_id, state, queue, "full", stage, done, total, attempts, '
    "created_at, turn_at, heartbeat_at, started_at, finished_at) "
    "SELECT lpad(u::text, 32, '0'), 'sync', 'steam', (76561197960265728 + u)::text, 'sync/' || u, 'user' || u, 'done', 'soon', false, "
    "'', 100, 100, 1, {now}, {now}, {now}, {now}, {now} FROM generate_series(1, {users}) u",
    "VACUUM ANALYZE",
)


def fill(postgres: Postgres, url: str) -> None:
    """The rows as a sync leaves them, made where they stay."""
    database = url.partition("?")[0].rpartition("/")[2]
    names = {"name": "'Game ' || g || ' of the Harbour'", "sort": "'game ' || lpad(g::text, 8, '0') || ' of the harbour'"}
    for statement in _ROWS:
        known = {"users": USERS, "games": GAMES, "each": EACH_OWNS, "now": 1_764_000_000, **names}
        postgres.run(statement.format(**known), database)


async def sign_in(environ: dict[str, str]) -> list[str]:
    """An access token of a device of each of the users that ask, as the device login gives one."""
    names = {name.lower().removeprefix("integ_"): value for name, value in environ.items()}
    async with open_backend(ServerSettings.model_validate(names), {}) as backend, backend.db.writing.begin() as session:
        asking = [f"user{1 + at * USERS // SIGNED_IN}" for at in range(SIGNED_IN)]
        return [(await device_sessions.begin(backend, session, user, "bench", ALL_SCOPES)).access_token for user in asking]


# --- the yardsticks, a process of their own: `python -m tests.bench.bench_api --be PORT --body FILE`


def be_yardstick(port: int, body: bytes) -> None:
    import gc

    import uvicorn

    from integ_server.connections import KEEP_ALIVE_S, Connection

    app = FastAPI()

    @app.get("/games")
    async def memory() -> Response:
        return Response(body, media_type="application/json")

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    gc.collect()
    gc.freeze()
    options: dict[str, Any] = {"http": Connection, "loop": "uvloop", "ws": "none", "log_config": None, "access_log": False}
    uvicorn.run(app, host="127.0.0.1", port=port, server_header=False, timeout_keep_alive=KEEP_ALIVE_S, **options)


@contextlib.contextmanager
def yardstick(folder: Path, body: bytes) -> Iterator[tuple[str, int]]:
    """Its address, and its process."""
    file, port = folder / "body", free_port()
    file.write_bytes(body)
    words = [sys.executable, "-m", "tests.bench.bench_api", "--be", str(port), "--body", str(file)]
    process = subprocess.Popen(words)
    try:
        address = f"http://127.0.0.1:{port}"
        if wait_for(f"{address}/games") != body:
            raise SystemExit("the yardstick does not answer what it was given")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(20)


@dataclass(frozen=True)
class Ran:
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time of the API's processes, or of the yardstick's, for one request: what others do beside moves this least."""


@dataclass(frozen=True)
class Bench:
    folder: Path
    tokens: list[str]
    seconds: int

    def load(self, address: str, path: str, pids: list[int], tags: list[str] | None = None, *, seconds: int = 0) -> Ran:
        lines = [f"{path}\t{token}\t{tag}\n" for token, tag in zip(self.tokens, tags or [""] * len(self.tokens), strict=True)]
        file = self.folder / "requests"
        file.write_text("".join(lines))
        before = sum(map(cpu_s, pids))
        told = wrk(address, seconds or self.seconds, script=_SCRIPT, arguments=[str(file)])
        return Ran(told.per_s, told.p50_ms, told.p99_ms, (sum(map(cpu_s, pids)) - before) / told.requests * 1e6)

    def tags(self, address: str) -> list[str]:
        """The ETag of every user's list, each held to its word: with it the list is answered as unchanged."""
        found = []
        for token in self.tokens:
            status, tag, _ = ask(f"{address}{LIST}", token)
            found.append(tag)
        again, _, left = ask(f"{address}{LIST}", self.tokens[0], found[0])
        if status != 200 or again != 304 or left:
            raise SystemExit(f"a list that has not changed was answered with {again}")
        return found


def ask(address: str, token: str, tag: str = "") -> tuple[int, str, bytes]:
    headers = {"Authorization": f"Bearer {token}", **({"If-None-Match": tag} if tag else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status, answer.headers.get("ETag", ""), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("ETag", ""), error.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--be", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--body", type=Path, default=Path(), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.be:
        be_yardstick(wanted.be, wanted.body.read_bytes())
        return
    need_wrk()
    with postgres_server() as postgres, redis_server() as redis, tempfile.TemporaryDirectory(prefix="integ-bench-") as name:
        url, folder = postgres.new_database(), Path(name)
        asyncio.run(migrate(url))
        fill(postgres, url)
        environ = {"INTEG_DATABASE_URL": url, "INTEG_REDIS_URL": f"unix://{redis.folder}/s", "INTEG_SECRET_KEY": SECRET_KEY}
        measure(Bench(folder, asyncio.run(sign_in(environ)), wanted.seconds), environ, wanted.rounds)


def measure(bench: Bench, environ: dict[str, str], rounds: int) -> None:
    with contextlib.ExitStack() as running:
        served = {}
        for processes in (1, 2):
            served[processes] = Program(bench.folder, environ, "serve", "--port", "0", "--processes", str(processes))
            running.callback(served[processes].end)
        one, two = (str(served[processes].data["address"]) for processes in (1, 2))
        status, _, body = ask(f"{one}{LIST}", bench.tokens[0])
        items = json.loads(body)["data"]["items"] if status == 200 else []
        if len(items) != 50:
            raise SystemExit(f"the list was answered with {status} and {len(items)} games")
        beside, beside_pid = running.enter_context(yardstick(bench.folder, body))
        tags = bench.tags(one)
        pids = {1: [served[1].pid], 2: children_of(served[2].pid)}
        cases = {
            "memory": lambda: bench.load(beside, LIST, [beside_pid]),
            "hello": lambda: bench.load(beside, "/hello", [beside_pid]),
            "list": lambda: bench.load(one, LIST, pids[1]),
            "unchanged": lambda: bench.load(one, LIST, pids[1], tags),
            "sync-status": lambda: bench.load(one, STATUS, pids[1]),
            "list, 1 held": lambda: held(bench, one, pids[1]),
            "list, 2 held": lambda: held(bench, two, pids[2]),
        }
        for address in (one, two):
            bench.load(address, LIST, [], seconds=2)  # warm
        for token in bench.tokens:  # clients ask again and again: what is kept of the answer is kept by now
            ask(f"{one}{STATUS}", token)
        found: dict[str, list[Ran]] = {name: [] for name in cases}
        for number in range(rounds):
            for name, case in cases.items():
                found[name].append(case())
                ran = found[name][-1]
                figures = f"{ran.per_s:,.0f}/s, p50 {ran.p50_ms} ms, p99 {ran.p99_ms} ms, {ran.cpu_us:.0f} µs of the processor"
                print(f"  round {number + 1}: {name}: {figures}", file=sys.stderr)
    report(found, {"rounds": rounds, "seconds": bench.seconds, "body_bytes": len(body)})


def held(bench: Bench, address: str, pids: list[int]) -> Ran:
    with contextlib.ExitStack() as holding:
        for pid in pids:
            holding.enter_context(held_to(pid, SHARE))
        return bench.load(address, LIST, pids)


def report(found: dict[str, list[Ran]], facts: dict[str, Any]) -> None:
    cases = {
        name: {key: round(median(getattr(run, key) for run in runs), 2) for key in ("per_s", "p50_ms", "p99_ms", "cpu_us")}
        for name, runs in found.items()
    }
    per_s = {name: each["per_s"] for name, each in cases.items()}
    ratios = {
        "list": round(per_s["list"] / per_s["memory"], 3),
        "unchanged": round(per_s["unchanged"] / per_s["hello"], 3),
        "sync-status": round(per_s["sync-status"] / per_s["hello"], 3),
        "p99 to p50": round(cases["list"]["p99_ms"] / cases["list"]["p50_ms"], 2),
        "two for one": round(per_s["list, 2 held"] / per_s["list, 1 held"], 2),
    }
    print(
        f"api: the list comes at {ratios['list']} of the same bytes from memory (target {TARGETS['list']}), {per_s['list']:,.0f} a second;"
    )
    print(f"  its p99 is {ratios['p99 to p50']} times its p50 (target {TARGETS['p99 to p50']}: no more)")
    for name in ("unchanged", "sync-status"):
        print(f"  {name}: {ratios[name]} of FastAPI's hello (target {TARGETS[name]}), {per_s[name]:,.0f} a second")
    print(f"  two processes do {ratios['two for one']} times what one does (target {TARGETS['two for one']})")
    facts |= {"users": USERS, "games": GAMES, "rows": USERS * EACH_OWNS, "signed_in": SIGNED_IN, "connections": CONNECTIONS, "share": SHARE}
    used = versions("fastapi", "starlette", "uvicorn", "sqlalchemy", "asyncpg", "redis")
    write_result("api", {**facts, "cases": cases, "ratios": ratios, "targets": TARGETS, "versions": used})


if __name__ == "__main__":
    main()
