"""demo: the whole main job in a sandbox of its own, with a throw-away home; nothing of it is left when it ends."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integ_cli import session
from integ_cli.context import output
from integ_cli.output import Output
from integ_cli.traits import command
from integ_server.contract.errors import IntegError

if TYPE_CHECKING:
    from integ_server.sandbox.world import World

_KEPT = ("PATH", "LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "TZ", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "PYTHONPATH")
_LAST_LINES = 40


@dataclass
class Stage:
    """The throw-away home, and the sandbox that stands for the outside."""

    home: Path
    url: str
    world: World

    @property
    def environ(self) -> dict[str, str]:
        """Nothing of the player's own but the terminal and the screen: no keyring, no token, no settings."""
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
        folders = {f"XDG_{name}_HOME": str(self.home / folder) for name, folder in _FOLDERS.items()}
        return {
            **kept,
            **folders,
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / ".run"),
            "INTEG_UPSTREAM_URL": self.url,
            "WINEDEBUG": "-all",
        }


_FOLDERS = {"DATA": ".local/share", "CACHE": ".cache", "CONFIG": ".config", "STATE": ".local/state"}


@command("integ demo", "integ demo --json")
def demo() -> None:
    """Try it all in a sandbox: sign in, sync, find, install, launch. Needs no account and no network, leaves nothing."""
    out = output()
    with _ended_politely(), _stage() as stage:
        if out.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            Steps(out, stage).play()
        else:
            _browse(out, stage)


class Steps:
    """The main job as commands, one by one, each with what it really printed."""

    def __init__(self, out: Output, stage: Stage) -> None:
        self._out, self._stage = out, stage
        self._done: list[dict[str, Any]] = []

    def play(self) -> None:
        world = self._stage.world
        self.say("A make-believe player, a make-believe outside, the real Integ.")
        self.sign_in()
        self.step("Read both libraries", "sync", "--no-input")
        self.step("The first ten of them", "list", "--limit", "10")
        native = world.with_content("native-game")
        self.step("Find one by a part of its name", "search", native.title.split()[0].lower())
        self.step("Install a Proton version", "install-proton", "latest")
        self.step("Install a game", "install", f"gog:{native.id}")
        self.step("Play it; without a terminal it plays a night by itself", "launch", f"gog:{native.id}")
        self._saves()
        self.step("What Integ knows of it now", "show", f"gog:{native.id}")
        if shutil.which("wine"):
            windows = world.with_content("windows-game")
            self.step("A Windows game, through that Proton version", "install", f"gog:{windows.id}", "--platform", "windows")
            self.step("Play that too", "launch", f"gog:{windows.id}")
        self.say("\nThat was all of it. Yours begins with: integ login")
        self._out.result("demo", {"steps": self._done})

    def sign_in(self) -> None:
        world = self._stage.world
        self.step(
            "Sign in to Steam, with a Web API key from stdin",
            *("login", "steam", "--steam-id", world.steam_id, "--api-key-stdin"),
            given=world.steam_own_key,
        )
        landing = _gog_landing(self._stage)
        self.step("Sign in to GOG, with the address that its page ended on", "login", "gog", "--code-stdin", given=landing)

    def step(self, what: str, *words: str, given: str = "") -> None:
        """
        Run `integ` with *words* in the throw-away home and show what it said.

        Raises:
            IntegError: It failed, which ends the demo.
        """
        self.say(f"\n{what}\n$ integ {shlex.join(words)}{' < secret.txt' if given else ''}")
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", "integ_cli", *words],
            env=self._stage.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            told, _ = child.communicate(given)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        lines = told.replace(str(self._stage.home), "~").rstrip().splitlines()
        self.say("\n".join(lines[:_LAST_LINES]))
        if len(lines) > _LAST_LINES:
            self.say(f"... and {len(lines) - _LAST_LINES} lines more")
        took_s = round(time.monotonic() - began, 2)
        self._done.append({"command": f"integ {shlex.join(words)}", "exit_code": child.returncode, "seconds": took_s})
        if child.returncode:
            raise IntegError(f"the demo stopped: integ {words[0]} exited with {child.returncode}", data={"steps": self._done})

    def _saves(self) -> None:
        """What the game itself wrote."""
        data = self._stage.home / _FOLDERS["DATA"]
        folders = [folder for folder in sorted(data.iterdir()) if folder.name not in {"applications", "integ", "umu"}]
        for file in [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()][:3]:
            self.say(f"Its save: ~/{file.relative_to(self._stage.home)}, {file.stat().st_size} bytes")

    def say(self, text: str) -> None:
        if not self._out.as_json:
            self._out.text(text)


class _Silent(Steps):
    def say(self, text: str) -> None:
        pass


def _browse(out: Output, stage: Stage) -> None:
    """Sign in and sync behind the curtain, then give the player the browser."""
    out.note("Setting the stage: a sandbox with two stores, a player who is signed in to both ...")
    prepared = _Silent(out, stage)
    prepared.sign_in()
    prepared.step("", "sync", "--no-input")
    from integ_cli.commands.play_tui import open_browser
    from integ_runtime.settings import read_settings

    with _inside(stage):
        open_browser(out, read_settings())
    out.note("The demo is over, and nothing of it is left. Yours begins with: integ login")


def _gog_landing(stage: Stage) -> str:
    """The address that a browser would end on: the sandbox's sign-in page agrees at once."""
    import httpx

    from integ_runtime.settings import read_settings
    from integ_server.contract.types import SignInPage, SignInWay

    async def begin(runtime: Any) -> SignInPage:
        page: SignInPage = await runtime.accounts.begin("gog", SignInWay.CODE)
        return page

    with _inside(stage):
        page = session.run(Output(), begin, read_settings())
    landing = httpx.get(page.address, follow_redirects=False, timeout=10, trust_env=False).headers.get("Location", "")
    if not landing:
        raise IntegError("the sandbox's sign-in page did not end anywhere")
    return str(landing)


# --- coming and going ----------------------------------------------------------------------------------------------


@contextmanager
def _stage() -> Iterator[Stage]:
    from integ_server.sandbox.app import create_sandbox
    from integ_server.sandbox.serve import serve
    from integ_server.sandbox.world import make_world

    world = make_world("demo")
    with tempfile.TemporaryDirectory(prefix="integ-demo-", ignore_cleanup_errors=True) as folder, serve(create_sandbox(world)) as url:
        home = Path(folder)
        for name in (*_FOLDERS.values(), ".run"):
            (home / name).mkdir(parents=True, mode=0o700)
        try:
            yield Stage(home, url, world)
        finally:
            _end_everything_of(home)


@contextmanager
def _inside(stage: Stage) -> Iterator[None]:
    """This process with the throw-away home's environment, for what asks `os.environ`: the player's keyring stays untouched."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(stage.environ)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _ended_politely() -> Iterator[None]:
    """A closed terminal and a polite kill clean up like Ctrl-C does."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_everything_of(home: Path) -> None:
    """End what still runs in the throw-away home: a game left open, Wine's own server."""
    for number, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + patience_s
        for pid in _living_in(home):
            _send(pid, number)
        while _living_in(home) and time.monotonic() < until:
            time.sleep(0.02)


def _living_in(home: Path) -> list[int]:
    sign = f"\0HOME={home}\0".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if sign in b"\0" + (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue  # somebody else's, or gone
    return found


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
