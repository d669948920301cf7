"""On a terminal: colours, questions, hidden answers. Each is a process on a pseudo terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.terminal import on_a_terminal, plain
from tests.cli.test_every_command import gog_landing
from tests.conftest_sandbox import RunningSandbox


def test_a_list_has_bold_headers_and_fits(library: Path) -> None:
    with on_a_terminal("list", columns=50) as terminal:
        assert terminal.end() == 0
    assert "\x1b[1mTITLE" in terminal.shown
    assert all(len(line) <= 50 for line in plain(terminal.shown).splitlines())


def test_no_color_takes_the_colours_away(library: Path) -> None:
    with on_a_terminal("list", NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    assert "\x1b" not in terminal.shown


@pytest.mark.parametrize("words", [["list"], ["show", "loud-title"], ["search", "loud"], ["list", "--json"]], ids=" ".join)
def test_a_title_never_drives_the_terminal(library: Path, words: list[str]) -> None:
    with on_a_terminal(*words, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    assert "Title" in terminal.shown
    assert not {"\x1b", "\x07"} & set(terminal.shown)
    assert "\u202e" not in terminal.shown or words[-1] == "--json"


def test_several_matches_are_a_choice(library: Path) -> None:
    with on_a_terminal("show", "l") as terminal:
        listed = terminal.until("Which one? ")
        number = next(line.split()[0] for line in plain(listed).splitlines() if "lantern-keep" in line)
        terminal.type("99\n")
        terminal.until("Which one? ")
        terminal.type(f"{number}\n")
        assert terminal.end() == 0
    assert "Seven lamps." in terminal.shown


def test_no_input_never_asks(library: Path) -> None:
    with on_a_terminal("show", "l", "--no-input") as terminal:
        assert terminal.end() == 6


@pytest.mark.parametrize(("answer", "code"), [("n\n", 10), ("\n", 10), ("maybe\n", 10), ("\x04", 2)])
def test_only_a_yes_is_a_yes(home: Path, answer: str, code: int) -> None:
    with on_a_terminal("proton", "remove", "GE-Proton9-1") as terminal:
        terminal.until("[y/N] ")
        terminal.type(answer)
        assert terminal.end() == code


def test_a_yes_goes_on(home: Path) -> None:
    with on_a_terminal("proton", "remove", "GE-Proton9-1") as terminal:
        terminal.until("[y/N] ")
        terminal.type("y\n")
        assert terminal.end() == 3, "there is no such version, which is told after the question"


def test_ctrl_c_at_a_question_is_exit_130(home: Path) -> None:
    with on_a_terminal("proton", "remove", "GE-Proton9-1") as terminal:
        terminal.until("[y/N] ")
        terminal.interrupt()
        assert terminal.end() == 130
    assert "Traceback" not in terminal.shown


def test_a_secret_is_not_shown_as_it_is_typed(home: Path) -> None:
    with on_a_terminal("config", "set", "github_token") as terminal:
        terminal.until("github_token: ")
        terminal.type("ghp_hidden\n")
        assert terminal.end() == 0
    assert "ghp_hidden" not in terminal.shown
    assert 'github_token = "ghp_hidden"' in (home / ".config/integ/config.toml").read_text()


def test_gog_is_signed_in_by_what_the_player_pastes(sandbox: RunningSandbox) -> None:
    with on_a_terminal("login", INTEG_UPSTREAM_URL=sandbox.url) as terminal:
        listed = terminal.until("Sign in to which store? ")
        terminal.type(next(line.split()[0] for line in plain(listed).splitlines() if "GOG" in line) + "\n")
        shown = plain(terminal.until("or the code in it: "))
        assert f"{sandbox.url}/auth.gog.com/auth?" in shown
        terminal.type(f"{gog_landing(sandbox)}\n")
        terminal.until("Signed in to gog")
        assert terminal.end() == 0


def test_steam_is_signed_in_by_its_page_and_a_key(sandbox: RunningSandbox) -> None:
    """The browser's part is played by a client that follows the page to Integ's own listener."""
    import httpx

    with on_a_terminal("login", "steam", "--no-browser", INTEG_UPSTREAM_URL=sandbox.url) as terminal:
        terminal.until("Web API key: ")
        terminal.type(f"{sandbox.world.steam_key}\n")
        terminal.until("Open this in a browser:")
        terminal.until("http")
        address = "http" + plain(terminal.until("\n")).strip()
        assert httpx.get(address, follow_redirects=True, timeout=30).status_code == 200
        terminal.until("Signed in to steam")
        assert terminal.end() == 0
    assert sandbox.world.steam_key not in terminal.shown


def test_a_sync_shows_how_far_each_store_is_and_leaves_its_result_alone(sandbox: RunningSandbox) -> None:
    with on_a_terminal("login", "gog", INTEG_UPSTREAM_URL=sandbox.url) as terminal:
        terminal.until("or the code in it: ")
        terminal.type(f"{gog_landing(sandbox)}\n")
        assert terminal.end() == 0
    with on_a_terminal("sync", INTEG_UPSTREAM_URL=sandbox.url) as terminal:
        assert terminal.end() == 0
    shown = [plain(line).strip() for line in re.split(r"\r|\n|\x1b\[2K", terminal.shown)]
    assert any(line.startswith("gog: ") for line in shown)
    assert "gog" not in shown, "a store's name alone tells nothing"


@pytest.mark.parametrize("words", [[], ["tui"]], ids=["integ", "integ tui"])
def test_integ_alone_is_the_browser(library: Path, words: list[str]) -> None:
    with on_a_terminal(*words) as terminal:
        terminal.until("Lantern Keep")
        terminal.type("q")
        assert terminal.end() == 0


def test_a_browser_can_t_be_json(library: Path) -> None:
    with on_a_terminal("--json") as terminal:
        assert terminal.end() == 2
    assert '"error":"UsageError"' in terminal.shown
