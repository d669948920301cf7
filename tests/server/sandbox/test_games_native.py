from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from integ_server.sandbox.games import lantern_keep
from integ_server.sandbox.games.lantern_keep import HEARTS, LAMP, LEFT, MERCHANT, RAIDER, RIGHT, ROWS, WAIT, Harbor, Ship, advice
from integ_server.sandbox.gog_installer import linux_installer
from integ_server.sandbox.world import make_world

# Every Python from 3.9 on that this machine has: players' systems are older than Integ's own floor.
PYTHONS = [
    sys.executable,
    *sorted(str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python3") if path.parts[-3][2:4] not in ("6.", "7.", "8.")),
]


def lay_down(folder: Path, *installers: bytes) -> Path:
    """Install as a game manager does: what lies below data/noarch, with modes and links, split files joined."""
    for installer in installers:
        archive = zipfile.ZipFile(io.BytesIO(installer))
        for entry in archive.infolist():
            if not entry.filename.startswith("data/noarch/") or entry.is_dir():
                continue
            target = folder / entry.filename.removeprefix("data/noarch/")
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = entry.external_attr >> 16
            if mode & 0o170000 == 0o120000:
                target.symlink_to(archive.read(entry).decode())
            else:
                target.write_bytes(archive.read(entry))
                target.chmod(mode & 0o777)
    for name in (folder / "support/split_files").read_text().split():
        parts = sorted(folder.glob(f"{name}.split*"))
        (folder / name).write_bytes(b"".join(part.read_bytes() for part in parts))
        for part in parts:
            part.unlink()
    return folder


def product(number: int) -> Any:
    return make_world("small").gog_products[number].gog


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_down(tmp_path_factory.mktemp("Lantern Keep"), linux_installer(product(1_900_000_101)))


@pytest.fixture
def data(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = home / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder / "lantern-keep"


def play(game: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [game / "start.sh", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def saved(data: Path) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((data / "save.json").read_text())
    return page


# --- the installed game --------------------------------------------------------------------------------------------


def test_without_a_terminal_it_plays_a_night_and_tells_of_it(installed: Path, data: Path) -> None:
    told = play(installed, "--seed", "2")
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert lines[0] == "Lantern Keep. A new game: night 1, Slack water."
    assert len(lines) > 5 and "\x1b" not in told.stdout
    assert saved(data)["nights"] == 1


def test_it_goes_on_where_it_was_left(installed: Path, data: Path) -> None:
    play(installed, "--seed", "2")
    first = saved(data)
    told = play(installed)
    assert told.stdout.startswith("Lantern Keep. The game goes on: night 2, The herring run.")
    assert saved(data)["harbor"]["seed"] == first["harbor"]["seed"] == 2
    assert saved(data)["rounds"] == 1 and saved(data)["best"] >= first["best"]


def test_it_leaves_nothing_in_its_own_folder(installed: Path, data: Path) -> None:
    before = sorted(path for path in installed.rglob("*"))
    play(installed)
    assert sorted(path for path in installed.rglob("*")) == before
    assert [path.name for path in data.iterdir()] == ["save.json"]


def test_a_game_whose_split_file_was_not_joined_says_so(tmp_path: Path, data: Path) -> None:
    game = lay_down(tmp_path / "game", linux_installer(product(1_900_000_101)))
    (game / "game/charts/nights.txt").unlink()
    told = play(game)
    assert told.returncode == 3 and "nights.txt" in told.stderr and "Traceback" not in told.stderr


def test_the_dlc_adds_nights(tmp_path: Path, data: Path) -> None:
    both = [linux_installer(product(number)) for number in (1_900_000_101, 1_900_000_102)]
    game = lay_down(tmp_path / "game", *both)
    names = [name for name, _ in lantern_keep.night_names(game / "game/charts")]
    assert (names[0], names[-1], len(names)) == ("Slack water", "Midwinter", 9)
    assert play(game).returncode == 0


def test_a_damaged_save_is_put_aside(installed: Path, data: Path) -> None:
    data.mkdir(parents=True)
    for damage in ("{", "[]", '{"best": 1, "nights": 0, "rounds": 0, "harbor": {"ships": 3}}'):
        (data / "save.json").write_text(damage)
        told = play(installed)
        assert told.returncode == 0 and "could not be read" in told.stdout
        assert (data / "save.json.damaged").read_text() == damage
        assert saved(data)["rounds"] == 1


def test_a_save_that_names_a_pier_too_many_is_damaged(installed: Path, data: Path) -> None:
    play(installed, "--seed", "1")
    page = saved(data)
    page["harbor"]["ships"] = [{"pier": 99, "row": 0, "kind": "merchant"}]
    (data / "save.json").write_text(json.dumps(page))
    assert play(installed).returncode == 0
    assert (data / "save.json.damaged").exists()


def test_a_place_that_cannot_be_written_is_one_line_and_no_traceback(installed: Path, data: Path) -> None:
    data.parent.mkdir()
    data.write_text("a file where the folder belongs")
    told = play(installed)
    assert told.returncode == 3 and told.stderr.startswith("lantern-keep: ") and len(told.stderr.splitlines()) == 1


def test_a_relative_data_home_is_not_one(installed: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "here")
    assert play(installed).returncode == 0
    assert (home / ".local/share/lantern-keep/save.json").exists()


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).parts[-3])
def test_it_runs_on_every_python_of_this_machine(installed: Path, data: Path, python: str) -> None:
    done = subprocess.run([python, installed / "game/lantern-keep", "--auto"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- on a terminal -------------------------------------------------------------------------------------------------


class Terminal:
    """The game on a terminal of 80 by 24; reads until the text that is waited for has come."""

    def __init__(self, game: Path, env: dict[str, str]) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.running = subprocess.Popen([game / "start.sh", "--seed", "3"], stdin=theirs, stdout=theirs, env=env, start_new_session=True)
        self._ours, self.theirs, self.seen = ours, theirs, ""

    def until(self, text: str) -> None:
        while text not in self.seen:
            ready, _, _ = select.select([self._ours], [], [], 20)
            assert ready, f"{text!r} did not come: {self.seen[-500:]!r}"
            self.seen += os.read(self._ours, 65536).decode("utf-8", "replace")

    def press(self, keys: str, then: str) -> None:
        self.seen = ""
        os.write(self._ours, keys.encode())
        self.until(then)

    def close(self) -> None:
        self.running.kill()
        self.running.wait()
        os.close(self._ours)
        os.close(self.theirs)


@contextmanager
def terminal(game: Path) -> Iterator[Terminal]:
    screen = Terminal(game, {**os.environ, "TERM": "xterm"})
    try:
        screen.until("Any key begins")
        yield screen
    finally:
        screen.close()


def end_by_key(key: str) -> Callable[[Terminal], None]:
    return lambda screen: screen.press(key, "Come back at dusk")


def end_by_signal(number: int) -> Callable[[Terminal], None]:
    return lambda screen: screen.running.send_signal(number)


@pytest.mark.parametrize(
    "end",
    [end_by_key("q"), end_by_key("\x03"), end_by_signal(signal.SIGTERM), end_by_signal(signal.SIGINT)],
    ids=["q", "ctrl-c", "TERM", "INT"],
)
def test_it_leaves_cleanly_and_the_game_goes_on_later(installed: Path, data: Path, end: Callable[[Terminal], None]) -> None:
    with terminal(installed) as screen:
        screen.press("x", "dark [")
        screen.press(" ", "You light lamp 4.")
        screen.press("\x1b[C", "dark [")
        end(screen)
        assert screen.running.wait(20) == 0
        assert termios.tcgetattr(screen.theirs)[:4] == screen.before[:4], "the terminal is given back"
    harbor = saved(data)["harbor"]
    assert (harbor["turn"], harbor["keeper"], harbor["lamps"][3] > 0) == (2, 5, True)
    with_rest = play(installed)
    assert with_rest.stdout.startswith("Lantern Keep. The game goes on: night 1")


def test_a_kill_in_the_middle_of_a_night_loses_no_turn(installed: Path, data: Path) -> None:
    with terminal(installed) as screen:
        screen.press("x", "dark [")
        screen.press(" ", "You light lamp 4.")
        screen.press(".", "dark [")
        screen.running.kill()
        screen.running.wait()
    assert saved(data)["harbor"]["turn"] >= 1


# --- the rules -----------------------------------------------------------------------------------------------------


def arriving(kind: str, lamp: int) -> Harbor:
    harbor = Harbor(seed=1, keeper=7, ships=[Ship(2, ROWS - 1, kind)])
    harbor.lamps[2] = lamp
    return harbor


@pytest.mark.parametrize(
    ("kind", "lamp", "hearts", "score"), [(MERCHANT, 9, 0, 10), (MERCHANT, 0, -1, 0), (RAIDER, 9, -1, 0), (RAIDER, 0, 0, 3)]
)
def test_merchants_want_light_and_raiders_must_not_have_it(kind: str, lamp: int, hearts: int, score: int) -> None:
    harbor = arriving(kind, lamp)
    assert len(harbor.step(WAIT)) == 1
    assert (harbor.hearts, harbor.score) == (HEARTS + hearts, score)


def test_a_lamp_burns_ten_turns_and_costs_oil_which_the_sheds_have() -> None:
    harbor = Harbor(seed=4, keeper=1)
    harbor.step(LAMP)
    assert (harbor.lamps[0], harbor.oil) == (10, 3)
    harbor.step(LEFT)
    assert (harbor.keeper, harbor.oil) == (0, 4)
    harbor.step(RIGHT)
    harbor.step(LAMP)
    assert harbor.lamps[0] == 0, "a burning lamp is put out"
    harbor.oil = 0
    assert "empty" in harbor.step(LAMP)[0]


def test_the_keeper_does_not_walk_off_the_quay() -> None:
    harbor = Harbor(seed=1, keeper=0)
    harbor.step(LEFT)
    assert harbor.keeper == 0
    harbor.keeper = 8
    harbor.step(RIGHT)
    assert harbor.keeper == 8


def test_the_same_sea_tells_the_same_story_also_after_a_break() -> None:
    def night(broken: bool) -> tuple[list[str], Harbor]:
        harbor, told = Harbor(seed=11), []
        while not (harbor.dawn or harbor.over):
            told += harbor.step(advice(harbor))
            if broken:
                from dataclasses import asdict

                harbor = Harbor.from_page(json.loads(json.dumps(asdict(harbor))))
        return told, harbor

    assert night(broken=False) == night(broken=True)


def test_a_fair_keeper_can_hold_the_first_night_on_most_seas() -> None:
    held = 0
    for seed in range(60):
        harbor = Harbor(seed=seed)
        while not (harbor.dawn or harbor.over):
            harbor.step(advice(harbor))
        held += not harbor.over
    assert 40 <= held <= 60


def test_any_keys_at_all_keep_the_harbour_in_order() -> None:
    luck = random.Random(5)
    for seed in range(20):
        harbor = Harbor(seed=seed, night=luck.randrange(1, 12))
        while not (harbor.dawn or harbor.over):
            harbor.step(luck.choice([LEFT, RIGHT, LAMP, WAIT]))
            assert 0 <= harbor.oil <= 4 and all(0 <= left <= 10 for left in harbor.lamps)
            assert all(0 <= ship.row < ROWS for ship in harbor.ships)
            lines = lantern_keep.picture(harbor, "A night", ["one", "two"], 0)
            assert len(lines) <= lantern_keep.HEIGHT


def test_the_picture_fits_its_window_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for keeper in range(9):
        harbor = Harbor(seed=1, keeper=keeper, night=4, ships=[Ship(6, 9, RAIDER), Ship(0, 0, MERCHANT)], lamps=[10] * 7)
        lines = lantern_keep.picture(harbor, "The magpie's tide", [], 1000)
        assert "\x1b" not in "".join(lines)
        assert max(map(len, lines)) <= lantern_keep.WIDTH
        assert lines[-3].index("@") in (5, *range(10, 47, 6), 52)
        assert "X" in lines[3 + 9] and not any("V" in line for line in lines), "fog hides the far rows"


def test_the_program_needs_nothing_but_python() -> None:
    source = Path(lantern_keep.__file__).read_text()
    modules = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert modules <= sys.stdlib_module_names
