"""favourite, hide, tag, note, merge and split: at both kinds of backend, and while the backend is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends import served
from tests.cli.conftest import Answer, Integ
from tests.cli.terminal import on_a_terminal
from tests.cli.test_every_command import gog_landing
from tests.conftest_backends import BackendKind, on_both_kinds
from tests.conftest_sandbox import RunningSandbox

Valid = Callable[[Answer], dict[str, Any]]


def sign_in(integ: Integ, sandbox: RunningSandbox) -> None:
    assert integ("login", "gog", "--code-stdin", given=gog_landing(sandbox)).code == 0
    assert integ("sync").code == 0


def listed(integ: Integ, *more: str) -> dict[str, dict[str, Any]]:
    return {item["title_id"]: item for item in integ("list", "--json", *more).json["data"]["items"]}


@on_both_kinds
def test_what_is_decided_shows_and_survives_a_sync(integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid) -> None:
    sign_in(integ, sandbox)
    one, other, third = list(listed(integ))[:3]
    done = valid(integ("favourite", one, other, "--json"))
    assert ([each["title_id"] for each in done["items"]], done["queued"]) == ([one, other], False)
    valid(integ("hide", third, "--json"))
    valid(integ("tag", one, "slow", "detective", "--json"))
    valid(integ("note", one, "the kitchen key", "--json"))
    assert integ("sync", "--full").code == 0
    assert integ("note", one).out == "the kitchen key\n"
    assert valid(integ("show", one, "--json"))["details"]["notes"] == "the kitchen key"
    seen = listed(integ)
    assert (seen[one]["favourite"], seen[other]["favourite"], sorted(seen[one]["tags"])) == (True, True, ["detective", "slow"])
    assert third not in seen and listed(integ, "--all")[third]["hidden"] is True
    assert list(listed(integ, "--filter", "tag:slow")) == [one]
    integ("favourite", other, "--off")
    integ("hide", third, "--off")
    integ("tag", one, "slow", "--off")
    assert integ("note", one, "--off").code == 0
    seen = listed(integ)
    assert (seen[other]["favourite"], third in seen, seen[one]["tags"]) == (False, True, ["detective"])


@on_both_kinds
def test_games_are_made_one_and_taken_apart_again(integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid) -> None:
    sign_in(integ, sandbox)
    before = listed(integ)
    one, other = list(before)[:2]
    valid(integ("merge", one, other, "--json"))
    merged = listed(integ)
    assert len(merged[one]["releases"]) == len(before[one]["releases"]) + len(before[other]["releases"])
    assert other not in merged
    assert integ("sync").code == 0
    assert listed(integ) == merged
    release = before[other]["releases"][0]
    assert integ("split", release["key"]).out == f"{release['title']} is a title of its own.\n"
    assert len(listed(integ)) == len(before)
    valid(integ("split", release["key"], "--off", "--json"))


def test_what_is_decided_while_the_backend_is_away_arrives_later(
    integ: Integ, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, valid: Valid
) -> None:
    with served(tmp_path / "backend", sandbox.url) as backend:
        token = backend.new_token(backend.new_user())
        monkeypatch.setenv("INTEG_BACKEND_URL", backend.url)
        monkeypatch.setenv("INTEG_TOKEN", token)
        sign_in(integ, sandbox)
        one, other = list(listed(integ))[:2]
        key = listed(integ)[one]["releases"][0]["key"]
        backend.stop()
        away = integ("favourite", one, "--json")
        assert (away.code, valid(away)["queued"]) == (0, True)
        assert "with the next sync" in away.err
        assert integ("tag", one, "later").code == integ("note", one, "when it is back").code == integ("hide", other).code == 0
        seen = listed(integ)
        assert (seen[one]["favourite"], seen[one]["tags"], other in seen) == (True, ["later"], False)
        assert integ("note", one).out == "when it is back\n"
        third = next(title_id for title_id in seen if title_id != one)
        assert valid(integ("merge", one, third, "--json"))["queued"] is True
        assert third not in listed(integ)
        assert integ("sync").code == 5
        assert token not in "".join(file.read_text() for file in (home / ".local/share/integ").glob("decisions-*"))
        backend.start()
        assert integ("sync").code == 0
        assert list((home / ".local/share/integ").glob("decisions-*.jsonl")) == []
        told = httpx.get(f"{backend.url}/games/{key}/preferences", headers={"Authorization": f"Bearer {token}"}).json()["data"]
        assert (told["favourite"], told["tags"], told["notes"]) == (True, ["later"], "when it is back")
        seen = listed(integ)
        assert (seen[one]["favourite"], other in seen, third in seen, integ("note", one).out) == (True, False, False, "when it is back\n")


def test_a_note_comes_from_stdin_or_an_editor_and_is_read_alone(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, tmp_path: Path, home: Path, valid: Valid
) -> None:
    sign_in(integ, sandbox)
    one, item = next(iter(listed(integ).items()))
    assert (integ("note", one).out, integ("note", one).err) == ("", f"{item['title']} has no note.\n")
    assert integ("note", one, "-", given="first line\n  second\x1b[31m\n\n").code == 0
    assert valid(integ("note", one, "--json")) == {
        "items": [{"title_id": one, "title": item["title"], "notes": "first line\n  second[31m"}],
        "queued": False,
    }
    assert integ("note", one).out == "first line\n  second[31m\n", "no note drives a terminal"
    assert "Your note:\n  first line\n" in integ("show", one).out
    editor = tmp_path / "my editor"
    editor.write_text(
        f'#!/bin/sh\nstat -c %a "$2" > {tmp_path}/mode\ncat "$2" > {tmp_path}/begun\n[ -n "$NEW" ] || exit 3\necho "$NEW" > "$2"\n'
    )
    editor.chmod(0o755)
    chosen = {"VISUAL": f"'{editor}' --wait", "TMPDIR": str(tmp_path), "INTEG_UPSTREAM_URL": sandbox.url}
    for new, told, code in [("", "ended with exit code 3", 1), ("a third", "has your note", 0), ("a third", "Nothing is changed", 0)]:
        with on_a_terminal("note", one, "--edit", NEW=new, **chosen) as terminal:
            terminal.until(told)
            assert terminal.end() == code
    assert ((tmp_path / "begun").read_text(), (tmp_path / "mode").read_text()) == ("a third\n", "600\n")
    assert list(tmp_path.glob("integ-note-*")) == []
    assert integ("note", one).out == "a third\n"


@pytest.mark.parametrize(
    ("words", "given"),
    [(["x", "--edit"], ""), (["--edit"], ""), (["-"], " \n"), (["-"], "x" * 10_001), ([" "], ""), (["--edit", "--off"], "")],
    ids=str,
)
def test_a_note_that_can_t_be_is_a_wrong_use(integ: Integ, library: Path, words: list[str], given: str, valid: Valid) -> None:
    told = integ("note", "lantern-keep", *words, "--json", given=given)
    assert told.code == 2
    valid(told)


def test_a_backend_that_asks_for_a_pause_hears_of_it_later(
    integ: Integ, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, valid: Valid
) -> None:
    with served(tmp_path / "backend", sandbox.url) as backend:
        monkeypatch.setenv("INTEG_BACKEND_URL", backend.url)
        monkeypatch.setenv("INTEG_TOKEN", backend.new_token(backend.new_user()))
        sign_in(integ, sandbox)
        one = next(iter(listed(integ)))
        assert integ("note", one, "by heart").code == 0
        backend.stop()
        backend.environ["INTEG_REQUESTS_PER_MIN"] = "1"
        backend.start()
        sent = integ("tag", one, "quick", "--json")
        assert (valid(sent)["queued"], listed(integ)[one]["tags"]) == (False, ["quick"]), "sent, though nothing more can be read"
        told = integ("favourite", one, "--json")
        assert (told.code, valid(told)["queued"], listed(integ)[one]["favourite"]) == (0, True, True)
        assert integ("sync", "--json").json["error"] == "RateLimitedError"
        assert len(list((home / ".local/share/integ").glob("decisions-*.jsonl"))) == 1
        backend.stop()
        backend.environ["INTEG_REQUESTS_PER_MIN"] = "0"
        backend.start()
        assert integ("sync").code == 0
        assert list((home / ".local/share/integ").glob("decisions-*.jsonl")) == []
        assert (listed(integ)[one]["favourite"], listed(integ)[one]["tags"], integ("note", one).out) == (True, ["quick"], "by heart\n")


def test_what_another_user_decided_is_not_sent_as_this_one_s(
    integ: Integ, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    with served(tmp_path / "backend", sandbox.url) as backend:
        ann, bob = backend.new_token(backend.new_user("Ann")), backend.new_token(backend.new_user("Bob"))
        monkeypatch.setenv("INTEG_BACKEND_URL", backend.url)
        monkeypatch.setenv("INTEG_TOKEN", ann)
        sign_in(integ, sandbox)
        one = next(iter(listed(integ)))
        backend.stop()
        integ("favourite", one)
        backend.start()
        monkeypatch.setenv("INTEG_TOKEN", bob)
        assert integ("sync").code == 4, "Bob is signed in to no store"
        monkeypatch.setenv("INTEG_TOKEN", ann)
        assert integ("sync").code == 0
        assert integ("sync").code == 0, "and now that the library is Ann's again, so is what she decided"
        assert listed(integ)[one]["favourite"] is True


@pytest.mark.parametrize(("words", "code"), [(["favourite", "nothing"], 3), (["note", "x", "y", "--off"], 2), (["merge", "one"], 2)])
def test_what_can_t_be_is_told(integ: Integ, backend_kind: BackendKind, words: list[str], code: int, valid: Valid) -> None:
    told = integ(*words, "--json")
    assert told.code == code
    valid(told)
