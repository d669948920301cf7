"""A whole copy of a Wine prefix: blocks are shared where the file system can, and no link is followed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from integ_server.contract.errors import StorageError

_FICLONE = 0x40049409
_GET_FLAGS, _SET_FLAGS, _CASEFOLD = 0x80086601, 0x40086602, 0x40000000
_PIECE_BYTES = 8 << 20
_SPARE_BYTES = 64 << 20
_ENTRY_BYTES = 4096
"""What a name costs where the blocks behind it are shared: more than it really is."""
_CAN_NOT = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}


@dataclass(frozen=True, slots=True)
class Measure:
    bytes: int
    """On the disk: a file with several names counts once, holes don't."""
    entries: int


def nothing() -> None:
    """The check of a copy that nobody wants to stop."""


def measure(tree: Path) -> Measure:
    """How large *tree* is; no link is followed, and what vanishes meanwhile is left out."""
    size = entries = 0
    seen: set[tuple[int, int]] = set()
    waiting = [os.fspath(tree)]
    while waiting:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as found:
            for entry in found:
                with suppress(FileNotFoundError):
                    known = entry.stat(follow_symlinks=False)
                    entries += 1
                    if stat.S_ISDIR(known.st_mode):
                        waiting.append(entry.path)
                    if known.st_nlink > 1 and not stat.S_ISDIR(known.st_mode):
                        if (known.st_dev, known.st_ino) in seen:
                            continue
                        seen.add((known.st_dev, known.st_ino))
                    size += known.st_blocks * 512
    return Measure(size, entries)


def check_room(needed: Measure, folder: Path, *, hint: str = "integ doctor") -> None:
    """
    Make sure that a copy as large as *needed* fits below *folder*.

    Raises:
        StorageError: It does not.
    """
    known = os.statvfs(folder)
    free = known.f_bavail * known.f_frsize
    wanted = needed.entries * _ENTRY_BYTES + _SPARE_BYTES + (0 if _shares_blocks(folder) else needed.bytes)
    if free < wanted:
        raise StorageError(
            f"a copy of the prefix needs {wanted >> 20} MiB, and {free >> 20} MiB are free below {folder}",
            hint=hint,
        )


def copy_tree(source: Path, target: Path, *, check: Callable[[], None] = nothing, moved: Callable[[int], None] = lambda _: None) -> None:
    """
    Copy the folder *source* to *target*, which must not be there yet.

    Symbolic links stay as they are (a prefix has one to `/`), names of one file stay names of one file, holes stay holes; modes, times and
    `user.*` attributes go along. Sockets, pipes and devices don't: their programs make them again. *check* is called before each file and
    every few megabytes and may raise; *moved* hears of bytes that were copied.

    Raises:
        OSError: The disk is full or fails; what was copied so far stays.
    """
    _Copy(check, moved).folder(os.fspath(source), os.fspath(target))


class _Copy:
    def __init__(self, check: Callable[[], None], moved: Callable[[int], None]) -> None:
        self._check = check
        self._moved = moved
        self._names: dict[tuple[int, int], str] = {}
        self._can_clone = self._can_copy_ranges = True

    def folder(self, source: str, target: str) -> None:
        known = os.lstat(source)
        os.mkdir(target, 0o700)  # noqa: PTH102 - tens of thousands of paths: objects for each would take longer than their files
        _copy_casefold(source, target)
        with os.scandir(source) as found:
            entries = list(found)
        for entry in entries:
            self._check()
            below = f"{target}/{entry.name}"
            inner = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(inner.st_mode):
                self.folder(entry.path, below)
            elif stat.S_ISLNK(inner.st_mode):
                os.symlink(os.readlink(entry.path), below)  # noqa: PTH115, PTH211
                os.utime(below, ns=(inner.st_atime_ns, inner.st_mtime_ns), follow_symlinks=False)
            elif stat.S_ISREG(inner.st_mode):
                self._file(entry.path, below, inner)
        _copy_attributes(source, target)
        os.chmod(target, stat.S_IMODE(known.st_mode))  # noqa: PTH101
        os.utime(target, ns=(known.st_atime_ns, known.st_mtime_ns))

    def _file(self, source: str, target: str, known: os.stat_result) -> None:
        identity = (known.st_dev, known.st_ino)
        if known.st_nlink > 1:
            if identity in self._names:
                os.link(self._names[identity], target, follow_symlinks=False)
                return
            self._names[identity] = target
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if not self._clone(reading, writing):
                    self._copy_data(reading, writing)
                _copy_attributes(reading, writing)
                os.fchmod(writing, stat.S_IMODE(known.st_mode))
                os.utime(writing, ns=(known.st_atime_ns, known.st_mtime_ns))
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        self._moved(known.st_blocks * 512)

    def _clone(self, reading: int, writing: int) -> bool:
        if self._can_clone:
            self._can_clone = _clone(reading, writing)
        return self._can_clone

    def _copy_data(self, reading: int, writing: int) -> None:
        size = os.fstat(reading).st_size
        os.ftruncate(writing, size)
        at = 0
        while at < size:
            begin, end = _next_data(reading, at, size)
            at = begin
            while at < end:
                self._check()
                copied = self._copy_range(reading, writing, at, min(_PIECE_BYTES, end - at))
                if copied == 0:
                    return  # it has become shorter meanwhile
                at += copied

    def _copy_range(self, reading: int, writing: int, at: int, count: int) -> int:
        if self._can_copy_ranges:
            try:
                return os.copy_file_range(reading, writing, count, at, at)
            except OSError as error:
                if error.errno not in _CAN_NOT:
                    raise
                self._can_copy_ranges = False
        piece = os.pread(reading, count, at)
        done = 0
        while done < len(piece):
            done += os.pwrite(writing, memoryview(piece)[done:], at + done)
        return done


def _next_data(reading: int, at: int, size: int) -> tuple[int, int]:
    """Where the next bytes that are no hole begin and end."""
    try:
        begin = os.lseek(reading, at, os.SEEK_DATA)
        return begin, min(os.lseek(reading, begin, os.SEEK_HOLE), size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            return size, size
        if error.errno in _CAN_NOT:
            return at, size
        raise


def _clone(reading: int, writing: int) -> bool:
    """Let both files share their blocks; False where that can't be done."""
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno in _CAN_NOT:
            return False
        raise
    return True


def _shares_blocks(folder: Path) -> bool:
    """Whether the file system below *folder* can, found out with two small files without names."""
    try:
        handles = [os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600) for _ in range(2)]
    except OSError:
        return False
    try:
        os.write(handles[0], b"0" * 4096)
        return _clone(*handles)
    except OSError:
        return False
    finally:
        for handle in handles:
            os.close(handle)


def _copy_attributes(source: str | int, target: str | int) -> None:
    """Wine keeps DOS attributes in `user.DOSATTRIB`; a file system without such costs nothing that matters."""
    with suppress(OSError):
        for name in os.listxattr(source):
            if name.startswith("user."):
                os.setxattr(target, name, os.getxattr(source, name))


def _copy_casefold(source: str, target: str) -> None:
    """Proton lets ext4 itself ignore case in `drive_c`; that can be set only while a folder is empty."""
    with suppress(OSError):
        handle = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("i", fcntl.ioctl(handle, _GET_FLAGS, b"\0" * 4))
        finally:
            os.close(handle)
        if flags & _CASEFOLD:
            handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                (flags,) = struct.unpack("i", fcntl.ioctl(handle, _GET_FLAGS, b"\0" * 4))
                if not flags & _CASEFOLD:
                    fcntl.ioctl(handle, _SET_FLAGS, struct.pack("i", flags | _CASEFOLD))
            finally:
                os.close(handle)
