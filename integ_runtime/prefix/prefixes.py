"""The prefixes of this machine's games: what is in them, snapshots of them, away with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from integ_runtime.content.installed import InstalledGames
from integ_runtime.downloads.background import Reporter, Stop, in_background
from integ_runtime.launch.playtime import left_behind
from integ_runtime.launch.prefix import prefix_of
from integ_runtime.launch.run import play_lock
from integ_runtime.prefix.copying import measure
from integ_runtime.prefix.restoring import finish_restore, restore
from integ_runtime.prefix.snapshots import (
    SNAPSHOTS,
    Snapshot,
    Watch,
    drop_snapshot,
    get_snapshot,
    list_snapshots,
    remove_prefix,
    sweep,
    take_snapshot,
)
from integ_runtime.prefix.users import PrefixUser, users_of, wait_until_quiet
from integ_runtime.prefix.versions import Used, last_build, version_text, write_note
from integ_runtime.progress import Report, unheard
from integ_server.contract.errors import BusyError, IntegrityError, NotFoundError, UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PrefixInfo:
    key: str
    path: Path
    exists: bool
    size_bytes: int
    used: Used | None
    """The build that used it last."""
    version_text: str
    """What Proton itself wrote into it; empty when it did not."""
    snapshots: tuple[Snapshot, ...]
    running: tuple[PrefixUser, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "key": self.key,
            "path": str(self.path),
            "exists": self.exists,
            "size_bytes": self.size_bytes,
            "proton": self.used.version if self.used else None,
            "family": self.used.family if self.used else None,
            "version_text": self.version_text or None,
            "snapshots": [each.as_dict() for each in self.snapshots],
            "running": [{"pid": each.pid, "name": each.name} for each in self.running],
        }


class Prefixes:
    """Everything that can be done to a prefix beside playing in it. A game that runs keeps its prefix: `BusyError`."""

    def __init__(self, installed: InstalledGames) -> None:
        self._installed = installed

    async def info(self, key: str) -> PrefixInfo:
        folder = self._folder(key)
        prefix = prefix_of(folder)

        def look(stop: Stop) -> PrefixInfo:
            there = prefix.is_dir()
            return PrefixInfo(
                key=key,
                path=prefix,
                exists=there,
                size_bytes=measure(prefix).bytes if there else 0,
                used=last_build(prefix) if there else None,
                version_text=version_text(prefix),
                snapshots=tuple(list_snapshots(folder)),
                running=tuple(users_of(prefix)) if there else (),
            )

        return await in_background(look, name="prefix info")

    async def drive(self, key: str) -> Path:
        """
        The folder that Windows programs in the prefix call `C:`.

        Raises:
            NotFoundError: There is no prefix yet, or Wine has not made it ready.
        """
        drive = prefix_of(self._folder(key)) / "pfx" / "drive_c"
        if not await asyncio.to_thread(drive.is_dir):
            raise self._no_prefix(key)
        return drive

    async def snapshots(self, key: str) -> list[Snapshot]:
        return await asyncio.to_thread(list_snapshots, self._folder(key))

    async def snapshot(self, key: str, snapshot_id: str) -> Snapshot:
        """
        Raises:
            NotFoundError: There is none of this id.
        """
        return await asyncio.to_thread(get_snapshot, self._folder(key), snapshot_id)

    async def take(self, key: str, *, note: str = "", report: Report = unheard) -> Snapshot:
        """
        Keep a snapshot of the prefix.

        Raises:
            NotFoundError: There is no prefix.
            BusyError: The game runs.
            StorageError: There is no room, or the disk fails.
        """
        return await self._alone(key, lambda folder, watch: take_snapshot(folder, "asked", note=note, watch=watch), report)

    async def restore(self, key: str, snapshot_id: str | None = None, *, report: Report = unheard) -> tuple[Snapshot, Snapshot | None]:
        """
        Put a snapshot, the newest if none is named, in the place of the prefix; with it what was kept of the state before.

        Raises:
            NotFoundError: There is no such snapshot.
            BusyError: The game runs.
            StorageError: There is no room, or the disk fails.
        """

        def work(folder: Path, watch: Watch) -> tuple[Snapshot, Snapshot | None]:
            wanted = get_snapshot(folder, snapshot_id)
            return wanted, restore(folder, wanted, watch)

        return await self._alone(key, work, report, prefix_needed=False)

    async def forget(self, key: str, snapshot_id: str) -> Snapshot:
        """
        Delete one snapshot; the prefix itself is not touched, but whoever starts the game may be making or dropping snapshots.

        Raises:
            NotFoundError: There is no such snapshot.
            BusyError: The game runs.
        """

        def work(folder: Path, watch: Watch) -> Snapshot:
            gone = get_snapshot(folder, snapshot_id)
            drop_snapshot(gone)
            return gone

        return await self._alone(key, work, unheard, prefix_needed=False)

    async def remove(self, key: str, *, purge: bool = False) -> int:
        """
        Delete the prefix and everything in it, with *purge* its snapshots too; answers how many bytes that were.

        Raises:
            NotFoundError: There is nothing to delete.
            BusyError: The game runs.
        """

        def work(folder: Path, watch: Watch) -> int:
            prefix = prefix_of(folder)
            kept = list_snapshots(folder) if purge else []
            if not prefix.exists() and not kept:
                raise self._no_prefix(key)
            freed = sum(measure(each).bytes for each in (prefix, *(each.path for each in kept)))
            if prefix.exists():
                remove_prefix(folder)
            write_note(folder, None)
            for each in kept:
                drop_snapshot(each)
            return freed

        return await self._alone(key, work, unheard, prefix_needed=False)

    async def _alone(self, key: str, work: Callable[[Path, Watch], T], report: Report, *, prefix_needed: bool = True) -> T:
        """What *work* answers, done in a thread while nobody else may touch the prefix and nothing runs in it."""
        folder = self._folder(key)
        if not (prefix_of(folder).exists() or (folder / SNAPSHOTS).is_dir()):
            raise self._no_prefix(key)
        tell = Reporter(report)

        def inside(stop: Stop) -> T:
            with alone(folder, stop.check):
                if prefix_needed and not prefix_of(folder).is_dir():
                    raise self._no_prefix(key)
                return work(folder, Watch(stop.check, tell))

        return await in_background(inside, name="prefix")

    def _no_prefix(self, key: str) -> NotFoundError:
        with suppress(IntegrityError):
            game = self._installed.find(key)
            if game is not None and game.platform == "linux":
                return NotFoundError(f"{game.title} is a Linux game: it has no prefix", hint=f"integ launch {key}")
        return NotFoundError(f"{key} has no prefix", hint=f"integ prefix create {key}")

    def _folder(self, key: str) -> Path:
        check_ours(key)
        return self._installed.folder(key)


def check_ours(key: str) -> None:
    """
    Raises:
        UsageError: The prefix of *key* is not Integ's.
    """
    if key.startswith("steam:"):
        game_id = key.partition(":")[2]
        raise UsageError(f"the prefix of {key} is Steam's own, not Integ's", hint=f"protontricks {game_id} winecfg")


@contextmanager
def alone(folder: Path, check: Callable[[], None]) -> Iterator[int]:
    """
    Hold the prefix below *folder* for oneself, whole and with nothing running in it; what a kill left half-done is finished or swept away.

    Raises:
        BusyError: The game, or anything else, runs in it.
    """
    with play_lock(folder, doing="it runs, or its prefix is being worked on") as lock:
        settle(folder, check)
        yield lock


def settle(folder: Path, check: Callable[[], None]) -> None:
    """
    Wait until nothing runs in the prefix, then finish or sweep away what a kill left half-done; for the holder of the play lock.

    Raises:
        BusyError: Something runs in it.
    """
    orphans = left_behind(folder)
    if orphans:
        key = folder.name.replace("-", ":", 1)
        raise BusyError(f"{key} still runs (pid {orphans[0]}), left by a play that was cut short", hint=f"integ stop {key}")
    wait_until_quiet(prefix_of(folder), check)
    finish_restore(folder)
    sweep(folder)
