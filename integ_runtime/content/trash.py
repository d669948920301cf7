"""Where a file goes that Integ must not delete: `.integ-trash` on the same file system, so that nothing is copied and nothing is lost."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from integ_runtime.content.installed import InstalledGame, write_whole
from integ_runtime.content.names import TRASH, Parts
from integ_runtime.downloads.fetch import storage_errors

ABOUT = "integ/trash@1"


class Trash:
    """One batch in the trash of one game, made with the first file that is put there. May be shared by threads."""

    def __init__(self, game: InstalledGame, reason: str) -> None:
        self._game = game
        self._reason = reason
        self._place: Path | None = None
        self._lock = threading.Lock()
        self.taken: list[str] = []
        """What was put there, relative to the game's folder."""

    def take(self, path: Path, parts: Parts) -> None:
        """
        Move *path*, which stands at *parts* in the game's folder, to the trash.

        Raises:
            StorageError: The disk fails; *path* is still where it was.
        """
        with self._lock, storage_errors(path):
            if self._place is None:
                self._place = self._open(path)
            target = self._place.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):
                target = target.with_name(f"{target.name}.{time.time_ns()}")
            path.rename(target)
            self.taken.append("/".join(parts))

    @property
    def place(self) -> Path | None:
        """The batch's folder; None as long as it is empty."""
        return self._place

    def _open(self, path: Path) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        root = _trash_root(self._game, path)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{stamp}-{self._game.key.replace(':', '-', 1)}"
        number = 0
        while True:
            place = root / (name if not number else f"{name}-{number}")
            try:
                place.mkdir()
                break
            except FileExistsError:
                number += 1
        about = {
            "schema": ABOUT,
            "key": self._game.key,
            "title": self._game.title,
            "from": str(self._game.path),
            "reason": self._reason,
            "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_whole(root / f"{place.name}.json", json.dumps(about, indent=1))
        return place


def _trash_root(game: InstalledGame, path: Path) -> Path:
    """The library folder's trash when it is on the file system of *path*, else one in the game's own folder."""
    device = path.lstat().st_dev
    for folder in (game.library_root, game.path.parent):
        if folder is not None and folder.is_dir() and folder.stat().st_dev == device and os.access(folder, os.W_OK):
            return folder / TRASH
    return game.path / TRASH
