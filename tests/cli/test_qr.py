"""QR codes on the terminal, and signing in by one."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import segno

from integ_cli.qr import Ink, columns_of, qr_lines
from integ_server.sandbox.steam_auth import Knobs, Phone
from tests.cli.conftest import Integ, check_document
from tests.cli.terminal import Terminal, on_a_terminal, plain
from tests.cli.test_sign_in import started
from tests.conftest_sandbox import RunningSandbox

ADDRESS = "https://s.team/q/1/5713928841207733190"
_HALVES = {" ": (False, False), "▀": (True, False), "▄": (False, True), "█": (True, True)}


def modules_of(text: str) -> list[list[bool]]:
    return [[bool(each) for each in row] for row in segno.make(text, error="l", micro=False, boost_error=False).matrix_iter(border=4)]


def read_halves(lines: list[str], *, inverted: bool = False) -> list[list[bool]]:
    """The rows that half blocks show, read back."""
    rows: list[list[bool]] = []
    for line in lines:
        pairs = [_HALVES[char] for char in re.sub(r"\x1b\[[0-9;]*m", "", line)]
        rows += [[pair[half] is not inverted for pair in pairs] for half in (0, 1)]
    return rows


@pytest.mark.parametrize("text", [ADDRESS, "x", "https://games.example/device?user_code=WDJB-MJHT"])
@pytest.mark.parametrize(
    ("ink", "inverted"), [(Ink(), False), (Ink(colours=False, dark=True), True), (Ink(colours=False, dark=False), False)]
)
def test_what_is_drawn_in_half_blocks_is_the_code_with_its_margin(text: str, ink: Ink, inverted: bool) -> None:
    wanted = modules_of(text)
    read = read_halves(qr_lines(text, ink), inverted=inverted)
    assert read[: len(wanted)] == wanted
    assert not any(map(any, read[len(wanted) :])), "the odd half line below is margin"
    assert columns_of(text, ink) == len(wanted)


def test_without_half_blocks_a_module_is_two_columns() -> None:
    wanted = modules_of(ADDRESS)
    coloured = qr_lines(ADDRESS, Ink(blocks=False))
    assert [[cell.startswith("\x1b[48;5;16m") for cell in line.removesuffix("\x1b[0m").split("  ")[:-1]] for line in coloured] == wanted
    for dark in (True, False):
        bare = qr_lines(ADDRESS, Ink(colours=False, blocks=False, dark=dark))
        assert [[(line[at : at + 2] == "##") is not dark for at in range(0, len(line), 2)] for line in bare] == wanted
    assert columns_of(ADDRESS, Ink(blocks=False)) == 2 * len(wanted)


def test_with_colours_the_code_is_black_on_white_whatever_the_theme_says() -> None:
    assert all(line.startswith("\x1b[38;5;16;48;5;231m") and line.endswith("\x1b[0m") for line in qr_lines(ADDRESS, Ink()))


# --- signing in ------------------------------------------------------------------------------------------------------


@pytest.fixture
def phone(sandbox: RunningSandbox) -> Phone:
    sandbox.sandbox.state.part(Knobs).interval_s = 1.0
    return sandbox.sandbox.state.part(Phone)


@contextmanager
def at_the_code(sandbox: RunningSandbox, phone: Phone, **environ: str) -> Iterator[Terminal]:
    """`integ login steam --qr` with its code on the terminal."""
    with on_a_terminal("login", "steam", "--qr", INTEG_UPSTREAM_URL=sandbox.url, **environ) as terminal:
        terminal.until("https://s.team/q/")
        yield terminal


def drawn_on(shown: str) -> list[str]:
    return [line for line in plain(shown).splitlines() if line and set(line) <= set(_HALVES)]


def test_a_code_is_drawn_and_what_the_phone_does_is_told(home: Path, sandbox: RunningSandbox, phone: Phone) -> None:
    with at_the_code(sandbox, phone) as terminal:
        assert read_halves(drawn_on(terminal.shown))[:37] == modules_of(phone.newest.challenge)
        phone.newest.stage = "scanned"
        terminal.until("confirm it on your phone")
        phone.newest.stage = "approved"
        terminal.until(f"Signed in to steam as {sandbox.world.persona}.")
        assert terminal.end() == 0


def test_a_code_that_changes_takes_the_place_of_the_first(home: Path, sandbox: RunningSandbox, phone: Phone) -> None:
    with at_the_code(sandbox, phone) as terminal:
        first = phone.newest.challenge
        sandbox.faults.on("qr.rotated", times=1)
        moved = terminal.until("\x1b[J")
        assert moved.endswith("A\x1b[J"), "the cursor goes back up over the old code"
        terminal.until(phone.newest.challenge)
        assert phone.newest.challenge != first
        assert read_halves(drawn_on(terminal.shown.rpartition("\x1b[J")[2]))[:37] == modules_of(phone.newest.challenge)
        terminal.interrupt()
        assert terminal.end() == 130


def test_no_color_is_obeyed(home: Path, sandbox: RunningSandbox, phone: Phone) -> None:
    with at_the_code(sandbox, phone, NO_COLOR="1") as terminal:
        assert "\x1b" not in terminal.shown
        assert read_halves(drawn_on(terminal.shown), inverted=True)[:37] == modules_of(phone.newest.challenge)
        phone.newest.stage = "denied"
        assert terminal.end() == 4
    assert "refused on the phone" in terminal.shown


def test_ctrl_c_ends_the_waiting_at_once(home: Path, sandbox: RunningSandbox, phone: Phone) -> None:
    with at_the_code(sandbox, phone) as terminal:
        terminal.interrupt()
        assert terminal.end() == 130
    assert "Traceback" not in terminal.shown


def test_a_terminal_too_narrow_for_the_code_gets_its_address(home: Path, sandbox: RunningSandbox, phone: Phone) -> None:
    with on_a_terminal("login", "steam", "--qr", columns=30, INTEG_UPSTREAM_URL=sandbox.url) as terminal:
        terminal.until("https://s.team/q/")
        assert drawn_on(terminal.shown) == []
        terminal.interrupt()
        assert terminal.end() == 130


def wait_for_session(phone: Phone, child: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not phone.sessions and child.poll() is None and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.parametrize("more", [[], ["--no-input"], ["-q"]])
def test_without_a_terminal_the_address_is_on_stderr_and_the_document_alone_on_stdout(
    home: Path, sandbox: RunningSandbox, phone: Phone, more: list[str]
) -> None:
    with started(sandbox, "login", "steam", "--qr", "--json", *more, given="") as child:
        wait_for_session(phone, child)
        challenge = phone.newest.challenge
        phone.newest.stage = "approved"
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert challenge in err
    assert "▀" not in err and "\x1b" not in err
    import json

    assert check_document(json.loads(out)) == {
        "provider": "steam",
        "account": sandbox.world.steam_id,
        "display_name": sandbox.world.persona,
    }
    assert "eyJ" not in out + err


def test_an_interruption_is_told_as_one_in_json_too(home: Path, sandbox: RunningSandbox, phone: Phone) -> None:
    with started(sandbox, "login", "steam", "--qr", "--json", given="") as child:
        wait_for_session(phone, child)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert '"error":"Interrupted"' in out
    assert "Traceback" not in err


def test_a_minute_of_trouble_at_steam_does_not_end_the_waiting(home: Path, sandbox: RunningSandbox, phone: Phone) -> None:
    with at_the_code(sandbox, phone) as terminal:
        sandbox.faults.on("steam.down", times=2)
        phone.newest.stage = "approved"
        terminal.until("Signed in to steam")
        assert terminal.end() == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["login", "gog", "--qr"], "has no sign-in by QR code"),
        (["login", "steam", "--qr", "--steam-id", "x"], "stands alone"),
        (["login", "steam", "--qr", "--api-key-stdin"], "stands alone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_does_not_go_together_is_wrong_usage(
    integ: Integ, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    answer = integ(*words)
    assert answer.code == 2
    assert told in answer.err
    assert "hint: " in answer.err


def test_a_library_read_by_qr_code_needs_no_key_at_all(
    integ: Integ, sandbox: RunningSandbox, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    with started(sandbox, "login", "--qr", "--json", given="") as child:
        wait_for_session(phone, child)
        phone.newest.stage = "approved"
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    sandbox.faults.on("steam.private_profile")
    assert integ("sync", "--json").code == 0
    assert integ("list", "--json").json["data"]["total"] > 0
