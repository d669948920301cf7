"""A Galaxy build on its way to the disk: manifests first, then chunks into files, then each whole file to its place."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from integ_runtime.content.chunks import ChunkFetcher, Job, Links
from integ_runtime.content.depot import Container, DepotFile, Layout, lay_out, link_entries, read_manifest
from integ_runtime.content.ledger import Entry, Root
from integ_runtime.content.names import Parts
from integ_runtime.content.sums import chunk_matches
from integ_runtime.content.tree import Tree, make_executable
from integ_runtime.downloads.background import Stop
from integ_runtime.downloads.fetch import storage_errors
from integ_server.contract.errors import IntegrityError, ProviderError

if TYPE_CHECKING:
    from integ_server.contract.types import DownloadPlan
    from integ_server.upstream import BulkDoor

_COPY = 1 << 20
_WORTH_A_CONTAINER = 4
"""Fewer small files than this are fetched one by one."""


@dataclass(slots=True)
class Moved:
    """How far a download is; may be told by several threads."""

    total: int = 0
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, count: int) -> None:
        with self._lock:
            self.done = min(self.done + count, self.total) if self.total else self.done + count


class GalaxyBuild:
    """What *plan* describes, below *roots*."""

    def __init__(self, plan: DownloadPlan, roots: dict[Root, Path], door: BulkDoor) -> None:
        self._plan = plan
        self._roots = roots
        self._door = door
        self.layout = Layout()
        self.bytes_fetched = 0

    def read(self, stop: Stop) -> list[Entry]:
        """
        Everything that the build consists of. The network is asked, the disk is not touched.

        Raises:
            IntegrityError: The build would write outside of its folders.
            ProviderError: Its manifests can't be had, or make no sense.
        """
        if not self._plan.depots:
            raise ProviderError("the store's plan for this game is empty", hint="integ install GAME --language en-US")
        read = [(each.product_id, read_manifest(self._door, each.manifest_url, stop)) for each in self._plan.depots]
        self.layout = lay_out(read, self._roots)
        entries = [Entry(root, parts, "file", file.sum) for (root, parts), file in self.layout.files.items()]
        entries += [Entry(root, parts, "link", wanted) for (root, parts), wanted in link_entries(self.layout).items()]
        entries += [Entry(root, parts, "folder", "folder") for root, parts in sorted(self.layout.folders)]
        return entries

    def write(self, planned: dict[tuple[Root, Parts], Entry], tree: Tree, links: Links, moved: Moved, stop: Stop) -> None:
        """
        Bring every file of *planned* that does not stand yet to the disk, then folders and links.

        Raises:
            IntegrityError, ProviderError, StorageError: See `ChunkFetcher.run`.
        """
        moved.total = self.layout.download_bytes
        missing: list[tuple[DepotFile, Entry]] = []
        for where, file in self.layout.files.items():
            stop.check()
            entry = planned[where]
            if tree.stands(entry):
                moved.add(file.compressed_bytes)
                if file.executable:
                    make_executable(tree.path(entry))
            else:
                missing.append((file, entry))
        fetcher = ChunkFetcher(self._door, links, stop, moved.add)
        try:
            fetcher.run(self._jobs(missing, tree, moved))
        finally:
            self.bytes_fetched += fetcher.bytes_fetched
        for where, entry in planned.items():
            if where in self.layout.folders:
                tree.make_folder(entry)
        for where, entry in planned.items():
            if where in self.layout.links and not tree.stands(entry):
                tree.make_link(entry)

    def _jobs(self, missing: list[tuple[DepotFile, Entry]], tree: Tree, moved: Moved) -> Iterator[Job]:
        packed: dict[int, list[tuple[DepotFile, Entry]]] = {}
        containers: dict[int, Container] = {}
        for file, entry in missing:
            if file.container is not None:
                containers[id(file.container)] = file.container
                packed.setdefault(id(file.container), []).append((file, entry))
        alone: set[tuple[Root, Parts]] = {(file.root, file.parts) for file, _ in missing}
        for mark, inside in packed.items():
            container = containers[mark]
            whole = sum(chunk.compressed_size for chunk in container.chunks)
            if len(inside) < _WORTH_A_CONTAINER or whole > 2 * sum(file.compressed_bytes for file, _ in inside):
                continue
            alone -= {(file.root, file.parts) for file, _ in inside}
            moved.total += whole - sum(file.compressed_bytes for file, _ in inside)
            part = tree.staging("game") / f"small-{container.chunks[0].compressed_md5}"
            yield Job(part, container.product_id, container.chunks, _cutter(inside, tree))
        for file, entry in missing:
            if (file.root, file.parts) in alone:
                yield Job(tree.part(entry), file.product_id, file.chunks, _placer(file, entry, tree))


def _placer(file: DepotFile, entry: Entry, tree: Tree) -> Callable[[Path], None]:
    return lambda part: tree.place(entry, part, executable=file.executable)


def _cutter(inside: list[tuple[DepotFile, Entry]], tree: Tree) -> Callable[[Path], None]:
    def cut(container: Path) -> None:
        """Each small file out of the container, checked by its own hash: the container's says nothing of where they lie."""
        with storage_errors(container):
            handle = os.open(container, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for file, entry in inside:
                if not chunk_matches(handle, file.offset, file.size_bytes, file.chunks[0].md5):
                    raise IntegrityError(f"{'/'.join(file.parts)!a} is not where the build says", hint="integ install GAME --build ID")
                part = tree.part(entry)
                with storage_errors(part), part.open("wb") as out:
                    at, end = file.offset, file.offset + file.size_bytes
                    while at < end:
                        block = os.pread(handle, min(_COPY, end - at), at)
                        out.write(block)
                        at += len(block)
                tree.place(entry, part, executable=file.executable)
        finally:
            os.close(handle)
        container.unlink()

    return cut


def with_has(planned: list[Entry], known: list[Entry]) -> dict[tuple[Root, Parts], Entry]:
    """*planned* with what the ledger knows to be there already."""
    there = {(each.root, each.parts): each for each in known}
    found = {}
    for each in planned:
        before = there.get((each.root, each.parts))
        found[each.root, each.parts] = replace(each, has=before.has, ctime_ns=before.ctime_ns) if before else each
    return found
