from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, select, update

from integ_server.contract.errors import BuildNotFoundError, ProviderError, ProviderUnavailableError, RateLimitedError, UsageError
from integ_server.models.tables import proton_versions
from integ_server.releases.families import FAMILIES
from integ_server.services import jobs, proton_catalogue
from tests.conftest_sandbox import RunningSandbox
from tests.server.conftest import OpenPlayer, Player


@pytest.fixture
async def player(open_player: OpenPlayer, sandbox: RunningSandbox) -> Player:
    made: Player = await open_player({}, upstream_url=sandbox.url)
    return made


async def _read(player: Player) -> Any:
    """Read the feeds in a job of its own; how that ended."""
    backend = player.backend
    async with backend.db.writing.begin() as session:
        subject = proton_catalogue.FEED_SUBJECT
        job = await jobs.begin(backend, session, kind="proton-feed", subject=subject, user_id=None, provider="proton")
    claimed = await player.claim(job.id)
    try:
        await proton_catalogue.read_feeds(backend, claimed)
    except BaseException:
        await jobs.hand_back(backend, job.id)
        raise
    async with backend.db.reading() as session:
        return (await jobs.get_job(session, "anybody", job.id)).state


async def _all(player: Player, **asked: Any) -> list[Any]:
    found, cursor = [], None
    async with player.backend.db.reading() as session:
        while True:
            page = await proton_catalogue.versions(session, limit=20, cursor=cursor, **asked)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found


def _asked(sandbox: RunningSandbox) -> list[bool]:
    """For each request to the feed, whether it was conditional."""
    return ["if-none-match" in seen.headers for seen in sandbox.requests if seen.host == "api.github.com"]


async def test_the_feed_becomes_a_catalogue_in_pages(player: Player) -> None:
    assert await _read(player) == "done"
    found = await _all(player)
    assert len(found) > 100 and len({each.version for each in found}) == len(found)
    assert [each.published_at for each in found] == sorted((each.published_at for each in found), reverse=True)
    newest = next(each for each in found if each.version == "GE-Proton11-6")
    assert (newest.family, newest.tag, newest.arch, newest.mirror_state) == ("ge", "GE-Proton11-6", "x86_64", "none")
    assert newest.archive_name == "GE-Proton11-6-x86_64.tar.gz"
    assert newest.digest is not None and newest.digest.startswith("sha256:")
    assert newest.digest_url is not None and newest.digest_url.startswith("https://github.com/")
    arm = await _all(player, arch="aarch64", family="ge")
    assert {each.version for each in arm} == {f"GE-Proton11-{number}-aarch64" for number in range(1, 7)}
    umu = await _all(player, family="umu")
    assert [each.version for each in umu] == ["UMU-Proton-9.0-4e", "UMU-Proton-9.0-3.2", "UMU-Proton-9.0-3", "ULWGL-Proton-8.0-5-3"]
    cachyos = {(each.tag, each.arch): each.archive_name for each in await _all(player, family="cachyos")}
    assert cachyos["cachyos-10.0-20250807-slr", "x86_64_v3"] == "proton-cachyos-10.0-20250807-slr-x86_64_v3.tar.xz"
    assert cachyos["cachyos-9.0-20250126-slr", "x86_64"] == "proton-cachyos-9.0-20250126-slr.tar.gz"
    assert {each.family for each in found} == set(FAMILIES)
    wine = {each.version: each for each in await _all(player, family="kron4ek")}
    assert wine["wine-11.7-staging-wow64"].archive_name == "wine-11.7-staging-amd64-wow64.tar.xz"
    assert (wine["wine-11.7"].digest_url, (wine["wine-11.7"].digest or "")[:7]) == (None, "sha256:")
    same = {each.version: each for each in found if each.version.endswith("GE-Proton8-26")}
    assert {version: each.family for version, each in same.items()} == {"GE-Proton8-26": "ge", "Wine-GE-Proton8-26": "wine-ge"}


async def test_what_did_not_change_is_asked_for_with_its_etag(player: Player, sandbox: RunningSandbox) -> None:
    await _read(player)
    before = await _all(player)
    await _read(player)
    pages = len(FAMILIES) + 1  # GE-Proton's are two
    assert _asked(sandbox) == [False] * pages + [True] * pages
    assert await _all(player) == before


async def test_a_table_that_lost_rows_is_filled_again(player: Player, sandbox: RunningSandbox) -> None:
    await _read(player)
    before = await _all(player)
    async with player.backend.db.writing.begin() as session:
        await session.execute(delete(proton_versions).where(proton_versions.c.version.in_(["GE-Proton11-6", "GE-Proton9-1"])))
    await _read(player)
    assert await _all(player) == before


async def test_an_archive_that_was_uploaded_anew_loses_its_copy(player: Player) -> None:
    await _read(player)
    async with player.backend.db.writing.begin() as session:
        row = update(proton_versions).where(proton_versions.c.version == "GE-Proton11-6")
        await session.execute(row.values(identity="another upload", mirror_state="ready", digest="sha512:00"))
        other = update(proton_versions).where(proton_versions.c.version == "GE-Proton11-5")
        await session.execute(other.values(mirror_state="ready"))
        await session.execute(delete(proton_versions).where(proton_versions.c.version == "GE-Proton9-1"))  # so that all is read
    await _read(player)
    async with player.backend.db.reading() as session:
        query = select(proton_versions.c.version, proton_versions.c.mirror_state, proton_versions.c.digest)
        states = {row.version: row for row in await session.execute(query)}
    assert (states["GE-Proton11-6"].mirror_state, states["GE-Proton11-5"].mirror_state) == ("none", "ready")
    assert states["GE-Proton11-6"].digest.startswith("sha256:")


async def test_what_the_feed_tells_of_no_more_goes_unless_there_is_a_copy(player: Player) -> None:
    await _read(player)
    async with player.backend.db.writing.begin() as session:
        query = select(proton_versions).where(proton_versions.c.version == "GE-Proton9-1")
        row = dict((await session.execute(query)).one()._mapping)
        gone = [{**row, "version": "GE-Proton0-1"}, {**row, "version": "GE-Proton0-2", "mirror_state": "ready"}]
        await session.execute(proton_versions.insert(), gone)
    await _read(player)
    assert {each.version for each in await _all(player)} & {"GE-Proton0-1", "GE-Proton0-2"} == {"GE-Proton0-2"}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("feed.down", ProviderUnavailableError), ("feed.rate_limited", RateLimitedError), ("feed.html", ProviderError)],
)
async def test_a_feed_that_fails_changes_nothing_and_says_how_long_to_wait(
    player: Player, sandbox: RunningSandbox, fault: str, expected: type[ProviderError]
) -> None:
    sandbox.faults.on(fault)
    with pytest.raises(expected) as caught:
        await _read(player)
    assert await _all(player) == []
    if expected is RateLimitedError:
        assert (caught.value.retry_after_s or 0) > 0


async def test_a_family_whose_feed_fails_does_not_keep_the_others_from_being_read(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = FAMILIES["ge"]._replace(repository="nobody/nothing")
    monkeypatch.setitem(FAMILIES, "ge", gone)
    with pytest.raises(ProviderError, match="404"):
        await _read(player)
    assert {each.family for each in await _all(player)} == set(FAMILIES) - {"ge"}


async def test_the_token_goes_to_github_alone(open_player: OpenPlayer, sandbox: RunningSandbox) -> None:
    player = await open_player({}, upstream_url=sandbox.url, github_token="a-token-of-the-backend")
    await _read(player)
    told = {(seen.host, seen.headers.get("authorization")) for seen in sandbox.requests}
    assert told == {("api.github.com", "Bearer a-token-of-the-backend")}


@pytest.mark.parametrize(
    ("typed", "version"),
    [
        ("latest", "GE-Proton11-6"),
        ("ge-8.26", "GE-Proton8-26"),
        ("GE-Proton11-6-aarch64", "GE-Proton11-6-aarch64"),
        ("ge-11.6@aarch64", "GE-Proton11-6-aarch64"),
        ("7.3-GE-1", "7.3-GE-1"),
        ("umu", "UMU-Proton-9.0-4e"),
        ("cachyos", "cachyos-10.0-20250807-slr"),
        ("cachyos-10.0-20250807@x86_64_v3", "cachyos-10.0-20250807-slr-x86_64_v3"),
        ("wine-ge-8.26", "Wine-GE-Proton8-26"),
        ("kron4ek-staging", "wine-11.7-staging"),
        ("wine-10", "wine-10.0"),
    ],
)
async def test_a_version_is_found_by_what_players_type(player: Player, typed: str, version: str) -> None:
    await _read(player)
    async with player.backend.db.reading() as session:
        assert (await proton_catalogue.find_version(session, typed, None)).version == version


@pytest.mark.parametrize(
    ("typed", "expected"), [("ge-99.1", BuildNotFoundError), ("../../etc", BuildNotFoundError), ("latest@riscv", UsageError)]
)
async def test_what_is_no_version_is_told_so(player: Player, typed: str, expected: type[Exception]) -> None:
    await _read(player)
    async with player.backend.db.reading() as session:
        with pytest.raises(expected):
            await proton_catalogue.find_version(session, typed, "ge")


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIiwgImIiXQ", "WzFlMzAsICJhIl0", "WzEsICJhXHUwMDAwIl0"])
async def test_a_foreign_cursor_is_refused(player: Player, cursor: str) -> None:
    async with player.backend.db.reading() as session:
        with pytest.raises(UsageError):
            await proton_catalogue.versions(session, limit=5, cursor=cursor)
