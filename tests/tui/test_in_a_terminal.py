"""The browser in a real terminal: given to a game and taken back, left as it was found."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

SCRIPT = """
    import asyncio, subprocess, sys
    from tests.tui.fakes_tui import FakeLauncher, FakeOutcome, FakeRuntime, app_with

    class Terminal(FakeLauncher):
        async def run(self, plan, /, *, attach, stop_when_asked=True):
            assert attach
            game = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "print('a game is here'); input(); raise SystemExit(int(%r))" % sys.argv[1]
            )
            return FakeOutcome(exit_code=await game.wait())

    app = app_with(FakeRuntime(launcher=Terminal()))
    print("the code is", app.run(), flush=True)
"""
ROOT = Path(__file__).parents[2]


class Terminal:
    def __init__(self, handle: int) -> None:
        self.screen = pyte.Screen(100, 30)
        self._stream = pyte.ByteStream(self.screen)
        self._handle = handle
        self.raw = b""

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def press(self, keys: str) -> None:
        os.write(self._handle, keys.encode())

    def until(self, holds: Callable[[], object]) -> None:
        """Read what the program writes until *holds*."""
        while not holds():
            ready, _, _ = select.select([self._handle], [], [], 30)
            assert ready, f"nothing more comes; there stands:\n{self.text}"
            try:
                written = os.read(self._handle, 65536)
            except OSError:  # the other end is closed
                written = b""
            assert written or holds(), f"it ended; there stands:\n{self.text}"
            self.raw += written
            self._stream.feed(written.replace(b"\x1b[>25u", b"").replace(b"\x1b[<u", b""))  # pyte would print half of these


@contextmanager
def running(exit_code: int) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(exit_code)]
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    try:
        yield Terminal(ours)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)


@pytest.mark.parametrize("exit_code", [0, 7])
def test_a_native_game_gets_the_terminal_and_gives_it_back(exit_code: int) -> None:
    with running(exit_code) as terminal:
        terminal.until(lambda: "Amber Road" in terminal.text)
        terminal.press("4")
        terminal.until(lambda: "[Installed 3]" in terminal.text)
        terminal.press("G")
        terminal.until(lambda: "gog:1400" in terminal.text)
        terminal.press("P")
        terminal.until(lambda: "a game is here" in terminal.text)
        terminal.press("\n")
        if exit_code:
            terminal.until(lambda: "ended with exit code 7. Enter leads back" in terminal.text)
            terminal.press("\n")
        terminal.until(lambda: "[Installed 3]" in terminal.text and "Moss & Iron ended" in terminal.text)
        terminal.press("q")
        terminal.until(lambda: "the code is 0" in terminal.text)
        for undone in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l"):
            assert terminal.raw.rstrip().rfind(undone) > terminal.raw.rfind(undone[:-1] + (b"h" if undone[-1:] == b"l" else b"l"))
