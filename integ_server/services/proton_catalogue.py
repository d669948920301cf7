"""Which Proton versions there are: the release feeds, read into a table that clients ask instead of the feeds."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import BackendUnreachableError, BuildNotFoundError, ProviderError, RateLimitedError, UsageError
from integ_server.contract.proton import MirrorState, ProtonVersionInfo
from integ_server.contract.types import Page
from integ_server.models.job import ClaimedJob
from integ_server.models.proton_version import ProtonVersion
from integ_server.models.tables import proton_versions
from integ_server.releases.families import ARCHES, FAMILIES, X86, Family, catalogue_name, get_family, parse_version
from integ_server.releases.feed import Archive, FeedPage, feed_of, read_pages
from integ_server.services import events
from integ_server.services import jobs as job_service
from integ_server.services.backend import Backend
from integ_server.services.rows import insert_rows, update_rows

FEED_SUBJECT = "proton-feed"
_ETAGS_LIVE_S = 7 * 86_400.0


async def read_feeds(backend: Backend, job: ClaimedJob) -> None:
    """
    Do a `proton-feed` job that this process has claimed: read the feed of every family, and store what it tells.

    A feed that can't be had does not keep the others from being read; the first such failure is told at the end.

    Raises:
        RateLimitedError: GitHub asks for a pause; `retry_after_s` says how long.
        ProviderUnavailableError, ProviderError: A feed can't be had.
        AuthenticationError: GitHub refuses the token.
        ClaimLostError: Another process took the job over.
    """
    failures: list[ProviderError] = []
    for family in FAMILIES.values():
        try:
            await _read_feed(backend, job, family)
        except RateLimitedError:  # all of them are GitHub's: asking on would be held against us
            raise
        except ProviderError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    await backend.endings.done(job.id)


async def _read_feed(backend: Backend, job: ClaimedJob, family: Family) -> None:
    before = await _known_pages(backend, family)
    pages = await backend.outside(read_pages(backend.http, family, backend.settings.github_token, before))
    is_whole = not any(page.url in before and page is before[page.url] for page in pages)
    async with backend.db.writing.begin() as session:
        await job_service.hold(session, job.id, "writing")
        count = await _store(session, family, pages, is_whole=is_whole)
    await _remember_pages(backend, family, pages, count)


async def versions(
    session: AsyncSession, *, limit: int, cursor: str | None = None, family: str | None = None, arch: str | None = None
) -> Page[ProtonVersionInfo]:
    """The catalogue, newest first."""
    query = select(proton_versions)
    if family is not None:
        query = query.where(proton_versions.c.family == family)
    if arch is not None:
        query = query.where(proton_versions.c.arch == arch)
    if cursor is not None:
        at, version = _read_cursor(cursor)
        older = and_(proton_versions.c.published_at == at, proton_versions.c.version < version)
        query = query.where(or_(proton_versions.c.published_at < at, older))
    query = query.order_by(proton_versions.c.published_at.desc(), proton_versions.c.version.desc()).limit(limit + 1)
    rows = (await session.execute(query)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[info(row) for row in rows[:limit]], next_cursor=_cursor(last.published_at, last.version) if last is not None else None
    )


async def find_version(session: AsyncSession, typed: str, family: str | None) -> ProtonVersion:
    """
    The version that a player means by *typed*, for this player's kind of machine when it is named and for PCs otherwise.

    Raises:
        UsageError: There is no such family or architecture.
        BuildNotFoundError: The catalogue has none of that name.
    """
    exact = await session.get(ProtonVersion, typed)
    if exact is not None:
        return exact
    wanted = parse_version(typed, family=get_family(family).slug if family is not None else None)
    mine = proton_versions.c.family == wanted.family.slug, proton_versions.c.arch == (wanted.arch or X86)
    tags = (await session.execute(select(proton_versions.c.tag).where(*mine))).scalars().all()
    tag = wanted.choose(tags)
    if tag is None:
        hint = "integ proton available" if tags else "the backend has not read the release feed yet: try again in a few minutes"
        raise BuildNotFoundError(f"no published Proton version is called {typed.strip()[:80]}", hint=hint)
    return (await session.execute(select(ProtonVersion).where(*mine, proton_versions.c.tag == tag))).scalar_one()


def info(row: Any) -> ProtonVersionInfo:
    names = (name for name in ProtonVersionInfo.model_fields if name != "mirror_state")
    return ProtonVersionInfo(mirror_state=cast(MirrorState, row.mirror_state), **{name: getattr(row, name) for name in names})


async def _store(session: AsyncSession, family: Family, pages: Sequence[FeedPage], *, is_whole: bool) -> int:
    """Insert and update what differs; how many versions of *family* there are now."""
    now = datetime.now(UTC)
    feed = feed_of(pages)
    told = {catalogue_name(each.tag, each.arch): each for arch in ARCHES for each in feed.archives(family, arch).values()}
    known = {row.version: row for row in await session.execute(select(proton_versions).where(proton_versions.c.family == family.slug))}
    fresh = [_row(version, archive, now) for version, archive in told.items() if version not in known]
    changed = [_row(version, archive, now) for version, archive in told.items() if version in known and _differs(known[version], archive)]
    await insert_rows(session, proton_versions, fresh)
    await update_rows(session, proton_versions, ["version"], changed)  # an archive that was uploaded anew: the copy is of another one
    gone = sorted(known.keys() - told.keys()) if is_whole else []
    if gone:
        kept = proton_versions.c.mirror_state.in_(("ready", "wanted"))
        await session.execute(delete(proton_versions).where(proton_versions.c.version.in_(gone), ~kept))
    if fresh or changed or gone:
        newest = max(fresh or changed, key=lambda row: row["published_at"], default=None)
        events.proton_changed(session, newest["version"] if newest else "", "none")
    count = select(func.count()).select_from(proton_versions).where(proton_versions.c.family == family.slug)
    return int((await session.execute(count)).scalar_one())


def _row(version: str, archive: Archive, now: datetime) -> dict[str, Any]:
    return {
        "version": version,
        "family": archive.family,
        "tag": archive.tag,
        "arch": archive.arch,
        "identity": archive.identity,
        "published_at": _moment(archive.published_at) or now,
        "archive_name": archive.name,
        "archive_url": archive.url,
        "digest_url": archive.checksum_url,
        "digest": str(archive.digest) if archive.digest else None,
        "size_bytes": archive.size_bytes,
        "mirror_state": "none",
        "mirror_error": "",
        "seen_at": now,
    }


def _differs(row: Any, archive: Archive) -> bool:
    same = row.identity == archive.identity and row.size_bytes == archive.size_bytes
    return not same or row.archive_url != archive.url or row.digest_url != archive.checksum_url


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


async def _known_pages(backend: Backend, family: Family) -> dict[str, FeedPage]:
    """The pages whose content the table holds, with nothing but their ETags; none when the table lost something since."""
    raw = await backend.cache.get(_etags_name(backend, family))
    if raw is None:
        return {}
    kept = json.loads(raw)
    async with backend.db.reading() as session:
        count = select(func.count()).select_from(proton_versions).where(proton_versions.c.family == family.slug)
        if int((await session.execute(count)).scalar_one()) != kept["count"]:
            return {}
    return {url: FeedPage(url=url, etag=etag, next_url=next_url, releases=[]) for url, etag, next_url in kept["pages"]}


async def _remember_pages(backend: Backend, family: Family, pages: Sequence[FeedPage], count: int) -> None:
    kept = {"count": count, "pages": [[page.url, page.etag, page.next_url] for page in pages]}
    try:
        await backend.cache.set(_etags_name(backend, family), json.dumps(kept), _ETAGS_LIVE_S)
    except BackendUnreachableError:  # then the next run reads everything
        return


def _etags_name(backend: Backend, family: Family) -> str:
    token = hashlib.sha256(backend.settings.github_token.encode()).hexdigest()[:16]
    return f"proton-feed/{family.repository}/{token}"


def _cursor(at: datetime, version: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([int(at.timestamp()), version]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        at, version = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(at, int) or not isinstance(version, str) or "\0" in version:
            raise ValueError
        return datetime.fromtimestamp(at, UTC), version
    except (ValueError, TypeError, OverflowError, OSError, binascii.Error, RecursionError):
        raise UsageError("the cursor is none of this list", hint="ask again without a cursor") from None
