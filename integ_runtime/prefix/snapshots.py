"""
Snapshots of a game's prefix: whole copies beside it, each below its own name only once it is whole.

`prefix-snapshots/<UTC stamp>/` holds the copy (`prefix`) and what is known of it (`snapshot.json`). What is being made or is on its way out
has a name with a dot, and belongs to nobody once the play lock is free: whoever holds that may sweep it away.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from integ_runtime.content.installed import write_whole
from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.prefix.copying import Measure, check_room, copy_tree, measure
from integ_runtime.prefix.versions import Used, last_build
from integ_runtime.progress import Progress
from integ_runtime.proton.folder import remove_tree, sync_folder, sync_to_disk
from integ_server.contract.errors import NotFoundError
from integ_server.releases.families import natural_order

SNAPSHOTS = "prefix-snapshots"
TREE = "prefix"
RECORD = "snapshot.json"
KEPT_AUTOMATIC = 3
SNAPSHOT_ID = re.compile(r"\d{8}T\d{6}Z(-\d{1,4})?", re.ASCII)
_GONE = ".prefix-gone-"
_LONGEST_NOTE = 500

Reason = Literal["asked", "older-build", "restore"]
"""`asked` for by the player; before an `older-build` got at the prefix; the state before a `restore`. All but the first are automatic."""
Tell = Callable[[Progress], object]


@dataclass(frozen=True, slots=True)
class Snapshot:
    id: str
    path: Path
    taken_at: str
    """RFC 3339, UTC."""
    reason: Reason
    note: str
    size_bytes: int
    """Of the prefix; where blocks are shared the snapshot itself takes next to nothing."""
    used: Used | None
    """The build that had used it last."""

    @property
    def tree(self) -> Path:
        return self.path / TREE

    def as_dict(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "id": self.id,
            "path": str(self.path),
            "taken_at": self.taken_at,
            "reason": self.reason,
            "note": self.note,
            "size_bytes": self.size_bytes,
            "proton": self.used.version if self.used else None,
            "family": self.used.family if self.used else None,
        }


@dataclass(frozen=True, slots=True)
class Watch:
    """How a long action is followed and ended: *check* is called often and may raise, *tell* hears how far it is."""

    check: Callable[[], None] = lambda: None
    tell: Tell = lambda _: None


def list_snapshots(game_dir: Path) -> list[Snapshot]:
    """The whole ones, the oldest first."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        folders = [each for each in (game_dir / SNAPSHOTS).iterdir() if SNAPSHOT_ID.fullmatch(each.name) and (each / TREE).is_dir()]
        return sorted((_read(each) for each in folders), key=lambda each: natural_order(each.id))
    return []


def get_snapshot(game_dir: Path, snapshot_id: str | None) -> Snapshot:
    """
    The one of this id, or the newest.

    Raises:
        NotFoundError: There is none.
    """
    found = list_snapshots(game_dir)
    key = _key_of(game_dir)
    if not found:
        raise NotFoundError(f"{key} has no snapshot of its prefix", hint=f"integ prefix snapshot {key}")
    if snapshot_id is None:
        return found[-1]
    for each in found:
        if each.id == snapshot_id:
            return each
    raise NotFoundError(f"{key} has no snapshot {snapshot_id}", hint=f"integ prefix snapshots {key}")


def take_snapshot(game_dir: Path, reason: Reason, *, note: str = "", watch: Watch | None = None) -> Snapshot:
    """
    Copy the prefix below *game_dir*, for the holder of its play lock; nothing may run in it. The oldest automatic ones go.

    Raises:
        StorageError: There is no room for it, or the disk fails.
    """
    watch = watch or Watch()
    prefix = game_dir / "prefix"
    with storage_errors(prefix):
        snapshots = snapshots_folder(game_dir)
        known = measure(prefix)
        with hidden_copy(snapshots, prefix, known, watch) as work:
            write_record(work, reason, known.bytes, last_build(prefix), note=note)
            target = work.with_name(work.name[1:].removesuffix(".tmp"))
            sync_to_disk(snapshots)
            work.rename(target)
            sync_folder(snapshots)
    drop_old(game_dir, but=target.name)
    return _read(target)


@contextlib.contextmanager
def hidden_copy(snapshots: Path, source: Path, known: Measure, watch: Watch) -> Iterator[Path]:
    """A hidden folder `.<new id>.tmp` with a copy of the tree *source*, as large as *known*; gone after a failure."""
    check_room(
        known, snapshots, hint=f"make room there; which snapshots take some says: integ prefix snapshots {_key_of(snapshots.parent)}"
    )
    work = snapshots / f".{_new_id(snapshots)}.tmp"
    work.mkdir(0o700)
    done = 0

    def moved(count: int) -> None:
        nonlocal done
        done += count
        watch.tell(Progress("copy", done_bytes=min(done, known.bytes), total_bytes=known.bytes))

    try:
        copy_tree(source, work / TREE, check=watch.check, moved=moved)
        yield work
    except BaseException:
        remove_tree(work)
        raise


def write_record(folder: Path, reason: Reason, size_bytes: int, used: Used | None, *, note: str = "") -> None:
    body = {
        "reason": reason,
        "note": note[:_LONGEST_NOTE],
        "size_bytes": size_bytes,
        "proton": used.version if used else None,
        "family": used.family if used else None,
    }
    write_whole(folder / RECORD, json.dumps(body))


def drop_snapshot(snapshot: Snapshot) -> None:
    """Delete it; cut short, it has no name any more, and the rest goes with the next sweep."""
    hidden = snapshot.path.with_name(f".{snapshot.id}.gone")
    with storage_errors(snapshot.path):
        if hidden.exists():
            remove_tree(hidden)
        snapshot.path.rename(hidden)
    remove_tree(hidden)


def drop_old(game_dir: Path, *, but: str) -> None:
    """Keep only the newest automatic ones; *but* stays in any case."""
    automatic = [each for each in list_snapshots(game_dir) if each.reason != "asked"]
    for each in automatic[:-KEPT_AUTOMATIC]:
        if each.id != but:
            drop_snapshot(each)


def remove_prefix(game_dir: Path) -> None:
    """Delete the prefix itself; cut short, there is none any more, and the rest goes with the next sweep."""
    prefix = game_dir / "prefix"
    hidden = game_dir / f"{_GONE}{time.time_ns():x}"
    with storage_errors(prefix):
        prefix.rename(hidden)
        sync_folder(game_dir)
    remove_tree(hidden)


def sweep(game_dir: Path) -> None:
    """Delete what others left half-made or half-deleted, once no restore is left half-done; for the holder of the play lock."""
    left = [
        *(game_dir / SNAPSHOTS).glob(".*.tmp"),
        *(game_dir / SNAPSHOTS).glob(".*.gone"),
        *game_dir.glob(f"{_GONE}*"),
        *game_dir.glob(".prefix*.json.*.tmp"),
    ]
    for each in left:
        remove_tree(each)


def snapshots_folder(game_dir: Path) -> Path:
    snapshots = game_dir / SNAPSHOTS
    snapshots.mkdir(mode=0o700, exist_ok=True)
    return snapshots


def _key_of(game_dir: Path) -> str:
    return game_dir.name.replace("-", ":", 1)


def _new_id(snapshots: Path) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    taken = [each.name.partition("-")[2] or "0" for each in snapshots.glob(f"{stamp}*")]  # one that was dropped leaves its number free
    return f"{stamp}-{max(map(int, taken)) + 1}" if taken else stamp


def _read(folder: Path) -> Snapshot:
    """A damaged record costs what stood in it; the snapshot counts as one that was asked for, and so stays."""
    body: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, RecursionError):
        read = json.loads((folder / RECORD).read_text("utf-8"))
        body = read if isinstance(read, dict) else {}

    def text(name: str) -> str:
        return body[name] if isinstance(body.get(name), str) else ""

    size, reason = body.get("size_bytes"), text("reason")
    stamp = folder.name
    return Snapshot(
        id=folder.name,
        path=folder,
        taken_at=f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z",
        reason="older-build" if reason == "older-build" else "restore" if reason == "restore" else "asked",
        note=text("note"),
        size_bytes=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else 0,
        used=Used(text("proton"), text("family")) if text("proton") else None,
    )
