"""kill -9 in the middle of a change of Steam's files: each is the old one or the new one, whole, and the next run finishes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.paths import read_paths
from integ_runtime.steam.changes import BACKUPS_KEPT
from integ_runtime.steam.shortcuts import read_shortcuts
from integ_runtime.steam.vdf import read_vdf
from tests.e2e.conftest import Player
from tests.e2e.killing import kill_often
from tests.e2e.test_kill import seed
from tests.runtime.steam.steam_home import SteamHome, write

FEW, MANY = 5, 100
KEY = "gog:1207658924"
LARGE = 4 << 20
"""Of the files that are written, so that a kill can meet the writing."""

USE = ["steam", "tools", "use", "GE-Proton10-34", "steam:620"]
ADD = ["steam", "shortcuts", "add", KEY]


@pytest.fixture
def steam(home: Path) -> SteamHome:
    """A Steam with large files, and a game of Integ's."""
    made = SteamHome(home / ".local/share/Steam")
    made.app(620, "Portal 2")
    made.tool("GE-Proton10-34")
    file = made.config({"0": {"name": "proton_9", "config": "", "Priority": "75"}})
    file.write_bytes(file.read_bytes().replace(b"\xff\xfe\x80", b"\xff" * LARGE))
    made.users(u22={"PersonaName": "Ben", "MostRecent": "1"})
    foreign = b"\0shortcuts\0\x000\0\x01AppName\0Other\0\x01icon\0" + b"\xff" * LARGE + b"\0\x08\x08\x08"
    write(made.root / "userdata/22/config/shortcuts.vdf", foreign)
    InstalledGames(read_paths({"HOME": str(home)})).save(InstalledGame(KEY, "Lantern Keep", home / "Games" / "Lantern", "linux", "integ"))
    return made


def killed_changes(player: Player, tmp_path: Path, file: Path, words: list[str], times: int, reads: Callable[[Path], object]) -> None:
    """Kill `integ *words*`, which changes *file* for good or not at all; `integ steam undo` brings it back."""
    player.done("list", "--json")  # the cache is there from here on
    template = tmp_path / "template"
    shutil.copytree(player.home, template, symlinks=True)
    before = file.read_bytes()
    player.done(*words)
    after = file.read_bytes()
    assert before != after
    met: Counter[str] = Counter()

    def check(player: Player) -> None:
        met["old" if file.read_bytes() == before else "new"] += 1
        assert file.read_bytes() in {before, after}, "the old file or the new one, never a part"
        reads(file)
        player.done(*words)
        assert file.read_bytes() == after
        player.done("steam", "undo")
        assert file.read_bytes() == before
        left = [each.name for each in file.parent.iterdir() if each.name.startswith(f".{file.name}")]
        kept = [each for each in file.parent.glob(f"{file.name}.integ-*") if each.read_bytes() == before]
        assert len(kept) in range(1, BACKUPS_KEPT + 1)
        assert left == []

    kills = kill_often(player, words, template, times, check, lambda home: home / ".local" / "share", seed())
    print(f"found after them: {met['old']} times the old file, {met['new']} times the new one")
    assert kills.between_writes >= times * 4 // 5


def killed_undos(player: Player, tmp_path: Path, file: Path, times: int) -> None:
    before = file.read_bytes()
    player.done(*USE)
    after = file.read_bytes()
    template = tmp_path / "template"
    shutil.copytree(player.home, template, symlinks=True)

    def check(player: Player) -> None:
        assert file.read_bytes() in {before, after}
        again = player.integ("steam", "undo")
        assert again.code in {0, 3}, "3: it had come to its end, and nothing is left to take back"
        assert file.read_bytes() == before

    kills = kill_often(player, ["steam", "undo"], template, times, check, lambda home: home / ".local" / "share", seed())
    assert kills.between_writes >= times * 4 // 5


def config_of(steam: SteamHome) -> Path:
    return steam.root / "config" / "config.vdf"


def shortcuts_of(steam: SteamHome) -> Path:
    return steam.root / "userdata" / "22" / "config" / "shortcuts.vdf"


def names_in(file: Path) -> list[str]:
    return [each.name for each in read_shortcuts(file.read_bytes(), where=str(file))]


def test_a_few_killed_choices_of_a_tool_leave_a_whole_file(home: Path, steam: SteamHome, tmp_path: Path) -> None:
    killed_changes(Player(home, None), tmp_path, config_of(steam), USE, FEW, read_vdf)


def test_a_few_killed_shortcuts_leave_a_whole_list(home: Path, steam: SteamHome, tmp_path: Path) -> None:
    killed_changes(Player(home, None), tmp_path, shortcuts_of(steam), ADD, FEW, names_in)


def test_a_few_killed_undos_come_to_their_end(home: Path, steam: SteamHome, tmp_path: Path) -> None:
    killed_undos(Player(home, None), tmp_path, config_of(steam), FEW)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_killed_choices_of_a_tool_leave_a_whole_file(home: Path, steam: SteamHome, tmp_path: Path) -> None:
    killed_changes(Player(home, None), tmp_path, config_of(steam), USE, MANY, read_vdf)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_killed_shortcuts_leave_a_whole_list(home: Path, steam: SteamHome, tmp_path: Path) -> None:
    killed_changes(Player(home, None), tmp_path, shortcuts_of(steam), ADD, MANY, names_in)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_hundred_killed_undos_come_to_their_end(home: Path, steam: SteamHome, tmp_path: Path) -> None:
    killed_undos(Player(home, None), tmp_path, config_of(steam), MANY)
