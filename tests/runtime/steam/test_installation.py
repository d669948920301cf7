"""Installing and removing through the client: what is asked, what is told meanwhile, and when nobody waits any longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from integ_runtime.errors import LaunchError
from integ_runtime.progress import Progress
from integ_runtime.steam import installation
from integ_runtime.steam.installation import SteamInstallation
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.manifests import SteamApp
from integ_server.contract.errors import NotFoundError, UsageError
from tests.runtime.steam.fake_client import asked, end, fake_client, states_of_a_download
from tests.runtime.steam.steam_home import SteamHome


@pytest.fixture
def steam(home: Path) -> SteamHome:
    return SteamHome(home / ".local/share/Steam")


def installing(home: Path) -> SteamInstallation:
    environ = {"PATH": f"{home}/bin"}
    return SteamInstallation(SteamFiles(home, environ, home / "system"), environ, poll_s=0.02)


async def test_a_download_is_told_by_the_manifests_bytes_until_the_game_is_there(home: Path, steam: SteamHome) -> None:
    program = fake_client(steam, home / "bin", install=states_of_a_download(620, "Portal 2"))
    told: list[Progress] = []
    done = await installing(home).install("620", wait=True, report=told.append)
    end(program)
    assert (done.uri, done.state) == ("steam://install/620", "installed")
    assert done.app is not None
    assert (done.app.build_id, done.app.size_bytes) == ("77", 3000)
    seen = [each.done_bytes for each in told if each.stage == "download"]
    assert seen == sorted(seen, key=lambda done_bytes: done_bytes or 0)
    assert {500, 250} <= set(seen)
    assert {each.total_bytes for each in told if each.stage == "download"} == {1000}
    assert asked(program) == ["steam://install/620"]


async def test_with_no_wait_the_client_is_asked_and_left_alone(home: Path, steam: SteamHome) -> None:
    program = fake_client(steam, home / "bin")
    done = await installing(home).install("620", wait=False)
    assert (done.state, done.app) == ("asked", None)
    end(program)


async def test_a_game_that_is_there_is_not_asked_for_again(home: Path, steam: SteamHome) -> None:
    steam.app(620, "Portal 2")
    done = await installing(home).install("620", wait=True)
    assert (done.uri, done.state) == (None, "installed")


async def test_a_client_that_ends_is_not_waited_for(home: Path, steam: SteamHome) -> None:
    fake_client(steam, home / "bin", stays=False)
    done = await asyncio.wait_for(installing(home).install("620", wait=True), 20)
    assert done.state == "asked"


async def test_a_question_that_nobody_answers_is_given_up(home: Path, steam: SteamHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "MOVES_WITHIN_S", 0.2)
    program = fake_client(steam, home / "bin")
    done = await asyncio.wait_for(installing(home).install("620", wait=True), 20)
    end(program)
    assert done.state == "asked"


async def test_an_update_that_steam_does_later_is_not_waited_for_without_an_end(
    home: Path, steam: SteamHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "MOVES_WITHIN_S", 0.2)
    steam.app(620, "Portal 2", flags=6)
    program = fake_client(steam, home / "bin")
    done = await asyncio.wait_for(installing(home).install("620", wait=True), 20)
    end(program)
    assert done.state == "asked"


async def test_a_download_that_the_player_paused_is_told_as_one(home: Path, steam: SteamHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "STANDS_FOR_S", 0.2)
    paused = {"appid": 620, "name": "Portal 2", "installdir": "x", "StateFlags": 514, "BytesToDownload": 9, "BytesDownloaded": 3}
    program = fake_client(steam, home / "bin", install=[paused])
    done = await asyncio.wait_for(installing(home).install("620", wait=True), 20)
    end(program)
    assert done.state == "paused"


async def test_removing_is_waited_for_until_the_manifest_is_gone(home: Path, steam: SteamHome) -> None:
    steam.app(620, "Portal 2")
    program = fake_client(steam, home / "bin", uninstall=[{"appid": 620, "name": "Portal 2", "StateFlags": 2048}, None])
    done = await installing(home).uninstall("620", wait=True)
    end(program)
    assert (done.uri, done.state) == ("steam://uninstall/620", "gone")
    with pytest.raises(NotFoundError, match="steam:620 is not installed"):
        await installing(home).uninstall("620", wait=True)


async def test_what_makes_no_sense_is_told(home: Path, steam: SteamHome) -> None:
    for wrong in ("0", "99999999999", "x"):
        with pytest.raises(UsageError):
            await installing(home).install(wrong, wait=True)
    with pytest.raises(LaunchError, match="not on this machine"):
        await installing(home).install("620", wait=True)


@pytest.mark.parametrize(
    ("flags", "state", "installed"),
    [
        (4, "installed", True),
        (6, "update waiting", True),
        (4 | 2 | 256, "updating", True),
        (1026, "installing", False),
        (1034, "installing", False),
        (2, "waiting", False),
        (514, "paused", False),
        (518, "paused", True),
        (4 | 128, "damaged", False),
        (4 | 32, "damaged", False),
        (4 | 2048, "uninstalling", False),
        (4 | 8192, "installed", True),
        (4 | 64 | 65536 | 1048576, "installed", True),
    ],
)
def test_the_bits_that_all_agree_on_say_what_steam_does(flags: int, state: str, installed: bool) -> None:
    """The others, `AppRunning` among them, mean different things to different writers, and carry no logic."""
    app = SteamApp(620, "Portal 2", None, Path("/l"), Path("/r"), state_flags=flags)
    assert (app.state, app.installed) == (state, installed)


def test_one_app_is_found_by_its_own_manifest_in_any_library(home: Path, steam: SteamHome) -> None:
    other = steam.library(home / "drive")
    steam.name_libraries(other, home / "gone", apps={7: 1})
    steam.app(620, "Portal 2", into=other / "steamapps", flags=1026)
    files = SteamFiles(home, {}, home / "system")
    found = files.find_app(620)
    assert found is not None
    assert (found.name, found.library, found.state) == ("Portal 2", other, "installing")
    assert files.find_app(1) is None
    offline = files.find_app(7)
    assert offline is not None and offline.state == "offline"
    steam.app(620, "Portal 2")
    whole = files.find_app(620)
    assert whole is not None and whole.installed, "the copy that can be played"
