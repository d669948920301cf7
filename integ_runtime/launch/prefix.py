"""A game's Wine prefix: where it is, whether it can be used, and that no older build gets at it unprepared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from integ_runtime.launch.machine import PROTONS_USER
from integ_runtime.prefix.swapping import JOURNAL
from integ_runtime.prefix.versions import Used, is_step_back, last_build, noted_build, write_note
from integ_server.contract.errors import StorageError

if TYPE_CHECKING:
    from integ_runtime.downloads.background import Stop

_USERS_FOLDERS = (
    *("Desktop", "Documents", "Downloads", "Music", "Pictures", "Videos"),
    "AppData/Roaming/Microsoft/Windows/Templates",
)
_KEEPS = ".integ-keeps-this-folder"


def prefix_of(game_dir: Path) -> Path:
    """The folder above Wine's own prefix, as Proton and umu want it."""
    return game_dir / "prefix"


def is_made(prefix: Path) -> bool:
    """Whether Wine has ever got as far as writing its registry there."""
    return (prefix / "pfx" / "system.reg").is_file()


def prepare(prefix: Path) -> None:
    """
    Make sure that Proton can work in *prefix*; a restore that was cut short is finished first. For the holder of the play lock.

    Raises:
        StorageError: It can't be made, belongs to somebody else, or its file system can't do what Wine needs.
    """
    try:
        if (prefix.parent / JOURNAL).exists():
            from integ_runtime.prefix.restoring import finish_restore

            finish_restore(prefix.parent)
        prefix.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = prefix.stat().st_uid
        if owner != os.geteuid():
            raise StorageError(f"{prefix} belongs to another user ({owner})", hint=f"chown it, or play as its owner: {prefix}")
        if not (prefix / "pfx").exists():
            probe = prefix / f".integ-probe-{os.getpid()}"
            probe.symlink_to("nowhere")  # vfat and exfat can't, and Wine's drives are links
            probe.unlink()
    except OSError as error:
        raise StorageError(f"the prefix {prefix} can't be used: {error.strerror}", hint="it needs a file system with links") from error


def keep_folders(prefix: Path) -> None:
    """
    Give the Windows user in *prefix* folders of its own, as Proton does. Of each that is missing or empty plain Wine makes a link to the
    player's home folder, whenever it updates a prefix, and saves would lie there, where no snapshot holds them. A link that is there stays.

    Raises:
        StorageError: The disk is full or fails.

    Source: Wine, dlls/mountmgr.sys/unixlib.c (set_shell_folder): a folder with something in it is left alone.
    """
    user = prefix / "pfx" / "drive_c" / "users" / PROTONS_USER
    try:
        for name in _USERS_FOLDERS:
            folder = user / name
            if not folder.is_symlink():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / _KEEPS).touch()
    except OSError as error:
        raise StorageError(f"the prefix {prefix} can't be used: {error.strerror}", hint="integ doctor") from error


def is_in_use(prefix: Path) -> bool:
    """Whether something of Wine's runs in *prefix*."""
    from integ_runtime.prefix.users import users_of

    return bool(users_of(prefix))


def wait_for_wine(prefix: Path, stop: Stop) -> None:
    """
    Wait until what ran in *prefix* has ended, Wine's own services too: those of another build would take the next program for theirs.
    A Proton does that by itself.

    Raises:
        BusyError: It does not end.
    """
    from integ_runtime.prefix.users import wait_until_quiet

    wait_until_quiet(prefix, stop.check)


def step_back(prefix: Path, now: Used) -> str:
    """The sentence that tells a player why a snapshot is taken before *now* gets at *prefix*; empty when none is."""
    before = last_build(prefix)
    if before is None or not (prefix / "pfx").exists() or not is_step_back(before, now):
        return ""
    return f"{before.version} has used this prefix, and {now.version} is older or of another family: a snapshot is kept before it starts"


def note_build(prefix: Path, now: Used, stop: Stop) -> None:
    """
    Remember that *now* uses *prefix*, for the holder of the play lock; where that is a step back, a snapshot is taken before.

    Raises:
        BusyError: Something still runs in the prefix, so that no snapshot of it would be whole.
        StorageError: There is no room for the snapshot, or the disk fails.
    """
    if step_back(prefix, now):
        _keep(prefix, stop)
    if noted_build(prefix.parent) != now:
        write_note(prefix.parent, now)


def _keep(prefix: Path, stop: Stop) -> None:
    from integ_runtime.prefix.snapshots import Watch, sweep, take_snapshot
    from integ_runtime.prefix.users import wait_until_quiet

    before = last_build(prefix)
    wait_until_quiet(prefix, stop.check)
    sweep(prefix.parent)
    try:
        take_snapshot(prefix.parent, "older-build", watch=Watch(stop.check))
    except StorageError as error:
        version = before.version if before else ""
        raise StorageError(
            f"{version} has used this prefix, and no snapshot could be kept before another build does: {error.message}",
            hint=f"make room, or play on with --proton {version}",
        ) from error
