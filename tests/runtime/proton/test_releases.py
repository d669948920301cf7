from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integ_runtime.proton.releases import Releases
from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import AuthenticationError, IntegrityError, ProviderError, ProviderUnavailableError, RateLimitedError
from integ_server.releases import feed as feed_module
from integ_server.releases.families import ARM, FAMILIES, X86
from integ_server.releases.feed import parse_checksum
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.downloads.loopback import Asked, Outside, Reply

GE = FAMILIES["ge"]
LIST = "/api.github.com/repos/GloriousEggroll/proton-ge-custom/releases?per_page=100"
NAME = "GE-Proton9-1.tar.gz"


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside().running() as made:
        yield made


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def feed_requests(sandbox: RunningSandbox) -> int:
    return sum(seen.host == "api.github.com" for seen in sandbox.requests)


def age(folder: Path, seconds: float) -> None:
    """Make what is kept that much older."""
    for file in folder.glob("*.json"):
        content = json.loads(file.read_text())
        content["fetched_at"] -= seconds
        file.write_text(json.dumps(content))


async def test_every_page_is_read_once_an_hour(sandbox: RunningSandbox, kept: Path) -> None:
    releases = Releases(kept, upstream_url=sandbox.url)
    assert releases.kept(GE) is None
    feed = await releases.feed(GE)
    assert len(feed.releases) > 100 and feed_requests(sandbox) == 2
    assert (await Releases(kept, upstream_url=sandbox.url).feed(GE)).releases == feed.releases
    assert feed_requests(sandbox) == 2
    assert releases.kept(GE) == feed
    age(kept, 3601)
    await releases.feed(GE)
    assert feed_requests(sandbox) == 4
    await releases.feed(GE, refresh=True)
    assert feed_requests(sandbox) == 6


async def test_what_did_not_change_is_not_sent_again(sandbox: RunningSandbox, kept: Path) -> None:
    releases = Releases(kept, upstream_url=sandbox.url)
    first = await releases.feed(GE)
    again = await releases.feed(GE, refresh=True)
    assert again.releases == first.releases
    asked = [seen for seen in sandbox.requests if seen.host == "api.github.com"]
    assert ["if-none-match" in seen.headers for seen in asked] == [False, False, True, True]


async def test_builds_are_listed_newest_first_for_this_machine_alone(sandbox: RunningSandbox, kept: Path) -> None:
    feed = await Releases(kept, upstream_url=sandbox.url).feed(GE)
    pc, arm = feed.archives(GE, X86), feed.archives(GE, ARM)
    assert list(pc)[:4] == ["GE-Proton11-6", "GE-Proton11-5", "GE-Proton11-4", "GE-Proton11-3"]
    assert pc["GE-Proton11-6"].name == "GE-Proton11-6-x86_64.tar.gz"
    assert pc["GE-Proton11-2"].name == "GE-Proton11-2.tar.gz"
    assert pc["7.3-GE-1"].name == "Proton-7.3-GE-1.tar.gz"
    assert "GE-Proton9-12" not in pc  # its files never came
    assert not {"GE-Proton11-7", "GE-Proton11-8"} & set(pc)  # a pre-release, a draft
    assert set(arm) == {f"GE-Proton11-{number}" for number in range(1, 7)}


async def test_the_published_checksum_is_the_one_beside_the_archive(sandbox: RunningSandbox, kept: Path) -> None:
    releases = Releases(kept, upstream_url=sandbox.url)
    archive = (await releases.feed(GE)).archives(GE, X86)["GE-Proton11-6"]
    checksum = await releases.checksum(archive)
    assert checksum is not None and checksum.algorithm == "sha512"
    assert archive.digest is not None and archive.digest.algorithm == "sha256"


async def test_garbage_in_place_of_a_checksum_is_an_integrity_error(sandbox: RunningSandbox, kept: Path) -> None:
    releases = Releases(kept, upstream_url=sandbox.url)
    archive = (await releases.feed(GE)).archives(GE, X86)["GE-Proton11-6"]
    sandbox.faults.on("feed.checksum_garbage")
    with pytest.raises(IntegrityError):
        await releases.checksum(archive)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("feed.rate_limited", RateLimitedError),
        ("feed.secondary_limit", RateLimitedError),
        ("feed.down", ProviderUnavailableError),
        ("feed.html", ProviderError),
    ],
)
async def test_a_feed_that_fails_is_told_and_an_old_list_is_better_than_none(
    sandbox: RunningSandbox, kept: Path, fault: str, error: type[ProviderError]
) -> None:
    releases = Releases(kept, upstream_url=sandbox.url)
    sandbox.faults.on(fault)
    with pytest.raises(error):
        await releases.feed(GE)
    sandbox.faults.off(fault)
    good = await releases.feed(GE)
    age(kept, 7 * 3600)
    sandbox.faults.on(fault)
    old = await releases.feed(GE)
    assert old.releases == good.releases
    assert "7 hours old" in old.notice and not good.notice


async def test_without_a_network_an_old_list_serves(sandbox: RunningSandbox, kept: Path) -> None:
    releases = Releases(kept, upstream_url=sandbox.url)
    await releases.feed(GE)
    age(kept, 4000)
    sandbox.stop()
    assert (await releases.feed(GE)).notice
    with pytest.raises(ProviderUnavailableError):
        await Releases(kept / "new", upstream_url=sandbox.url).feed(GE)


async def test_a_token_has_a_list_of_its_own_and_is_written_nowhere(sandbox: RunningSandbox, kept: Path) -> None:
    await Releases(kept, upstream_url=sandbox.url).feed(GE)
    await Releases(kept, upstream_url=sandbox.url, token="ghp_secret").feed(GE)
    assert feed_requests(sandbox) == 4
    assert sandbox.requests[-1].headers["authorization"] == "Bearer ghp_secret"
    assert len(list(kept.iterdir())) == 2
    assert not any("ghp_secret" in file.name or b"ghp_secret" in file.read_bytes() for file in kept.iterdir())


async def test_a_damaged_list_is_fetched_anew(sandbox: RunningSandbox, kept: Path) -> None:
    releases = Releases(kept, upstream_url=sandbox.url)
    await releases.feed(GE)
    (file,) = kept.iterdir()
    for damage in (b"", b"{", b"[]", b'{"fetched_at": "x"}', b"\xff" * 100):
        file.write_bytes(damage)
        assert (await releases.feed(GE)).releases


async def test_a_folder_that_can_not_be_written_costs_a_request_only(sandbox: RunningSandbox, kept: Path) -> None:
    kept.write_bytes(b"")
    assert (await Releases(kept / "below", upstream_url=sandbox.url).feed(GE)).releases


@pytest.mark.parametrize(
    "body", [b'{"message": "Not a list"}', b"null", b'[{"tag_name": 7}]', b'["x"]', b'[{"name": "no tag"}]', b"<html>"]
)
async def test_an_odd_answer_is_a_provider_error(outside: Outside, kept: Path, body: bytes) -> None:
    outside.files[LIST] = body
    with pytest.raises(ProviderError):
        await Releases(kept, upstream_url=outside.url).feed(GE)
    assert not kept.exists()


async def test_a_refused_token_is_an_authentication_error(outside: Outside, kept: Path) -> None:
    outside.reply = lambda asked: Reply(401)
    with pytest.raises(AuthenticationError):
        await Releases(kept, upstream_url=outside.url, token="old").feed(GE)


async def test_half_a_list_is_no_list(outside: Outside, kept: Path) -> None:
    second = "https://api.github.com/repositories/1/releases?page=2"

    def answers(asked: Asked) -> Reply:
        if asked.path == LIST:
            return Reply(200, b'[{"tag_name": "GE-Proton9-1"}]', {"Link": f'<{second}>; rel="next"'})
        return Reply(404)

    outside.reply = answers
    with pytest.raises(ProviderError):
        await Releases(kept, upstream_url=outside.url).feed(GE)


@pytest.mark.parametrize("following", ["https://evil.example.com/releases?page=2", "http://api.github.com/x"])
async def test_a_list_does_not_go_on_somewhere_else(outside: Outside, kept: Path, following: str) -> None:
    outside.reply = lambda asked: Reply(200, b"[]", {"Link": f'<{following}>; rel="next"'})
    with pytest.raises(ProviderError):
        await Releases(kept, upstream_url=outside.url, token="secret").feed(GE)
    assert len(outside.asked) == 1


async def test_pages_that_never_end_are_bounded(outside: Outside, kept: Path) -> None:
    def answers(asked: Asked) -> Reply:
        return Reply(
            200,
            b"[]",
            {"Link": f'<https://api.github.com{LIST.removeprefix("/api.github.com")}&page={len(outside.asked) + 1}>; rel="next"'},
        )

    outside.reply = answers
    await Releases(kept, upstream_url=outside.url).feed(GE)
    assert len(outside.asked) == feed_module._MAX_PAGES


async def test_tags_and_addresses_that_make_no_sense_are_skipped(outside: Outside, kept: Path) -> None:
    def release(tag: str, url: str = "https://github.com/x", **more: object) -> dict[str, object]:
        return {"tag_name": tag, "assets": [{"name": f"{tag}.tar.gz", "size": 5, "browser_download_url": url, **more}]}

    odd = [
        release("../../GE-Proton9-2"),
        release("GE-Proton9-3", url="http://github.com/x"),
        release("GE-Proton9-4", state="new"),
        release("GE-Proton9-5", size=0),
        {"tag_name": "GE-Proton9-6", "assets": []},
        release("GE-Proton9-1", digest=None, updated_at=None),
    ]
    outside.files[LIST] = json.dumps(odd).encode()
    feed = await Releases(kept, upstream_url=outside.url).feed(GE)
    assert list(feed.archives(GE, X86)) == ["GE-Proton9-1"]


def test_a_checksum_is_read_as_coreutils_writes_it() -> None:
    sha512, sha256 = "9F" * 64, "0a" * 32
    for text in (f"{sha512}  {NAME}\n", f"{sha512} *{NAME}\n", sha512, f"{'00' * 64}  other.tar.gz\n{sha512}  {NAME}\n"):
        assert parse_checksum(text.encode(), NAME) == Checksum("sha512", sha512.lower())
    assert parse_checksum(f"{sha256}  {NAME}".encode(), NAME) == Checksum("sha256", sha256)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        os.urandom(300),
        f"{'0' * 127}  {NAME}".encode(),
        f"{'0' * 129}".encode(),
        f"{'0' * 128}  evil-{NAME}".encode(),
        f"{'0' * 128}\n{'1' * 128}".encode(),
    ],
)
def test_anything_else_is_no_checksum(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_checksum(content, NAME)
