"""Fetching a Linux game's installers: the game's own, then those of its DLC, each on from where an earlier attempt ended."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from integ_runtime.downloads.fetch import Source, fetch
from integ_runtime.progress import Progress, Report
from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import IntegrityError, ProviderError, ProviderUnavailableError

if TYPE_CHECKING:
    from integ_server.contract.types import DownloadPlan, InstallerFile
    from integ_server.upstream import BulkDoor


def files_of(plan: DownloadPlan) -> list[InstallerFile]:
    """What is laid over each other, in this order; empty when *plan* has none."""
    return [plan.installer, *plan.dlc_installers] if plan.installer is not None else []


def names_of(plan: DownloadPlan) -> tuple[str, ...]:
    """What tells one set of installers from another: a DLC may be replaced while the game's own version stays."""
    return tuple(each.file_name for each in files_of(plan))


class InstallerFiles:
    """The installers of *plan* below *staging*; *again* asks the backend for the same plan with fresh links and checksums."""

    def __init__(self, plan: DownloadPlan, staging: Path, door: BulkDoor, again: Callable[[], Awaitable[DownloadPlan]]) -> None:
        self._plan = plan
        self._door = door
        self._again = again
        self.paths = [staging / _name(plan, at, file) for at, file in enumerate(files_of(plan))]

    async def fetch(self, report: Report) -> int:
        """
        Bring all of them to `paths`; answers the bytes that came over the network.

        Raises:
            IntegrityError: One is not what the store's own checksum says, and was not when it was fetched once more either.
            ProviderError: The store has none, refuses it with fresh links too, or fails for good.
        """
        if not self.paths:
            raise ProviderError("the store's plan names no installer", hint=f"integ install {self._plan.key} --platform windows")
        sizes = [each.size_bytes for each in files_of(self._plan)]
        whole = sum(size or 0 for size in sizes) if all(sizes) else None
        before = fetched = 0
        for at, path in enumerate(self.paths):

            def further(progress: Progress, before: int = before) -> None:
                report(progress._replace(done_bytes=before + (progress.done_bytes or 0), total_bytes=whole))

            fetched += await self._fetch_one(at, path, further)
            before += path.stat().st_size
        return fetched

    async def _fetch_one(self, at: int, path: Path, report: Report) -> int:
        """With fresh links once when the signed ones ran out, and once more when what came is not what it should be."""
        seen: set[type[IntegrityError | ProviderError]] = set()
        while True:
            told = files_of(self._plan)[at]
            checksum = Checksum("md5", told.md5) if told.md5 else None
            if path.is_file() and checksum is not None:
                return 0  # whole and checked, or it would not have this name
            identity = f"{self._plan.key}/{told.file_name}/{self._plan.version}"
            source = Source(told.url, told.size_bytes, checksum, identity, sender="GOG", what="the installer")
            try:
                return (await fetch(source, path, door=self._door, report=report)).bytes_fetched
            except ProviderUnavailableError:
                raise
            except ProviderError:
                if ProviderError in seen:
                    raise
                seen.add(ProviderError)
            except IntegrityError as error:
                if IntegrityError in seen:
                    raise IntegrityError(
                        f"{told.file_name} came twice and is not what GOG's own checksum says: {error.message}",
                        hint=f"GOG has to mend that: try again another day, or: integ install {self._plan.key} --platform windows",
                    ) from error
                seen.add(IntegrityError)
            await self._renew()

    async def _renew(self) -> None:
        fresh = await self._again()
        if names_of(fresh) != names_of(self._plan):
            raise ProviderError("the store has replaced an installer meanwhile", hint=f"integ install {self._plan.key}")
        self._plan = fresh


def _name(plan: DownloadPlan, at: int, file: InstallerFile) -> str:
    """The same after a kill; another one for another content."""
    facts = (at, file.file_name, file.md5, file.size_bytes, plan.version)
    return f"installer-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.sh"
