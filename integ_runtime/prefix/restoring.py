"""
A snapshot back in the prefix's place; what was there becomes a snapshot itself.

The new tree is made whole and hidden first. From then on a journal says what is to be done, and `finish_restore` does it, whoever calls it:
cut short anywhere, the next one who holds the play lock goes on.
"""

from __future__ import annotations

import json
from pathlib import Path

from integ_runtime.content.installed import write_whole
from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.prefix.copying import measure
from integ_runtime.prefix.snapshots import (
    SNAPSHOTS,
    TREE,
    Snapshot,
    Watch,
    drop_old,
    hidden_copy,
    list_snapshots,
    snapshots_folder,
    write_record,
)
from integ_runtime.prefix.swapping import JOURNAL, exchange
from integ_runtime.prefix.versions import Used, last_build, write_note
from integ_runtime.proton.folder import remove_tree, sync_folder, sync_to_disk
from integ_server.contract.errors import IntegrityError, StorageError

_ASIDE = "before"


def restore(game_dir: Path, snapshot: Snapshot, watch: Watch) -> Snapshot | None:
    """
    Put *snapshot* in the place of the prefix below *game_dir*, for the holder of its play lock; answers what was kept of the state before.

    Raises:
        StorageError: There is no room for the copy, or the disk fails.
    """
    prefix = game_dir / "prefix"
    with storage_errors(prefix):
        snapshots = snapshots_folder(game_dir)
        if snapshots.stat().st_dev != game_dir.stat().st_dev:
            raise StorageError(
                f"{snapshots} is on another file system than the prefix, so nothing can change places with it",
                hint=f"move them into a folder of that name in {game_dir}",
            )
        with hidden_copy(snapshots, snapshot.tree, measure(snapshot.tree), watch) as work:
            if prefix.exists():
                write_record(work, "restore", measure(prefix).bytes, last_build(prefix), note=f"before {snapshot.id} was restored")
            sync_to_disk(snapshots)
            watch.check()
            used = snapshot.used
            body = {
                "work": work.name,
                "inode": (work / TREE).stat().st_ino,
                "used": {"proton": used.version, "family": used.family} if used else None,
            }
            try:
                write_whole(game_dir / JOURNAL, json.dumps(body))
            except StorageError:
                (game_dir / JOURNAL).unlink(missing_ok=True)  # it may stand there all the same, and the copy goes now
                raise
    finish_restore(game_dir)
    kept = next((each for each in list_snapshots(game_dir) if each.id == _final_name(work.name)), None)
    drop_old(game_dir, but=snapshot.id)
    return kept


def finish_restore(game_dir: Path) -> bool:
    """
    Do what is left of a restore that was decided on; False when there is none. Each step can be seen to be done, so each is done once.

    Raises:
        IntegrityError: The journal can't be read.
        StorageError: The disk fails.
    """
    journal = game_dir / JOURNAL
    if not journal.exists():
        return False
    name, inode, used = _read(journal)
    prefix, snapshots = game_dir / "prefix", game_dir / SNAPSHOTS
    work = snapshots / name
    tree, aside = work / TREE, work / _ASIDE
    with storage_errors(prefix):
        if tree.exists():
            if not prefix.exists():
                tree.rename(prefix)
            elif tree.stat().st_ino == inode:
                _swap(tree, prefix, aside, journal)
        if aside.exists():
            aside.rename(tree)
        write_note(game_dir, used)
        if tree.exists():
            work.rename(snapshots / _final_name(name))
        remove_tree(work)
        for folder in (snapshots, game_dir):
            sync_folder(folder)
        journal.unlink()
    return True


def _swap(tree: Path, prefix: Path, aside: Path, journal: Path) -> None:
    try:
        done = exchange(tree, prefix)
        if not done:
            prefix.rename(aside)
    except OSError:
        journal.unlink()  # nothing has happened yet, and it would fail at each start from now on: a mount point, another file system
        raise
    if not done:
        tree.rename(prefix)


def _final_name(work: str) -> str:
    return work[1:].removesuffix(".tmp")


def _read(journal: Path) -> tuple[str, int, Used | None]:
    try:
        body = json.loads(journal.read_text("utf-8"))
        name, inode, used = body["work"], body["inode"], body["used"]
        if not isinstance(name, str) or "/" in name or not name.startswith(".") or not isinstance(inode, int):
            raise ValueError("it names nothing that can be there")
        return name, inode, Used(str(used["proton"]), str(used["family"])) if used is not None else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(
            f"a restore was cut short, and its journal {journal} can't be read: {error}",
            hint=f"look into {journal.parent / SNAPSHOTS} for what is whole, then remove the journal",
        ) from error
