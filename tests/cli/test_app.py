"""What holds for every command: failures, wrong usage, interruptions, closed pipes, and what a start may load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integ_cli import app
from integ_cli.commands import library
from integ_cli.version import VERSION
from integ_server.contract import errors
from tests.cli.conftest import Answer, Integ

Valid = Callable[[Answer], dict[str, Any]]
HEAVY = {"asyncio", "pydantic", "httpx", "rich", "fastapi", "sqlmodel", "sqlalchemy", "textual", "keyring", "tomlkit", "logging"}


def test_the_version_is_the_package_s_own() -> None:
    package = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert package["project"]["version"] == VERSION


def test_version_is_answered_without_a_parser(home: Path) -> None:
    assert loaded_by(home, "--version")[0].strip() == f"integ {VERSION}"
    assert "typer" not in loaded_by(home, "--version")[1]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list", "--json"],
        ["list"],
        ["search", "lantern"],
        ["show", "lantern-keep"],
        ["show", "lantern-keep", "--json"],
        ["config", "get", "runner"],
        ["sync", "--help"],
        ["demo", "--help"],
    ],
    ids=" ".join,
)
def test_a_light_command_loads_nothing_heavy(home: Path, library: Path, words: list[str]) -> None:
    loaded_by(home, "list")  # the first one looks at this machine's files
    assert HEAVY & loaded_by(home, *words)[1] == set()


def loaded_by(home: Path, *words: str) -> tuple[str, set[str]]:
    """What `integ` printed, and the modules it had loaded at its end."""
    ask = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); from integ_cli.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", ask, *words],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nope"], "No such command 'nope'"),
        (["lst"], "Did you mean 'list'?"),
        (["list", "--nope"], "No such option: --nope"),
        (["list", "--limit", "many"], "'many' is not a valid int"),
        (["list", "--by", "moon"], "'moon' is not one of"),
        (["show"], "Missing argument 'GAME'"),
        (["proton"], "Missing command"),
        (["config", "get", "bandwith_limit"], "there is no setting 'bandwith_limit'"),
        (["list", "--sort", "colour"], "there is no order 'colour'"),
        (["list", "--filter", "moon:full"], "the filter knows no field 'moon'"),
        (["login", "--api-key-stdin", "--code-stdin"], "can read stdin"),
        (["logout"], "name one store, or say --all"),
        (["launch", "x", "--env", "NOVALUE"], "is no K=V"),
        (["tui"], "the browser needs a terminal"),
        (["list", "--version"], "No such option: --version"),
        (["--version", "list"], "--version stands alone"),
    ],
)
def test_wrong_usage_is_a_line_a_hint_and_exit_2(integ: Integ, valid: Valid, words: list[str], told: str) -> None:
    answer = integ(*words)
    assert answer.code == 2
    assert answer.out == ""
    first, *rest = answer.err.splitlines()
    assert first.startswith("error: ")
    assert told in first
    assert any(line.startswith("hint: ") for line in rest)
    with_json = integ(*words[:1], "--json", *words[1:]) if words[0] != "proton" else integ("--json", *words)
    assert with_json.code == 2
    valid(with_json)
    assert with_json.json["error"] == "UsageError"


def test_json_after_the_double_dash_is_the_game_s_own(integ: Integ) -> None:
    assert integ("launch", "--nope", "x", "--", "--json").out == ""


def test_a_failure_is_told_to_people_and_to_scripts(integ: Integ, library: Path, valid: Valid) -> None:
    told = integ("show", "no such thing", "--json")
    assert told.code == 3
    valid(told)
    assert told.json["error"] == "GameNotFoundError"
    assert told.err.splitlines()[0] == f"error: {told.json['message']}"
    assert told.err.splitlines()[-1] == f"hint: {told.json['hint']}"


def test_several_matches_are_listed(integ: Integ, library: Path, valid: Valid) -> None:
    told = integ("show", "l", "--json")
    assert told.code == 6
    keys = {each["key"] for each in valid(told)["candidates"]}
    assert {"lantern-keep", "loud-title"} <= keys
    assert all(any(line.split()[:1] == [key] for line in told.err.splitlines()) for key in keys)


def failing_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(library, "light_settings", fail)


def test_a_bug_shows_its_traceback_without_secrets(integ: Integ, monkeypatch: pytest.MonkeyPatch, valid: Valid) -> None:
    failing_with(monkeypatch, ZeroDivisionError("https://api.steampowered.com/x?key=0123456789ABCDEF0123456789ABCDEF"))
    told = integ("list", "--json")
    assert told.code == 1
    assert "Traceback" in told.err
    assert "ZeroDivisionError" in told.err
    assert "0123456789ABCDEF" not in told.out + told.err
    valid(told)


def test_a_folder_that_may_not_be_used_is_no_bug(integ: Integ, monkeypatch: pytest.MonkeyPatch, valid: Valid) -> None:
    failing_with(monkeypatch, PermissionError(13, "Permission denied", "/home/ana/.local/share/integ"))
    told = integ("list", "--json")
    valid(told)
    assert (told.code, told.json["error"]) == (8, "StorageError")
    assert told.err.startswith("error: /home/ana/.local/share/integ can't be used: Permission denied")


def test_a_working_folder_that_is_gone_is_no_bug(
    integ: Integ, monkeypatch: pytest.MonkeyPatch, valid: Valid, library: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert integ("list").code == 0, "what needs none goes on"
    failing_with(monkeypatch, FileNotFoundError(2, "No such file or directory"))
    told = integ("list", "--json")
    valid(told)
    assert (told.code, told.json["message"]) == (2, "the folder that you are in was removed")


def test_a_full_disk_is_exit_8(integ: Integ, monkeypatch: pytest.MonkeyPatch, valid: Valid) -> None:
    failing_with(monkeypatch, OSError(28, "No space left on device"))
    told = integ("list", "--json")
    assert told.code == 8
    valid(told)


def test_ctrl_c_is_exit_130_and_one_line(integ: Integ, monkeypatch: pytest.MonkeyPatch, valid: Valid) -> None:
    failing_with(monkeypatch, KeyboardInterrupt())
    told = integ("list", "--json")
    assert (told.code, told.err) == (130, "interrupted\n")
    valid(told)
    assert told.json["error"] == "Interrupted"


@pytest.mark.parametrize("kind", sorted({errors.BusyError, errors.PartialError, errors.StorageError}, key=lambda kind: kind.__name__))
def test_what_an_error_carries_reaches_scripts(
    integ: Integ, monkeypatch: pytest.MonkeyPatch, valid: Valid, kind: type[errors.IntegError]
) -> None:
    failing_with(monkeypatch, kind("told", hint="do this", retry_after_s=7, data={"accounts": []}))
    told = integ("list", "--json")
    assert valid(told) == {"accounts": []}
    assert (told.json["error"], told.json["retry_after_s"]) == (kind.__name__, 7)


def test_a_reader_that_leaves_early_is_no_failure(home: Path, library: Path) -> None:
    """As `integ list | head`: stdout is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "integ_cli", "list", "--json"],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--json"], ["show", "lantern-keep", "--json"], ["show", "nothing", "--json"], ["--help"]], ids=" ".join
)
def test_a_full_disk_behind_stdout_is_exit_8(home: Path, library: Path, words: list[str]) -> None:
    told = by_the_shell(home, f"{' '.join(words)} > /dev/full")
    assert told.code == 8 or words[1] == "nothing"
    assert "Traceback" not in told.err
    assert told.err.startswith("error: ")


@pytest.mark.parametrize(("words", "code"), [("list", 0), ("list --json", 0), ("show nothing", 3), ("nope", 2), ("--version", 0)])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(home: Path, library: Path, words: str, code: int, closed: str) -> None:
    told = by_the_shell(home, f"{words} {closed}")
    assert (told.code, "Traceback" in told.err) == (code, False)


def test_a_stderr_that_can_t_be_written_costs_nothing(home: Path, library: Path) -> None:
    assert by_the_shell(home, "show nothing --json 2> /dev/full").json["error"] == "GameNotFoundError"


def by_the_shell(home: Path, line: str) -> Answer:
    environ = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", f"{sys.executable} -m integ_cli {line}"], env=environ, capture_output=True, text=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def test_json_is_one_document_in_utf_8_whatever_the_locale(process: Integ, library: Path) -> None:
    told = process("list", "--json", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="latin-1")
    known = json.loads(told.out.encode("utf-8", "surrogateescape"))
    assert "灯台守の夜" in {item["title"] for item in known["data"]["items"]}


def test_text_for_people_survives_a_locale_that_lacks_the_letters(process: Integ, library: Path) -> None:
    told = process("list", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert told.code == 0
    assert "Lantern Keep" in told.out


def test_a_missing_home_is_told(process: Integ, valid: Valid) -> None:
    told = process("list", "--json", HOME="")
    assert told.code == 2
    assert "HOME" in valid_error(told)


def valid_error(told: Answer) -> str:
    return str(told.json["message"])


def test_a_wrong_setting_is_a_clear_error(process: Integ) -> None:
    told = process("list", INTEG_UPSTREAM_URL="http://evil.example")
    assert told.code == 2
    assert "INTEG_UPSTREAM_URL" in told.err
    assert "Traceback" not in told.err


def test_an_interrupt_from_outside_ends_a_waiting_command_with_130(home: Path, tmp_path: Path) -> None:
    """A command that waits for stdin is interrupted like by Ctrl-C."""
    child = subprocess.Popen(
        [sys.executable, "-m", "integ_cli", "config", "set", "github_token"],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    wait_until_it_reads(child.pid)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    assert b"Traceback" not in child.communicate()[1]


def wait_until_it_reads(pid: int) -> None:
    """Until the process is inside read(0, ...)."""
    now = Path(f"/proc/{pid}/syscall")
    try:
        while now.read_text().split()[:2] != ["0", "0x0"]:
            os.sched_yield()
    except PermissionError:
        pytest.skip("this machine does not show what a process waits for")


def test_the_root_knows_where_its_modules_are() -> None:
    for path in (["list"], ["proton", "list"], ["config", "set"]):
        assert app.find_command(path).callback is not None
