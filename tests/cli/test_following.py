"""What a player decides on one device, on the next one: two homes, one backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends import Served, served
from tests.cli.conftest import Answer, Integ
from tests.cli.test_organise import listed, sign_in
from tests.conftest_sandbox import RunningSandbox

Valid = Callable[[Answer], dict[str, Any]]


def windows_game(integ: Integ, key: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "game.exe").write_bytes(b"MZ")
    assert integ("import", key, "--path", str(folder), "--exe", "game.exe").code == 0


def put(backend: Served, token: str, path: str, wishes: dict[str, Any]) -> None:
    method = "PATCH" if path.startswith("/users") else "PUT"
    httpx.request(method, f"{backend.url}{path}", json=wishes, headers={"Authorization": f"Bearer {token}"}).raise_for_status()


def test_a_proton_version_and_launch_options_follow_to_the_next_device(
    integ: Integ, sandbox: RunningSandbox, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, valid: Valid
) -> None:
    deck = tmp_path / "deck"
    deck.mkdir()
    with served(tmp_path / "backend", sandbox.url) as backend:
        token = backend.new_token(backend.new_user())
        monkeypatch.setenv("INTEG_BACKEND_URL", backend.url)
        monkeypatch.setenv("INTEG_TOKEN", token)
        monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
        monkeypatch.setenv("INTEG_RUNNER", "bare")
        sign_in(integ, sandbox)
        key = next(iter(listed(integ).values()))["releases"][0]["key"]
        windows_game(integ, key, tmp_path / "pc-games")
        newest, older = [each["version"] for each in valid(integ("proton", "available", "--json"))["items"]][:2]
        for version in (newest, older):
            assert integ("install-proton", version).code == 0
        backend.stop()
        away = integ("proton", "use", older, "--game", key, "--json")
        assert (away.code, valid(away)) == (0, {"version": older, "key": key, "queued": True})
        assert valid(integ("launch", key, "--dry-run", "--json"))["proton"] == older
        backend.start()
        assert integ("sync").code == 0

        monkeypatch.setenv("HOME", str(deck))
        assert integ("sync").code == 0
        windows_game(integ, key, tmp_path / "deck-games")
        assert valid(integ("show", key, "--json"))["details"]["launch"] == [{"key": key, "proton": older, "launch_options": None}]
        missing = integ("launch", key, "--dry-run", "--json")
        assert (missing.code, missing.json["hint"]) == (125, f"integ install-proton {older}")
        for version in (newest, older):
            assert integ("install-proton", version).code == 0
        put(backend, token, f"/games/{key}/preferences", {"launch_options": "-windowed 'two words'"})
        assert integ("sync").code == 0
        plan = valid(integ("launch", key, "--dry-run", "--json"))
        assert (plan["proton"], plan["argv"][-2:]) == (older, ["-windowed", "two words"])
        plan = valid(integ("launch", key, "--dry-run", "--proton", newest, "--json", "--", "-own"))
        assert (plan["proton"], plan["argv"][-1], "-windowed" in plan["argv"]) == (newest, "-own", False)
        assert f"with {older}, -windowed" in integ("show", key).out
        assert valid(integ("proton", "use", newest, "--game", key, "--json"))["queued"] is False

        monkeypatch.setenv("HOME", str(home))
        assert integ("sync").code == 0
        assert valid(integ("launch", key, "--dry-run", "--json"))["proton"] == newest, "the latest decision counts here too"
        assert valid(integ("proton", "use", older, "--json"))["key"] is None
        off = integ("proton", "use", "--off", "--game", key)
        assert off.out.endswith(" will run with this machine's default.\n")
        assert valid(integ("launch", key, "--dry-run", "--json"))["proton"] == older
        assert valid(integ("proton", "use", "--off", "--json")) == {"version": None, "key": None, "queued": False}
        backend.stop()
        assert valid(integ("launch", key, "--dry-run", "--json"))["proton"] == newest, "nothing of a launch needs the backend"

        monkeypatch.setenv("HOME", str(deck))
        backend.start()
        assert integ("sync").code == 0
        assert valid(integ("show", key, "--json"))["details"]["launch"][0]["proton"] is None, "taken back everywhere"


@pytest.mark.parametrize("words", [[], ["ge-9.1", "--off"]])
def test_a_version_or_off_is_wanted(integ: Integ, words: list[str]) -> None:
    assert integ("proton", "use", *words).code == 2


def test_the_most_recent_choice_is_sent_whole_and_holds_no_secret(
    integ: Integ, sandbox: RunningSandbox, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path / "backend", sandbox.url) as backend:
        token = backend.new_token(backend.new_user())
        monkeypatch.setenv("INTEG_BACKEND_URL", backend.url)
        monkeypatch.setenv("INTEG_TOKEN", token)
        monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
        sign_in(integ, sandbox)
        key = next(iter(listed(integ).values()))["releases"][0]["key"]
        assert integ("install-proton").code == 0
        backend.stop()
        assert integ("proton", "use", "ge-latest", "--game", key).code == 0
        (queue,) = (home / ".local/share/integ").glob("decisions-*.jsonl")
        assert token not in queue.read_text()
        assert list(json.loads(queue.read_text())["body"]) == ["proton"]
