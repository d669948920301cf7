"""Which game is set to which Proton version, and what runs from a version at this moment."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.paths import Paths

_FILE = "proton.json"


class Choices:
    """The player's choices, one file in each game's folder. All calls block."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def read(self, key: str) -> str | None:
        return _version_in(self._file(key))

    def write(self, key: str, version: str) -> None:
        """Raises a StorageError when it can't."""
        file = self._file(key)
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_name(f".{_FILE}.{secrets.token_hex(4)}")
            try:
                beside.write_text(json.dumps({"version": version}) + "\n", "utf-8")
                beside.replace(file)
            finally:
                beside.unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        with storage_errors(self._file(key)):
            self._file(key).unlink(missing_ok=True)

    def users(self) -> dict[str, list[str]]:
        """The keys of the games that are set to each version, in order."""
        users: dict[str, list[str]] = {}
        for file in sorted(self._paths.games_dir.glob(f"*/{_FILE}")):
            version = _version_in(file)
            if version is not None:
                users.setdefault(version, []).append(file.parent.name.replace("-", ":", 1))
        return users

    def _file(self, key: str) -> Path:
        return self._paths.game_dir(key) / _FILE


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


def _version_in(file: Path) -> str | None:
    try:
        choice = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    version = choice.get("version") if isinstance(choice, dict) else None
    return version if isinstance(version, str) and version else None
