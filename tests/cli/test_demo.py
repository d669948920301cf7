"""The demo: the whole main job for real, and nothing of it left, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Answer, check_document
from tests.cli.terminal import on_a_terminal


def demo(folder: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    """`integ demo` off a terminal, with temporary files in *folder*."""
    environ = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TMPDIR": str(folder), **more}
    argv = [sys.executable, "-m", "integ_cli", "demo", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def left_in(folder: Path) -> list[str]:
    """Files below *folder*, and processes that live there."""
    sign = f"{folder}/".encode()
    found = [str(each) for each in folder.iterdir()]
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                if b"HOME=" + sign in (each / "environ").read_bytes():
                    found.append((each / "cmdline").read_text())
            except OSError:
                continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.mark.timeout(240)
def test_every_step_succeeds_and_nothing_is_left(folder: Path, home: Path) -> None:
    child = demo(folder, "--json", DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent", INTEG_BACKEND_URL="http://127.0.0.1:9")
    out, err = child.communicate()
    assert child.returncode == 0, out + err
    steps = check_document(Answer(0, out, err).json)["steps"]
    commands = [each["command"].split()[1] for each in steps]
    assert commands[:9] == ["login", "login", "sync", "list", "search", "install-proton", "install", "launch", "show"]
    assert {each["exit_code"] for each in steps} == {0}
    assert left_in(folder) == []
    assert list(home.iterdir()) == [], "the player's own home is none of its business"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_end_in_the_middle_leaves_nothing_either(folder: Path, number: int, code: int) -> None:
    child = demo(folder)
    assert child.stdout is not None
    shown = []
    for line in child.stdout:
        shown.append(line)
        if line.startswith("$ integ sync"):
            break
    child.send_signal(number)
    rest, err = child.communicate()
    assert child.returncode == code, err
    assert "Traceback" not in err
    assert "$ integ launch" not in rest
    assert any(line.startswith("Signed in to steam as Robin") for line in shown)
    assert any(line.startswith("Signed in to gog") for line in shown)
    assert left_in(folder) == []


@pytest.mark.timeout(120)
def test_on_a_terminal_it_is_the_browser(folder: Path, home: Path) -> None:
    with on_a_terminal("demo", TMPDIR=str(folder)) as terminal:
        terminal.until("Setting the stage")
        terminal.until("filter")
        terminal.type("q")
        terminal.until("The demo is over")
        assert terminal.end() == 0
    assert left_in(folder) == []
    assert list(home.iterdir()) == []
