"""Which builds are published: the release feed of GitHub, kept on the disk so that it is asked at most once an hour."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from integ_runtime.downloads.fetch import Checksum
from integ_runtime.proton.builds import Family, checksum_names, choose_archive, is_safe_name
from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    IntegrityError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
)
from integ_server.upstream import open_upstream

FRESH_S = 3600
_MAX_PAGES = 12
_MAX_BYTES = 24 << 20
_MAX_CHECKSUM_BYTES = 64 << 10
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_SUM_LINE = re.compile(r"([0-9a-fA-F]{128}|[0-9a-fA-F]{64})(?:[ \t]+\*?(\S.*))?")
_LENGTHS = {128: "sha512", 64: "sha256"}


def _text_or_none(value: object) -> object:
    return value if isinstance(value, str) else None


class _Asset(BaseModel):
    id: int = 0
    name: str
    size: int = 0
    state: str = "uploaded"
    digest: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    updated_at: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    browser_download_url: str = ""


class _Release(BaseModel):
    tag_name: str
    draft: bool = False
    prerelease: bool = False
    published_at: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    assets: list[_Asset] = []


class _Page(BaseModel):
    """One page of the feed as it is kept."""

    url: str
    etag: str = ""
    next_url: str | None = None
    releases: list[_Release]


class _Kept(BaseModel):
    fetched_at: float
    pages: list[_Page]


_RELEASES = TypeAdapter(list[_Release])


@dataclass(frozen=True, slots=True)
class Archive:
    """The file of a release that is the build for one architecture."""

    family: str
    tag: str
    arch: str
    name: str
    url: str
    size_bytes: int
    identity: str
    """Changes when the file is uploaded anew under the same name."""
    published_at: str | None
    checksum_url: str | None
    """A small file with the checksum in it; it comes before `digest`."""
    digest: Checksum | None
    """What the feed itself says."""


@dataclass(frozen=True, slots=True)
class Feed:
    releases: tuple[_Release, ...]
    notice: str = ""
    """Why it may be out of date; empty when it is not."""

    def archives(self, family: Family, arch: str) -> dict[str, Archive]:
        """The builds for *arch* by tag, newest first; releases without a usable file are left out."""
        found = [archive for release in self.releases if (archive := find_archive(release, family, arch)) is not None]
        return {archive.tag: archive for archive in sorted(found, key=lambda each: family.order(each.tag), reverse=True)}


class Releases:
    """The feed of every family, in the folder *kept* and outside. *token* lifts GitHub's limit of 60 requests an hour."""

    def __init__(self, kept: Path, *, upstream_url: str | None = None, token: str = "") -> None:
        self._folder = kept
        self._upstream_url = upstream_url
        self._token = token

    def kept(self, family: Family) -> Feed | None:
        """What is on the disk, however old, without asking anybody; None when there is nothing."""
        kept = self._load(family)
        return _feed(kept) if kept is not None else None

    async def feed(self, family: Family, *, refresh: bool = False) -> Feed:
        """
        Every release of *family*. What was fetched within the hour is good enough unless *refresh*; when the feed can't be had,
        an old one is better than none, and its notice says so.

        Raises:
            RateLimitedError, ProviderUnavailableError, ProviderError: There is no old one either.
        """
        kept = self._load(family)
        if kept is not None and not refresh and 0 <= time.time() - kept.fetched_at < FRESH_S:
            return _feed(kept)
        try:
            pages = await self._fetch(family, {page.url: page for page in kept.pages} if kept is not None else {})
        except ProviderError as error:
            if kept is None:
                raise
            age_h = max(0.0, time.time() - kept.fetched_at) / 3600
            return Feed(_feed(kept).releases, f"{error.message}; the list of releases is {age_h:.0f} hours old")
        kept = _Kept(fetched_at=time.time(), pages=pages)
        self._save(family, kept)
        return _feed(kept)

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
            answer = await _get(http, archive.checksum_url, {"Accept": "application/octet-stream"}, _MAX_CHECKSUM_BYTES, follow=True)
        if answer.status_code != 200:
            raise _failure(answer)
        return parse_checksum(answer.content, archive.name)

    async def _fetch(self, family: Family, before: Mapping[str, _Page]) -> list[_Page]:
        url: str | None = f"https://api.github.com/repos/{family.repository}/releases?per_page=100"
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        pages: list[_Page] = []
        async with open_upstream(self._upstream_url) as http:
            while url is not None:
                if len(pages) >= _MAX_PAGES or any(page.url == url for page in pages):
                    break
                known = before.get(url)
                asked = {**headers, "If-None-Match": known.etag} if known is not None and known.etag else headers
                answer = await _get(http, url, asked, _MAX_BYTES, follow=True)
                if answer.status_code == 304 and known is not None:
                    page = known
                elif answer.status_code == 200:
                    page = _page(url, answer)
                else:
                    raise _failure(answer)
                pages.append(page)
                url = page.next_url
        return pages

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


def find_archive(release: _Release, family: Family, arch: str) -> Archive | None:
    """The build for *arch* in *release*; None when it has none that can be downloaded."""
    if release.draft or release.prerelease or not is_safe_name(release.tag_name):
        return None
    here = {asset.name: asset for asset in release.assets if asset.state == "uploaded" and _is_https(asset.browser_download_url)}
    name = choose_archive(here, family, arch)
    if name is None or here[name].size <= 0:
        return None
    asset = here[name]
    sums = next((here[each] for each in checksum_names(name) if each in here), None)
    digest = _DIGEST.fullmatch(asset.digest or "")
    return Archive(
        family=family.slug,
        tag=release.tag_name,
        arch=arch,
        name=name,
        url=asset.browser_download_url,
        size_bytes=asset.size,
        identity=f"{family.repository}/{asset.id}/{asset.updated_at or ''}/{name}",
        published_at=release.published_at,
        checksum_url=sums.browser_download_url if sums else None,
        digest=Checksum("sha256", digest[1].lower()) if digest else None,
    )


def parse_checksum(content: bytes, name: str) -> Checksum:
    """
    The checksum of *name* in what `sha512sum` or `sha256sum` wrote; a file of one line needs no name.

    Raises:
        IntegrityError: It is not there, or is no checksum.
    """
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    for line in lines[:1000]:
        found = _SUM_LINE.fullmatch(line)
        if found and (found[2] == name or (len(lines) == 1 and found[2] is None)):
            return Checksum(_LENGTHS[len(found[1])], found[1].lower())
    raise IntegrityError(f"the published checksum of {name} can't be read", hint="try again later")


def _feed(kept: _Kept) -> Feed:
    seen: dict[str, _Release] = {}
    for page in kept.pages:
        for release in page.releases:
            seen.setdefault(release.tag_name, release)  # a release that moved to the next page meanwhile comes twice
    return Feed(tuple(seen.values()))


def _page(url: str, answer: httpx.Response) -> _Page:
    try:
        releases = _RELEASES.validate_json(answer.content)
    except ValidationError as error:
        raise ProviderError("GitHub answered in a form Integ does not know") from error
    following = answer.links.get("next", {}).get("url")
    if following is not None and urlsplit(following).hostname != "api.github.com":
        raise ProviderError("GitHub's list of releases goes on somewhere else")
    return _Page(url=url, etag=answer.headers.get("ETag", ""), next_url=following, releases=[_useful(each) for each in releases])


def _useful(release: _Release) -> _Release:
    return release.model_copy(update={"assets": release.assets[:200]})


async def _get(http: httpx.AsyncClient, url: str, headers: Mapping[str, str], max_bytes: int, *, follow: bool) -> httpx.Response:
    """The whole answer, no larger than *max_bytes*."""
    try:
        async with http.stream("GET", url, headers=dict(headers), follow_redirects=follow) as answer:
            parts: list[bytes] = []
            size = 0
            async for part in answer.aiter_bytes():
                size += len(part)
                if size > max_bytes:
                    raise ProviderError("GitHub's answer is larger than it can be")
                parts.append(part)
            return httpx.Response(answer.status_code, headers=_plain(answer.headers), content=b"".join(parts), request=answer.request)
    except IntegError:
        raise
    except httpx.TooManyRedirects as error:
        raise ProviderError("GitHub redirects without end") from error
    except httpx.HTTPError as error:
        raise ProviderUnavailableError("GitHub did not answer", hint="check the network; what is installed works without it") from error


def _plain(headers: httpx.Headers) -> Sequence[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name not in {"content-encoding", "content-length", "transfer-encoding"}]


def _failure(answer: httpx.Response) -> IntegError:
    if answer.status_code == 401:
        return AuthenticationError("GitHub refuses the token", hint="integ config set github_token TOKEN, or none at all")
    limited = answer.status_code == 429 or (
        answer.status_code == 403 and (answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers)
    )
    if limited or (answer.status_code == 403 and b"rate limit" in answer.content.lower()):
        pause_s = _pause_s(answer.headers)
        return RateLimitedError(
            f"GitHub asks for a pause of {max(1, round(pause_s / 60))} minutes",
            hint="integ config set github_token TOKEN lifts its limit",
            retry_after_s=pause_s,
        )
    if answer.status_code >= 500:
        return ProviderUnavailableError(f"GitHub answered {answer.status_code}", hint="try again later")
    return ProviderError(f"GitHub answered {answer.status_code}")


def _pause_s(headers: httpx.Headers) -> float:
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isascii() and after.isdigit() and len(after) < 8:
        return float(after)
    if reset.isascii() and reset.isdigit() and len(reset) < 12:
        return min(max(1.0, int(reset) - time.time()), 86_400.0)
    return 60.0


def _is_https(url: str) -> bool:
    return url.startswith("https://")


__all__ = ["Archive", "Feed", "Releases", "find_archive", "parse_checksum"]
