"""Which game is set to which Proton version, and what runs from a version at this moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from integ_runtime import late_loop
from integ_runtime.proton.installed import InstalledBuild
from integ_runtime.settings import RuntimeSettings, read_config_file
from integ_server.contract.errors import WouldLoseDataError, utc_now_text

if TYPE_CHECKING:
    from integ_runtime.cache.store import LibraryCache

_FILE = "proton.json"
DEFAULT_SETTING = "default_proton"


class Choice(NamedTuple):
    version: str | None
    """None: a choice was taken back."""
    at: str
    """When: RFC 3339, UTC."""


class Choices:
    """
    The player's choices: this machine's lie in a file in each game's folder, the library tells of those that were made on others.

    Of the two the later one counts; the library has a choice of this machine too, as soon as the backend has heard of it.
    """

    def __init__(self, settings: RuntimeSettings, library: LibraryCache | None = None) -> None:
        self._settings, self._paths, self._library = settings, settings.paths, library

    async def read(self, key: str) -> str | None:
        """The version that the game *key* is set to."""
        own = await late_loop.in_thread(self._own, key)
        told = await self._library.launch_wishes(key) if self._library is not None else None
        followed = Choice(told.proton, told.proton_at) if told is not None and told.proton_at else None
        return _later(own, followed)

    async def write(self, key: str, version: str | None) -> None:
        """Choose *version*, or None to take a choice back, on this machine; raises a StorageError when it can't be written."""
        await late_loop.in_thread(self._write, key, Choice(version, utc_now_text()))

    async def default(self) -> str:
        """The version for games without a choice of their own: this machine's, else the player's for all; empty when there is none."""
        set_here = await late_loop.in_thread(self._set_default)
        return set_here or (str((await self._library.preferences()).get(DEFAULT_SETTING, "")) if self._library is not None else "")

    async def settable_default(self) -> str:
        """What the settings file of this machine says; empty when that is nothing, or the environment has the say."""
        return "" if os.environ.get("INTEG_DEFAULT_PROTON") else await late_loop.in_thread(self._set_default)

    async def users(self) -> dict[str, list[str]]:
        """The keys of the games that are set to each version, in order."""
        own = await late_loop.in_thread(self._all)
        followed = await self._library.proton_choices() if self._library is not None else {}
        users: dict[str, list[str]] = {}
        for key in sorted(own.keys() | followed.keys()):
            version = _later(own.get(key), Choice(*followed[key]) if key in followed else None)
            if version is not None:
                users.setdefault(version, []).append(key)
        return users

    def _set_default(self) -> str:
        """What the player set, now: the file may have changed since this process read it, the environment can't."""
        if os.environ.get("INTEG_DEFAULT_PROTON"):
            return self._settings.default_proton
        written = read_config_file(self._paths.config_file).get(DEFAULT_SETTING, "")
        return written.strip() if isinstance(written, str) else ""

    def _all(self) -> dict[str, Choice]:
        files = sorted(self._paths.games_dir.glob(f"*/{_FILE}"))
        found = ((file.parent.name.replace("-", ":", 1), _choice_in(file)) for file in files)
        return {key: choice for key, choice in found if choice is not None}

    def _own(self, key: str) -> Choice | None:
        return _choice_in(self._paths.game_dir(key) / _FILE)

    def _write(self, key: str, choice: Choice) -> None:
        import secrets

        from integ_runtime.downloads.fetch import storage_errors

        file = self._paths.game_dir(key) / _FILE
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_name(f".{_FILE}.{secrets.token_hex(4)}")
            try:
                beside.write_text(json.dumps({"version": choice.version, "decided_at": choice.at}) + "\n", "utf-8")
                beside.replace(file)
            finally:
                beside.unlink(missing_ok=True)


def _later(own: Choice | None, followed: Choice | None) -> str | None:
    if own is None or followed is None:
        return (own or followed or Choice(None, "")).version
    return (own if own.at > followed.at else followed).version


def check_unused(build: InstalledBuild, users: list[str]) -> None:
    """
    Raises:
        WouldLoseDataError: A game of *users* is set to *build*, or something runs from it.
    """
    if users:
        raise WouldLoseDataError(
            f"{build.version} is the choice for {', '.join(users[:5])}",
            hint="choose another for them, or add --force",
            data={"used_by": users},
        )
    pid = next(processes_from(build.path), None)
    if pid is not None:
        raise WouldLoseDataError(f"{build.version} is running (process {pid})", hint="end that game, or add --force")


def processes_from(folder: Path) -> Iterator[int]:
    """Processes whose program, or one of whose arguments, lies below *folder*."""
    begin = os.fsencode(folder) + b"/"
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            arguments = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            if any(each.startswith(begin) for each in arguments) or os.readlink(f"{entry.path}/exe".encode()).startswith(begin):  # noqa: PTH115
                yield int(entry.name)


def _choice_in(file: Path) -> Choice | None:
    """The choice in *file*; the time of the file is that of one which was made before moments were written down."""
    try:
        known = json.loads(file.read_text("utf-8"))
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, ValueError, RecursionError):
        return None
    version, at = (known.get("version"), known.get("decided_at")) if isinstance(known, dict) else (0, None)
    if version is not None and (not isinstance(version, str) or not version):
        return None
    return Choice(version, at if isinstance(at, str) else written.strftime("%Y-%m-%dT%H:%M:%SZ"))
