"""What RUNNING.md tells people to type works as it stands there."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest

from integ_server.auth import tokens as personal_tokens
from integ_server.auth.caller import Caller
from integ_server.contract.scopes import ALL_SCOPES
from integ_server.contract.sessions import TokenRequest
from integ_server.contract.types import SignInAnswer, SignInWay
from integ_server.migrations.upgrade import migrate
from integ_server.models.account import Account
from integ_server.opening import open_backend
from integ_server.services import access, accounts, readiness, users
from integ_server.settings import ServerSettings
from tests.backends import served
from tests.deploy.page import lines_of
from tests.fakes import Shelf, fake_store
from tests.servers import Postgres, postgres_server, redis_program

pytestmark = pytest.mark.integration
_IN_A_NET_OF_ITS_OWN = """
ip link set lo up
{redis} --port 6379 --bind 127.0.0.1 --save '' --appendonly no >/dev/null 2>&1 &
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
set -e
{lines}
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A PostgreSQL of this file's own, since the page names its databases."""
    with postgres_server() as server:
        yield server


def environ(server: Postgres, **more: str) -> dict[str, str]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))
    path = os.pathsep.join([str(Path(sys.executable).parent), *(str(each) for each in programs[-1:]), os.environ["PATH"], "/usr/sbin"])
    return {"PATH": path, "HOME": os.environ["HOME"], "LC_ALL": "C.UTF-8", "PGHOST": server.folder, "PGUSER": "integ", **more}


def ran(script: str, cwd: Path, env: dict[str, str], *before: str) -> str:
    done = subprocess.run([*before, "bash", "-c", script], cwd=cwd, env=env, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_each_process_starts_from_the_pages_lines(database: Postgres, tmp_path: Path, need: Callable[[str], str]) -> None:
    for program in ("ip", "unshare", "openssl", "curl"):
        need(program)
    database.run("CREATE DATABASE integ")
    (lines,) = lines_of("Without containers")
    script = _IN_A_NET_OF_ITS_OWN.format(redis=redis_program(), lines=lines)
    as_root = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    said = ran(script, tmp_path, environ(database), *as_root)
    ready = json.loads(said.splitlines()[-1])
    assert ready["status"] == "ok", said
    checks = {check["name"]: check["state"] for check in ready["data"]["checks"]}
    assert checks.pop("workers") in {"ok", "warn"}, "it may be a moment later than the API"
    assert set(checks.values()) == {"ok"} and len(checks) >= 3
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


class _Receiver(BaseHTTPRequestHandler):
    heard: ClassVar[list[tuple[bytes, dict[str, str]]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append((body, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nobody reads along."""


@contextmanager
def _receiver() -> Iterator[tuple[str, list[tuple[bytes, dict[str, str]]]]]:
    """An address that takes deliveries, and what it heard."""
    kind = type("Receiver", (_Receiver,), {"heard": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/integ", kind.heard
        server.shutdown()


def test_a_webhook_is_made_tried_looked_at_and_taken_away_by_the_pages_lines(tmp_path: Path, need: Callable[[str], str]) -> None:
    need("curl")
    make, look = lines_of("Webhooks")
    with _receiver() as (address, heard), served(tmp_path / "b", "http://127.0.0.1:9", INTEG_WEBHOOK_ALLOW_PRIVATE="true") as backend:
        token = backend.new_token(backend.new_user())
        env = {"PATH": os.environ["PATH"], "INTEG_TOKEN": token, "INTEG_BACKEND_URL": backend.url}
        assert "https://hooks.example/integ" in make
        waiting = f"while ! test -e {tmp_path}/heard; do sleep 0.1; done"
        script = f"set -e\n{make.replace('https://hooks.example/integ', address)}\n{waiting}\n{look}"
        running = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            until = time.monotonic() + 60
            while not heard:
                assert running.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            time.sleep(0.5)  # its row is written after the answer
            (tmp_path / "heard").touch()
            said, wrong = running.communicate(timeout=60)
        finally:
            running.kill()
        assert running.returncode == 0, wrong
        made = json.loads((tmp_path / "webhook.json").read_text())["data"]
        sent, deliveries, listed, off = (json.loads(each)["data"] for each in re.findall(r'{"status".*?"timestamp":"[^"]*"}', said))
        body, headers = heard[0]
        signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
        key = base64.b64decode(made["secret"].removeprefix("whsec_"))
        assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        assert (sent["event"], deliveries["items"][0]["state"], deliveries["items"][0]["status"]) == ("test", "done", 204)
        assert [each["id"] for each in listed] == [made["id"]] and off["enabled"] is False
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{backend.url}/webhooks", headers=bearer).json()["data"] == []


async def _stored(settings: ServerSettings) -> tuple[str, str]:
    """A user with a store account and a personal token; the token and the user."""
    async with open_backend(settings, {"fake": fake_store(Shelf(games={"ann": []}))}) as backend:
        async with backend.db.writing.begin() as session:
            user = await users.make_user(session, "Ann")
            token = await personal_tokens.make(session, Caller(user, ALL_SCOPES), TokenRequest(name="x", scopes=sorted(ALL_SCOPES)))
        answer = SignInAnswer(way=SignInWay.API_KEY, api_key="a key of Ann's", account="ann")
        confirmed = await backend.get_store("fake").sign_in(answer, return_to="")
        async with backend.db.writing.begin() as session:
            await accounts.link(backend, session, user, "fake", confirmed)
        return token.token, user


async def _found(settings: ServerSettings, token: str) -> dict[str, Any]:
    async with open_backend(settings, {"fake": fake_store(Shelf(games={"ann": []}))}) as backend:
        async with backend.db.reading() as session:
            account = await session.get(Account, 1)
            assert account is not None
        checks = {check.name: check.state for check in await readiness.checks(backend)}
        return {
            "user": (await personal_tokens.caller_of(backend, token)).user_id,
            "key": access.opened(account, backend.vault).secret,
            "checks": checks,
        }


def test_a_restored_backend_knows_its_users_and_opens_their_sign_ins(database: Postgres, tmp_path: Path) -> None:
    database.run("CREATE DATABASE integ_backed_up")
    (tmp_path / "secret_key").write_text("k1:5f0c9a7be2d14836af907c1d3e8b6452" + "\n")
    dump, restore, _ = lines_of("Backing up")

    def settings(name: str) -> ServerSettings:
        key = (tmp_path / "secret_key").read_text().strip()
        return ServerSettings.model_validate({"database_url": database.url(name), "secret_key": key, "log_level": "INFO"})

    asyncio.run(migrate(database.url("integ_backed_up")))
    token, user = asyncio.run(_stored(settings("integ_backed_up")))
    env = environ(database)
    ran(dump.replace("integ.dump integ\n", "integ.dump integ_backed_up\n"), tmp_path, env)
    said = ran(f"set -e\n{restore}", tmp_path, env)
    assert "nothing to do" in said, "the restored database is at this version already"
    found = asyncio.run(_found(settings("integ_restored"), token))
    assert (found["user"], found["key"]) == (user, "a key of Ann's")
    assert found["checks"]["database"] == "ok" and found["checks"]["keys"] == "ok"


def test_an_sqlite_copy_is_whole_though_somebody_writes(tmp_path: Path, need: Callable[[str], str]) -> None:
    need("sqlite3")
    url = f"sqlite+aiosqlite:///{tmp_path}/integ.db"
    asyncio.run(migrate(url))
    settings = ServerSettings.model_validate({"database_url": url, "secret_key": "k1:5f0c9a7be2d14836af907c1d3e8b6452"})
    token, user = asyncio.run(_stored(settings))
    writer = sqlite3.connect(tmp_path / "integ.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        ran(lines_of("Backing up")[2], tmp_path, {"PATH": os.environ["PATH"]})
    finally:
        writer.close()
    copy = settings.model_copy(update={"database_url": f"sqlite+aiosqlite:///{tmp_path}/integ-backup.db"})
    found = asyncio.run(_found(copy, token))
    assert (found["user"], found["key"]) == (user, "a key of Ann's")
