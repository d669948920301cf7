from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integ_runtime.downloads import fetch as fetch_module
from integ_runtime.downloads.fetch import Fetched, Source, check_space, fetch
from integ_runtime.progress import Progress
from integ_server.contract.checksums import Checksum
from integ_server.contract.errors import BusyError, IntegrityError, ProviderError, ProviderUnavailableError, RateLimitedError, StorageError
from integ_server.upstream import BulkDoor
from tests.runtime.downloads.loopback import Asked, Outside, Reply

URL = "https://files.example.com/big.bin"
PATH = "/files.example.com/big.bin"
BODY = random.Random(1).randbytes(300_000)
SUM = Checksum("sha512", hashlib.sha512(BODY).hexdigest())
WHOLE = Source(URL, len(BODY), SUM, "asset-1")


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    made.files[PATH] = BODY
    with made.running():
        yield made


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "_pause_s", lambda failures, error: 0.0)


async def bring(outside: Outside, target: Path, source: Source = WHOLE, heard: list[Progress] | None = None) -> Fetched:
    with BulkDoor(outside.url) as door:
        return await fetch(source, target, door=door, report=(heard if heard is not None else []).append)


def begun(target: Path, body: bytes, source: Source = WHOLE) -> Path:
    """As an earlier, killed run would have left it."""
    part = target.with_name(target.name + ".part")
    part.write_bytes(body)
    note = {"identity": fetch_module._identity(source), "size": source.size_bytes, "etag": ""}
    part.with_name(part.name + ".json").write_text(json.dumps(note))
    return part


async def test_a_file_arrives_whole_and_nothing_lies_beside_it(outside: Outside, tmp_path: Path) -> None:
    heard: list[Progress] = []
    fetched = await bring(outside, tmp_path / "in" / "big.bin", heard=heard)
    assert (tmp_path / "in" / "big.bin").read_bytes() == BODY
    assert (fetched.size_bytes, fetched.bytes_fetched) == (len(BODY), len(BODY))
    assert [each.name for each in (tmp_path / "in").iterdir()] == ["big.bin"]
    assert heard[-1].done_bytes == heard[-1].total_bytes == len(BODY)
    assert outside.asked[0].headers["accept-encoding"] == "identity"


async def test_an_old_file_of_that_name_stays_until_the_new_one_is_whole(outside: Outside, tmp_path: Path) -> None:
    target = tmp_path / "big.bin"
    target.write_bytes(b"old")
    outside.reply = lambda asked: Reply(404)
    with pytest.raises(ProviderError):
        await bring(outside, target)
    assert target.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["big.bin"]
    outside.reply = outside.honest
    await bring(outside, target)
    assert target.read_bytes() == BODY


async def test_what_an_earlier_run_left_is_not_fetched_again(outside: Outside, tmp_path: Path) -> None:
    begun(tmp_path / "big.bin", BODY[:100_000])
    fetched = await bring(outside, tmp_path / "big.bin")
    assert fetched.bytes_fetched == 200_000
    assert [asked.start for asked in outside.asked] == [100_000]
    assert (tmp_path / "big.bin").read_bytes() == BODY


async def test_a_whole_part_is_checked_and_asked_for_no_more(outside: Outside, tmp_path: Path) -> None:
    begun(tmp_path / "big.bin", BODY)
    assert (await bring(outside, tmp_path / "big.bin")).bytes_fetched == 0
    assert outside.asked == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, len(BODY)), max_size=6), begins=st.integers(0, len(BODY)))
async def test_connections_cut_anywhere_cost_no_byte_twice(tmp_path: Path, cuts: list[int], begins: int) -> None:
    left = list(cuts)
    outside = Outside()
    outside.files[PATH] = BODY

    def cutting(asked: Asked) -> Reply:
        reply = outside.honest(asked)
        reply.cut_after = left.pop() if left else None
        return reply

    outside.reply = cutting
    target = tmp_path / "big.bin"
    begun(target, BODY[:begins])
    with outside.running():
        fetched = await bring(outside, target)
    assert target.read_bytes() == BODY
    assert fetched.bytes_fetched == len(BODY) - begins
    target.unlink()


async def test_a_source_that_does_not_hear_ranges_is_compared_and_gone_on_with(outside: Outside, tmp_path: Path) -> None:
    begun(tmp_path / "big.bin", BODY[:100_000])
    outside.reply = lambda asked: Reply(200, BODY)
    await bring(outside, tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == BODY
    assert len(outside.asked) == 1


async def test_a_part_of_something_else_is_thrown_away(outside: Outside, tmp_path: Path) -> None:
    begun(tmp_path / "big.bin", b"x" * 100_000, Source(URL, len(BODY), SUM, "another upload"))
    assert (await bring(outside, tmp_path / "big.bin")).bytes_fetched == len(BODY)


async def test_a_damaged_part_is_found_out_and_fetched_anew(outside: Outside, tmp_path: Path) -> None:
    begun(tmp_path / "big.bin", bytes(100_000))
    await bring(outside, tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == BODY
    assert [asked.start for asked in outside.asked] == [100_000, 0]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"identity": 7}', "[" * 5000])
async def test_a_damaged_note_means_from_the_start(outside: Outside, tmp_path: Path, note: str) -> None:
    part = begun(tmp_path / "big.bin", BODY[:100])
    part.with_name(part.name + ".json").write_text(note)
    await bring(outside, tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == BODY
    assert [asked.start for asked in outside.asked] == [0]


async def test_a_wrong_checksum_leaves_nothing(outside: Outside, tmp_path: Path) -> None:
    outside.files[PATH] = BODY[:-1] + b"!"
    with pytest.raises(IntegrityError, match="SHA512"):
        await bring(outside, tmp_path / "big.bin")
    assert [each for each in tmp_path.iterdir() if each.is_file()] == []


@pytest.mark.parametrize("body", [BODY + b"more", BODY[:-5], b""])
async def test_another_size_than_announced_is_refused(outside: Outside, tmp_path: Path, body: bytes) -> None:
    outside.files[PATH] = body
    with pytest.raises((IntegrityError, ProviderUnavailableError)):
        await bring(outside, tmp_path / "big.bin")
    assert not (tmp_path / "big.bin").exists()


async def test_an_unknown_size_and_no_checksum_take_what_comes(outside: Outside, tmp_path: Path) -> None:
    assert (await bring(outside, tmp_path / "big.bin", Source(URL))).size_bytes == len(BODY)
    assert (tmp_path / "big.bin").read_bytes() == BODY


async def test_without_a_checksum_a_changed_etag_means_from_the_start(outside: Outside, tmp_path: Path) -> None:
    outside.etags[PATH] = '"one"'
    source = Source(URL)

    def cut_once(asked: Asked) -> Reply:
        outside.etags[PATH] = '"two"'
        outside.files[PATH] = BODY[::-1]
        outside.reply = outside.honest
        return Reply(200, BODY, {"ETag": '"one"'}, cut_after=90_000)

    outside.reply = cut_once
    await bring(outside, tmp_path / "big.bin", source)
    assert (tmp_path / "big.bin").read_bytes() == BODY[::-1]


async def test_a_range_that_can_not_be_had_any_more_means_from_the_start(outside: Outside, tmp_path: Path) -> None:
    outside.files[PATH] = BODY[:1000]
    begun(tmp_path / "big.bin", BODY, Source(URL))
    await bring(outside, tmp_path / "big.bin", Source(URL))
    assert (tmp_path / "big.bin").read_bytes() == BODY[:1000]


async def test_a_source_that_stays_down_is_given_up_and_the_part_stays(outside: Outside, tmp_path: Path) -> None:
    outside.reply = lambda asked: outside.honest(asked) if asked.start == 0 else Reply(503)
    begun(tmp_path / "big.bin", BODY[:5000])
    with pytest.raises(ProviderUnavailableError):
        await bring(outside, tmp_path / "big.bin")
    assert (tmp_path / "big.bin.part").read_bytes() == BODY[:5000]
    assert len(outside.asked) == fetch_module._TRIES_WITHOUT_PROGRESS


async def test_a_long_pause_is_told_rather_than_waited_for(outside: Outside, tmp_path: Path) -> None:
    outside.reply = lambda asked: Reply(429, b"", {"Retry-After": "3000"})
    with pytest.raises(RateLimitedError) as told:
        await bring(outside, tmp_path / "big.bin")
    assert told.value.retry_after_s == 3000
    assert len(outside.asked) == 1


async def test_cancelling_keeps_the_part_and_ends_at_once(outside: Outside, tmp_path: Path) -> None:
    release, coming = threading.Event(), asyncio.Event()
    outside.reply = lambda asked: Reply(200, BODY, cut_after=200_000, then=lambda: release.wait(30))
    with BulkDoor(outside.url) as door:
        running = asyncio.create_task(fetch(WHOLE, tmp_path / "big.bin", door=door, report=lambda _: coming.set()))
        await coming.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    kept = (tmp_path / "big.bin.part").read_bytes()
    assert kept and kept == BODY[: len(kept)]
    outside.reply = outside.honest
    await bring(outside, tmp_path / "big.bin")  # though the thread of the first attempt still waits for its connection
    release.set()
    assert (tmp_path / "big.bin").read_bytes() == BODY


async def test_an_attempt_that_was_left_behind_does_not_touch_the_next_one(outside: Outside, tmp_path: Path) -> None:
    asked, release = threading.Event(), threading.Event()

    def stalling(_: Asked) -> Reply:
        asked.set()
        release.wait(30)
        return Reply(416)

    outside.reply = stalling
    running = asyncio.create_task(bring(outside, tmp_path / "big.bin"))
    await asyncio.to_thread(asked.wait, 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    begun(tmp_path / "big.bin", BODY[:100_000])
    left = [thread for thread in threading.enumerate() if thread.name == "fetch big.bin"]
    release.set()
    for thread in left:
        await asyncio.to_thread(thread.join, 30)
    assert left and (tmp_path / "big.bin.part").read_bytes() == BODY[:100_000]


async def test_two_at_once_to_one_place_are_one_too_many(outside: Outside, tmp_path: Path) -> None:
    arrived, release = threading.Event(), threading.Event()

    def waiting(asked: Asked) -> Reply:
        arrived.set()
        release.wait(30)
        return outside.honest(asked)

    outside.reply = waiting
    first = asyncio.create_task(bring(outside, tmp_path / "big.bin"))
    await asyncio.to_thread(arrived.wait, 30)
    with pytest.raises(BusyError):
        await bring(outside, tmp_path / "big.bin")
    release.set()
    await first
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_too_little_space_is_told_before_anything_begins(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "made" / "yet", 1000)
    with pytest.raises(StorageError, match="MB are needed"):
        check_space(tmp_path / "not" / "made", 1 << 60)


async def test_a_folder_that_can_not_be_written_is_a_storage_error(outside: Outside, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        await bring(outside, tmp_path / "file" / "big.bin")


async def test_a_link_in_the_part_files_place_is_not_followed(outside: Outside, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "big.bin.part").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError):
        await bring(outside, tmp_path / "big.bin")
    assert (tmp_path / "precious").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "page",
    [
        Reply(200, b"\n<!DOCTYPE html><p>temporarily blocked</p>"),
        Reply(200, b"<HTML>" + b"x" * (len(BODY) - 6)),
        Reply(200, b"busy", {"Content-Type": "text/html; charset=utf-8"}),
        Reply(206, b"busy", {"Content-Type": "text/html", "Content-Range": f"bytes 100000-{len(BODY) - 1}/{len(BODY)}"}),
    ],
)
async def test_a_web_page_is_no_damaged_file_and_costs_nothing_of_what_came_before(outside: Outside, tmp_path: Path, page: Reply) -> None:
    part = begun(tmp_path / "big.bin", BODY[:100_000])
    outside.reply = lambda asked: page
    with pytest.raises(ProviderError, match="the server sent a web page instead of the file"):
        await bring(outside, tmp_path / "big.bin")
    assert part.read_bytes() == BODY[:100_000]
    outside.reply = outside.honest
    assert (await bring(outside, tmp_path / "big.bin")).bytes_fetched == len(BODY) - 100_000
