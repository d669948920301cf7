"""Off the disk again, by ledger: never by folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.content.ledger import LEDGER, Ledger, Root, drop_ledger
from integ_runtime.content.trash import Trash
from integ_runtime.content.tree import Tree
from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.prefix.snapshots import SNAPSHOTS, sweep
from integ_runtime.prefix.swapping import JOURNAL
from integ_server.contract.errors import StorageError

_PURGED = ("left.json", JOURNAL, "prefix", "prefix.json", SNAPSHOTS, "saves", "support")
"""What of a game's own folder goes with --purge; its play record stays, since it can't be had again."""


def roots_of(game: InstalledGame, folder: Path) -> dict[Root, Path]:
    """The two folders that the ledger's paths start from."""
    return {"game": game.path, "support": folder / "support"}


@dataclass(frozen=True, slots=True)
class Removed:
    trashed: tuple[str, ...] = ()
    """Paths that had been changed, relative to the game's folder."""
    trash: Path | None = None
    """Where they are now."""
    kept: bool = False
    """Whether something that is not ours stays."""
    bytes_freed: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "trashed": list(self.trashed),
            "trash": str(self.trash) if self.trash else None,
            "kept": self.kept,
            "bytes_freed": self.bytes_freed,
        }


def remove_game(game: InstalledGame, installed: InstalledGames, check: Callable[[], None]) -> Removed:
    """Remove what the ledger of *game* names; cut short, it goes on where it stopped when called again."""
    if game.source == "imported":
        installed.remove(game.key)
        return Removed(kept=True)
    folder = installed.folder(game.key)
    if not game.path.parent.is_dir():
        raise StorageError(f"{game.path.parent} is not there: is its drive mounted?", hint=f"mount it, then: integ uninstall {game.key}")
    if game.state != "removing":
        installed.set_state(game, "removing")
    trash = Trash(game, "changed since it was installed")
    with Ledger(folder / LEDGER) as ledger:
        tree = Tree(roots_of(game, folder), ledger, trash, check)
        freed = tree.remove(ledger.entries())
        tree.drop_staging()
    kept = _drop_if_empty(game.path)
    _drop_if_empty(folder / "support")
    drop_ledger(folder / LEDGER)
    if kept:
        installed.note_left(game.key, game.path)
    installed.remove(game.key)
    return Removed(tuple(sorted(trash.taken)), trash.place, kept, freed)


def purge_game(folder: Path) -> None:
    """Delete the prefix, the saves and what else Integ keeps for a game."""
    sweep(folder)
    for name in _PURGED:
        place = folder / name
        with storage_errors(place):
            if place.is_dir() and not place.is_symlink():
                _make_deletable(place)
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)


def _drop_if_empty(folder: Path) -> bool:
    """True when something is left in it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _make_deletable(folder: Path) -> None:
    """Wine makes folders read-only when a program asks for it."""
    for place in (folder, *(each for each in folder.rglob("*") if each.is_dir() and not each.is_symlink())):
        place.chmod(0o700)
