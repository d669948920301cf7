"""What GitHub's release feed says of Proton builds, and the checksums beside them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    IntegrityError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
)
from integ_server.releases.families import SUM_LISTS, Family, checksum_names, choose_archive, is_safe_name

_MAX_PAGES = 12
_MAX_BYTES = 24 << 20
_MAX_CHECKSUM_BYTES = 64 << 10
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_SUM_LINE = re.compile(r"([0-9a-fA-F]{128}|[0-9a-fA-F]{64})(?:[ \t]+\*?(\S.*))?")
_LENGTHS = {128: "sha512", 64: "sha256"}


def _text_or_none(value: object) -> object:
    return value if isinstance(value, str) else None


class Asset(BaseModel):
    id: int = 0
    name: str
    size: int = 0
    state: str = "uploaded"
    digest: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    updated_at: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    browser_download_url: str = ""


class Release(BaseModel):
    tag_name: str
    draft: bool = False
    prerelease: bool = False
    published_at: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    assets: list[Asset] = []


class FeedPage(BaseModel):
    """One page of the feed as it is kept."""

    url: str
    etag: str = ""
    next_url: str | None = None
    releases: list[Release]


_RELEASES = TypeAdapter(list[Release])


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
    releases: tuple[Release, ...]
    notice: str = ""
    """Why it may be out of date; empty when it is not."""

    def archives(self, family: Family, arch: str) -> dict[str, Archive]:
        """The builds for *arch* by tag, newest first; releases without a usable file are left out."""
        found = [archive for release in self.releases for archive in find_archives(release, family, arch)]
        return {archive.tag: archive for archive in sorted(found, key=lambda each: family.order(each.tag), reverse=True)}

    def tags(self, family: Family, *, usable: bool = False) -> list[str]:
        """What is told of by name, also what has no file yet; *usable* leaves out what its publisher does not offer to everybody."""
        told = (each for each in self.releases if not usable or not (each.draft or each.prerelease))
        return [name for release in told for name in family.names_of(release.tag_name)]


async def read_pages(http: httpx.AsyncClient, family: Family, token: str, before: Mapping[str, FeedPage]) -> list[FeedPage]:
    """
    Every page of the feed of *family*, the newest first; one of *before* that did not change is taken from there. *token* lifts GitHub's
    limit of 60 requests an hour, and an ETag holds for one token alone.

    Raises:
        RateLimitedError, ProviderUnavailableError, ProviderError: The feed can't be had.
        AuthenticationError: GitHub refuses the token.
    """
    url: str | None = f"https://api.github.com/repos/{family.repository}/releases?per_page=100"
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    pages: list[FeedPage] = []
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


async def read_checksum(http: httpx.AsyncClient, archive: Archive) -> Checksum | None:
    """
    What *archive* must hash to, as its publisher says; None when nobody says.

    Raises:
        IntegrityError: The file of checksums makes no sense.
        ProviderError: It can't be had.
    """
    if archive.checksum_url is None:
        return archive.digest
    answer = await _get(http, archive.checksum_url, {"Accept": "application/octet-stream"}, _MAX_CHECKSUM_BYTES, follow=True)
    if answer.status_code != 200:
        raise _failure(answer)
    return parse_checksum(answer.content, archive.name)


def feed_of(pages: Iterable[FeedPage]) -> Feed:
    seen: dict[str, Release] = {}
    for page in pages:
        for release in page.releases:
            seen.setdefault(release.tag_name, release)  # a release that moved to the next page meanwhile comes twice
    return Feed(tuple(seen.values()))


def find_archives(release: Release, family: Family, arch: str) -> Iterator[Archive]:
    """The builds for *arch* in *release* that can be downloaded."""
    if release.draft or release.prerelease or not is_safe_name(release.tag_name):
        return
    here = {asset.name: asset for asset in release.assets if asset.state == "uploaded" and _is_https(asset.browser_download_url)}
    for tag in family.names_of(release.tag_name):
        name = choose_archive(here, family, arch, tag) if is_safe_name(tag) and family.owns(tag) else None
        if name is not None and here[name].size > 0:
            asset = here[name]
            digest = _DIGEST.fullmatch(asset.digest or "")
            lists = () if digest else SUM_LISTS
            sums = next((here[each] for each in (*checksum_names(name), *lists) if each in here), None)
            yield Archive(
                family=family.slug,
                tag=tag,
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


def _page(url: str, answer: httpx.Response) -> FeedPage:
    try:
        releases = _RELEASES.validate_json(answer.content)
    except ValidationError as error:
        raise ProviderError("GitHub answered in a form Integ does not know") from error
    following = answer.links.get("next", {}).get("url")
    if following is not None and urlsplit(following).hostname != "api.github.com":
        raise ProviderError("GitHub's list of releases goes on somewhere else")
    return FeedPage(url=url, etag=answer.headers.get("ETag", ""), next_url=following, releases=[_useful(each) for each in releases])


def _useful(release: Release) -> Release:
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
