"""Installing a game by `steamcmd`, where no client is wanted: into a folder of its own, for either platform."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.launch.environment import clean
from integ_runtime.progress import Progress, Report, unheard
from integ_runtime.steam.vdf import read_vdf
from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    StorageError,
    UsageError,
)

Platform = Literal["linux", "windows"]

_LOGIN = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_BRANCH = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PROGRESS = re.compile(r"Update state \(0x[0-9a-fA-F]+\) ([a-z]+)[a-z ]*, progress: [0-9.]+ \((\d+) / (\d+)\)")
_STAGES = {"downloading": "download", "verifying": "verify", "preallocating": "reserve", "committing": "write"}
_DONE = re.compile(r"Success! App '(\d+)' (?:fully installed|already up to date)")
_REFUSED = re.compile(r"ERROR! Failed to install app '\d+' \(([^)]*)\)", re.IGNORECASE)
_STOPPED = re.compile(r"Error! App '\d+' state is 0x([0-9a-fA-F]+) after update job", re.IGNORECASE)
_NO_SIGN_IN = re.compile(
    r"cached credentials not found|invalid password|login failure|failed login|logon denied|two-factor code mismatch", re.IGNORECASE
)
_TOO_OFTEN = re.compile(r"rate limit exceeded", re.IGNORECASE)
_LOGIN_FAILED, _UPDATED_ITSELF = 5, 7
_ENDS_WITHIN_S = 10.0
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class SteamcmdGame:
    path: Path
    build: str
    bytes_on_disk: int


@dataclass(slots=True)
class _Told:
    """What matters of all that a run printed."""

    done: bool = False
    refused: str = ""
    state: int = 0
    no_sign_in: bool = False
    too_often: bool = False
    last_error: str = ""


class Steamcmd:
    """
    One run after another of the program; it keeps the sign-in itself, and Integ never sees a password.

    Raises:
        NotFoundError: It is not on this machine.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        found = shutil.which("steamcmd", path=environ.get("PATH", os.defpath) + ":/usr/games")
        if found is None:
            raise NotFoundError("steamcmd is not on this machine", hint="install the package steamcmd, or leave --steamcmd away")
        self._program = found
        self._environ = clean(environ)

    def sign_in(self, login: str) -> None:
        """Let the player sign in on this terminal: steamcmd asks for password and code itself. Blocks until it has ended."""
        words = [self._program, "+login", _checked_login(login), "+quit"]
        try:
            subprocess.run(words, env=self._environ, check=False)
        except OSError as error:
            raise self._not_started(error) from error

    async def install(
        self, game_id: str, folder: Path, *, login: str, platform: Platform, branch: str | None = None, report: Report = unheard
    ) -> SteamcmdGame:
        """
        Bring the game into *folder*, or up to date there; what was fetched before a failure stays for the next run.

        Raises:
            AuthenticationError: steamcmd is not signed in as *login*, or the sign-in is over.
            PermissionDeniedError: *login* does not own the game.
            UsageError: There is no build for *platform*, or a name is none.
            RateLimitedError, ProviderUnavailableError, ProviderError: Steam said no, or nothing.
            StorageError: No room, or the disk fails.
        """
        words = install_words(game_id, folder, login=login, platform=platform, branch=branch)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        told, code = await self._run(words, report)
        if code == _UPDATED_ITSELF and not told.done:
            told, code = await self._run(words, report)
        if not told.done:
            raise _failure(told, code, game_id, login, platform)
        return _installed(game_id, folder)

    async def _run(self, words: Sequence[str], report: Report) -> tuple[_Told, int]:
        """What a run said, and its exit code. On a terminal of its own: into a pipe it would print nothing for minutes."""
        ours, its = os.openpty()
        told = _Told()
        try:
            nothing = asyncio.subprocess.DEVNULL
            child = await asyncio.create_subprocess_exec(
                self._program, *words, stdin=nothing, stdout=its, stderr=its, env=self._environ, start_new_session=True
            )
        except BaseException as error:
            os.close(ours)
            if isinstance(error, OSError):
                raise self._not_started(error) from error
            raise
        finally:
            os.close(its)
        try:
            async for line in _lines(ours):
                _listen(line, told, report)
            return told, await child.wait()
        finally:
            await _end(child)
            os.close(ours)

    def _not_started(self, error: OSError) -> ProviderError:
        return ProviderError(f"{self._program} can't be started: {error.strerror}", hint="install the package steamcmd again")


def install_words(game_id: str, folder: Path, *, login: str, platform: Platform, branch: str | None = None) -> list[str]:
    """
    What steamcmd is told: platform and folder before the login, or it takes neither.

    Raises:
        UsageError: A name could be taken for something else.
    """
    if not re.fullmatch(r"[0-9]{1,10}", game_id):
        raise UsageError(f"{game_id!r} is not a Steam game's number", hint="a Steam key looks like steam:620")
    if branch is not None and not _BRANCH.fullmatch(branch):
        raise UsageError(f"{branch!r} is not a branch's name", hint=f"integ install steam:{game_id} --steamcmd")
    words = ["+@ShutdownOnFailedCommand", "1", "+@NoPromptForPassword", "1", "+@sSteamCmdForcePlatformType", platform]
    words += ["+force_install_dir", os.fspath(folder.absolute()), "+login", _checked_login(login), "+app_update", game_id]
    return [*words, *(["-beta", branch] if branch else []), "+quit"]


def _checked_login(login: str) -> str:
    if not _LOGIN.fullmatch(login) or login.startswith("-"):
        raise UsageError(f"{login!r} is not a Steam account's name", hint="it is what you sign in with, not what friends see")
    return login


async def _lines(terminal: int) -> AsyncIterator[str]:
    """Each line as it is there, without colours; a progress line that replaces itself is a line each time."""
    rest = b""
    while True:
        await _readable(terminal)
        chunk = _read(terminal)
        *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
        for line in whole if chunk else [*whole, rest]:
            if line.strip():
                yield re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line.decode("utf-8", "replace")).strip()
        if not chunk:
            return
        rest = rest[-_LONGEST_LINE:]


async def _readable(terminal: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(terminal, tell)
    try:
        await ready
    finally:
        loop.remove_reader(terminal)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: nobody holds the other end any more
        return b""


def _listen(line: str, told: _Told, report: Report) -> None:
    if step := _PROGRESS.search(line):
        report(Progress(_STAGES.get(step[1], step[1]), int(step[2]), int(step[3]) or None))
    elif _DONE.search(line):
        told.done = True
    elif refused := _REFUSED.search(line):
        told.refused = refused[1]
    elif stopped := _STOPPED.search(line):
        told.state = int(stopped[1], 16)
    elif _TOO_OFTEN.search(line):
        told.too_often = True
    elif _NO_SIGN_IN.search(line):
        told.no_sign_in = True
    if "error" in line.casefold():
        told.last_error = line[:200]


def _failure(told: _Told, code: int, game_id: str, login: str, platform: Platform) -> IntegError:
    """The error behind a run without success; the number in its last words is the app's state, each bit of which says something."""
    again = f"integ install steam:{game_id} --steamcmd"
    if told.too_often:
        return RateLimitedError("Steam asks for a pause between sign-ins", hint="try again in half an hour")
    if told.no_sign_in or (code == _LOGIN_FAILED and not told.refused):
        return AuthenticationError(f"steamcmd is not signed in as {login}", hint=f"steamcmd +login {login} +quit")
    if "subscription" in told.refused.casefold():
        return PermissionDeniedError(f"{login} does not own steam:{game_id}", hint=f"{again} --login NAME")
    if "platform" in told.refused.casefold():
        other = "windows" if platform == "linux" else "linux"
        return UsageError(f"steam:{game_id} has no build for {platform}", hint=f"{again} --platform {other}")
    if told.refused:
        return ProviderError(f"Steam refused steam:{game_id}: {told.refused}", hint=again)
    if told.state in {0x202, 0x212}:
        return StorageError(f"there is no room for steam:{game_id}")
    if told.state == 0x606:
        return StorageError(f"steam:{game_id} can't be written")
    if told.state in {0x402, 0x602}:
        return ProviderUnavailableError("Steam's servers can't be reached", hint=again)
    if told.state in {0x626, 0x6A6}:
        return IntegrityError(f"files of steam:{game_id} are missing or damaged", hint=again)
    why = f": {told.last_error}" if told.last_error else ""
    return ProviderError(f"steamcmd ended with {code} and without the game{why}", hint=again)


def _installed(game_id: str, folder: Path) -> SteamcmdGame:
    try:
        state = read_vdf(folder / "steamapps" / f"appmanifest_{game_id}.acf").section("AppState")
    except FileNotFoundError as error:
        raise IntegrityError(f"steamcmd says that steam:{game_id} is there, but left no manifest in {folder}") from error
    return SteamcmdGame(folder, state.text("buildid"), max(0, state.number("SizeOnDisk")))


async def _end(child: asyncio.subprocess.Process) -> None:
    """End what is still there of a run that nobody waits for any longer: the script, and the program that it started."""
    if child.returncode is not None:
        return
    for stop in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, stop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await child.wait()
                return
