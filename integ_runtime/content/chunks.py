"""Fetching a build's chunks: in parallel, each checked on the wire and once inflated, straight into the file that they belong to."""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from integ_runtime.content.depot import Chunk, chunk_url, in_order
from integ_runtime.content.sums import chunk_matches
from integ_runtime.downloads.background import Stop
from integ_runtime.downloads.body import Body
from integ_runtime.downloads.fetch import storage_errors
from integ_server.contract.errors import IntegError, IntegrityError, ProviderError, ProviderUnavailableError

if TYPE_CHECKING:
    from integ_server.contract.types import CdnEndpoint
    from integ_server.upstream import BulkDoor

WORKERS = 8
"""Below the ten connections a host that GOG's own rules of thumb allow."""
_PIECE = 256 << 10
_TRIES = 4
"""For one chunk at one endpoint."""
_LONGEST_PAUSE_S = 60.0
_INFLATE_ERRORS: tuple[Any, ...] = (isal_zlib.error, zlib.error)

Endpoints = dict[str, "list[CdnEndpoint]"]


class _CorruptError(Exception):
    """What came is not the chunk; it may be at the next try."""


class _RefusedError(ProviderError):
    """An endpoint answered 401 or 403: its link has run out, or the game is not the player's."""


@dataclass(slots=True)
class Job:
    """A file that is put together from chunks in *part*; *finish* is called once all of them are there."""

    part: Path
    product_id: str
    chunks: tuple[Chunk, ...]
    finish: Callable[[Path], None]
    left: int = field(default=0, init=False)


class Links:
    """The signed ways to each product's chunks; renewed when they have run out, and only if they had worked."""

    def __init__(self, endpoints: Endpoints, renew: Callable[[], Endpoints]) -> None:
        self._lock = threading.Lock()
        self._renew = renew
        self._generation = 0
        self._worked = True
        self._set(endpoints)

    def of(self, product_id: str) -> tuple[int, list[CdnEndpoint]]:
        """The generation of the links, and the endpoints, the best first."""
        with self._lock:
            return self._generation, self._endpoints.get(product_id, [])

    def worked(self) -> None:
        self._worked = True

    def renewed(self, generation: int) -> bool:
        """Whether there are newer links than those of *generation*; asks for them when nobody has, once for every set that worked."""
        with self._lock:
            if generation != self._generation:
                return True
            if not self._worked:
                return False
            self._worked = False
            self._set(self._renew())
            self._generation += 1
            return True

    def _set(self, endpoints: Endpoints) -> None:
        self._endpoints = {product_id: in_order(each) for product_id, each in endpoints.items()}


class ChunkFetcher:
    """Works off jobs with a few threads; the first failure ends them all, and what is whole by then stays."""

    def __init__(self, door: BulkDoor, links: Links, stop: Stop, moved: Callable[[int], None], *, workers: int = WORKERS) -> None:
        self._door, self._links, self._stop = door, links, stop
        self._moved = moved
        """Hears the compressed size of each chunk that is there."""
        self._workers = workers
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.bytes_fetched = 0

    def run(self, jobs: Iterator[Job]) -> None:
        """
        Finish all *jobs*; the iterator is only ever advanced by one thread at a time.

        Raises:
            IntegrityError: A chunk stays wrong wherever it is asked for.
            ProviderError: The store does not have a chunk, refuses it, or fails for good.
            StorageError: The disk is full or fails.
        """
        tasks = self._tasks(jobs)
        threads = [threading.Thread(target=self._work, args=(tasks,), name=f"chunks {n}", daemon=True) for n in range(self._workers - 1)]
        for thread in threads:
            thread.start()
        self._work(tasks)
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _tasks(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, int, int]]:
        """Each chunk that is missing, with its place in its file; what an earlier attempt left is looked at first."""
        for job in jobs:
            missing = []
            with storage_errors(job.part):
                handle = os.open(job.part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                try:
                    size = os.fstat(handle).st_size
                    os.ftruncate(handle, sum(chunk.size for chunk in job.chunks))
                    at = 0
                    for number, chunk in enumerate(job.chunks):
                        self._stop.check()
                        if at < size and chunk.size and chunk_matches(handle, at, chunk.size, chunk.md5):
                            self._moved(chunk.compressed_size)
                        else:
                            missing.append((job, number, at))
                        at += chunk.size
                finally:
                    os.close(handle)
            job.left = len(missing)
            if not missing:
                job.finish(job.part)
            yield from missing

    def _work(self, tasks: Iterator[tuple[Job, int, int]]) -> None:
        try:
            while True:
                with self._lock:
                    if self._failure is not None:
                        return
                    task = next(tasks, None)
                if task is None:
                    return
                self._do(*task)
        except BaseException as error:
            with self._lock:
                if self._failure is None:
                    self._failure = error

    def _do(self, job: Job, number: int, at: int) -> None:
        chunk = job.chunks[number]
        self._fetch(job, chunk, at)
        self._moved(chunk.compressed_size)
        with self._lock:
            self.bytes_fetched += chunk.compressed_size
            job.left -= 1
            last = job.left == 0
        if last:
            job.finish(job.part)

    def _fetch(self, job: Job, chunk: Chunk, at: int) -> None:
        """Get one chunk into its place: the next endpoint when one has it not, fresh links when they ran out, again when it is damaged."""
        while True:
            generation, endpoints = self._links.of(job.product_id)
            outcome = self._try_endpoints(endpoints, job, chunk, at, give_up_refused=True)
            if isinstance(outcome, _RefusedError):
                if self._links.renewed(generation):
                    continue
                outcome = self._try_endpoints(endpoints, job, chunk, at, give_up_refused=False)
            if outcome is None:
                self._links.worked()
                return
            if isinstance(outcome, _RefusedError):
                raise ProviderError(outcome.message, hint=outcome.hint)  # the class above is nobody else's business
            raise outcome

    def _try_endpoints(self, endpoints: list[CdnEndpoint], job: Job, chunk: Chunk, at: int, *, give_up_refused: bool) -> IntegError | None:
        """None when the chunk is there, else the gravest thing that an endpoint did."""
        gravest: IntegError = _missing(chunk, asked=bool(endpoints))
        for endpoint in endpoints:
            url = chunk_url(endpoint, chunk.compressed_md5)
            for attempt in range(1, _TRIES + 1):
                self._check()
                try:
                    status = self._transfer(url, job.part, chunk, at)
                except _CorruptError:
                    gravest = _damaged(chunk)
                except ProviderUnavailableError as error:
                    gravest = gravest if isinstance(gravest, IntegrityError) else error
                    pause_s = error.retry_after_s if error.retry_after_s is not None else 0.1 * 2**attempt
                    if attempt == _TRIES or pause_s > _LONGEST_PAUSE_S:
                        break
                    self._stop.wait(pause_s)
                else:
                    if status == 200:
                        return None
                    if status in {401, 403}:
                        refused = _RefusedError("the store refuses the game's files", hint="integ sync, then install again")
                        if give_up_refused:
                            return refused
                        gravest = gravest if isinstance(gravest, IntegrityError) else refused
                    break
        return gravest

    def _transfer(self, url: str, part: Path, chunk: Chunk, at: int) -> int:
        """The status; with 200 the chunk stands in its place, checked."""
        with self._door.open(url) as answer:
            if answer.status != 200:
                return 404 if answer.status == 206 else answer.status
            body = Body(answer)
            if body.is_a_page():
                raise ProviderUnavailableError("the store sent a web page instead of the game's files", hint="try again later")
            if answer.total_bytes is not None and answer.total_bytes != chunk.compressed_size:
                raise _CorruptError
            with storage_errors(part):
                handle = os.open(part, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._inflate(body, handle, part, chunk, at)
            finally:
                os.close(handle)
        return 200

    def _inflate(self, body: Body, handle: int, part: Path, chunk: Chunk, at: int) -> None:
        stream: Any = isal_zlib.decompressobj()
        raw, packed = hashlib.md5(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
        taken = written = 0
        for piece in body.chunks(_PIECE):
            self._check()
            taken += len(piece)
            packed.update(piece)
            if taken > chunk.compressed_size:
                raise _CorruptError
            try:
                plain = stream.decompress(piece, chunk.size - written + 1)
            except _INFLATE_ERRORS:
                raise _CorruptError from None
            if written + len(plain) > chunk.size:
                raise _CorruptError
            raw.update(plain)
            with storage_errors(part):
                _write(handle, plain, at + written)
            written += len(plain)
        whole = taken == chunk.compressed_size and written == chunk.size and stream.eof
        if not whole or packed.hexdigest() != chunk.compressed_md5 or raw.hexdigest() != chunk.md5:
            raise _CorruptError

    def _check(self) -> None:
        self._stop.check()
        if self._failure is not None:
            raise self._failure


def _damaged(chunk: Chunk) -> IntegrityError:
    return IntegrityError(f"the piece {chunk.compressed_md5[:8]} arrives damaged each time", hint="try again later: what is whole is kept")


def _missing(chunk: Chunk, *, asked: bool) -> ProviderError:
    if not asked:
        return ProviderError("the store sent no way to a part of the game", hint="try again later")
    name = chunk.compressed_md5[:8]
    return ProviderError(f"the store does not have the piece {name} of its own build", hint="try again later, or --build ID")


def _write(handle: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, at)
        view, at = view[done:], at + done
