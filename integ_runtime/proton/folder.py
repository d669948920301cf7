"""The folder of builds itself: what may lie in it, half-made things, `latest`, and what has to be on the disk before a name is given."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from integ_runtime.downloads.fetch import drop_part, storage_errors
from integ_runtime.proton.installed import LATEST, WORK_PREFIX
from integ_runtime.steam.roots import TOOLS_FOLDER
from integ_server.contract.errors import StorageError

LOCK = ".integ.lock"
PARTS = ".integ-download"
_PARTS_LIVE_S = 14 * 86_400.0
_NO_LINKS = {"vfat", "msdos", "exfat", "fuse.exfat", "umsdos"}


def clean_up(tools: Path) -> None:
    """
    Remove what killed runs left half-made, and parts of archives that nobody went on with for two weeks; for the holder of the lock, since
    nobody else can be at work then.
    """
    with suppress(FileNotFoundError), os.scandir(tools) as entries:
        for entry in entries:
            if entry.name.startswith(WORK_PREFIX):
                remove_tree(Path(entry.path))
    old = time.time() - _PARTS_LIVE_S
    for part in (tools / PARTS).glob("*.part"):
        with suppress(OSError):
            if part.stat().st_mtime < old:
                drop_part(part)
    with suppress(OSError):  # goes when nothing is kept in it
        (tools / PARTS).rmdir()


def remove_tree(folder: Path) -> None:
    """Delete *folder* even where archives made folders read-only; what can't go now goes next time."""
    with suppress(OSError):
        if not folder.is_symlink() and folder.is_dir():
            with suppress(OSError):  # somebody else's
                folder.chmod(0o700)
            for parent, names, _ in os.walk(folder):
                for name in names:
                    place = Path(parent, name)
                    if not place.is_symlink() and not os.access(place, os.W_OK | os.X_OK):
                        place.chmod(0o700)
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink()


def point_latest(tools: Path, version: str) -> None:
    """Make `latest` point to *version*, in one step."""
    link, beside = tools / LATEST, tools / f"{WORK_PREFIX}{secrets.token_hex(8)}"
    with suppress(OSError):
        if os.readlink(link) == version:  # noqa: PTH115
            return
    with storage_errors(link):
        if link.exists() and not link.is_symlink():
            return  # the player's own folder of that name stays
        beside.symlink_to(version)
        beside.replace(link)


def check_file_system(folder: Path) -> None:
    """
    Raises:
        StorageError: Builds can't live on the file system of *folder*: it knows no links, or runs no programs.
    """
    with storage_errors(folder):
        flags, device = os.statvfs(folder).f_flag, folder.stat().st_dev
    if flags & os.ST_NOEXEC:
        raise StorageError(f"no program may be run from {folder}: it is mounted noexec", hint=_elsewhere(folder))
    kind = _file_system_kind(device)
    if kind in _NO_LINKS:
        raise StorageError(f"{folder} is on {kind}, which can't hold a Proton build", hint=_elsewhere(folder))


def _elsewhere(folder: Path) -> str:
    return "leave --to steam away" if folder.name == TOOLS_FOLDER else "set XDG_CACHE_HOME to another folder"


@contextmanager
def hidden_sibling(tools: Path) -> Iterator[Path]:
    """
    A new folder beside the builds, gone again with what is left in it.

    A build is made one level down: beside the others Steam would take it for a tool, hidden and half-made as it is.
    """
    work = tools / f"{WORK_PREFIX}{secrets.token_hex(8)}"
    with storage_errors(work):
        work.mkdir(0o755)
    try:
        yield work
    finally:
        if work.exists():
            remove_tree(work)


def sync_to_disk(folder: Path) -> None:
    """One call for the whole tree: a call for each of its thousands of files takes many times as long."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            with storage_errors(folder):
                raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make what was renamed in *folder* survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with storage_errors(folder):
            os.fsync(handle)
    finally:
        os.close(handle)


def _file_system_kind(device: int) -> str:
    """The kind of the file system with that device number, as the kernel names it; empty when it can't be told."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), Path("/proc/self/mountinfo").open(encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if before.split(" ")[2:3] == [wanted]:
                return after.split(" ", 1)[0]
    return ""
