from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from integ_server import app
from integ_server.contract.errors import BuildNotFoundError, IntegError, IntegrityError, ProviderUnavailableError, StorageError
from integ_server.contract.scopes import Scope
from integ_server.models.tables import jobs as jobs_table
from integ_server.models.tables import proton_versions
from integ_server.services import clean_up, jobs, proton_catalogue, proton_mirror
from integ_server.services.backend import Backend
from integ_server.services.proton_mirror import SUBJECT
from tests.conftest_sandbox import RunningSandbox
from tests.server.conftest import OpenServed, Served

NEWEST = "GE-Proton11-6"


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests begin and do the jobs themselves; a process that is alone would begin and do the same ones."""
    open_workers = app.open_workers
    monkeypatch.setattr(app, "open_workers", lambda backend, consume: open_workers(backend, consume=False))
    monkeypatch.setattr(app, "open_scheduler", lambda backend: nullcontext())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


@pytest.fixture
async def served(open_served: OpenServed, sandbox: RunningSandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setattr(proton_mirror, "_PAUSE_S", 0.01)
    made = await open_served(upstream_url=sandbox.url, proton_mirror_dir=folder)
    made.backend.send = lambda *job: None  # the tests do the work themselves
    await _work(made.backend, "proton-feed", proton_catalogue.FEED_SUBJECT)
    return made


_DOES = {"proton-feed": proton_catalogue.read_feeds, "proton-mirror": proton_mirror.fetch, "clean-up": clean_up.clean_up}


async def _work(backend: Backend, kind: str, subject: str) -> None:
    """Do the job about *subject*, a new one unless somebody asked already; its failure is raised, and the job is free again."""
    async with backend.db.writing.begin() as session:
        begun = await jobs.begin(backend, session, kind=kind, subject=subject, user_id=None, provider="ge")
    job = await jobs.claim(backend, begun.id)
    assert job is not None
    try:
        await _DOES[kind](backend, job)
    except IntegError as error:
        await jobs.fail(backend, job.id, error)
        raise


async def _mirror(backend: Backend, version: str = NEWEST) -> None:
    await _work(backend, "proton-mirror", SUBJECT + version)


async def _row(backend: Backend, version: str = NEWEST) -> Any:
    async with backend.db.reading() as session:
        return (await session.execute(select(proton_versions).where(proton_versions.c.version == version))).one()


def _files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.rglob("*") if each.is_file())


def _downloads(sandbox: RunningSandbox) -> int:
    return sum(seen.host == "github.com" and seen.path.endswith(".tar.gz") for seen in sandbox.requests)


async def test_a_version_is_asked_for_fetched_and_served(served: Served, folder: Path) -> None:
    http = await served.signed_in()
    none_yet = await http.get(f"/proton/versions/{NEWEST}/archive")
    assert (none_yet.status_code, none_yet.json()["error"]) == (404, "BuildNotFoundError")
    asked = await http.post("/proton/install", json={"version": "latest"})
    assert asked.status_code == 202, asked.text
    data = asked.json()["data"]
    assert (data["version"], data["mirror_state"], data["job"]["kind"]) == (NEWEST, "wanted", "proton-mirror")
    again = (await (await served.signed_in("Ben")).post("/proton/install", json={"version": NEWEST})).json()["data"]
    assert again["job"]["id"] == data["job"]["id"], "one fetches it, however many ask"
    await _mirror(served.backend)
    assert (await http.get(f"/jobs/{data['job']['id']}")).json()["data"]["state"] == "done"
    (item,) = [each for each in (await http.get("/proton/versions?limit=200")).json()["data"]["items"] if each["version"] == NEWEST]
    assert item["mirror_state"] == "ready" and item["digest"].startswith("sha512:")
    whole = await http.get(f"/proton/versions/{NEWEST}/archive")
    assert (whole.status_code, len(whole.content), whole.headers["content-type"]) == (200, item["size_bytes"], "application/octet-stream")
    digest = hashlib.sha512(whole.content)
    assert item["digest"] == f"sha512:{digest.hexdigest()}"
    assert whole.headers["repr-digest"] == f"sha-512=:{base64.b64encode(digest.digest()).decode()}:"
    assert (await http.post("/proton/install", json={"version": NEWEST})).json()["data"] == {
        "version": NEWEST,
        "mirror_state": "ready",
        "job": None,
    }
    assert _files(folder) == ["GE-Proton11-6-x86_64.tar.gz"]


async def test_an_archive_is_served_in_parts(served: Served) -> None:
    http = await served.signed_in()
    await _mirror(served.backend)
    address = f"/proton/versions/{NEWEST}/archive"
    whole = await http.get(address)
    size, tag = len(whole.content), whole.headers["etag"]
    head = await http.head(address)
    assert (head.status_code, head.headers["content-length"], head.headers["accept-ranges"], head.content) == (200, str(size), "bytes", b"")

    async def part(asked: str, **headers: str) -> httpx.Response:
        return await http.get(address, headers={"Range": asked, **headers})

    for asked, start, end in (
        ("bytes=0-9", 0, 10),
        (f"bytes={size - 5}-", size - 5, size),
        ("bytes=-7", size - 7, size),
        ("bytes=3-3", 3, 4),
    ):
        answer = await part(asked)
        assert (answer.status_code, answer.content) == (206, whole.content[start:end]), asked
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert answer.headers["content-length"] == str(end - start)
    over = await part(f"bytes=5-{size + 100}")
    assert (over.status_code, over.content) == (206, whole.content[5:])
    for asked in (f"bytes={size}-", "bytes=-0"):
        refused = await part(asked)
        assert (refused.status_code, refused.headers["content-range"], refused.json()["error"]) == (416, f"bytes */{size}", "UsageError")
    for asked in ("bytes=9-3", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=0-9 garbage"):
        assert (await part(asked)).status_code == 200, asked
    assert (await part("bytes=0-9", **{"If-Range": tag})).status_code == 206
    assert (await part("bytes=0-9", **{"If-Range": '"another"'})).content == whole.content
    assert (await part(f"bytes={size}-", **{"If-Range": '"another"'})).status_code == 200
    assert (await http.get(address, headers={"If-None-Match": tag})).status_code == 304


async def test_nobody_and_a_narrow_token_get_no_archive(served: Served) -> None:
    await _mirror(served.backend)
    address = f"/proton/versions/{NEWEST}/archive"
    assert (await (await served.http()).get(address)).status_code == 401
    assert (await (await served.signed_in(scopes={Scope.LIBRARY_READ})).get(address)).status_code == 403


async def test_a_backend_without_a_folder_says_plainly_that_it_keeps_no_mirror(open_served: OpenServed, sandbox: RunningSandbox) -> None:
    served = await open_served(upstream_url=sandbox.url)
    http = await served.signed_in()
    refused = await http.post("/proton/install", json={"version": "latest"})
    assert (refused.status_code, refused.json()["error"]) == (403, "PermissionDeniedError")
    assert "keeps no mirror" in refused.json()["message"]


@pytest.mark.parametrize("version", ["../../etc/passwd", "%2e%2e%2fx", "nothing", "x" * 120])
async def test_an_odd_version_names_no_file(served: Served, version: str) -> None:
    http = await served.signed_in()
    assert (await http.get(f"/proton/versions/{version}/archive")).status_code == 404


async def test_the_catalogue_costs_a_304_while_nothing_changes(served: Served) -> None:
    http = await served.signed_in()
    first = await http.get("/proton/versions")
    assert (await http.get("/proton/versions", headers={"If-None-Match": first.headers["etag"]})).status_code == 304
    await _mirror(served.backend)
    assert (await http.get("/proton/versions", headers={"If-None-Match": first.headers["etag"]})).status_code == 200


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("feed.wrong_checksum", IntegrityError),
        ("feed.checksum_garbage", IntegrityError),
        ("feed.no_checksum", IntegrityError),
        ("feed.asset_gone", IntegError),
    ],
)
async def test_what_is_not_as_published_gets_no_name(
    served: Served, sandbox: RunningSandbox, folder: Path, fault: str, expected: type[Exception]
) -> None:
    sandbox.faults.on(fault)
    if fault == "feed.no_checksum":
        async with served.backend.db.writing.begin() as session:
            await session.execute(proton_versions.delete())
        await _work(served.backend, "proton-feed", proton_catalogue.FEED_SUBJECT)
    with pytest.raises(expected):
        await _mirror(served.backend)
    row = await _row(served.backend)
    assert (row.mirror_state, bool(row.mirror_error)) == ("failed", True)
    assert not [name for name in _files(folder) if not name.endswith(".part")]
    with pytest.raises(BuildNotFoundError):
        async with served.backend.db.reading() as session:
            await proton_mirror.archive_of(served.backend, session, NEWEST)


async def test_a_connection_that_breaks_goes_on_where_it_was(served: Served, sandbox: RunningSandbox, folder: Path) -> None:
    sandbox.faults.on("feed.cut_body", times=2)
    await _mirror(served.backend)
    assert (await _row(served.backend)).mirror_state == "ready"
    ranges = [seen.headers.get("range") for seen in sandbox.requests if seen.host.startswith("release-assets")]
    assert ranges[:2] == [None, None] and ranges[2:] and all(ranges[2:]), "the checksum, the beginning, and what was missing"


async def test_a_host_without_ranges_is_read_from_the_start_again(served: Served, sandbox: RunningSandbox) -> None:
    sandbox.faults.on("feed.range_off")
    sandbox.faults.on("feed.cut_body", times=1)
    await _mirror(served.backend)
    assert (await _row(served.backend)).mirror_state == "ready"


async def test_a_killed_workers_part_is_gone_on_with(served: Served, sandbox: RunningSandbox, folder: Path) -> None:
    sandbox.faults.on("feed.cut_body")
    with pytest.raises(ProviderUnavailableError):
        await asyncio.wait_for(_mirror(served.backend), 30)
    assert (await _row(served.backend)).mirror_state == "wanted"
    (part,) = _files(folder)
    kept = (folder / "ge" / part).stat().st_size
    assert part.endswith(".part") and kept > 0
    sandbox.faults.off("feed.cut_body")
    before = len(sandbox.requests)
    await _mirror(served.backend)
    ranges = [seen.headers.get("range") for seen in list(sandbox.requests)[before:] if seen.host.startswith("release-assets")]
    assert ranges == [None, f"bytes={kept}-"], "the checksum, and the rest"
    assert _files(folder) == ["GE-Proton11-6-x86_64.tar.gz"]


async def test_a_file_that_is_there_is_not_fetched_again(served: Served, sandbox: RunningSandbox) -> None:
    await _mirror(served.backend)
    before = _downloads(sandbox)
    await _mirror(served.backend)
    assert _downloads(sandbox) == before


async def test_a_file_that_was_damaged_or_removed_is_not_served(served: Served, folder: Path) -> None:
    http = await served.signed_in()
    await _mirror(served.backend)
    file = folder / "ge" / "GE-Proton11-6-x86_64.tar.gz"
    os.truncate(file, 10)
    assert (await http.get(f"/proton/versions/{NEWEST}/archive")).status_code == 404
    assert (await http.post("/proton/install", json={"version": NEWEST})).json()["data"]["mirror_state"] == "wanted"
    await _mirror(served.backend)
    assert (await http.get(f"/proton/versions/{NEWEST}/archive")).status_code == 200


async def test_the_mirror_keeps_to_its_size_and_lets_the_least_wanted_go(
    open_served: OpenServed, sandbox: RunningSandbox, folder: Path
) -> None:
    served = await open_served(upstream_url=sandbox.url, proton_mirror_dir=folder)
    served.backend.send = lambda *job: None
    await _work(served.backend, "proton-feed", proton_catalogue.FEED_SUBJECT)
    size = (await _row(served.backend)).size_bytes
    settings = served.backend.settings.model_copy(update={"proton_mirror_max_bytes": size * 2 + 100})
    served.backend.settings = settings
    for number in (4, 5):
        await _mirror(served.backend, f"GE-Proton11-{number}")
    for name, used_at in (("GE-Proton11-4-x86_64.tar.gz", 2_000), ("GE-Proton11-5-x86_64.tar.gz", 1_000)):
        os.utime(folder / "ge" / name, (used_at, used_at))
    http = await served.signed_in()
    await _mirror(served.backend)
    assert _files(folder) == ["GE-Proton11-4-x86_64.tar.gz", "GE-Proton11-6-x86_64.tar.gz"]
    assert (await _row(served.backend, "GE-Proton11-5")).mirror_state == "none"
    assert (await http.get("/proton/versions/GE-Proton11-4/archive")).status_code == 200
    assert (folder / "ge" / "GE-Proton11-4-x86_64.tar.gz").stat().st_mtime > 1e9, "it was wanted just now"
    served.backend.settings = settings.model_copy(update={"proton_mirror_max_bytes": size - 1})
    with pytest.raises(StorageError):
        await _mirror(served.backend, "GE-Proton11-3")


async def test_cleaning_up_takes_what_belongs_to_nothing(served: Served, folder: Path) -> None:
    await _mirror(served.backend)
    strange, fresh = folder / "ge" / "old.tar.gz", folder / "ge" / ".new.part"
    strange.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(strange, (1, 1))
    await _work(served.backend, "clean-up", "clean-up")
    assert _files(folder) == [".new.part", "GE-Proton11-6-x86_64.tar.gz"]
    served.backend.settings = served.backend.settings.model_copy(update={"proton_mirror_max_bytes": 1})
    assert await proton_mirror.prune(served.backend) == 1
    assert (await _row(served.backend)).mirror_state == "none"


async def test_a_version_that_was_published_anew_meanwhile_is_fetched_again(served: Served, sandbox: RunningSandbox) -> None:
    async with served.backend.db.writing.begin() as session:
        begun = await jobs.begin(served.backend, session, kind="proton-mirror", subject=SUBJECT + NEWEST, user_id=None, provider="ge")
    job = await jobs.claim(served.backend, begun.id)
    assert job is not None
    real = proton_mirror.read_checksum

    async def changed(http: Any, archive: Any) -> Any:
        async with served.backend.db.writing.begin() as session:
            await session.execute(proton_versions.update().values(identity="another"))
        return await real(http, archive)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proton_mirror, "read_checksum", changed)
        with pytest.raises(ProviderUnavailableError):
            await proton_mirror.fetch(served.backend, job)
    assert (await _row(served.backend)).mirror_state != "ready"
    async with served.backend.db.reading() as session:
        assert (await session.execute(select(jobs_table.c.state).where(jobs_table.c.id == job.id))).scalar_one() == "running"
