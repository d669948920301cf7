"""Signing in without a terminal: whose key it is, a page that comes back, and what stdin may hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from integ_cli.commands import accounts
from tests.cli.conftest import Integ, check_document
from tests.cli.test_every_command import gog_landing
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.steam.steam_home import write


@contextmanager
def started(sandbox: RunningSandbox, *words: str, given: str) -> Iterator[subprocess.Popen[str]]:
    """`integ` as a process that was given its stdin and is not waited for."""
    environ = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "INTEG_UPSTREAM_URL": sandbox.url}
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-m", "integ_cli", *words], env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert child.stdin is not None
    child.stdin.write(given)
    child.stdin.close()
    child.stdin = None
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def address_shown(child: subprocess.Popen[str]) -> str:
    assert child.stderr is not None
    for line in child.stderr:
        if line.strip().startswith("http"):
            return line.strip()
    raise AssertionError("no address was shown")


def steam_user(home: Path, steam_id: str) -> None:
    """A local Steam whose last user is *steam_id*."""
    steam = home / ".local/share/Steam"
    (steam / "steamapps").mkdir(parents=True)
    user = {"AccountName": "robin", "PersonaName": "Robin", "MostRecent": "1", "Timestamp": "1790000000"}
    write(steam / "config/loginusers.vdf", {"users": {steam_id: user}})


def test_a_key_alone_belongs_to_the_local_steam_s_user(
    integ: Integ, sandbox: RunningSandbox, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    steam_user(home, sandbox.world.steam_id)
    told = integ("login", "steam", "--api-key-stdin", "--json", given=sandbox.world.steam_key)
    assert check_document(told.json)["account"] == sandbox.world.steam_id


def test_a_key_alone_without_a_local_steam_is_joined_by_the_page(sandbox: RunningSandbox) -> None:
    with started(sandbox, "login", "steam", "--api-key-stdin", "--json", given=sandbox.world.steam_key) as child:
        address = address_shown(child)
        assert address.startswith(f"{sandbox.url}/steamcommunity.com/openid/login?")
        assert "Back to the terminal" in httpx.get(address, follow_redirects=True, timeout=30).text
        out, err = child.communicate()
    assert child.returncode == 0, err
    assert sandbox.world.steam_id in out
    assert sandbox.world.steam_key not in out + err + address


def test_ctrl_c_while_the_page_is_open_ends_at_once(sandbox: RunningSandbox) -> None:
    with started(sandbox, "login", "steam", "--api-key-stdin", "--json", given=sandbox.world.steam_key) as child:
        address_shown(child)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert '"error":"Interrupted"' in out


def test_a_vanity_name_and_a_profile_address_are_accounts_too(
    integ: Integ, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    world = sandbox.world
    for name in (world.vanity, f"https://steamcommunity.com/id/{world.vanity}/"):
        told = integ("login", "steam", "--steam-id", name, "--api-key-stdin", "--json", given=world.steam_key)
        assert check_document(told.json)["account"] == world.steam_id
    assert len(integ("accounts", "--json").json["data"]["items"]) == 1


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (["login", "steam", "--api-key-stdin"], "", "there is no key on stdin"),
        (["login", "steam", "--api-key-stdin"], "x" * 20_000, "too long"),
        (["login", "gog", "--code-stdin"], "\n", "there is no code on stdin"),
        (["login", "steam", "--code-stdin"], "https://x", "has no page with a code"),
        (["login", "gog", "--api-key-stdin"], "k", "takes no API key"),
        (["login", "gog", "--account", "me"], "", "takes no --steam-id"),
        (["login", "moon", "--api-key-stdin"], "k", "there is no store 'moon'"),
        (["login", "steam"], "", "can't be asked for"),
        (["login", "steam", "--steam-id", "1"], "", "can't be asked for"),
        (["logout", "moon", "--yes"], "", "there is no store 'moon'"),
        (["logout", "gog", "--all"], "", "name one store"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_can_t_be_is_told_with_a_hint(
    integ: Integ, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, words: list[str], given: str, told: str
) -> None:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    answer = integ(*words, given=given)
    assert answer.code == 2
    assert told in answer.err
    assert "hint: " in answer.err
    assert (given not in answer.err) or len(given) < 5


def test_a_secret_that_follows_an_option_is_no_option_of_ours(integ: Integ) -> None:
    told = integ("login", "steam", "--api-key", "0123456789ABCDEF0123456789ABCDEF")
    assert told.code == 2
    assert "0123456789ABCDEF" not in told.err


def test_two_gog_sign_ins_are_one_account_and_logout_ends_it(
    integ: Integ, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    for _ in range(2):
        assert integ("login", "gog", "--code-stdin", given=gog_landing(sandbox)).code == 0
    items = integ("accounts", "--json").json["data"]["items"]
    assert [each["provider"] for each in items] == ["gog"]
    told = integ("logout", "gog", "--account", items[0]["account"], "--yes")
    assert told.out == f"Signed out of gog: {items[0]['display_name']}.\n"
    assert integ("logout", "--all", "--yes").code == 3, "nobody is left to be signed out"


REMOTE = {"DISPLAY": ":10", "SSH_CONNECTION": "a b c d"}


@pytest.mark.parametrize(
    ("environ", "opened"), [({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "w-0"}, True), ({}, False), (REMOTE, False)]
)
def test_a_page_opens_only_where_somebody_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], opened: bool
) -> None:
    note = tmp_path / "opened"
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > {note}.new && mv {note}.new {note}\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert accounts.open_page("https://example.org/?a=1&b=2") is opened
    if opened:
        while not note.exists():
            os.sched_yield()
        assert note.read_text() == "https://example.org/?a=1&b=2\n"
