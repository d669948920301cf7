"""A game's folders on the disk: what is whole is moved in, what is not ours is never written over, what is no longer wanted goes."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from integ_runtime.content.ledger import Entry, Ledger, Root
from integ_runtime.content.names import STAGING, Parts
from integ_runtime.content.sums import matches, size_in
from integ_runtime.content.trash import Trash
from integ_runtime.downloads.fetch import storage_errors
from integ_server.contract.errors import IntegrityError


class Tree:
    """May be shared by threads, as long as each path is handled by one."""

    def __init__(self, roots: dict[Root, Path], ledger: Ledger, trash: Trash, check: Callable[[], None] = lambda: None) -> None:
        self._roots = roots
        self._ledger = ledger
        self._trash = trash
        self._check = check
        self._known: set[Path] = set()
        self._lock = threading.Lock()

    def path(self, entry: Entry) -> Path:
        return self._roots[entry.root].joinpath(*entry.parts)

    def staging(self, root: Root) -> Path:
        """Where a file of *root* is put together: on the same file system, so that the last step is a rename."""
        return self._roots[root] / STAGING

    def part(self, entry: Entry) -> Path:
        """The file's place while it is put together; the same one after a kill, another one for another content."""
        name = hashlib.sha256("\0".join((*entry.parts, entry.wanted)).encode()).hexdigest()[:40]
        return self.staging(entry.root) / name

    def prepare(self) -> None:
        for root in self._roots:
            with storage_errors(self._roots[root]):
                self.staging(root).mkdir(parents=True, exist_ok=True)

    def stands(self, entry: Entry) -> bool:
        """
        Whether the entry is on the disk as it should be; if so, and the ledger does not know yet, it does now.

        A file that is as it was left is not read again.
        """
        path = self.path(entry)
        try:
            facts = path.lstat()
        except OSError:
            return False
        if entry.kind == "folder":
            return stat.S_ISDIR(facts.st_mode)
        untouched = entry.done and stat.S_ISREG(facts.st_mode) and facts.st_ctime_ns == entry.ctime_ns
        if untouched and facts.st_size == size_in(entry.wanted):
            return True
        if not matches(path, entry.wanted, check=self._check):
            return False
        self._ledger.put(replace(entry, has=entry.wanted, ctime_ns=facts.st_ctime_ns))
        return True

    def place(self, entry: Entry, part: Path, *, executable: bool = False) -> None:
        """Move the whole and checked file *part* to where it belongs."""
        path = self.path(entry)
        with storage_errors(path):
            part.chmod(0o755 if executable else 0o644)
            self._clear(entry, path)
            part.replace(path)
            facts = path.lstat()
        self._ledger.put(replace(entry, has=entry.wanted, ctime_ns=facts.st_ctime_ns))

    def make_link(self, entry: Entry) -> None:
        path = self.path(entry)
        target = entry.wanted.removeprefix("link:")
        with storage_errors(path):
            self._clear(entry, path)
            beside = self.part(entry)
            beside.unlink(missing_ok=True)
            beside.symlink_to(target)
            beside.replace(path)
        root = self._roots[entry.root]
        if not path.resolve().is_relative_to(root.resolve()):  # checked before by its text; a link of the player's may lie in its way
            path.unlink()
            raise IntegrityError(f"the link {'/'.join(entry.parts)} leads out of the game's folder")
        self._ledger.put(replace(entry, has=entry.wanted))

    def make_folder(self, entry: Entry) -> None:
        with storage_errors(self.path(entry)):
            self._folder(entry.root, entry.parts)
        self._ledger.put(replace(entry, has="folder"))

    def remove(self, entries: Iterable[Entry]) -> int:
        """
        Take ours off the disk: what is as Integ left it is deleted, what somebody changed goes to the trash. Answers the bytes freed.

        Folders go when nothing is left in them, whoever made them.
        """
        freed = 0
        gone: list[Entry] = []
        folders: set[tuple[Root, Parts]] = set()
        for entry in entries:
            self._check()
            folders.update((entry.root, entry.parts[:depth]) for depth in range(1, len(entry.parts)))
            if entry.kind == "folder":
                folders.add((entry.root, entry.parts))
            else:
                freed += self._remove_one(entry)
            gone.append(entry)
            if len(gone) >= 500:
                self._ledger.forget(gone)
                gone = []
        for root, parts in sorted(folders, key=lambda each: -len(each[1])):
            folder = self._roots[root].joinpath(*parts)
            if self._leads_away(root, parts):
                continue
            try:
                folder.rmdir()
            except OSError:
                continue  # something of the player's is in it, or it is not there
            with self._lock:
                self._known.discard(folder)
        self._ledger.forget(gone)
        return freed

    def drop_staging(self) -> None:
        for root in self._roots:
            shutil.rmtree(self.staging(root), ignore_errors=True)

    def to_disk(self) -> None:
        """Return once everything is on the disk: one call for the whole tree, not one a file."""
        for place in self._roots.values():
            if place.is_dir():
                handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _syncfs(handle)
                finally:
                    os.close(handle)

    def _remove_one(self, entry: Entry) -> int:
        path = self.path(entry)
        if self._leads_away(entry.root, entry.parts[:-1]):
            return 0  # behind a link that the player put there: not what we wrote
        try:
            facts = path.lstat()
        except OSError:
            return 0
        if stat.S_ISDIR(facts.st_mode):
            return 0
        with storage_errors(path):
            untouched = entry.has and entry.kind == "file" and facts.st_ctime_ns == entry.ctime_ns and facts.st_size == size_in(entry.has)
            if untouched or matches(path, entry.has, entry.wanted, check=self._check):
                path.unlink()
                return facts.st_size
            if entry.has:  # else never written by us: it is the player's, and stays
                self._trash.take(path, entry.parts)
        return 0

    def _clear(self, entry: Entry, path: Path) -> None:
        """Make way for *entry*: what stands there goes to the trash unless it is ours, or already what it should be."""
        self._folder(entry.root, entry.parts[:-1])
        if not os.path.lexists(path):
            return
        if path.is_dir() and not path.is_symlink():
            try:
                path.rmdir()
                return
            except OSError:
                self._trash.take(path, entry.parts)
                return
        if not matches(path, entry.has, entry.wanted, check=self._check):
            self._trash.take(path, entry.parts)

    def _folder(self, root: Root, parts: Parts) -> None:
        """Make the folder, name by name; no link is followed, and a file in the way goes to the trash."""
        at = self._roots[root]
        for depth, name in enumerate(parts, 1):
            at = at / name
            if at in self._known:
                continue
            with self._lock:
                try:
                    at.mkdir()
                except FileExistsError:
                    mode = at.lstat().st_mode
                    if stat.S_ISLNK(mode):
                        raise IntegrityError(
                            f"{at} is a link, and Integ does not write through links", hint=f"put a folder in its place: {at}"
                        ) from None
                    if not stat.S_ISDIR(mode):
                        self._trash.take(at, parts[:depth])
                        at.mkdir()
                self._known.add(at)

    def _leads_away(self, root: Root, parts: Parts) -> bool:
        at = self._roots[root]
        return any((at := at / name).is_symlink() for name in parts)


def make_executable(path: Path) -> None:
    mode = path.stat().st_mode
    if mode & 0o111 != 0o111:
        path.chmod(mode | 0o111)


def _syncfs(handle: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(handle) != 0:  # since Linux 5.8 it tells of lost writes too
        number = ctypes.get_errno()
        with storage_errors(Path(f"/proc/self/fd/{handle}")):
            raise OSError(number, os.strerror(number))
