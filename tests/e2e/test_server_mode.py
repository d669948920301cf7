"""The main job with a backend for many: PostgreSQL and Redis, `integ serve` and `integ worker`, and a player who signs in by a code."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integ_runtime.client.sign_in import session_of
from integ_runtime.paths import read_paths
from integ_runtime.session_store import SessionStore
from tests.backends import Served, served
from tests.e2e.conftest import Answer, Player, gog_code
from tests.servers import postgres_server, redis_server

pytestmark = pytest.mark.integration
Valid = Callable[[Answer], dict[str, Any]]


@pytest.fixture(scope="module")
def _servers() -> Iterator[tuple[Any, str]]:
    with postgres_server() as postgres, redis_server() as redis:
        yield postgres, f"unix://{redis.folder}/s"


@pytest.fixture
def backend(_servers: tuple[Any, str], tmp_path: Path, sandbox: Any) -> Iterator[Served]:
    postgres, redis_url = _servers
    with served(tmp_path / "backend", sandbox.url, postgres.new_database(), redis_url) as running:
        yield running


@pytest.fixture
def guest(home: Path, backend: Served, runtime_dir: Path) -> Player:
    """Somebody with an empty home, whose settings name the backend, and nothing of the outside."""
    return Player(home, None, {"INTEG_BACKEND_URL": backend.url, "XDG_RUNTIME_DIR": str(runtime_dir)})


def shown_code(child: subprocess.Popen[str]) -> str:
    assert child.stderr is not None
    for line in child.stderr:
        assert "Scan" not in line, "nothing is drawn that could be scanned: this is no terminal"
        if found := re.fullmatch(r"\s+([A-Z]{4}-[A-Z]{4})\s+", line):
            return found[1]
    raise AssertionError("no code was shown")


class Browser:
    """What a player does on the backend's pages: follows their links, and sends the form that is shown."""

    def __init__(self, backend: Served) -> None:
        self._http = httpx.Client(base_url=backend.url, follow_redirects=True, timeout=30, headers={"Origin": backend.url})
        self._page: httpx.Response | None = None

    def opens(self, address: str) -> None:
        self._page = self._http.get(address)
        assert self._page.is_success, self._page.text

    def sends(self, path: str, **form: str) -> str:
        """Answers what the next page says."""
        assert self._page is not None
        assert f'action="{path}"' in self._page.text, self._page.text
        found = re.search(r'name="form_key" value="([^"]+)"', self._page.text)
        assert found is not None
        self._page = self._http.post(path, data={"form_key": found[1], **form})
        assert self._page.is_success, self._page.text
        return self._page.text

    def close(self) -> None:
        self._http.close()


def sign_device_in(player: Player, backend: Served, sandbox: Any, *words: str) -> Answer:
    """By the code that the terminal shows, in a browser that nobody is signed in to yet: with Steam, and a key of the player's own."""
    child = player.starts("login", *words, "--json")
    code = shown_code(child)
    browser = Browser(backend)
    browser.opens(f"/device?user_code={code}")
    assert "Sign in with" in browser.sends("/device", user_code=code)
    browser.opens("/sign-in/steam/openid")
    browser.sends("/sign-in/steam/key", api_key=sandbox.world.steam_key)
    assert "Your device is signed in" in browser.sends("/device/decision", user_code=code, decision="approve")
    browser.close()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return Answer(child.returncode, out, err)


def sign_in(player: Player, sandbox: Any) -> None:
    """To both stores; at Steam by the page, since a key alone proves nobody's account to a backend for many."""
    waiting = player.starts("login", "steam", "--api-key-stdin", given=sandbox.world.steam_key)
    assert waiting.stderr is not None
    address = next(line.strip() for line in waiting.stderr if line.strip().startswith(sandbox.url))
    urllib.request.urlopen(address, timeout=30).close()
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    player.done("login", "gog", "--code-stdin", given=gog_code(sandbox.url))


def files_with(folder: Path, text: str) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink() and text.encode() in file.read_bytes()]


def test_from_device_login_to_a_list_that_goes_on_without_the_backend(
    guest: Player, backend: Served, sandbox: Any, valid: Valid, runtime_dir: Path
) -> None:
    told = guest.integ("sync", "--json")
    assert (told.code, told.json["hint"]) == (4, "integ login --device")
    # plain `integ login` means this backend while nobody is signed in to it
    device = valid(sign_device_in(guest, backend, sandbox, "--no-browser"))
    assert (device["provider"], device["display_name"], device["kept_in"]) == ("integ", sandbox.world.persona, "runtime-folder")
    guest.done("login", "gog", "--code-stdin", given=gog_code(sandbox.url))
    accounts = valid(guest.done("accounts", "--json"))
    assert (accounts["user"], accounts["backend"]) == (sandbox.world.persona, backend.url)
    assert {each["provider"] for each in accounts["items"]} == {"steam", "gog"}

    synced = valid(guest.done("sync", "--json"))["accounts"]
    assert all(each["added"] > 0 and each["error"] is None for each in synced)
    assert [(each["added"], each["changed"]) for each in valid(guest.done("sync", "--json"))["accounts"]] == [(0, 0), (0, 0)]
    listed = valid(guest.done("list", "--json"))
    assert listed["total"] > 5
    assert "Backend: http://127.0.0.1" in guest.done("status").out
    title = listed["items"][0]
    native = next(each.gog for each in sandbox.world.titles if each.gog is not None and each.gog.content == "native-game")
    outside = {"INTEG_UPSTREAM_URL": sandbox.url}
    assert guest.integ("install", f"gog:{native.id}", "--json", **outside).code == 0

    backend.stop()
    assert valid(guest.done("list", "--json"))["total"] == listed["total"]
    assert valid(guest.done("search", title["title"], "--json"))["items"]
    valid(guest.done("show", title["title_id"], "--json"))
    guest.done("launch", f"gog:{native.id}")
    away = guest.integ("sync", "--json")
    assert away.code == 5
    assert away.json["error"] == "BackendUnreachableError"
    assert away.json["hint"]

    backend.start()
    valid(guest.done("sync", "--json"))

    secrets = [line for file in runtime_dir.rglob("*.json") for line in re.findall(r"eyJ[\w.-]+|integ_rt_[\w.-]+", file.read_text())]
    assert len(secrets) == 2
    for secret in secrets:
        assert files_with(guest.home, secret) == [], "no token is on the disk"
        assert secret not in backend.said
    assert valid(guest.done("logout", "--device", "--yes", "--json")) == {"items": [], "device": True}
    assert valid(guest.done("list", "--store", "gog", "--json"))["total"] <= 1, "the one that is installed stays"
    assert list(runtime_dir.rglob("session-*")) == []
    assert guest.integ("accounts").code == 4


def test_two_users_and_two_backends_never_mix_their_libraries(guest: Player, backend: Served, sandbox: Any, valid: Valid) -> None:
    ann, bob = backend.new_user("Ann"), backend.new_user("Bob")
    guest.more["INTEG_TOKEN"] = backend.new_token(ann)
    sign_in(guest, sandbox)
    guest.done("sync")
    of_ann = valid(guest.done("list", "--json"))["total"]
    assert of_ann > 5
    own = guest.integ("login", "steam", "--api-key-stdin", "--steam-id", sandbox.world.steam_id, given=sandbox.world.steam_key)
    assert own.code == 0, "whose account it is was proved by the page"
    guest.more["INTEG_TOKEN"] = backend.new_token(bob)
    taken = guest.integ("login", "steam", "--api-key-stdin", "--steam-id", sandbox.world.steam_id, given=sandbox.world.steam_key)
    assert taken.code == 4, "nobody gets at another's account by a key"
    assert "hint: integ login steam\n" in taken.err, "whose page proves it, and which takes the key along"
    assert guest.integ("sync").code == 4, "Bob is signed in to no store"
    assert valid(guest.done("list", "--json"))["total"] == 0
    guest.more["INTEG_TOKEN"] = backend.new_token(ann)
    guest.done("sync")
    assert valid(guest.done("list", "--json"))["total"] == of_ann
    del guest.more["INTEG_BACKEND_URL"]
    assert valid(guest.done("list", "--json"))["total"] == 0, "the embedded backend has a library of its own"
    guest.more["INTEG_BACKEND_URL"] = backend.url
    assert valid(guest.done("list", "--json"))["total"] == of_ann, "and this one is as it was"


def test_no_and_ctrl_c_leave_nothing(guest: Player, backend: Served, runtime_dir: Path) -> None:
    child = guest.starts("login", "--device", "--json")
    backend.say_no(shown_code(child))
    out, err = child.communicate(timeout=60)
    assert (child.returncode, Answer(0, out, err).json["error"]) == (4, "PermissionDeniedError")
    assert "hint: integ login --device" in err
    child = guest.starts("login", "--device", "--json")
    shown_code(child)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, Answer(0, out, err).json["error"]) == (130, "Interrupted")
    assert "Traceback" not in err
    assert list(runtime_dir.rglob("*.json")) == []


def refreshes(backend: Served) -> int:
    return sum("/auth/refresh" in line for line in backend.said.splitlines())


def test_processes_that_find_the_tokens_over_at_once_renew_them_once(guest: Player, backend: Served, runtime_dir: Path) -> None:
    tokens = backend.new_session(backend.new_user())
    store = SessionStore(read_paths(guest.environ), backend.url)
    assert asyncio.run(store.save(session_of(tokens, time.time() - tokens.expires_in))) == "runtime-folder"
    children = [guest.starts("accounts", "--json") for _ in range(4)]
    ends = [(*child.communicate(timeout=120), child.returncode) for child in children]
    assert [code for _, _, code in ends] == [0] * 4, ends
    assert refreshes(backend) == 1
    kept = asyncio.run(store.load(again=True))
    assert kept is not None and kept.refresh_token != tokens.refresh_token
    assert guest.integ("accounts").code == 0


def test_a_thief_of_the_refresh_token_ends_the_session_and_the_player_hears_what_to_do(
    guest: Player, backend: Served, runtime_dir: Path
) -> None:
    tokens = backend.new_session(backend.new_user())
    store = SessionStore(read_paths(guest.environ), backend.url)
    asyncio.run(store.save(session_of(tokens, time.time() - tokens.expires_in)))
    stolen = tokens.refresh_token
    for _ in range(2):
        stolen = httpx.post(f"{backend.url}/auth/refresh", json={"refresh_token": stolen}).json()["data"]["refresh_token"]
    told = guest.integ("accounts", "--json")
    assert (told.code, told.json["error"], told.json["hint"]) == (4, "NotSignedInError", "integ login --device")
    assert asyncio.run(store.load(again=True)) is None
    assert httpx.post(f"{backend.url}/auth/refresh", json={"refresh_token": stolen}).status_code == 401, "the thief's are over too"
