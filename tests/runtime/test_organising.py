"""Decisions on their way to a backend that is away, busy, full, broken, or of another mind."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integ_runtime import decisions
from integ_runtime.cache.store import LibraryCache
from integ_runtime.client.api import ApiClient
from integ_runtime.organising import MOST_TRIES, Organising
from integ_server.contract.errors import (
    AuthenticationError,
    BackendUnreachableError,
    BusyError,
    IntegError,
    ProviderUnavailableError,
    RateLimitedError,
    StorageError,
    UsageError,
    to_envelope,
)
from integ_server.contract.types import Changes
from tests.cli.conftest import small_library


class Backend:
    """What a backend answers on the wire: it takes decisions, and tells the same library, unless an error is set."""

    def __init__(self) -> None:
        self.failing: IntegError | None = None
        self.refused: dict[str, IntegError] = {}
        """By path."""
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.asked = self.reads = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += request.method != "GET"
        error = self.failing or (self.refused.get(request.url.path) if request.method != "GET" else None)
        if isinstance(error, BackendUnreachableError):
            raise httpx.ConnectError("nobody is there")
        if error is not None:
            return httpx.Response(error.status, json=to_envelope(error))
        if request.url.path == "/games/changes":
            self.reads += 1
            return _ok(Changes(revision=int(request.url.params["since"])).model_dump(mode="json"))
        if request.url.path == "/users/me":
            return _ok({"id": "ann", "name": "Ann", "revision": 5})
        self.taken.append((request.url.path, json.loads(request.content)))
        return _ok({})


def _ok(data: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "ok", "data": data})


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
async def library(tmp_path: Path) -> LibraryCache:
    cache = LibraryCache(tmp_path / "library.db")
    await cache.belong_to("ann")
    await cache.apply(small_library(), "ann")
    return cache


@pytest.fixture
def fresh(backend: Backend, library: LibraryCache, tmp_path: Path) -> Iterator[Callable[[], Organising]]:
    """The same as another process of the player's would have it."""

    def make() -> Organising:
        async def api() -> ApiClient:
            http = httpx.AsyncClient(transport=httpx.MockTransport(backend.answer), base_url="https://integ.example")
            return ApiClient(http)

        return Organising(api, library, tmp_path / "decisions.jsonl")

    yield make


def waiting(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "decisions.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


AWAY = [
    BackendUnreachableError("gone"),
    RateLimitedError("slowly"),
    ProviderUnavailableError("down"),
    BusyError("busy"),
    StorageError("full"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: f"{error.status} {error.message}")
async def test_a_decision_is_kept_when_the_backend_is_away_busy_full_or_asks_for_a_pause(
    fresh: Callable[[], Organising], backend: Backend, library: LibraryCache, tmp_path: Path, error: IntegError
) -> None:
    backend.failing = error
    title = await library.get_title("lantern-keep")
    assert await fresh().decide([title], {"notes": "later", "favourite": False}) is False
    assert (await library.details("lantern-keep"))["notes"] == "later"
    assert (await library.get_title("lantern-keep")).favourite is False
    with pytest.raises(type(error)):
        await fresh().send_waiting()
    assert len(waiting(tmp_path)) == 1, "it waits on"
    backend.failing = None
    assert await fresh().send_waiting() == 1
    assert backend.taken == [("/games/gog:1200000001/preferences", {"notes": "later", "favourite": False})]
    assert waiting(tmp_path) == []
    assert await fresh().send_waiting() == 0


@pytest.mark.parametrize("error", [RateLimitedError("slowly", retry_after_s=60), StorageError("full"), AuthenticationError("who?")])
async def test_of_several_that_wait_those_behind_an_answer_of_that_kind_stay_in_order(
    fresh: Callable[[], Organising], backend: Backend, library: LibraryCache, tmp_path: Path, error: IntegError
) -> None:
    backend.failing = BackendUnreachableError("gone")
    organising = fresh()
    for key in ("steam:70001", "steam:70002", "gog:1200000003"):
        await organising.decide_releases([key], {"favourite": True})
    backend.failing, backend.refused = None, {"/games/steam:70002/preferences": error}
    with pytest.raises(type(error)):
        await fresh().send_waiting()
    assert [each["path"] for each in waiting(tmp_path)] == ["/games/steam:70002/preferences", "/games/gog:1200000003/preferences"]
    backend.refused = {}
    assert await fresh().send_waiting() == 2
    assert [path for path, _ in backend.taken] == [f"/games/{key}/preferences" for key in ("steam:70001", "steam:70002", "gog:1200000003")]


async def test_what_is_refused_shows_no_longer(
    fresh: Callable[[], Organising],
    backend: Backend,
    library: LibraryCache,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = await library.titles()
    backend.failing = BackendUnreachableError("gone")
    organising = fresh()
    await organising.decide([await library.get_title("lantern-keep")], {"notes": "no", "favourite": False})
    await organising.merge_games(["steam:70001", "gog:1200000003"])
    await organising.decide_for_all({"language": "de"})
    assert await library.titles() != before
    assert await library.preferences() == {"language": "de"}
    backend.failing = None
    paths = ("/games/gog:1200000001/preferences", "/games/merge", "/users/preferences")
    backend.refused = dict.fromkeys(paths, UsageError("not like this"))
    assert await fresh().send_waiting() == 0
    assert await library.titles() == before
    assert await library.preferences() == {}
    assert waiting(tmp_path) == []
    assert caplog.text.count("not like this") == 3


async def test_a_backend_that_breaks_down_over_one_is_asked_a_few_times_and_no_more(
    fresh: Callable[[], Organising], backend: Backend, library: LibraryCache, tmp_path: Path
) -> None:
    backend.failing = BackendUnreachableError("gone")
    organising = fresh()
    await organising.decide_releases(["steam:70001"], {"notes": "poison"})
    await organising.decide_releases(["steam:70002"], {"favourite": True})
    backend.failing, backend.asked = None, 0
    backend.refused = {"/games/steam:70001/preferences": IntegError("a bug")}
    for number in range(1, MOST_TRIES):
        assert await fresh().send_waiting() == 0
        assert (backend.asked, len(waiting(tmp_path))) == (number, 2)
        assert (await library.details("lantern-keep"))["notes"] == "poison"
    assert await fresh().send_waiting() == 1, "the one behind it is sent now"
    assert waiting(tmp_path) == []
    assert (await library.details("lantern-keep"))["notes"] == ""


async def test_one_that_is_made_meanwhile_waits_behind_it(fresh: Callable[[], Organising], backend: Backend, tmp_path: Path) -> None:
    backend.failing = BackendUnreachableError("gone")
    await fresh().decide_releases(["steam:70001"], {"favourite": True})
    backend.failing, backend.refused = None, {"/games/steam:70001/preferences": IntegError("a bug")}
    assert await fresh().decide_releases(["steam:70001"], {"favourite": False}) is False
    assert [each["body"] for each in waiting(tmp_path)] == [{"favourite": True}, {"favourite": False}]


async def test_the_queue_is_bounded_and_says_so(
    fresh: Callable[[], Organising], backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "MOST_WAITING", 3)
    backend.failing = BackendUnreachableError("gone")
    organising = fresh()
    await organising.decide_releases([f"local:{number}" for number in range(3)], {"favourite": True})
    with pytest.raises(BackendUnreachableError, match="3 decisions wait") as caught:
        await organising.decide_releases(["local:4"], {"favourite": True})
    assert caught.value.hint == "integ sync"
    assert len(waiting(tmp_path)) == 3
    backend.failing = None
    assert await fresh().send_waiting() == 3


async def test_many_at_once_do_not_each_wait_for_a_backend_that_is_away(fresh: Callable[[], Organising], backend: Backend) -> None:
    backend.failing = RateLimitedError("slowly")
    assert await fresh().decide_releases([f"local:{number}" for number in range(20)], {"favourite": True}) is False
    assert backend.asked == 1


async def test_what_no_backend_would_take_is_refused_before_it_waits(
    fresh: Callable[[], Organising], backend: Backend, tmp_path: Path
) -> None:
    backend.failing = BackendUnreachableError("gone")
    for wishes in ({"notes": "x" * 10_001}, {"add_tags": [""]}, {"favorite": True}, {"proton": "/etc/passwd"}):
        with pytest.raises(UsageError, match=next(iter(wishes))):
            await fresh().decide_releases(["steam:70001"], wishes)
    assert waiting(tmp_path) == []


async def test_lines_that_integ_did_not_write_are_left_out_and_older_ones_are_sent(
    fresh: Callable[[], Organising], backend: Backend, tmp_path: Path
) -> None:
    good = {"owner": "ann", "method": "PUT", "path": "/games/steam:70001/preferences", "body": {"favourite": True}, "key": "k" * 32}
    odd = [{**good, "body": [1]}, {**good, "path": "/users/me"}, {**good, "tries": "x"}, {**good, "body": {"a": 1}}, [], {"owner": "ann"}]
    lines = ["no json", "[" * 100_000, *map(json.dumps, odd), json.dumps(good)]
    (tmp_path / "decisions.jsonl").write_text("\n".join(lines) + "\n")
    assert await fresh().send_waiting() == 1
    assert backend.taken == [("/games/steam:70001/preferences", {"favourite": True})]


async def test_what_was_decided_before_anybody_was_known_is_whoever_s_comes_first(
    backend: Backend, tmp_path: Path, fresh: Callable[[], Organising], library: LibraryCache
) -> None:
    await library.belong_to("")
    backend.failing = BackendUnreachableError("gone")
    await fresh().decide_releases(["local:tea"], {"favourite": True})
    backend.failing = None
    assert await fresh().send_waiting() == 1
    assert len(backend.taken) == 1


async def test_a_choice_of_this_device_is_told_once_somebody_is_signed_in(
    fresh: Callable[[], Organising], backend: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend.failing = AuthenticationError("who are you?")
    assert await fresh().choose_proton("steam:70001", "GE-Proton9-27") is False
    assert len(waiting(tmp_path)) == 1
    backend.failing, backend.refused = None, {"/games/steam:70002/preferences": UsageError("never heard of it")}
    assert await fresh().choose_proton("steam:70002", "GE-Proton9-27") is True
    assert "never heard of it" in caplog.text
    assert backend.taken == [("/games/steam:70001/preferences", {"proton": "GE-Proton9-27"})]


async def test_half_a_line_that_a_killed_process_left_spoils_nothing(
    fresh: Callable[[], Organising], backend: Backend, tmp_path: Path
) -> None:
    backend.failing = BackendUnreachableError("gone")
    organising = fresh()
    await organising.decide_releases(["steam:70001"], {"favourite": True})
    file = tmp_path / "decisions.jsonl"
    file.write_text(file.read_text() + file.read_text()[:50])
    await organising.decide_releases(["steam:70002"], {"favourite": True})
    backend.failing = None
    assert await fresh().send_waiting() == 2


async def test_no_room_for_a_decision_is_told_and_those_that_wait_stay_whole(
    fresh: Callable[[], Organising], backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.failing = BackendUnreachableError("gone")
    organising = fresh()
    await organising.decide_releases(["steam:70001"], {"favourite": True})
    before = (tmp_path / "decisions.jsonl").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="can't be kept"):
            await organising.decide_releases(["steam:70002"], {"favourite": True})
    assert (tmp_path / "decisions.jsonl").read_bytes() == before


async def test_many_in_a_row_are_shown_and_read_once(fresh: Callable[[], Organising], backend: Backend, library: LibraryCache) -> None:
    organising = fresh()
    async with organising.reading_once():
        for key in ("steam:70001", "steam:70002"):
            assert await organising.decide_releases([key], {"favourite": True})
        assert backend.reads == 0
    assert backend.reads == 1
    backend.failing = RateLimitedError("slowly")
    async with organising.reading_once():
        assert not await organising.decide_releases(["steam:70001"], {"notes": "shown"})
    assert (await library.details("lantern-keep"))["notes"] == "shown"
