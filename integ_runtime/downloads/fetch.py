"""One address to one file: resumed where it broke off, checked while it arrives, under its final name only when whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integ_runtime.downloads.background import Reporter, Stop, in_background
from integ_runtime.downloads.body import Body
from integ_runtime.progress import Progress, Report, unheard
from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import (
    BusyError,
    IntegError,
    IntegrityError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    StorageError,
)

if TYPE_CHECKING:
    from integ_server.upstream import BulkAnswer, BulkDoor

_CHUNK, _SMALL_CHUNK = 1 << 20, 1 << 16
_SLOW_S = 0.25
_TRIES_WITHOUT_PROGRESS = 6
_TRIES = 60
_LONGEST_PAUSE_S = 60.0
_RESERVE_BYTES = 16 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be fetched. The address is the lasting one: a signed address that it redirects to is asked for anew each time."""

    url: str
    size_bytes: int | None = None
    checksum: Checksum | None = None
    identity: str = ""
    """Tells this content from another one at the same address; a part that was begun under another identity is thrown away."""
    sender: str = "the server"
    what: str = "the file"
    """Who sends what, for messages."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Fetched:
    path: Path
    size_bytes: int
    bytes_fetched: int
    """What came over the network this time."""


class StalePartError(IntegrityError):
    """What was fetched earlier is not the beginning of what is there now; it has to be fetched from its start."""


class Transfer:
    """
    The bytes of *source* in order, each on the disk in *part* and hashed before it is handed on. For one thread.

    What an earlier attempt left in *part* comes first, so whoever unpacks in the same pass needs no second way.
    """

    def __init__(self, source: Source, part: Path, door: BulkDoor, stop: Stop, report: Reporter | None = None) -> None:
        self.source, self.part = source, part
        self.size_bytes = source.size_bytes
        self.bytes_fetched = 0
        self.resumed = False
        """Whether something came from an earlier attempt."""
        self._door, self._stop, self._report = door, stop, report
        self._here = 0
        self._hash: Any = hashlib.new(source.checksum.algorithm if source.checksum else "sha256", usedforsecurity=False)
        self._etag = ""

    @property
    def hexdigest(self) -> str:
        return str(self._hash.hexdigest())

    def chunks(self) -> Iterator[bytes]:
        """
        Raises:
            StalePartError: `part` was the beginning of something else; it is gone now.
            IntegrityError: The size or the checksum is wrong; `part` is gone too.
            StorageError: The disk is full or fails; `part` stays.
            ProviderError, ProviderUnavailableError, RateLimitedError: The source fails for good; `part` stays.
        """
        with storage_errors(self.part):
            self.part.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._begin(handle)
            yield from self._replay(handle)
            yield from self._arrive(handle)
            self._check()
        except IntegrityError:
            self._drop()
            raise
        finally:
            os.close(handle)
            if not self._here:  # nothing worth keeping
                self._drop()

    def _drop(self) -> None:
        """Forget the part; not once it is time to stop, when it may already be that of the next attempt."""
        if not self._stop.is_set:
            drop_part(self.part)

    def _begin(self, handle: int) -> None:
        """Keep what an earlier attempt left when its note says that it is of the same content."""
        note = _read_note(self.part)
        self._etag = str(note.get("etag", ""))
        size = os.fstat(handle).st_size
        same = note.get("identity") == _identity(self.source)
        if size and (not same or (self.size_bytes is not None and size > self.size_bytes)):
            with storage_errors(self.part):
                os.ftruncate(handle, 0)
            size, self._etag = 0, ""
        self.resumed = size > 0
        if self.size_bytes is not None:
            check_space(self.part.parent, self.size_bytes - size)
        self._write_note()

    def _replay(self, handle: int) -> Iterator[bytes]:
        size = os.fstat(handle).st_size
        while self._here < size:
            self._stop.check()
            with storage_errors(self.part):
                chunk = os.pread(handle, min(_CHUNK, size - self._here), self._here)
            if not chunk:
                break
            yield self._passed(chunk)

    def _arrive(self, handle: int) -> Iterator[bytes]:
        failures = 0
        for _ in range(_TRIES):
            if self.size_bytes is not None and self._here >= self.size_bytes:
                return
            before = self._here
            try:
                yield from self._one_answer(handle)
            except ProviderUnavailableError as error:
                failures = 0 if self._here > before else failures + 1
                if failures >= _TRIES_WITHOUT_PROGRESS or (error.retry_after_s or 0) > _LONGEST_PAUSE_S:
                    raise
                self._stop.wait(_pause_s(failures, error))
            else:
                return
        raise ProviderUnavailableError("the download broke off too often", hint="run it again: it goes on where it stopped")

    def _one_answer(self, handle: int) -> Iterator[bytes]:
        asked_from = self._here
        with self._door.open(self.source.url, start=asked_from, headers=self.source.headers) as answer:
            if answer.status == 416 and asked_from:
                whole = _size_of_416(answer)
                if whole is not None and whole != asked_from:
                    raise StalePartError("what was fetched before is not part of what is there now")
                return
            answer.raise_for_status()
            body = Body(answer)
            if body.is_a_page():  # looked at first: its size and sum say nothing against what was fetched before
                raise ProviderError(f"{self.source.sender} sent a web page instead of {self.source.what}", hint="try again later")
            self._learn(answer)
            if answer.start < asked_from:  # the range was not heard: the beginning comes again
                self._compare_beginning(body, handle, asked_from)
            size = _SMALL_CHUNK
            while True:
                began = time.monotonic()
                chunk = body.read(size)
                # Large reads are quick; small ones keep a slow line's progress moving and its end near.
                size = _SMALL_CHUNK if time.monotonic() - began > _SLOW_S else min(size * 4, _CHUNK)
                self._stop.check()
                if not chunk:
                    break
                if self.size_bytes is not None and self._here + len(chunk) > self.size_bytes:
                    raise IntegrityError("the source sends more than it announced")
                with storage_errors(self.part):
                    _write_all(handle, chunk, self._here)
                self.bytes_fetched += len(chunk)
                yield self._passed(chunk)
        if self.size_bytes is not None and self._here < self.size_bytes:
            raise ProviderUnavailableError("the download ended early")

    def _learn(self, answer: BulkAnswer) -> None:
        etag = str(answer.headers.get("ETag", ""))
        if self.source.checksum is None and self._here and self._etag and etag and etag != self._etag:
            raise StalePartError("the source has changed since the download began")
        if etag and etag != self._etag:
            self._etag = etag
            self._write_note()
        if answer.total_bytes is None:
            return
        if self.size_bytes is None:
            self.size_bytes = answer.total_bytes
            check_space(self.part.parent, self.size_bytes - self._here)
        elif self.size_bytes != answer.total_bytes:
            raise IntegrityError(f"the source holds {answer.total_bytes} bytes instead of {self.size_bytes}")

    def _compare_beginning(self, body: Body, handle: int, length: int) -> None:
        """Those who unpack already have the first *length* bytes: they must be the same."""
        at = 0
        while at < length:
            chunk = body.read(min(_CHUNK, length - at))
            self._stop.check()
            if not chunk:
                raise ProviderUnavailableError("the download ended early")
            with storage_errors(self.part):
                same = os.pread(handle, len(chunk), at) == chunk
            if not same:
                raise StalePartError("what was fetched before is not part of what is there now")
            at += len(chunk)
            self.bytes_fetched += len(chunk)

    def _passed(self, chunk: bytes) -> bytes:
        self._hash.update(chunk)
        self._here += len(chunk)
        if self._report is not None:
            self._report(Progress("download", self._here, self.size_bytes), now=self._here == self.size_bytes)
        return chunk

    def _check(self) -> None:
        if self.size_bytes is not None and self._here != self.size_bytes:
            raise IntegrityError(f"the download has {self._here} bytes instead of {self.size_bytes}")
        wanted = self.source.checksum
        if wanted is not None and self.hexdigest != wanted.hexdigest.lower():
            kind = StalePartError if self.resumed else IntegrityError
            raise kind(f"the download does not match its published {wanted.algorithm.upper()}", hint="try again later; nothing was kept")

    def _write_note(self) -> None:
        note = {"identity": _identity(self.source), "size": self.size_bytes, "etag": self._etag}
        with storage_errors(self.part):
            beside = _note_of(self.part).with_suffix(".new")
            beside.write_text(json.dumps(note), "utf-8")
            beside.replace(_note_of(self.part))


async def fetch(source: Source, target: Path, *, door: BulkDoor, report: Report = unheard) -> Fetched:
    """
    Bring *source* to *target*, whose old content is replaced once the new one is whole, checked and on the disk.

    Until then the bytes are in `TARGET.part`, with a note beside it; they stay there when the fetch is cancelled or fails for a while.

    Raises:
        BusyError: Another process fetches to the same place.
        IntegrityError, StorageError, ProviderError: See `Transfer.chunks`.
    """
    part = target.with_name(target.name + ".part")
    reporter = Reporter(report)

    def work(stop: Stop) -> Fetched:
        try:
            transfer = _drain(Transfer(source, part, door, stop, reporter))
        except StalePartError:
            transfer = _drain(Transfer(source, part, door, stop, reporter))
        with storage_errors(target):
            handle = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            part.replace(target)
        _note_of(part).unlink(missing_ok=True)
        return Fetched(target, transfer.size_bytes or target.stat().st_size, transfer.bytes_fetched)

    with _alone(part):
        return await in_background(work, name=f"fetch {target.name}")


def check_space(folder: Path, bytes_needed: int) -> None:
    """
    Raises:
        StorageError: The file system of *folder* (or of its nearest parent that is there) has no room for *bytes_needed*.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    with storage_errors(place):
        facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize
    wanted = bytes_needed + min(_RESERVE_BYTES, bytes_needed)
    if wanted > free:
        shown = place.parent if place.name.startswith(".integ") else place
        raise StorageError(
            f"{wanted / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free in {shown}",
            hint="make room, or choose another folder",
        )


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise a StorageError in place of what the file system raises about *path*."""
    try:
        yield
    except IntegError:
        raise
    except OSError as error:
        what = "is full" if error.errno in _FULL else f"fails: {error.strerror}"
        raise StorageError(f"the disk {what} ({error.filename or path})", hint="integ doctor") from error


def begin_part(source: Source, part: Path) -> int:
    """Make *part* ready to take bytes of *source* in some other way; how many are there already. A transfer goes on with them."""
    with storage_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        if _read_note(part).get("identity") != _identity(source):
            drop_part(part)
        part.touch(0o600)
        size = part.stat().st_size
        _note_of(part).write_text(json.dumps({"identity": _identity(source), "size": source.size_bytes, "etag": ""}), "utf-8")
    return size


def drop_part(part: Path) -> None:
    """Forget what was fetched so far."""
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _drain(transfer: Transfer) -> Transfer:
    for _ in transfer.chunks():
        pass
    return transfer


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Hold the part file's lock; it belongs to the one who waits, not to the thread, which may be kept by the network."""
    with storage_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{part.name} is being fetched by another process", hint="wait for it, or end it") from None
        yield
    finally:
        os.close(handle)


def _identity(source: Source) -> str:
    """A text for the note; digested, since an address may hold a secret."""
    facts = [source.identity or source.url, source.size_bytes, source.checksum.hexdigest if source.checksum else None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict[str, object]:
    try:
        note = json.loads(_note_of(part).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _size_of_416(answer: BulkAnswer) -> int | None:
    text = str(answer.headers.get("Content-Range", "")).rpartition("/")[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _pause_s(failures: int, error: ProviderError) -> float:
    if isinstance(error, RateLimitedError) or error.retry_after_s:
        return min(error.retry_after_s or 5.0, _LONGEST_PAUSE_S)
    return 0.0 if not failures else float(min(0.25 * 2**failures, 8.0) * random.uniform(0.5, 1.0))


def _write_all(handle: int, chunk: bytes, at: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(handle, view, at)
        view, at = view[written:], at + written
