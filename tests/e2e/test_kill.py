"""kill -9 in the middle of a sync, of a Proton install and of a removal: the next run finishes, and everything is whole each time."""

from __future__ import annotations

import os
import random
import shutil
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from integ_server.sandbox.app import create_sandbox
from integ_server.sandbox.serve import serve
from integ_server.sandbox.world import make_world
from tests.conftest_sandbox import RunningSandbox
from tests.e2e.conftest import Player, sign_in
from tests.e2e.killing import kill_often
from tests.runtime.steam.steam_home import SteamHome

FEW, MANY, VERY_MANY = 4, 50, 100


def seed() -> int:
    return int(os.environ.get("INTEG_KILL_SEED", random.SystemRandom().randrange(1 << 32)))


@pytest.fixture
def demo_sandbox() -> Any:
    """The demo's world: large enough for a sync to be met in the middle."""
    made = create_sandbox(make_world("demo"))
    with ExitStack() as running:
        yield RunningSandbox(running.enter_context(serve(made)), made, running)


def killed_syncs(home: Path, sandbox: Any, tmp_path: Path, times: int) -> None:
    player = Player(home, sandbox.url)
    sign_in(player, sandbox)
    template = tmp_path / "template"
    shutil.copytree(home, template, symlinks=True)
    player.done("sync")
    whole = player.done("list", "--json", "--all", "--by", "release").data
    assert whole["total"] > 300

    def check(player: Player) -> None:
        seen = player.done("list", "--json", "--all", "--by", "release").data["total"]
        assert seen in {0, whole["total"]}, "a killed sync shows the old library or the new one"
        player.done("sync")
        after = player.done("list", "--json", "--all", "--by", "release").data
        assert [each["releases"] for each in after["items"]] == [each["releases"] for each in whole["items"]]
        unchanged = player.done("sync", "--json").data["accounts"]
        assert all((each["added"], each["changed"], each["removed"]) == (0, 0, 0) for each in unchanged)

    kills = kill_often(player, ["sync"], template, times, check, lambda home: home / ".local" / "share" / "integ", seed())
    assert kills.between_writes >= times * 4 // 5


def killed_installs(home: Path, sandbox: Any, tmp_path: Path, times: int) -> None:
    player = Player(home, sandbox.url)
    player.done("proton", "available")  # the list of releases is cached from here on
    template = tmp_path / "template"
    shutil.copytree(home, template, symlinks=True)
    sandbox.faults.on("feed.slow")
    words = ["install-proton", "ge-latest"]

    def check(player: Player) -> None:
        for build in player.done("proton", "list", "--json").data["items"]:
            player.done("proton", "verify", build["version"])
        version = player.done(*words, "--json").data["version"]
        player.done("proton", "verify", version)
        proton = player.home / ".cache" / "integ" / "proton"
        assert sorted(each.name for each in proton.iterdir() if not each.name.startswith(".")) == sorted({version_folder(player), "latest"})
        assert [each.name for each in proton.iterdir() if each.name.startswith(".integ-tmp")] == []

    kills = kill_often(player, words, template, times, check, lambda home: home / ".cache" / "integ", seed())
    assert kills.between_writes >= times * 4 // 5


def steam_tools(home: Path) -> Path:
    return home / ".local/share/Steam/compatibilitytools.d"


def seen_there(folder: Path) -> list[str]:
    """What Steam, or a player, would find in *folder*."""
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith(".")) if folder.is_dir() else []


def left_half_made(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.name.startswith(".") and each.name != ".integ.lock"]


def killed_installs_into_steam(home: Path, sandbox: Any, tmp_path: Path, times: int) -> None:
    player = Player(home, sandbox.url)
    SteamHome(home / ".local/share/Steam")
    player.done("proton", "available")
    template = tmp_path / "template"
    shutil.copytree(home, template, symlinks=True)
    sandbox.faults.on("feed.slow")
    words = ["install-proton", "ge-9.1", "--to", "steam"]

    def check(player: Player) -> None:
        tools = steam_tools(player.home)
        assert seen_there(tools) in ([], ["GE-Proton9-1"])
        if seen_there(tools):
            player.done("proton", "verify", "GE-Proton9-1")
        player.done(*words)
        player.done("proton", "verify", "GE-Proton9-1")
        assert seen_there(tools) == ["GE-Proton9-1"]
        # What a killed run left beside a build that it had finished goes with the next change.
        player.done("proton", "remove", "GE-Proton9-1", "--yes")
        assert seen_there(tools) == [] and [each for each in left_half_made(tools) if each.startswith(".integ-tmp")] == []

    kills = kill_often(player, words, template, times, check, steam_tools, seed())
    assert kills.between_writes >= times * 4 // 5


def killed_removals(home: Path, sandbox: Any, tmp_path: Path, times: int) -> None:
    player = Player(home, sandbox.url)
    for version in ("ge-9.2", "ge-9.1"):
        player.done("install-proton", version)
    tools = home / ".cache/integ/proton"
    for number in range(4_000):  # so that it takes a while to go
        (tools / "GE-Proton9-1/files/share" / f"more-{number}").touch()
    template = tmp_path / "template"
    shutil.copytree(home, template, symlinks=True)
    words = ["proton", "remove", "GE-Proton9-1", "--yes"]

    def check(player: Player) -> None:
        player.done("proton", "verify", "GE-Proton9-2")
        found = seen_there(tools)
        assert found in (["GE-Proton9-1", "GE-Proton9-2", "latest"], ["GE-Proton9-1", "GE-Proton9-2"], ["GE-Proton9-2"])
        if "GE-Proton9-1" in found:  # whole: all that was there still is
            assert sum(1 for _ in (tools / "GE-Proton9-1/files/share").glob("more-*")) == 4_000
            player.done(*words)
        assert [each["version"] for each in player.done("proton", "list", "--json").data["items"]] == ["GE-Proton9-2"]
        player.done("install-proton", "ge-9.1")  # sweeps up what was left of it
        assert left_half_made(tools) == []
        player.done("proton", "verify", "GE-Proton9-1")

    kills = kill_often(player, words, template, times, check, lambda home: home / ".cache" / "integ" / "proton", seed())
    assert kills.between_writes >= times * 4 // 5


def killed_choices(home: Path, sandbox: Any, tmp_path: Path, times: int) -> None:
    player = Player(home, sandbox.url)
    for version in ("ge-9.1", "ge-9.2"):
        player.done("install-proton", version)
    config, tools = home / ".config/integ/config.toml", home / ".cache/integ/proton"
    own = "".join(f"# what the player wrote, line {number}\n" for number in range(2_000))
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'{own}default_proton = "GE-Proton9-2"\n')
    player.done("list", "--json")
    template = tmp_path / "template"
    shutil.copytree(home, template, symlinks=True)
    words = ["proton", "use", "GE-Proton9-1"]

    def chosen() -> str:
        written = config.read_text()
        assert written.startswith(own)
        return str(tomllib.loads(written)["default_proton"])

    def check(player: Player) -> None:
        (default,) = (each["version"] for each in player.done("proton", "list", "--json").data["items"] if each["default"])
        assert chosen() == default and default in {"GE-Proton9-1", "GE-Proton9-2"}
        assert os.readlink(tools / "latest") in {"GE-Proton9-1", "GE-Proton9-2"}
        player.done(*words)
        assert (chosen(), os.readlink(tools / "latest")) == ("GE-Proton9-1", "GE-Proton9-1")
        assert [each.name for each in config.parent.iterdir() if each.name not in {"config.toml", ".config.toml.lock"}] == []

    def watched(home: Path) -> Path:
        return home / ".config"

    kills = kill_often(player, words, template, times, check, watched, seed())
    assert kills.between_writes >= times * 4 // 5


def version_folder(player: Player) -> str:
    return Path(player.done("proton", "list", "--json").data["items"][0]["path"]).name


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_few_killed_syncs_leave_a_whole_library(home: Path, demo_sandbox: Any, tmp_path: Path) -> None:
    killed_syncs(home, demo_sandbox, tmp_path, FEW)


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_few_killed_installs_leave_a_whole_proton(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_installs(home, sandbox, tmp_path, FEW)


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_few_killed_choices_of_a_version_leave_the_old_one_or_the_new(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_choices(home, sandbox, tmp_path, FEW)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_killed_choices_of_a_version(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_choices(home, sandbox, tmp_path, VERY_MANY)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_fifty_killed_syncs(home: Path, demo_sandbox: Any, tmp_path: Path) -> None:
    killed_syncs(home, demo_sandbox, tmp_path, MANY)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_killed_installs(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_installs(home, sandbox, tmp_path, VERY_MANY)


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_few_killed_installs_into_steam_leave_a_whole_build_or_none(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_installs_into_steam(home, sandbox, tmp_path, FEW)


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_few_killed_removals_leave_a_whole_build_or_none(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_removals(home, sandbox, tmp_path, FEW)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_killed_installs_into_steam(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_installs_into_steam(home, sandbox, tmp_path, VERY_MANY)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_killed_removals(home: Path, sandbox: Any, tmp_path: Path) -> None:
    killed_removals(home, sandbox, tmp_path, VERY_MANY)
