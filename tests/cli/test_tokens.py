"""token list, create and revoke, against a backend that serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends import Served, served
from tests.cli.conftest import Answer, Integ

Valid = Callable[[Answer], dict[str, Any]]


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """One that this home's settings name, with a token of Ann's."""
    with served(tmp_path / "backend", "http://127.0.0.1:9") as running:
        monkeypatch.setenv("INTEG_BACKEND_URL", running.url)
        monkeypatch.setenv("INTEG_TOKEN", running.new_token(running.new_user("Ann")))
        yield running


def test_a_token_is_made_used_listed_and_ended(integ: Integ, backend: Served, valid: Valid, monkeypatch: pytest.MonkeyPatch) -> None:
    made = integ("token", "create", "night sync", "--scope", "library:read", "--scope", "user", "--json")
    new = valid(made)
    assert (new["name"], new["scopes"]) == ("night sync", ["library:read", "user"])
    told = integ("token", "create", "for ever", "--scope", "sync", "--expires", "0")
    assert told.out.startswith("integ_pat_") and told.out.count("\n") == 1, "a script may take it from stdout"
    assert "good for ever" in told.err
    listed = integ("token", "list", "--json")
    assert {each["name"] for each in valid(listed)["items"]} == {"a test", "night sync", "for ever"}
    assert new["token"] not in listed.out + integ("token", "list").out

    monkeypatch.setenv("INTEG_TOKEN", new["token"])
    assert valid(integ("accounts", "--json"))["user"] == "Ann"
    assert integ("sync").code == 4, "it lacks that scope"
    assert valid(integ("token", "revoke", new["id"], "--json")) == {"id": new["id"]}
    refused = integ("accounts", "--json")
    assert (refused.code, valid(refused)) == (4, {})
    assert new["token"] not in backend.said + refused.err


def test_what_can_t_be_is_told(integ: Integ, backend: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    without = integ("token", "create", "x")
    assert without.code == 2
    assert "library:read (read the library)" in without.err
    wrong = integ("token", "create", "x", "--scope", "everything")
    assert (wrong.code, "there is no scope 'everything'" in wrong.err) == (2, True)
    assert integ("token", "revoke", "nothing").code == 3
    told = integ("login", "--device")
    assert (told.code, "unset INTEG_TOKEN" in told.err) == (2, True)
    assert integ("login", "--device", "gog").code == 2
    monkeypatch.delenv("INTEG_TOKEN")
    nobody = integ("token", "list")
    assert (nobody.code, "hint: integ login --device" in nobody.err) == (4, True)
    monkeypatch.delenv("INTEG_BACKEND_URL")
    for words in (["token", "list"], ["login", "--device"], ["logout", "--device", "--yes"]):
        embedded = integ(*words)
        assert (embedded.code, "integ config set backend_url" in embedded.err) == (2, True)
