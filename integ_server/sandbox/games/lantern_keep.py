"""
Lantern Keep: look after seven harbour lamps through the night, so that merchants find their way in and raiders do not.

One key is one turn. It needs Python 3.9 or newer and nothing else, keeps its save below $XDG_DATA_HOME/lantern-keep, and plays a
night by itself with --auto or without a terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Any

PIERS, ROWS = 7, 10
SHEDS = (0, PIERS + 1)
FULL_CAN, BURNS, HEARTS = 4, 11, 3
MERCHANT, RAIDER = "merchant", "raider"
LEFT, RIGHT, LAMP, WAIT, QUIT = "left", "right", "lamp", "wait", "quit"
_KEYS = {
    LEFT: ("h", "a", "\x1b[D", "\x1bOD"),
    RIGHT: ("l", "d", "\x1b[C", "\x1bOC"),
    LAMP: (" ", "w", "k", "\x1b[A", "\x1bOA"),
    WAIT: (".", "s", "j", "\x1b[B", "\x1bOB"),
    QUIT: ("q", "Q", "\x03", "\x04"),
}
KEYS = {key: action for action, keys in _KEYS.items() for key in keys}
WIDTH, HEIGHT = 58, 21
_SHIPS = {MERCHANT: ("  V   ", "1;37"), RAIDER: ("  X   ", "1;31")}
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass
class Ship:
    pier: int
    row: int
    kind: str


@dataclass
class Harbor:
    """One game: everything that has to survive a break, so it can be written down after each turn."""

    seed: int
    night: int = 1
    turn: int = 0
    keeper: int = 4
    oil: int = FULL_CAN
    hearts: int = HEARTS
    score: int = 0
    guided: int = 0
    lamps: list[int] = field(default_factory=lambda: [0] * PIERS)
    ships: list[Ship] = field(default_factory=list)

    @property
    def length(self) -> int:
        return 30 + 4 * min(self.night, 8)

    @property
    def sight(self) -> int:
        """How many rows before the quay a sail is seen; fog takes some away on the third night and from then on."""
        return ROWS if self.night < 3 else max(5, ROWS - self.night // 2 - 1)

    @property
    def over(self) -> bool:
        return self.hearts <= 0

    @property
    def dawn(self) -> bool:
        return self.turn >= self.length

    @classmethod
    def from_page(cls, page: dict[str, Any]) -> Harbor:
        """The game that was written down; ValueError, KeyError or TypeError when that cannot be one."""
        ships = [Ship(int(ship["pier"]), int(ship["row"]), str(ship["kind"])) for ship in page["ships"]]
        lamps = [int(left) for left in page["lamps"]]
        numbers = {name: int(page[name]) for name in ("seed", "night", "turn", "keeper", "oil", "hearts", "score", "guided")}
        harbor = cls(**numbers, lamps=lamps, ships=ships)
        sound = len(lamps) == PIERS and 0 <= harbor.keeper <= PIERS + 1 and 0 <= harbor.oil <= FULL_CAN and harbor.night > 0
        if not sound or any(ship.kind not in {MERCHANT, RAIDER} or not 0 <= ship.pier < PIERS for ship in ships):
            raise ValueError("that is no harbour")
        return harbor

    def step(self, action: str) -> list[str]:
        """Play one turn and say what happened; the same seed, night, turn and actions always give the same story."""
        luck = random.Random(f"{self.seed}:{self.night}:{self.turn}")
        told = self._act(action)
        self.lamps = [max(0, left - 1) for left in self.lamps]
        told += self._gust(luck) + self._sail()
        self._sight_ship(luck)
        self.turn += 1
        return told

    def begin_next_night(self) -> None:
        self.night, self.turn, self.oil = self.night + 1, 0, FULL_CAN
        self.lamps, self.ships = [0] * PIERS, []

    def _act(self, action: str) -> list[str]:
        if action == LEFT:
            self.keeper = max(0, self.keeper - 1)
        elif action == RIGHT:
            self.keeper = min(PIERS + 1, self.keeper + 1)
        elif action == LAMP and self.keeper not in SHEDS:
            return self._trim(self.keeper - 1)
        if self.keeper in SHEDS and self.oil < FULL_CAN:
            self.oil = FULL_CAN
            return ["You fill the can at the oil shed."]
        return []

    def _trim(self, pier: int) -> list[str]:
        if self.lamps[pier]:
            self.lamps[pier] = 0
            return [f"You put out lamp {pier + 1}."]
        if not self.oil:
            return ["The can is empty. There is oil at both ends of the quay."]
        self.oil -= 1
        self.lamps[pier] = BURNS
        return [f"You light lamp {pier + 1}."]

    def _gust(self, luck: random.Random) -> list[str]:
        lit = [pier for pier, left in enumerate(self.lamps) if left]
        if not lit or luck.random() >= (0.09 if self.night == 5 else 0.012 * min(self.night, 5)):
            return []
        pier = luck.choice(lit)
        self.lamps[pier] = 0
        return [f"A gust blows out lamp {pier + 1}."]

    def _sail(self) -> list[str]:
        told, still_out = [], []
        for ship in self.ships:
            ship.row += 1
            if ship.row < ROWS:
                still_out.append(ship)
            else:
                told.append(self._arrive(ship))
        self.ships = still_out
        return told

    def _arrive(self, ship: Ship) -> str:
        lit = self.lamps[ship.pier] > 0
        where = f"pier {ship.pier + 1}"
        if ship.kind == MERCHANT and lit:
            self.score, self.guided = self.score + 10, self.guided + 1
            return f"A merchant ties up safely at {where}. +10"
        if ship.kind == MERCHANT:
            self.hearts -= 1
            return f"A merchant runs aground in the dark at {where}!"
        if lit:
            self.hearts -= 1
            return f"Raiders land at {where}, straight to your light!"
        self.score += 3
        return f"Raiders pass {where} by: nothing to see there. +3"

    def _sight_ship(self, luck: random.Random) -> None:
        if self.turn > self.length - ROWS - 1 or luck.random() >= min(0.3 + 0.02 * self.night, 0.42):
            return
        free = [pier for pier in range(PIERS) if all(ship.pier != pier or ship.row > 4 for ship in self.ships)]
        if free:
            raid = luck.random() < (0.4 if self.night in {4, 6} else 0.12 + 0.03 * min(self.night, 6))
            self.ships.append(Ship(luck.choice(free), 0, RAIDER if raid else MERCHANT))


def advice(harbor: Harbor) -> str:
    """What a fair keeper would do now: the next ship in need whose pier can still be reached, oil when the can is empty."""
    for ship in sorted(harbor.ships, key=lambda ship: -ship.row):
        turns_left = ROWS - ship.row
        burning = harbor.lamps[ship.pier] >= turns_left + 1
        wanted = ship.kind == MERCHANT
        way = ship.pier + 1 - harbor.keeper
        if burning == wanted or abs(way) >= turns_left + 1 or (wanted and not harbor.oil):
            continue
        if way:
            return RIGHT if way > 0 else LEFT
        return LAMP if turns_left < BURNS and not (wanted and harbor.lamps[ship.pier] >= turns_left) else WAIT
    if harbor.oil < FULL_CAN:
        return LEFT if harbor.keeper * 2 <= PIERS + 1 else RIGHT
    return WAIT if harbor.keeper == (PIERS + 1) // 2 else (RIGHT if harbor.keeper * 2 < PIERS + 1 else LEFT)


class Save:
    """The player's book: the running game, the best score, the nights kept; a new page replaces the old one whole."""

    def __init__(self) -> None:
        data = os.environ.get("XDG_DATA_HOME", "")
        folder = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
        self.path = folder / "lantern-keep" / "save.json"
        self.best, self.nights, self.rounds = 0, 0, 0
        self.harbor: Harbor | None = None
        self.warning = ""

    def load(self) -> None:
        try:
            page: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            self.best, self.nights, self.rounds = int(page["best"]), int(page["nights"]), int(page["rounds"])
            self.harbor = None if page["harbor"] is None else Harbor.from_page(page["harbor"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            self.path.replace(self.path.with_name("save.json.damaged"))
            self.warning = "The old save could not be read; it is kept as save.json.damaged."

    def keep(self) -> None:
        self.best = max(self.best, self.harbor.score if self.harbor else 0)
        page = {"version": 1, "best": self.best, "nights": self.nights, "rounds": self.rounds}
        text = json.dumps({**page, "harbor": asdict(self.harbor) if self.harbor else None}, indent=1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".save.{os.getpid()}")
        with draft.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def game(self, seed: int | None) -> Harbor:
        """The running game, or a new one when there is none or it is over."""
        if self.harbor is None or self.harbor.over:
            self.harbor = Harbor(seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed)
            self.rounds += 1
        return self.harbor


def night_names(charts: Path) -> list[tuple[str, str]]:
    """The nights in their order: the game's own, then those of every add-on whose chart lies beside it."""
    own = charts / "nights.txt"
    texts = [chart.read_text(encoding="utf-8") for chart in [own, *sorted(set(charts.glob("*.txt")) - {own})]]
    lines = [line.partition("|") for text in texts for line in text.splitlines() if not line.startswith("#")]
    return [(name, words) for name, bar, words in lines if bar]


def play_by_itself(save: Save, nights: list[tuple[str, str]], seed: int | None) -> None:
    """One night, told as plain text."""
    going_on = save.harbor is not None and not save.harbor.over
    harbor = save.game(seed)
    name = nights[(harbor.night - 1) % len(nights)][0]
    say(f"Lantern Keep. {'The game goes on' if going_on else 'A new game'}: night {harbor.night}, {name}.")
    while not (harbor.over or harbor.dawn):
        for event in harbor.step(advice(harbor)):
            say(f"  turn {harbor.turn:2}: {event}")
    close_night(save, harbor)
    end = "The harbour is lost." if harbor.over else f"Dawn. {harbor.hearts} of {HEARTS} hearts left."
    if save.warning:
        say(save.warning)
    say(f"{end} Score {harbor.score}, best {save.best}, {harbor.guided} ships guided in, {save.nights} nights kept.")


def close_night(save: Save, harbor: Harbor) -> None:
    """Count the night and open the next one, in one page of the book: a kill between the two would count it twice."""
    if not harbor.over:
        harbor.score += 5 * harbor.hearts
        save.nights += 1
        harbor.begin_next_night()
    save.keep()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def paint(text: str, code: str) -> str:
    return text if "NO_COLOR" in os.environ else f"\x1b[{code}m{text}\x1b[0m"


def show(lines: list[str]) -> None:
    """Draw over what is there: plain ANSI, no flicker."""
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    if columns < WIDTH or rows < HEIGHT:
        lines = [f"Please make the window {WIDTH}x{HEIGHT}.", "Your game is kept. q quits."]
    sys.stdout.write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")
    sys.stdout.flush()


def picture(game: Harbor, name: str, told: list[str], best: int) -> list[str]:
    dark = "#" * round(14 * max(0, game.length - game.turn) / game.length)
    hearts = paint("*" * game.hearts, "31") + "." * (HEARTS - game.hearts)
    lines = [f" Night {game.night}: {name}", f" dark [{dark:<14}]  hearts {hearts}  score {game.score}  best {best}", ""]
    at = {(ship.row, ship.pier): ship.kind for ship in game.ships if ship.row >= ROWS - game.sight}
    for row in range(ROWS):
        waves = [":::::" if row < ROWS - game.sight else "  ~" if (row + pier) % 3 == 0 else "" for pier in range(PIERS)]
        cells = [_SHIPS.get(at.get((row, pier), ""), (f"{waves[pier]:<6}", "34")) for pier in range(PIERS)]
        lines.append("        " + "".join(paint(*cell) for cell in cells))
    lamps = [paint(f" ({'O' if left > 3 else 'o'})  ", "1;33" if left > 3 else "33") if left else "  .   " for left in game.lamps]
    lines += ["   oil  " + "".join(lamps) + "  oil", "        " + "".join(f"  {pier + 1}   " for pier in range(PIERS))]
    lines.append(" " * (game.keeper * 6 + (4 if game.keeper else 5)) + paint("@", "1"))
    can = paint("o" * game.oil, "33") + " " * (FULL_CAN - game.oil)
    return [*lines, f" can [{can}]  left/right walk, space lamp, s wait, q quit", "", *(f" {event}" for event in told[-2:])]


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Keys one by one and a screen of our own; both are given back whatever happens."""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    tty.setraw(stdin)
    sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[2J")
    try:
        yield
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def read_key() -> str:
    """One key, as the characters it sends; end of input reads as a wish to quit."""
    stdin = sys.stdin.fileno()
    key = os.read(stdin, 1)
    if key == b"\x1b" and select.select([stdin], [], [], 0.05)[0]:
        key += os.read(stdin, 2)
    return key.decode("utf-8", "replace") or "q"


def introduction(night: int, name: str, words: str) -> list[str]:
    rules = (
        "V is a merchant: the lamp of its pier must burn.",
        "X is a raider: its pier must be dark.",
        "A lamp burns ten turns. Oil is at both ends of the quay.",
        "",
        "Any key begins, q quits.",
    )
    return ["", " LANTERN KEEP", "", f" Night {night}: {name}", *(f" {line}" for line in (*wrap(words, WIDTH - 2), "", *rules))]


def play(save: Save, nights: list[tuple[str, str]], seed: int | None) -> None:
    """Play until the player has enough; the save is written after each turn."""
    told = [save.warning] if save.warning else []
    while True:
        harbor = save.game(seed)
        name, words = nights[(harbor.night - 1) % len(nights)]
        if harbor.turn == 0:
            show(introduction(harbor.night, name, words))
            if KEYS.get(read_key()) == QUIT:
                return
        while not (harbor.over or harbor.dawn):
            show(picture(harbor, name, told, save.best))
            action = KEYS.get(read_key())
            if action == QUIT:
                return
            if action:
                told = [*told[-1:], *harbor.step(action)]
                save.keep()
        close_night(save, harbor)
        told = []
        end = "The harbour is lost." if harbor.over else f"Dawn. {harbor.guided} ships guided in so far."
        show(["", f" {end}", "", f" Score {harbor.score}, best {save.best}.", "", " Any key goes on, q quits."])
        if KEYS.get(read_key()) == QUIT:
            return


def play_on_terminal(save: Save, nights: list[tuple[str, str]], seed: int | None) -> None:
    with raw_terminal():
        play(save, nights, seed)
    say("The harbour master notes it down. Come back at dusk.")


def end(*_: object) -> None:
    """Leave the ordinary way, so that the terminal is given back and the save is kept; once is enough."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="lantern-keep", description="Keep the lamps of a harbour through the night.")
    parser.add_argument("--auto", action="store_true", help="play one night by itself and say what happened")
    parser.add_argument("--seed", type=int, help="which sea a new game gets")
    asked = parser.parse_args()
    for number in _ENDS:
        signal.signal(number, end)
    save = Save()
    try:
        nights = night_names(Path(__file__).resolve().parent.parent / "charts")
        save.load()
        try:
            by_itself = asked.auto or not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb"
            (play_by_itself if by_itself else play_on_terminal)(save, nights, asked.seed)
        finally:
            if save.harbor is not None:
                save.keep()
    except OSError as error:
        sys.stderr.write(f"lantern-keep: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
