"""
Unpack an archive that may be hostile: names are judged against a table in memory, not against the disk, and no link exists on the
disk while files are written, so nothing can be written through one. Files are written by a few threads while the next are inflated.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isal.isal_zlib import crc32

from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.proton.archive import Limits, Member, TarStream, inflate
from integ_server.contract.errors import IntegrityError, StorageError
from integ_server.releases.families import is_safe_name

WRITERS = 1 if (os.cpu_count() or 1) <= 2 else 2
"""More of them wait for each other in the file system: on two cores a second one costs more than it brings."""
_IN_FLIGHT_BYTES = 48 << 20
_BATCH_BYTES = 1 << 20
_BATCH_FILES = 64
_MOST_HOPS = 40


@dataclass(frozen=True, slots=True)
class FileFacts:
    size_bytes: int
    crc32: int
    """Tells damage and edits, not malice: who can change a build can change what is written down of it too."""
    executable: bool


@dataclass(slots=True)
class Unpacked:
    """What lies in the folder now; paths are below the archive's own top folder, which is left out."""

    top: str = ""
    """The archive's name for its one top folder."""
    files: dict[str, FileFacts] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic links and where they point to."""

    @property
    def size_bytes(self) -> int:
        return sum(facts.size_bytes for facts in self.files.values())


def unpack(chunks: Iterator[bytes], folder: Path, *, limits: Limits | None = None) -> Unpacked:
    """
    The content of the archive's one top folder, in *folder*, which is empty before. Owners and special bits are dropped.

    Raises:
        IntegrityError: The archive is damaged or hostile; *folder* holds an unfinished tree, which the caller throws away.
        StorageError: The disk is full or fails.
    """
    allowed = limits or Limits()
    table = _Table(allowed.entries)
    writers = _Writers(os.fspath(folder))
    try:
        stream = TarStream(inflate(chunks, allowed))
        for member in stream:
            path = table.enter(member)
            if path is None:
                continue
            for missing in table.new_folders():
                writers.make_folder(missing)
            if member.kind == "file":
                writers.write(path, member.mode, member.size, stream.data())
        facts = writers.finish()
    finally:
        writers.end()
    if not table.top:
        raise IntegrityError("the archive is empty")
    for path, target in table.checked_links():
        with storage_errors(folder / path):
            (folder / path).symlink_to(target)
    for path, same in table.hard_links.items():
        with storage_errors(folder / path):
            os.link(folder / same, folder / path)
        facts[path] = facts[same]
    return Unpacked(table.top, facts, table.links)


class _Table:
    """Every name so far and what it is; all rules about names are kept here."""

    def __init__(self, most: int) -> None:
        self.top = ""
        self._most = most
        self.links: dict[str, str] = {}
        self.hard_links: dict[str, str] = {}
        self._kinds: dict[str, str] = {"": "folder"}
        self._new_folders: list[str] = []
        self._entries = 0

    def enter(self, member: Member) -> str | None:
        """Where *member* goes, below the top folder; None for the top folder itself."""
        self._count()
        path = self._path(member.name)
        if path is None:
            return None
        if not path:
            if member.kind != "folder":
                raise IntegrityError("the archive's one thing on top is no folder")
            return None
        self._add_folders(path.rpartition("/")[0])
        before = self._kinds.get(path)
        if member.kind == "folder":
            if before not in {None, "folder"}:
                raise IntegrityError(f"the archive holds {path!r} twice")
            self._add_folders(path)
            return path
        if before is not None:
            raise IntegrityError(f"the archive holds {path!r} twice")
        self._kinds[path] = member.kind
        if member.kind == "symlink":
            self.links[path] = member.target
        elif member.kind == "hardlink":
            self.hard_links[path] = self._linked_file(path, member.target)
        return path

    def new_folders(self) -> list[str]:
        made, self._new_folders = self._new_folders, []
        return made

    def checked_links(self) -> Iterator[tuple[str, str]]:
        """The symbolic links, after each was followed to its end and found to stay inside."""
        for path, target in self.links.items():
            if not target or target.startswith("/") or "\0" in target or len(os.fsencode(target)) > 4000:
                raise IntegrityError(f"the archive holds a link that leads out of it: {path!r}")
            self._follow(path, target)
        yield from self.links.items()

    def _path(self, name: str) -> str | None:
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or ".." in parts:
            raise IntegrityError(f"the archive holds a name that leads out of it: {name!r}")
        if not parts:
            return None
        if any(len(os.fsencode(part)) > 255 for part in parts) or len(name) > 3000 or len(parts) > 100:
            raise IntegrityError("the archive holds a name that is too long")
        if parts[0] != self.top:
            if self.top:
                raise IntegrityError(f"the archive holds more than one folder on top: {self.top!r} and {parts[0]!r}")
            if not is_safe_name(parts[0]):
                raise IntegrityError(f"the archive's top folder has an odd name: {parts[0]!r}")
            self.top = parts[0]
        if len(parts) > 1 and parts[1].startswith(".integ-"):
            raise IntegrityError("the archive holds files that only Integ writes")
        return "/".join(parts[1:])

    def _add_folders(self, path: str) -> None:
        kind = self._kinds.get(path)
        if kind == "folder":
            return
        if kind is not None:
            raise IntegrityError(f"the archive writes through {path!r}, which is a {kind}")
        self._add_folders(path.rpartition("/")[0])
        self._kinds[path] = "folder"
        self._new_folders.append(path)
        self._count()

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._most:
            raise IntegrityError("the archive holds too many files")

    def _linked_file(self, path: str, target: str) -> str:
        same = self._path(target)
        if not same or self._kinds.get(same) not in {"file", "hardlink"}:
            raise IntegrityError(f"the archive holds a hard link to nothing in it: {path!r}")
        return self.hard_links.get(same, same)

    def _follow(self, path: str, target: str) -> None:
        """Walk as the kernel would, through other links too; to leave the top folder at any step is refused."""
        at = path.split("/")[:-1]
        waiting = target.split("/")[::-1]
        hops = 0
        while waiting:
            part = waiting.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                if not at:
                    raise IntegrityError(f"the archive holds a link that leads out of it: {path!r}")
                at.pop()
                continue
            at.append(part)
            further = self.links.get("/".join(at))
            if further is not None:
                hops += 1
                if hops > _MOST_HOPS:  # it leads in a circle, that is nowhere
                    return
                at.pop()
                if further.startswith("/"):
                    raise IntegrityError(f"the archive holds a link that leads out of it: {path!r}")
                waiting += further.split("/")[::-1]


@dataclass(slots=True)
class _Job:
    """A piece of one file; `pieces` are slices of what was inflated."""

    path: str
    mode: int
    pieces: list[memoryview]
    first: bool
    last: bool


class _Writers:
    """
    Threads that write files below a folder. All pieces of a file go to the same thread, so that it can hash them in order;
    small files travel in batches, since waking a thread costs more than writing one.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._queues: list[queue.SimpleQueue[list[_Job] | None]] = [queue.SimpleQueue() for _ in range(WRITERS)]
        self._batches: list[list[_Job]] = [[] for _ in range(WRITERS)]
        self._batch_bytes = [0] * WRITERS
        self._pending = [0] * WRITERS
        self._moved = threading.Condition()
        self._error: BaseException | None = None
        self._facts: dict[str, FileFacts] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"unpack {number}", daemon=True) for number in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def make_folder(self, path: str) -> None:
        try:
            os.mkdir(f"{self._folder}/{path}", 0o755)  # noqa: PTH102 - thousands of them
        except FileExistsError:
            raise IntegrityError(f"the archive holds two names that are one on this disk: {path!r}") from None
        except OSError as error:
            raise _storage_error(error) from error

    def write(self, path: str, mode: int, size: int, data: Iterator[memoryview]) -> None:
        number = min(range(WRITERS), key=lambda each: self._pending[each] + self._batch_bytes[each])
        left, first, pieces, gathered = size, True, [], 0
        for piece in data:
            pieces.append(piece)
            gathered += len(piece)
            left -= len(piece)
            if gathered >= _BATCH_BYTES and left:
                self._give(number, _Job(path, mode, pieces, first, last=False), gathered)
                first, pieces, gathered = False, [], 0
        self._give(number, _Job(path, mode, pieces, first, last=True), gathered)

    def finish(self) -> dict[str, FileFacts]:
        """What was written, once all of it is."""
        for number in range(WRITERS):
            self._flush(number)
        self.end()
        if self._error is not None:
            raise self._error
        return self._facts

    def end(self) -> None:
        """End the threads; those that have work finish it unless another failed."""
        for number, thread in enumerate(self._threads):
            if thread.is_alive():
                self._queues[number].put(None)
        for thread in self._threads:
            thread.join()

    def _give(self, number: int, job: _Job, size: int) -> None:
        self._batches[number].append(job)
        self._batch_bytes[number] += size
        if self._batch_bytes[number] >= _BATCH_BYTES or len(self._batches[number]) >= _BATCH_FILES:
            self._flush(number)

    def _flush(self, number: int) -> None:
        batch, size = self._batches[number], self._batch_bytes[number]
        self._batches[number], self._batch_bytes[number] = [], 0
        with self._moved:
            while sum(self._pending) > _IN_FLIGHT_BYTES and self._error is None:
                self._moved.wait()
            if self._error is not None:
                raise self._error
            self._pending[number] += size
        if batch:
            self._queues[number].put(batch)

    def _run(self, number: int) -> None:
        open_file: _OpenFile | None = None
        try:
            while (batch := self._queues[number].get()) is not None:
                size = 0
                for job in batch:
                    if self._error is not None:
                        return
                    if job.first:
                        open_file = _OpenFile(f"{self._folder}/{job.path}", job.mode)
                    assert open_file is not None
                    size += open_file.write(job.pieces)
                    if job.last:
                        self._facts[job.path] = open_file.close()
                        open_file = None
                with self._moved:
                    self._pending[number] -= size
                    self._moved.notify_all()
        except BaseException as error:  # raised again by the thread that feeds this one
            with self._moved:
                self._error = self._error or error
                self._moved.notify_all()
        finally:
            if open_file is not None:
                open_file.abandon()


class _OpenFile:
    """A new file that is being written. The mode is set as it is made: read-only ones too, and what the player's umask takes away."""

    __slots__ = ("_crc32", "_executable", "_handle", "_size")

    def __init__(self, path: str, mode: int) -> None:
        self._executable = bool(mode & 0o100)
        self._crc32 = 0
        self._size = 0
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o755 | 0o400)
        except FileExistsError:
            raise IntegrityError(f"the archive holds two names that are one on this disk: {os.path.basename(path)!r}") from None  # noqa: PTH119
        except OSError as error:
            raise _storage_error(error) from error

    def write(self, pieces: list[memoryview]) -> int:
        """How many bytes *pieces* are."""
        size = 0
        for piece in pieces:
            rest = piece
            try:
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
            except OSError as error:
                raise _storage_error(error) from error
            self._crc32 = crc32(piece, self._crc32)
            size += len(piece)
        self._size += size
        return size

    def close(self) -> FileFacts:
        try:
            os.close(self._handle)
        except OSError as error:
            raise _storage_error(error) from error
        return FileFacts(self._size, self._crc32, self._executable)

    def abandon(self) -> None:
        os.close(self._handle)


def _storage_error(error: OSError) -> StorageError:
    try:
        with storage_errors(Path(str(error.filename or "the new build"))):
            raise error
    except StorageError as told:
        return told
