"""The client's side of the mirror: a real store of Proton versions, on a backend that keeps copies."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from integ_runtime.client.api import ApiClient
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
from integ_server import app
from integ_server.contract.errors import BackendUnreachableError, IntegrityError
from integ_server.releases.families import X86, this_arch
from integ_server.services import jobs, proton_catalogue, proton_mirror
from tests.conftest_sandbox import RunningSandbox
from tests.server.conftest import OpenServed, Served

NEWEST = "GE-Proton11-6"
pytestmark = pytest.mark.skipif(this_arch() != X86, reason="the mirror of these tests has builds for PCs")


@pytest.fixture
async def served(open_served: OpenServed, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A backend with a copy of the newest version, made by hand: a process that is alone would begin and do the same jobs."""
    open_workers = app.open_workers
    monkeypatch.setattr(app, "open_workers", lambda backend, consume: open_workers(backend, consume=False))
    monkeypatch.setattr(app, "open_scheduler", lambda backend: nullcontext())
    made = await open_served(upstream_url=sandbox.url, proton_mirror_dir=tmp_path / "mirror")
    backend = made.backend
    work = {proton_catalogue.FEED_SUBJECT: proton_catalogue.read_feeds, proton_mirror.SUBJECT + NEWEST: proton_mirror.fetch}
    for subject, do in work.items():
        async with backend.db.writing.begin() as session:
            kind = "proton-feed" if subject == proton_catalogue.FEED_SUBJECT else "proton-mirror"
            begun = await jobs.begin(backend, session, kind=kind, subject=subject, user_id=None)
        job = await jobs.claim(backend, begun.id)
        assert job is not None
        await do(backend, job)
    sandbox.requests.clear()
    return made


@pytest.fixture
async def store(served: Served, home: Path, sandbox: RunningSandbox) -> ProtonStore:
    api = ApiClient(await served.signed_in())

    async def the_api() -> ApiClient:
        return api

    settings = read_settings({"HOME": str(home)})._replace(upstream_url=sandbox.url)
    return ProtonStore(settings, SteamFiles(home, {}, system=home / "no-system"), the_api)


def _archives_asked(sandbox: RunningSandbox) -> list[str | None]:
    """The ranges that the publisher was asked for."""
    return [seen.headers.get("range") for seen in sandbox.requests if seen.host == "github.com" and seen.path.endswith(".tar.gz")]


async def test_the_catalogue_and_the_archive_come_from_the_backend(store: ProtonStore, sandbox: RunningSandbox, home: Path) -> None:
    listed = await store.available(limit=3)
    assert [each.version for each in listed] == [NEWEST, "GE-Proton11-5", "GE-Proton11-4"]
    done = await store.install("latest")
    assert (done.version, done.already_installed) == (NEWEST, False) and done.bytes_fetched == listed[0].size_bytes
    assert (home / ".cache/integ/proton" / NEWEST / "proton").is_file()
    assert list(sandbox.requests) == [], "the publisher was asked nothing at all"


@pytest.mark.parametrize(
    ("typed", "version"),
    [
        ("umu", "UMU-Proton-9.0-4e"),
        ("cachyos", "cachyos-10.0-20250807-slr"),
        ("wine-ge", "Wine-GE-Proton8-26"),
        ("kron4ek", "wine-11.7"),
    ],
)
async def test_builds_of_every_family_are_found_in_the_backends_catalogue(
    store: ProtonStore, sandbox: RunningSandbox, typed: str, version: str
) -> None:
    assert (await store.available(family=typed))[0].version == version
    assert (await store.install(typed)).version == version
    assert {seen.host for seen in sandbox.requests} == {"github.com", "release-assets.githubusercontent.com"}


async def test_what_the_mirror_does_not_have_comes_from_the_publisher(store: ProtonStore, sandbox: RunningSandbox) -> None:
    assert (await store.install("ge-11.5")).version == "GE-Proton11-5"
    assert _archives_asked(sandbox) == [None]
    assert not [seen for seen in sandbox.requests if seen.host == "api.github.com"], "the list came from the backend"


async def test_a_copy_that_was_altered_is_found_out_and_the_publishers_is_taken(
    store: ProtonStore, served: Served, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    (copy,) = (tmp_path / "mirror").rglob("*.tar.gz")
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 0xFF
    copy.write_bytes(content)
    assert (await store.install("latest")).version == NEWEST
    assert _archives_asked(sandbox) == [None], "from its beginning"


async def test_half_a_copy_is_gone_on_with_from_the_publisher(
    store: ProtonStore, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy,) = (tmp_path / "mirror").rglob("*.tar.gz")
    half = copy.read_bytes()[:100_000]

    @asynccontextmanager
    async def broken(self: ApiClient, version: str, start: int = 0):  # type: ignore[no-untyped-def]
        async def chunks():  # type: ignore[no-untyped-def]
            yield half
            raise BackendUnreachableError("it went away")

        yield chunks()

    monkeypatch.setattr(ApiClient, "proton_archive", broken)
    assert (await store.install("latest")).version == NEWEST
    assert _archives_asked(sandbox) == ["bytes=100000-"]


async def test_without_the_backend_the_feed_is_asked_as_ever(
    store: ProtonStore, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: ApiClient, family: str) -> None:
        raise BackendUnreachableError("no answer")

    monkeypatch.setattr(ApiClient, "proton_versions", away)
    assert (await store.install("latest")).version == NEWEST
    assert _archives_asked(sandbox) == [None]


async def test_an_archive_nobody_vouches_for_is_refused_here_too(store: ProtonStore, sandbox: RunningSandbox) -> None:
    sandbox.faults.on("feed.wrong_checksum")
    with pytest.raises(IntegrityError):
        await store.install("ge-11.4")
