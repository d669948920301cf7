"""
Proton versions by way of a backend for many: its catalogue instead of the release feed, and its copies of archives.

A copy only fills the part of a download that the installer then goes on with: it is hashed against the publisher's checksum like any other
byte, and whatever the backend does not have comes from the publisher.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from integ_runtime.client.api import ApiClient
from integ_runtime.downloads.fetch import Source, begin_part, storage_errors
from integ_runtime.downloads.throttle import shared_throttle
from integ_runtime.progress import Progress, Report
from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import IntegError
from integ_server.contract.proton import ProtonVersionInfo
from integ_server.releases.families import Family, archive_stem, is_safe_name
from integ_server.releases.feed import Archive, Feed

_DIGESTS = {"sha512": 128, "sha256": 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue(Feed):
    """What the backend tells of one family; a name or address that could not be a publisher's is left out."""

    versions: tuple[ProtonVersionInfo, ...]

    def archives(self, family: Family, arch: str) -> dict[str, Archive]:
        """The builds for *arch* by tag, newest first."""
        found = [_archive(each) for each in self.versions if each.family == family.slug and each.arch == arch and _is_plain(each)]
        return {archive.tag: archive for archive in sorted(found, key=lambda each: family.order(each.tag), reverse=True)}

    def tags(self, family: Family, *, usable: bool = False) -> list[str]:
        return list(dict.fromkeys(each.tag for each in self.versions if each.family == family.slug and _is_plain(each)))

    def copy_of(self, archive: Archive) -> str | None:
        """The version whose copy the backend has, when it is one of *archive*."""
        here = (each for each in self.versions if each.mirror_state == "ready" and each.identity == archive.identity)
        return next((each.version for each in here if each.archive_name == archive.name), None)


async def read_catalogue(api: ApiClient, family: Family) -> Catalogue | None:
    """None when the backend does not answer, does not let us, or knows of none: then the feed is asked as without a backend."""
    try:
        versions = await api.proton_versions(family.slug)
    except IntegError:
        return None
    return Catalogue((), versions=tuple(versions)) if versions else None


def copier(api: ApiClient, version: str, report: Report, bytes_per_s: int | None) -> Callable[[Source, Path], Awaitable[int]]:
    """What brings the backend's copy of *version* into a part, and answers how many bytes came; it may come to nothing."""

    async def copy(source: Source, part: Path) -> int:
        here = began_at = await asyncio.to_thread(begin_part, source, part)
        throttle = shared_throttle(bytes_per_s) if bytes_per_s else None
        try:
            async with api.proton_archive(version, here) as chunks:
                with storage_errors(part), part.open("r+b", buffering=0) as file:
                    file.seek(here)
                    async for chunk in chunks:
                        await asyncio.to_thread(os.write, file.fileno(), chunk)
                        here += len(chunk)
                        report(Progress("download", here, source.size_bytes))
                        if throttle is not None:
                            await asyncio.to_thread(throttle.passed, len(chunk))
        except IntegError:
            pass  # the publisher has the rest
        return here - began_at

    return copy


def _is_plain(each: ProtonVersionInfo) -> bool:
    return is_safe_name(each.tag) and archive_stem(each.archive_name) is not None and each.archive_url.startswith("https://")


def _archive(each: ProtonVersionInfo) -> Archive:
    algorithm, _, hexdigest = (each.digest or "").partition(":")
    is_digest = _DIGESTS.get(algorithm) == len(hexdigest) and not set(hexdigest) - set("0123456789abcdef")
    return Archive(
        family=each.family,
        tag=each.tag,
        arch=each.arch,
        name=each.archive_name,
        url=each.archive_url,
        size_bytes=each.size_bytes,
        identity=each.identity,
        published_at=each.published_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        # The backend read the publisher's file when it made its copy; else it is read by whoever installs.
        checksum_url=None if is_digest and algorithm == "sha512" else each.digest_url,
        digest=Checksum(algorithm, hexdigest) if is_digest else None,
    )
