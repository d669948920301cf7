"""keys rotate: a new key for what is sealed, embedded and for a backend for many."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.locks import lock_file
from integ_runtime.paths import read_paths
from integ_runtime.secrets import holding_key
from tests.backends import SECRET_KEY
from tests.cli.conftest import Answer, Integ
from tests.cli.test_every_command import gog_landing
from tests.conftest_sandbox import RunningSandbox

Valid = Callable[[Answer], dict[str, Any]]


@pytest.fixture
def outside(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    return sandbox


@pytest.fixture
def signed_in(integ: Integ, outside: RunningSandbox) -> RunningSandbox:
    assert integ("login", "gog", "--code-stdin", given=gog_landing(outside)).code == 0
    return outside


def note(home: Path) -> dict[str, Any]:
    return json.loads((home / ".local/share/integ/key.json").read_text())


def test_embedded_the_old_key_goes_and_the_sign_in_stays(integ: Integ, signed_in: RunningSandbox, home: Path, valid: Valid) -> None:
    old = note(home)
    done = valid(integ("keys", "rotate", "--json"))
    new = note(home)
    assert new["id"] == done["newest"] != old["id"]
    assert (done["resealed"], done["left"], done["unreadable"]) == (2, 0, 0)
    assert done["keys"] == [{"id": new["id"], "texts": 2}]
    assert old["key"] not in json.dumps(new)
    assert (home / ".local/share/integ/key.json").stat().st_mode & 0o777 == 0o600
    assert integ("sync").code == 0, "the store takes the sign-in that was sealed anew"
    assert integ("keys", "rotate").out.startswith("2 secrets are sealed anew with the key ")


def test_what_was_broken_off_is_gone_on_with(integ: Integ, signed_in: RunningSandbox, home: Path, valid: Valid) -> None:
    old = note(home)
    half = {"id": "feed", "where": "file", "key": "ab" * 32, "older": [old]}
    (home / ".local/share/integ/key.json").write_text(json.dumps(half))
    assert integ("sync").code == 0, "both keys open meanwhile"
    assert valid(integ("keys", "rotate", "--json"))["newest"] == "feed", "without a third key"
    assert note(home) == {"id": "feed", "where": "file", "key": "ab" * 32}
    assert integ("sync").code == 0


def test_who_is_at_work_with_the_old_key_is_not_left_without_it(integ: Integ, signed_in: RunningSandbox, home: Path) -> None:
    before = note(home)
    held = lock_file(home / ".local/share/integ/.keys.lock", shared=True)
    assert held is not None
    try:
        told = integ("keys", "rotate")
        assert (told.code, note(home)) == (6, before)
        assert integ("accounts").code == 0, "others may use it at once"
    finally:
        os.close(held)
    assert integ("keys", "rotate").code == 0


async def test_who_comes_while_the_key_changes_waits_for_it(home: Path) -> None:
    paths = read_paths()
    async with holding_key(paths) as first:
        pass
    changing = lock_file(paths.data / ".keys.lock")
    assert changing is not None

    async def come() -> str:
        async with holding_key(paths) as key:
            return key.text

    coming = asyncio.create_task(come())
    await asyncio.sleep(0.1)
    assert not coming.done()
    os.close(changing)
    assert await coming == first.text


def test_a_backend_tells_which_keys_are_in_use(
    integ: Integ, outside: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid: Valid
) -> None:
    # what a player's own Integ sealed becomes a backend's, with both keys
    monkeypatch.chdir(tmp_path)
    assert integ("login", "gog", "--code-stdin", given=gog_landing(outside)).code == 0
    paths = read_paths()
    old = json.loads((paths.data / "key.json").read_text())
    monkeypatch.setenv("INTEG_DATABASE_URL", f"sqlite+aiosqlite:///{paths.embedded_db}")
    monkeypatch.setenv("INTEG_SECRET_KEY", f"{old['id']}:{old['key']}")
    alone = integ("keys", "rotate", "--json")
    assert valid(alone)["keys"] == [{"id": old["id"], "texts": 2}]
    assert "put a new one in front" in integ("keys", "rotate").out
    monkeypatch.setenv("INTEG_SECRET_KEY", f"{SECRET_KEY},{old['id']}:{old['key']}")
    done = valid(integ("keys", "rotate", "--json"))
    assert done == {
        "newest": "k1",
        "resealed": 2,
        "left": 0,
        "unreadable": 0,
        "keys": [{"id": "k1", "texts": 2}, {"id": old["id"], "texts": 0}],
    }
    assert f"to be taken out of INTEG_SECRET_KEY: {old['id']}." in integ("keys", "rotate").out
    monkeypatch.setenv("INTEG_SECRET_KEY", "k9:8b6452af907c1d3e5f0c9a7be2d14836")
    lost = integ("keys", "rotate", "--json")
    assert (lost.code, valid(lost)["unreadable"]) == (0, 2)
    assert "sign in to the store again" in lost.err


@pytest.mark.integration
def test_in_a_keyring_the_new_key_takes_the_place_of_the_old(
    sandbox: RunningSandbox, home: Path, runtime_dir: Path, need: Callable[[str], str]
) -> None:
    for program in ("dbus-run-session", "gnome-keyring-daemon"):
        need(program)
    integ = f"{sys.executable} -m integ_cli"
    (home / "landing").write_text(gog_landing(sandbox))
    script = f"""
        set -e
        printf pw | {need("gnome-keyring-daemon")} --unlock --components=secrets >/dev/null
        {integ} login gog --code-stdin < {home}/landing >/dev/null
        cp {home}/.local/share/integ/key.json {home}/before.json
        {integ} keys rotate --json
        {integ} sync --quiet >/dev/null
    """
    environ = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "XDG_RUNTIME_DIR": str(runtime_dir),
        "LC_ALL": "C.UTF-8",
        "INTEG_UPSTREAM_URL": sandbox.url,
    }
    done = subprocess.run(
        ["dbus-run-session", "--", "sh", "-c", script], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = json.loads((home / "before.json").read_text()), note(home)
    assert before.keys() == after.keys() == {"id", "where"}
    assert (before["where"], after["where"]) == ("secret-service", "secret-service")
    assert after["id"] == json.loads(done.stdout)["data"]["newest"] != before["id"]
