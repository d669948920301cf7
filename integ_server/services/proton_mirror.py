"""
The backend's own copies of Proton archives, in a folder that API processes and workers share.

What has its final name there is whole and checked. The rest of the backend keeps nothing on local disk, and this folder may be emptied
at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import (
    BuildNotFoundError,
    IntegError,
    IntegrityError,
    PermissionDeniedError,
    ProviderUnavailableError,
    StorageError,
)
from integ_server.contract.proton import ProtonRequest, ProtonRequested
from integ_server.models.job import ClaimedJob
from integ_server.models.proton_version import ProtonVersion
from integ_server.models.tables import proton_versions
from integ_server.releases.feed import Archive, read_checksum
from integ_server.services import events, proton_catalogue
from integ_server.services import jobs as job_service
from integ_server.services.backend import Backend
from integ_server.upstream import BulkDoor

SUBJECT = "proton-mirror/"
_RESERVE_BYTES = 256 << 20
_TRIES_WITHOUT_PROGRESS = 4
_PART_LIVES_S = 3 * 86_400.0
_PAUSE_S = 0.5
_PART = ".part"


async def request(backend: Backend, session: AsyncSession, wanted: ProtonRequest) -> ProtonRequested:
    """
    See to it that the mirror has the version: at most one job fetches it, however many ask.

    Raises:
        PermissionDeniedError: This backend keeps no mirror.
        BuildNotFoundError: The catalogue has no such version.
    """
    folder = _folder(backend)
    found = await proton_catalogue.find_version(session, wanted.version, wanted.family)
    if found.mirror_state == "ready" and await asyncio.to_thread(_is_there, _place(folder, found), found.size_bytes):
        return ProtonRequested(version=found.version, mirror_state="ready")
    subject = f"{SUBJECT}{found.version}"
    job = await job_service.begin(backend, session, kind="proton-mirror", subject=subject, user_id=None, provider=found.family)
    await _mark(session, found.version, "wanted")
    return ProtonRequested(version=found.version, mirror_state="wanted", job=job_service.info(job))


async def archive_of(backend: Backend, session: AsyncSession, version: str) -> tuple[ProtonVersion, Path]:
    """
    The copy of *version*, which is whole.

    Raises:
        BuildNotFoundError: There is none.
    """
    row = await session.get(ProtonVersion, version)
    folder = backend.settings.proton_mirror_dir
    if row is not None and folder is not None and row.mirror_state == "ready":
        place = _place(folder, row)
        if await asyncio.to_thread(_is_there, place, row.size_bytes, touch=True):
            return row, place
    raise BuildNotFoundError(f"this backend has no copy of {version[:80]!r}", hint="take it from its publisher, or POST /proton/install")


async def fetch(backend: Backend, job: ClaimedJob) -> None:
    """
    Do a `proton-mirror` job that this process has claimed.

    What came before a failure is kept, and the next attempt goes on from there.

    Raises:
        BuildNotFoundError: The feed tells of it no more.
        IntegrityError: It is not what was published, or nobody says what it should be; nothing of it is kept.
        StorageError: No space, or it is larger than the mirror may be.
        ProviderUnavailableError, ProviderError: It can't be had.
        ClaimLostError: Another process took the job over.
    """
    version = job.subject.removeprefix(SUBJECT)
    try:
        row, checksum = await _fetched(backend, job, version)
    except IntegError as error:
        is_over = not isinstance(error, ProviderUnavailableError)  # else the job comes back to it
        async with backend.db.writing.begin() as session:
            await _mark(session, version, "failed" if is_over else "wanted", error.message)
        raise
    async with backend.db.writing.begin() as session:
        await job_service.hold(session, job.id, "writing")
        same = proton_versions.c.version == version, proton_versions.c.identity == row.identity
        stored = update(proton_versions).where(*same).values(digest=str(checksum)).returning(proton_versions.c.version)
        if (await session.execute(stored)).first() is None:
            raise ProviderUnavailableError(f"{version} was published anew while it was fetched", retry_after_s=1)
        await _mark(session, version, "ready")
        await job_service.finish(session, job.id)


async def prune(backend: Backend) -> int:
    """Delete what belongs to no version that is there, parts nobody goes on with, and what is over the size; how many files went."""
    folder = backend.settings.proton_mirror_dir
    if folder is None or not await asyncio.to_thread(folder.is_dir):
        return 0
    async with backend.db.reading() as session:
        there = select(ProtonVersion).where(proton_versions.c.mirror_state == "ready")
        rows = list((await session.execute(there)).scalars())
    files = await asyncio.to_thread(_files, folder)
    known = {_place(folder, row): row for row in rows}
    old = time.time() - _PART_LIVES_S
    strange = [each.path for each in files if each.path not in known and each.used_at < old]
    crowded = _over(backend.settings.proton_mirror_max_bytes, [each for each in files if each.path in known], set())
    await _forget(backend, [known[path].version for path in crowded])
    return await asyncio.to_thread(_delete, [*strange, *crowded])


async def _fetched(backend: Backend, job: ClaimedJob, version: str) -> tuple[ProtonVersion, Checksum]:
    folder = _folder(backend)
    async with backend.db.reading() as session:
        row = await session.get(ProtonVersion, version)
    if row is None:
        raise BuildNotFoundError(f"no feed tells of {version} any more", hint="integ proton available --refresh")
    archive = _archive(row)
    checksum = await backend.outside(read_checksum(backend.http, archive))
    if checksum is None:
        raise IntegrityError(f"nobody publishes a checksum of {version}", hint="choose another version")
    await _make_room(backend, folder, row)
    order = _Order(archive, checksum, _place(folder, row), BulkDoor(backend.settings.upstream_url))

    async def tell() -> None:
        await job_service.tell(backend, job.id, "download", order.here, row.size_bytes)

    try:
        await backend.outside(asyncio.to_thread(order.carry_out), meanwhile=tell)
    finally:
        order.stop.set()
    return row, checksum


@dataclass(slots=True)
class _Order:
    """One archive to one file; `carry_out` is for a thread."""

    archive: Archive
    checksum: Checksum
    target: Path
    door: BulkDoor
    stop: threading.Event = field(default_factory=threading.Event)
    here: int = 0
    _hash: Any = None

    def carry_out(self) -> None:
        if _is_there(self.target, self.archive.size_bytes) and self._is_right(self.target):
            return  # fetched before the database heard of it
        identity = hashlib.sha256(self.archive.identity.encode()).hexdigest()[:16]
        part = self.target.with_name(f".{self.target.name}.{identity}{_PART}")
        with _storage_errors(part), self.door:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab+", buffering=0) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ProviderUnavailableError(f"another worker is fetching {self.archive.tag}", retry_after_s=30) from None
                self._replay(file)
                self._arrive(file)
                if self.stop.is_set():
                    return
                if self.here != self.archive.size_bytes or self._hash.hexdigest() != self.checksum.hexdigest:
                    part.unlink(missing_ok=True)
                    said = f"{self.archive.name} does not match its published {self.checksum.algorithm.upper()}"
                    raise IntegrityError(said, hint="try again later; the feed is read every hour")
                os.fsync(file.fileno())
                part.rename(self.target)
            _sync_folder(self.target.parent)

    def _replay(self, file: Any) -> None:
        """Hash what an earlier attempt left."""
        self._hash = hashlib.new(self.checksum.algorithm, usedforsecurity=False)
        self.here = 0
        file.seek(0)
        while not self.stop.is_set() and (chunk := file.read(1 << 20)):
            self._hash.update(chunk)
            self.here += len(chunk)

    def _arrive(self, file: Any) -> None:
        failures = 0
        while self.here < self.archive.size_bytes and not self.stop.is_set():
            before = self.here
            try:
                with self.door.open(self.archive.url, start=self.here) as answer:
                    answer.raise_for_status()
                    if answer.start != self.here:  # no range was given: from the beginning
                        file.truncate(0)
                        self._replay(file)
                    for chunk in answer.chunks():
                        self._take(file, chunk)
                        if self.stop.is_set():
                            return
            except ProviderUnavailableError:
                failures = failures + 1 if self.here <= before else 0
                if failures >= _TRIES_WITHOUT_PROGRESS:
                    raise
                self.stop.wait(_PAUSE_S * 2**failures)

    def _take(self, file: Any, chunk: bytes) -> None:
        if self.here + len(chunk) > self.archive.size_bytes:
            file.truncate(0)
            raise IntegrityError(f"{self.archive.name} is larger than the feed says", hint="try again later")
        file.write(chunk)
        self._hash.update(chunk)
        self.here += len(chunk)

    def _is_right(self, path: Path) -> bool:
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.checksum.algorithm).hexdigest() == self.checksum.hexdigest


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size_bytes: int
    used_at: float


async def _make_room(backend: Backend, folder: Path, row: ProtonVersion) -> None:
    """Let those go that nobody asked for the longest, until *row* fits."""
    most = backend.settings.proton_mirror_max_bytes
    if row.size_bytes > most:
        raise StorageError(f"{row.version} is larger than the whole mirror may be", hint="INTEG_PROTON_MIRROR_MAX_BYTES")
    target = _place(folder, row)
    with _storage_errors(folder):
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        files = await asyncio.to_thread(_files, folder)
    over = _over(most - row.size_bytes, [each for each in files if not each.path.name.endswith(_PART)], {target})
    async with backend.db.reading() as session:
        names = [path.name for path in over]
        query = select(proton_versions.c.version).where(proton_versions.c.archive_name.in_(names))
        versions = list((await session.execute(query)).scalars())
    await _forget(backend, versions)
    await asyncio.to_thread(_delete, over)
    with _storage_errors(folder):
        free = (await asyncio.to_thread(shutil.disk_usage, folder)).free
    if free < row.size_bytes + _RESERVE_BYTES:
        raise StorageError(f"the mirror's disk has no room for {row.version}", hint="make room, or set INTEG_PROTON_MIRROR_MAX_BYTES")


async def _forget(backend: Backend, versions: list[str]) -> None:
    if versions:
        async with backend.db.writing.begin() as session:
            for version in versions:
                await _mark(session, version, "none")


async def _mark(session: AsyncSession, version: str, state: str, error: str = "") -> None:
    row = update(proton_versions).where(proton_versions.c.version == version)
    await session.execute(row.values(mirror_state=state, mirror_error=error))
    events.proton_changed(session, version, state)


def _folder(backend: Backend) -> Path:
    if backend.settings.proton_mirror_dir is None:
        hint = "its administrator sets INTEG_PROTON_MIRROR_DIR; clients ask the publisher"
        raise PermissionDeniedError("this backend keeps no mirror of Proton archives", hint=hint)
    return backend.settings.proton_mirror_dir


def _place(folder: Path, row: ProtonVersion) -> Path:
    return folder / row.family / row.archive_name  # both were checked to be plain names when the feed was read


def _archive(row: ProtonVersion) -> Archive:
    algorithm, _, hexdigest = (row.digest or "").partition(":")
    return Archive(
        family=row.family,
        tag=row.tag,
        arch=row.arch,
        name=row.archive_name,
        url=row.archive_url,
        size_bytes=row.size_bytes,
        identity=row.identity,
        published_at=None,
        checksum_url=row.digest_url,
        digest=Checksum(algorithm, hexdigest) if hexdigest else None,
    )


def _is_there(path: Path, size_bytes: int, *, touch: bool = False) -> bool:
    try:
        if path.stat().st_size != size_bytes:
            return False
    except OSError:
        return False
    if touch:
        with contextlib.suppress(OSError):  # on a volume that this process may only read nobody is the wiser
            os.utime(path)
    return True


def _files(folder: Path) -> list[_File]:
    found = []
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            seen = path.stat()
            if path.is_file():
                found.append(_File(path, seen.st_size, seen.st_mtime))
    return found


def _over(most: int, files: list[_File], spared: set[Path]) -> list[Path]:
    """Which of *files* have to go so that the rest is no more than *most* bytes: those that were used the longest ago."""
    total = sum(each.size_bytes for each in files if each.path not in spared)
    going: list[Path] = []
    for each in sorted(files, key=lambda one: one.used_at):
        if total <= most:
            break
        if each.path not in spared:
            going.append(each.path)
            total -= each.size_bytes
    return going


def _delete(paths: list[Path]) -> int:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
    return len(paths)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the mirror can't write {path.name}: {error.strerror}", hint="df -h, and who owns the folder") from error
