"""
Bring a build onto the disk in one pass: read, hash, keep the archive, inflate, write. It gets its name once it is whole and checked.

Killed at any instant, the folder holds a whole version or none; the archive stays until then, so that the next run goes on with it.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from integ_runtime.downloads.background import Reporter, Stop, StoppedError, in_background
from integ_runtime.downloads.fetch import Source, Transfer, check_space, drop_part, storage_errors
from integ_runtime.locks import only_one
from integ_runtime.progress import Progress, Report
from integ_runtime.proton.archive import Limits
from integ_runtime.proton.folder import LOCK, PARTS, check_file_system, clean_up, hidden_sibling, point_latest, sync_folder, sync_to_disk
from integ_runtime.proton.installed import IN_STEAM, RECORD, check_build, read_build
from integ_runtime.proton.unpack import Unpacked, unpack
from integ_runtime.proton.verify import write_files_record
from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import IntegrityError, StorageError, WouldLoseDataError, utc_now_text
from integ_server.releases.families import Family, version_name

if TYPE_CHECKING:
    from integ_server.releases.feed import Archive
    from integ_server.upstream import BulkDoor

_CHUNKS_WAITING = 8
_UNPACKED_TO_ARCHIVE = {"proton": 3, "wine": 10}
"""At most, by the kind of build: plain Wine is packed with xz (96 MB of `wine-11.0` become 852 MB)."""
_EARLY_SYNC_BYTES = 160 << 20


@dataclass(frozen=True, slots=True)
class InstallOutcome:
    version: str
    family: str
    path: Path
    already_installed: bool
    bytes_fetched: int
    """Over the network, this time."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which archive is to become which build."""

    archive: Archive
    family: Family
    checksum: Checksum | None
    """None only when the player takes a build that nobody vouches for."""
    for_steam: bool = False
    """Whether it goes into Steam's folder, where Integ removes nothing but what says that it is Integ's."""

    @property
    def version(self) -> str:
        return version_name(self.archive.tag, self.archive.arch)

    @property
    def source(self) -> Source:
        return Source(self.archive.url, self.archive.size_bytes, self.checksum, self.archive.identity)


Copy = Callable[[Source, Path], Awaitable[int]]
"""Brings bytes of a source into a part; answers how many came."""


async def install(
    order: Order,
    tools: Path,
    *,
    door: BulkDoor,
    report: Report,
    limits: Limits | None = None,
    copy: Copy | None = None,
    point: bool = True,
) -> InstallOutcome:
    """
    Put the build below *tools* under its version's name, and `latest` onto it when *point*. *copy* may bring some of it beforehand.

    Raises:
        IntegrityError: A wrong checksum, a hostile archive, no Proton build; nothing of it is left.
        StorageError: No space, a disk that fails, a file system that can't hold a build.
        ProviderError: The archive can't be had; what came stays for the next run.
    """
    target = tools / order.version
    with storage_errors(tools):
        tools.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(report)
    async with only_one(tools / LOCK, doing="installing a Proton version"):
        if read_build(target) is not None:  # another process did it meanwhile
            if point:
                point_latest(tools, order.version)
            return InstallOutcome(order.version, order.family.slug, target, already_installed=True, bytes_fetched=0)
        if os.path.lexists(target):
            raise WouldLoseDataError(f"{target} is in the way and is no build", hint=f"move {target} elsewhere")
        copied = await copy(order.source, tools / PARTS / f"{order.archive.name}.part") if copy is not None else 0
        fetched = copied + await in_background(
            lambda stop: _install(order, tools, door=door, stop=stop, reporter=reporter, limits=limits), name=f"install {order.version}"
        )
        if point:
            point_latest(tools, order.version)
    return InstallOutcome(order.version, order.family.slug, target, already_installed=False, bytes_fetched=fetched)


def _install(order: Order, tools: Path, *, door: BulkDoor, stop: Stop, reporter: Reporter, limits: Limits | None) -> int:
    """The whole of it, in a thread that may block; the bytes that came over the network."""
    try:
        return _install_whole(order, tools, door=door, stop=stop, reporter=reporter, limits=limits)
    finally:
        with suppress(OSError):  # goes when nothing is kept in it
            (tools / PARTS).rmdir()


def _install_whole(order: Order, tools: Path, *, door: BulkDoor, stop: Stop, reporter: Reporter, limits: Limits | None) -> int:
    clean_up(tools)
    check_file_system(tools)
    archive = order.archive
    part = tools / PARTS / f"{archive.name}.part"
    here = part.stat().st_size if part.is_file() else 0
    check_space(tools, max(0, archive.size_bytes - here) + _UNPACKED_TO_ARCHIVE[order.family.kind] * archive.size_bytes)
    source = order.source
    fetched = 0
    for attempt in (1, 2):
        transfer = Transfer(source, part, door, stop, reporter)
        try:
            with hidden_sibling(tools) as hidden:
                work = hidden / order.version
                with storage_errors(work):
                    work.mkdir(0o755)
                unpacked = _pass_through(transfer, work, stop, limits)
                fetched += transfer.bytes_fetched
                stop.check()
                reporter(Progress("check", message=order.version), now=True)
                check_build(work, arch=archive.arch, kind=order.family.kind)
                _write_records(order, work, unpacked, transfer)
                sync_to_disk(work)
                with storage_errors(tools / order.version):
                    work.rename(tools / order.version)
            break
        except IntegrityError:
            stop.check()
            fetched += transfer.bytes_fetched
            drop_part(part)
            if attempt == 2 or not transfer.resumed:
                raise
            # What an earlier attempt left was damaged or of something else: once more from the start.
    sync_folder(tools)
    drop_part(part)
    return fetched


def _pass_through(transfer: Transfer, work: Path, stop: Stop, limits: Limits | None) -> Unpacked:
    """Unpack what *transfer* brings while it comes; returns once the archive is whole, its checksum right and every file written."""
    channel = _Channel(stop)
    result: list[Unpacked] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            result.append(unpack(channel.taken(), work, limits=limits))
        except BaseException as error:  # raised again below
            failed.append(error)
        finally:
            channel.leave()

    unpacker = threading.Thread(target=run, name="unpack", daemon=True)
    unpacker.start()
    chunks = transfer.chunks()
    early = _EarlySync(work)
    try:
        for chunk in chunks:
            if not channel.give(chunk):
                break
            early.passed(len(chunk))
        channel.end(whole=True)
    except BaseException:
        channel.end(whole=False)
        raise
    finally:
        unpacker.join()
        early.join()
        chunks.close()  # type: ignore[attr-defined]
    if failed:
        raise failed[0]
    return result[0]


class _EarlySync:
    """Begins to write to the disk while there is still something to unpack, so that little is left for the sync at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes = 0
        self._thread: threading.Thread | None = None

    def passed(self, count: int) -> None:
        self._bytes += count
        if self._bytes >= _EARLY_SYNC_BYTES and (self._thread is None or not self._thread.is_alive()):
            self._bytes = 0
            self._thread = threading.Thread(target=self._sync, name="early sync", daemon=True)
            self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _sync(self) -> None:
        with suppress(StorageError):  # the sync at the end tells it
            sync_to_disk(self._folder)


class _Channel:
    """Chunks from the thread that reads to the one that inflates; a few at a time."""

    def __init__(self, stop: Stop) -> None:
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_CHUNKS_WAITING)
        self._stop = stop
        self._left = threading.Event()
        self._whole = False

    def give(self, chunk: bytes) -> bool:
        """False when nobody takes chunks any more."""
        while not self._left.is_set():
            try:
                self._chunks.put(chunk, timeout=0.5)
            except queue.Full:
                self._stop.check()
            else:
                return True
        return False

    def end(self, *, whole: bool) -> None:
        self._whole = whole
        while not self._left.is_set():
            with suppress(queue.Full):
                self._chunks.put(None, timeout=0.1)
                return

    def taken(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            yield chunk
        if not self._whole:
            raise StoppedError

    def leave(self) -> None:
        self._left.set()


def _write_records(order: Order, work: Path, unpacked: Unpacked, transfer: Transfer) -> None:
    archive, checksum = order.archive, order.checksum
    record = {
        "schema": "integ/build@1",
        "version": order.version,
        "family": order.family.slug,
        "tag": archive.tag,
        "arch": archive.arch,
        "archive": archive.name,
        "archive_bytes": archive.size_bytes,
        "checksum": f"{checksum.algorithm}:{checksum.hexdigest}" if checksum else None,
        "top": unpacked.top,
        "size_bytes": unpacked.size_bytes,
        "place": IN_STEAM if order.for_steam else "integ",
        "installed_at": utc_now_text(),
        "bytes_fetched": transfer.bytes_fetched,
    }
    write_files_record(work, unpacked)
    with storage_errors(work / RECORD):
        (work / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
