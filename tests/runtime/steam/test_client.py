"""Driving the Steam client: which words, and how the end of a game is seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from integ_runtime.errors import LaunchError
from integ_runtime.steam import client as client_module
from integ_runtime.steam.client import hand_over, steam_command, steam_uri, wait_for_game
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.processes import running
from integ_runtime.steam.roots import SteamRoot
from integ_server.contract.errors import NotFoundError, UsageError
from tests.runtime.launch.stage import RECORDER, make_stage, until, write_program
from tests.runtime.steam.steam_home import SteamHome, running_client


def root(flavour: str, path: str) -> SteamRoot:
    return SteamRoot(flavour, Path(path), Path(path) / "steamapps", Path(path), True)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with all that could start a client."""
    for name in ("steam", "flatpak", "snap", "xdg-open"):
        write_program(tmp_path / "bin" / name, "#!/bin/sh\n")
    return tmp_path / "bin"


def test_the_flavour_that_holds_the_game_is_asked(programs: Path) -> None:
    environ = {"PATH": str(programs)}
    roots = [root("native", "/n"), root("flatpak", "/f"), root("snap", "/s")]
    uri = steam_uri("rungameid", "620")
    said = {holder: steam_command(uri, roots, environ, holder=Path(holder)).argv for holder in ("/n", "/f", "/s")}
    assert said == {
        "/n": (str(programs / "steam"), "steam://rungameid/620"),
        "/f": (str(programs / "flatpak"), "run", "com.valvesoftware.Steam", "steam://rungameid/620"),
        "/s": (str(programs / "snap"), "run", "steam", "steam://rungameid/620"),
    }


def test_without_a_client_the_desktop_is_asked_and_without_that_it_is_told(programs: Path, tmp_path: Path) -> None:
    (programs / "steam").unlink()
    assert steam_command("steam://install/1", [], {"PATH": str(programs)}).argv == (str(programs / "xdg-open"), "steam://install/1")
    with pytest.raises(LaunchError, match="not on this machine"):
        steam_command("steam://install/1", [], {"PATH": str(tmp_path)})


@pytest.mark.parametrize("wrong", ["", "620;ls", "-1", "6 2", "1" * 21, "../1", "٦"])
def test_only_numbers_reach_the_client(wrong: str) -> None:
    with pytest.raises(UsageError):
        steam_uri("rungameid", wrong)


@pytest.mark.parametrize(("answer", "told"), [(0, False), (3, True)])
async def test_a_desktop_that_knows_no_steam_is_not_taken_for_one_that_was_asked(tmp_path: Path, answer: int, told: bool) -> None:
    write_program(tmp_path / "xdg-open", f"#!/bin/sh\nexit {answer}\n")
    command = steam_command("steam://install/1", [], {"PATH": str(tmp_path)})
    with pytest.raises(LaunchError, match="nothing on this machine") if told else contextlib.nullcontext():
        await hand_over(command, {"PATH": os.environ["PATH"]})


REAPER = f"""#!{sys.executable} -IS
import os, sys
child = os.fork()
if child: sys.exit(0)
os.setsid()
os.execv("/bin/sh", ["/root/steam/ubuntu12_32/reaper", "-c", "while [ ! -e {{end}} ]; do sleep 0.02; done", "SteamLaunch", "AppId=62000"])
"""


async def test_the_end_of_a_game_is_seen_by_its_reaper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end, seen = tmp_path / "end", threading.Event()

    def looked(game_id: str) -> bool:
        found = running(game_id)
        if found:
            seen.set()
        return found

    monkeypatch.setattr(client_module, "running", looked)
    steam = write_program(tmp_path / "steam", REAPER.replace("{end}", str(end)))
    client = await hand_over(steam_command("steam://rungameid/62000", [], {"PATH": str(tmp_path)}), {"PATH": os.environ["PATH"]})
    assert steam.exists()
    await until(lambda: running("62000"))
    assert not running("6200"), "the whole number counts"
    waiting = asyncio.create_task(wait_for_game("62000", client, lambda: True, poll_s=0.01))
    await until(seen.is_set)
    end.touch()
    await asyncio.wait_for(waiting, 20)
    assert not running("62000")


async def test_a_client_that_starts_nothing_here_is_not_waited_for(tmp_path: Path) -> None:
    write_program(tmp_path / "steam", "#!/bin/sh\nexit 0\n")
    client = await hand_over(steam_command("steam://rungameid/62001", [], {"PATH": str(tmp_path)}), {"PATH": os.environ["PATH"]})
    assert await asyncio.wait_for(wait_for_game("62001", client, lambda: False, poll_s=0.01), 20) == 0.0


async def test_the_client_of_another_home_is_not_waited_for(home: Path, tmp_path: Path) -> None:
    """It has not been asked for the game, and would be waited for until the game had its time to appear."""
    write_program(tmp_path / "steam", "#!/bin/sh\nexit 0\n")
    SteamHome(home / ".local/share/Steam")
    files = SteamFiles(home, {}, system=home / "no-system")
    with running_client(tmp_path / "elsewhere" / "Steam"):
        client = await hand_over(steam_command("steam://rungameid/62002", [], {"PATH": str(tmp_path)}), {"PATH": os.environ["PATH"]})
        assert await asyncio.wait_for(wait_for_game("62002", client, files.client_runs, poll_s=0.01), 20) == 0.0


async def test_launching_a_steam_game_hands_its_number_to_the_client(home: Path) -> None:
    stage = make_stage(home)
    steam = write_program(home / "bin" / "steam", RECORDER)
    stage.environ["PATH"] = f"{steam.parent}:{stage.environ['PATH']}"
    with pytest.raises(NotFoundError, match="not installed"):
        await stage.launcher.plan("steam:620")
    apps = home / ".local/share/Steam/steamapps"
    (apps / "common" / "Portal").mkdir(parents=True)
    (apps / "appmanifest_620.acf").write_text('"AppState" { "appid" "620" "name" "Portal" "StateFlags" "4" "installdir" "Portal" }')
    plan = await stage.launcher.plan("steam:620")
    assert plan.argv == (str(steam), "steam://rungameid/620")
    outcome = await stage.launcher.run(plan, attach=False)
    assert outcome.exit_code == 0
    assert json.loads((steam.parent / "started.json").read_text())["argv"] == list(plan.argv)
