"""Which builds are published: the release feed of GitHub, kept on the disk so that it is asked at most once an hour."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from pydantic import BaseModel, ValidationError

from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import ProviderError
from integ_server.releases.families import Family
from integ_server.releases.feed import Archive, Feed, FeedPage, feed_of, read_checksum, read_pages
from integ_server.upstream import open_upstream

FRESH_S = 3600


class _Kept(BaseModel):
    fetched_at: float
    pages: list[FeedPage]


class Releases:
    """The feed of every family, in the folder *kept* and outside. *token* lifts GitHub's limit of 60 requests an hour."""

    def __init__(self, kept: Path, *, upstream_url: str | None = None, token: str = "") -> None:
        self._folder = kept
        self._upstream_url = upstream_url
        self._token = token

    def kept(self, family: Family) -> Feed | None:
        """What is on the disk, however old, without asking anybody; None when there is nothing."""
        kept = self._load(family)
        return feed_of(kept.pages) if kept is not None else None

    async def feed(self, family: Family, *, refresh: bool = False) -> Feed:
        """
        Every release of *family*. What was fetched within the hour is good enough unless *refresh*; when the feed can't be had,
        an old one is better than none, and its notice says so.

        Raises:
            RateLimitedError, ProviderUnavailableError, ProviderError: There is no old one either.
        """
        kept = self._load(family)
        if kept is not None and not refresh and 0 <= time.time() - kept.fetched_at < FRESH_S:
            return feed_of(kept.pages)
        try:
            async with open_upstream(self._upstream_url) as http:
                pages = await read_pages(http, family, self._token, {page.url: page for page in kept.pages} if kept is not None else {})
        except ProviderError as error:
            if kept is None:
                raise
            age = _age(time.time() - kept.fetched_at)
            return Feed(feed_of(kept.pages).releases, f"{error.message}; the list of releases is {age} old")
        kept = _Kept(fetched_at=time.time(), pages=pages)
        self._save(family, kept)
        return feed_of(kept.pages)

    async def checksum(self, archive: Archive) -> Checksum | None:
        """
        What *archive* must hash to, as its publisher says; None when nobody says.

        Raises:
            IntegrityError: The file of checksums makes no sense.
            ProviderError: It can't be had.
        """
        if archive.checksum_url is None:
            return archive.digest
        async with open_upstream(self._upstream_url) as http:
            return await read_checksum(http, archive)

    def _file(self, family: Family) -> Path:
        # An ETag holds for one token alone, and names of versions for one repository alone.
        key = hashlib.sha256(f"{family.repository}\0{self._token}".encode()).hexdigest()[:24]
        return self._folder / f"{family.slug}-{key}.json"

    def _load(self, family: Family) -> _Kept | None:
        try:
            return _Kept.model_validate_json(self._file(family).read_bytes())
        except (OSError, ValidationError):
            return None

    def _save(self, family: Family, kept: _Kept) -> None:
        file = self._file(family)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_suffix(".new")
            beside.write_text(kept.model_dump_json(), "utf-8")
            beside.replace(file)
        except OSError:  # a cache that can't be written costs a request, nothing else
            return


def _age(seconds: float) -> str:
    hours = int(seconds // 3600)
    if hours < 1:
        return "less than an hour"
    number, unit = (hours, "hour") if hours < 48 else (hours // 24, "day")
    return f"{number} {unit}{'' if number == 1 else 's'}"
