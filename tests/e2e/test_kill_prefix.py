"""kill -9 in the middle of a snapshot, a restore and a removal of a prefix: every tree there is, is whole, and the next command goes on."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Player
from tests.e2e.killing import kill_often

FEW, MANY = 4, 100
KEY = "local:tea"
BUILDS = {"before": "GE-Proton10-1", "now": "GE-Proton9-27"}

SEED = int(os.environ.get("INTEG_KILL_SEED", random.SystemRandom().randrange(1 << 32)))  # read here: a test has no such variables


def game_dir(home: Path) -> Path:
    return home / ".local/share/integ/games/local-tea"


def write_prefix(home: Path, state: str) -> None:
    """A prefix with so many files that copying it can be met in the middle."""
    prefix = game_dir(home) / "prefix"
    for number in range(600):
        folder = prefix / "pfx" / "drive_c" / f"folder{number % 40}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}").write_bytes(f"{state} {number}".encode() * 800)
    (prefix / "pfx" / "dosdevices").mkdir(exist_ok=True)
    link = prefix / "pfx" / "dosdevices" / "z:"
    if not link.is_symlink():
        link.symlink_to("/")
    (game_dir(home) / "prefix.json").write_text(json.dumps({"proton": BUILDS[state], "family": "ge"}))


def digest(tree: Path) -> str:
    """Of every name, link and byte below *tree*; empty when there is no such tree."""
    found = hashlib.sha256()
    if not tree.is_dir():
        return ""
    for root, names, files in os.walk(tree):
        names.sort()
        for name in sorted([*names, *files]):
            path = Path(root, name)
            found.update(f"{path.relative_to(tree)}\0".encode())
            found.update(os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b"/")
    return found.hexdigest()


class Home:
    """A home with a prefix in the state `now`, and a snapshot of it in the state `before`."""

    def __init__(self, home: Path, tmp_path: Path) -> None:
        self.player = Player(home, None)
        self.template = tmp_path / "template"
        game = tmp_path / "Tea"
        game.mkdir()
        (game / "tea.exe").write_text("MZ")
        self.player.done("import", "Tea", "--path", str(game), "--exe", "tea.exe")
        self.states: dict[str, str] = {}
        for state in BUILDS:
            write_prefix(home, state)
            self.states[digest(game_dir(home) / "prefix")] = state
            if state == "before":
                self.asked = str(self.player.done("prefix", "snapshot", KEY, "--json").data["id"])
        shutil.copytree(home, self.template, symlinks=True)

    def prefix(self) -> str:
        """The state of the prefix; empty when there is none. Half a one is a failure."""
        seen = digest(game_dir(self.player.home) / "prefix")
        return self.states[seen] if seen else ""

    def snapshots(self) -> list[str]:
        """The states that are kept, the oldest first, as they lie on the disk: each is whole."""
        folders = sorted(each for each in (game_dir(self.player.home) / "prefix-snapshots").iterdir() if not each.name.startswith("."))
        for each in folders:
            assert json.loads((each / "snapshot.json").read_text())["size_bytes"] > 0
        return [self.states[digest(each / "prefix")] for each in folders]

    def finish(self) -> None:
        """The next command, whichever: after it nothing is half-made, and the note names the build of the state that is there."""
        self.player.done("prefix", "snapshot", KEY)
        folder = game_dir(self.player.home)
        assert {each.name for each in folder.rglob(".*")} <= {".lock"}
        assert not (folder / "prefix-restore.json").exists()
        known = self.player.done("prefix", "info", KEY, "--json").data
        assert known["proton"] == BUILDS[self.prefix()]
        assert len(known["snapshots"]) == len(self.snapshots())

    def killed(self, words: list[str], times: int, check: Callable[[Player], None]) -> None:
        kills = kill_often(self.player, words, self.template, times, check, game_dir, SEED)
        assert kills.between_writes >= times * 4 // 5


def killed_snapshots(home: Path, tmp_path: Path, times: int) -> None:
    world = Home(home, tmp_path)

    def check(_: Player) -> None:
        assert world.prefix() == "now"
        before = world.snapshots()
        assert before in (["before"], ["before", "now"])
        world.finish()
        assert world.snapshots() == [*before, "now"]

    world.killed(["prefix", "snapshot", KEY], times, check)


def killed_restores(home: Path, tmp_path: Path, times: int) -> None:
    world = Home(home, tmp_path)

    def check(_: Player) -> None:
        assert world.prefix() in {"before", "now"}, "at no instant there is half a prefix, or none"
        assert world.snapshots()[0] == "before"
        world.finish()
        state = world.prefix()
        assert world.snapshots() == (["before", "now"] if state == "now" else ["before", "now", "before"])

    world.killed(["prefix", "restore", KEY, world.asked], times, check)


def killed_removals(home: Path, tmp_path: Path, times: int) -> None:
    world = Home(home, tmp_path)

    def check(player: Player) -> None:
        there = world.prefix()
        assert there in {"now", ""}
        assert world.snapshots() == ["before"]
        assert player.integ("prefix", "remove", KEY, "--yes").code == (0 if there else 3)
        player.done("prefix", "restore", KEY)
        assert world.prefix() == "before"
        world.finish()

    world.killed(["prefix", "remove", KEY, "--yes"], times, check)


KILLED = {"snapshot": killed_snapshots, "restore": killed_restores, "removal": killed_removals}


@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", KILLED)
def test_a_few_kills_leave_whole_prefixes(home: Path, tmp_path: Path, what: str) -> None:
    KILLED[what](home, tmp_path, FEW)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", KILLED)
def test_a_hundred_kills_leave_whole_prefixes(home: Path, tmp_path: Path, what: str) -> None:
    KILLED[what](home, tmp_path, MANY)
