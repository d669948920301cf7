"""The library as the front ends read it: list, search, find, filter, details."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.cache import rows
from integ_runtime.cache.query import LibraryQuery, order_of, where_of
from integ_runtime.cache.records import LocalFact
from integ_runtime.cache.schema import fold, sort_key
from integ_runtime.cache.store import LibraryCache
from integ_server.contract.errors import AmbiguousError, GameNotFoundError, UsageError
from integ_server.contract.types import Changes, ReleaseRecord, TitleDetails, TitleRecord


def release(key: str, title_id: str, title: str, **more: object) -> ReleaseRecord:
    provider, _, game_id = key.partition(":")
    return ReleaseRecord.model_validate(
        {"key": key, "provider": provider, "provider_game_id": game_id, "title_id": title_id, "title": title, **more}
    )


LIBRARY = Changes(
    revision=4,
    reset=True,
    titles=[
        TitleRecord(
            id="lantern-keep", title="Lantern Keep™", year=2021, details=TitleDetails(description="Keep the light.", genres=["Adventure"])
        ),
        TitleRecord(id="the-quiet-orbit", title="The Quiet Orbit", tags=["Space", "cosy"], favourite=True),
        TitleRecord(id="cafe-nordwind", title="Café Nordwind"),
        TitleRecord(id="lantern-keep-2", title="Lantern Keep 2"),
        TitleRecord(id="tin-harbour", title="Tin Harbour", hidden=True),
        TitleRecord(id="divided-old-sky", title="Divided Old Sky", guessed=True),
    ],
    releases=[
        release("steam:10", "lantern-keep", "Lantern Keep", playtime_min=90, platforms=["linux", "windows"]),
        release("gog:1900000101", "lantern-keep", "Lantern Keep", playtime_min=30, last_played_at="2026-11-01T10:00:00Z"),
        release("gog:1900000102", "lantern-keep", "Lantern Keep: Tides", kind="dlc", parent_key="gog:1900000101"),
        release("steam:20", "the-quiet-orbit", "Quiet Orbit, The", playtime_min=700, last_played_at="2026-10-01T10:00:00Z"),
        release("steam:30", "cafe-nordwind", "Café Nordwind"),
        release("steam:40", "lantern-keep-2", "Lantern Keep 2"),
        release("steam:50", "tin-harbour", "Tin Harbour"),
        release("gog:1900000200", "divided-old-sky", "Divided Old Sky"),
    ],
)


@pytest.fixture
async def cache(tmp_path: Path) -> LibraryCache:
    library = LibraryCache(tmp_path / "cache" / "library.db")
    await library.apply(LIBRARY)
    return library


def db(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "library.db"


def listed(tmp_path: Path, **options: object) -> list[str]:
    data = json.loads(rows.list_json(db(tmp_path), LibraryQuery(**options)))  # type: ignore[arg-type]
    return [item["title_id"] for item in data["items"]]


def test_an_absent_cache_is_an_empty_library(tmp_path: Path) -> None:
    assert json.loads(rows.list_json(db(tmp_path), LibraryQuery())) == {"items": [], "total": 0}
    assert rows.search(db(tmp_path), "lantern") == []
    with pytest.raises(GameNotFoundError):
        rows.get_title(db(tmp_path), "lantern")


async def test_titles_are_listed_like_on_a_shelf_without_dlc_and_hidden_ones(cache: LibraryCache, tmp_path: Path) -> None:
    assert listed(tmp_path) == ["cafe-nordwind", "divided-old-sky", "lantern-keep", "lantern-keep-2", "the-quiet-orbit"]
    assert "tin-harbour" in listed(tmp_path, include_hidden=True)


async def test_a_title_sums_its_releases_and_lists_them_in_order(cache: LibraryCache, tmp_path: Path) -> None:
    item = next(each for each in json.loads(rows.list_json(db(tmp_path), LibraryQuery()))["items"] if each["title_id"] == "lantern-keep")
    assert item["playtime_min"] == 120
    assert item["last_played_at"] == "2026-11-01T10:00:00Z"
    assert [each["key"] for each in item["releases"]] == ["gog:1900000101", "steam:10"]
    assert item["releases"][1]["platforms"] == ["linux", "windows"]


async def test_one_row_a_release_when_asked(cache: LibraryCache, tmp_path: Path) -> None:
    data = json.loads(rows.list_json(db(tmp_path), LibraryQuery(by="release", store="gog")))
    assert [[each["key"] for each in item["releases"]] for item in data["items"]] == [["gog:1900000200"], ["gog:1900000101"]]
    assert [item["playtime_min"] for item in data["items"]] == [0, 30]


async def test_total_counts_what_the_limit_cut(cache: LibraryCache, tmp_path: Path) -> None:
    data = json.loads(rows.list_json(db(tmp_path), LibraryQuery(limit=2)))
    assert (len(data["items"]), data["total"]) == (2, 5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("store:gog", ["divided-old-sky", "lantern-keep"]),
        ("lantern store:steam", ["lantern-keep", "lantern-keep-2"]),
        ("playtime:>1h", ["lantern-keep", "the-quiet-orbit"]),
        ("playtime:<=120m playtime:>0", ["lantern-keep"]),
        ("tag:SPACE", ["the-quiet-orbit"]),
        ("favourite:yes", ["the-quiet-orbit"]),
        ("hidden:yes", ["tin-harbour"]),
        ("platform:linux", ["lantern-keep"]),
        ("installed:yes", []),
        ("cafe", ["cafe-nordwind"]),
        ('"keep 2"', ["lantern-keep-2"]),
    ],
)
async def test_the_filter_narrows(cache: LibraryCache, tmp_path: Path, text: str, found: list[str]) -> None:
    assert listed(tmp_path, filter=text) == found


@pytest.mark.parametrize("text", ["colour:red", "installed:perhaps", "playtime:soon", "playtime:>10parsecs"])
def test_a_filter_that_means_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        where_of(LibraryQuery(filter=text))
    assert caught.value.hint


def test_an_unknown_order_is_a_usage_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        order_of(LibraryQuery(sort="size"))
    assert "playtime" in caught.value.hint


async def test_orders_can_be_turned_round(cache: LibraryCache, tmp_path: Path) -> None:
    assert listed(tmp_path, sort="playtime")[:2] == ["the-quiet-orbit", "lantern-keep"]
    assert listed(tmp_path, sort="-playtime")[-1] == "the-quiet-orbit"
    assert listed(tmp_path, sort="last_played")[:2] == ["lantern-keep", "the-quiet-orbit"]
    assert listed(tmp_path, sort="-title") == listed(tmp_path)[::-1]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("lantern keep", "lantern-keep"),
        ("LANTERN", "lantern-keep"),
        ("keep 2", "lantern-keep-2"),
        ("cafe", "cafe-nordwind"),
        ("dos", "divided-old-sky"),
        ("orbit the", "the-quiet-orbit"),
        ("qu", "the-quiet-orbit"),
        ("nord", "cafe-nordwind"),
    ],
)
async def test_search_ranks_as_people_expect(cache: LibraryCache, text: str, first: str) -> None:
    found = await cache.search(text)
    assert found
    assert found[0].title_id == first


@given(st.text(max_size=40))
def test_any_text_can_be_searched_and_filtered(text: str) -> None:
    rows.search(Path("/nonexistent/library.db"), text)
    try:
        where_of(LibraryQuery(filter=text))
    except UsageError as error:
        assert error.message


@pytest.mark.parametrize("text", ['"', "%", "_", "\\", "'; DROP TABLE titles; --", "*", "AND", "NEAR(", "lantern\x00keep", "🎮"])
async def test_hostile_searches_find_nothing_and_break_nothing(cache: LibraryCache, text: str) -> None:
    assert all(isinstance(row.title, str) for row in await cache.search(text))
    assert await cache.count() == 6


async def test_a_game_is_named_by_key_by_title_id_or_by_text_that_fits_one(cache: LibraryCache) -> None:
    assert (await cache.get_title("steam:10")).title_id == "lantern-keep"
    assert (await cache.get_title("lantern-keep")).title_id == "lantern-keep"
    assert (await cache.get_title("LANTERN KEEP")).title_id == "lantern-keep"  # the whole name wins over longer ones
    assert (await cache.get_title("nordwind")).title_id == "cafe-nordwind"


async def test_text_that_fits_several_lists_them(cache: LibraryCache) -> None:
    with pytest.raises(AmbiguousError) as caught:
        await cache.get_title("lantern")
    assert caught.value.data is not None
    assert {each["key"] for each in caught.value.data["candidates"]} == {"lantern-keep", "lantern-keep-2"}


async def test_a_title_at_two_stores_is_ambiguous_until_one_is_installed(cache: LibraryCache) -> None:
    with pytest.raises(AmbiguousError):
        await cache.get_release("lantern-keep")
    assert (await cache.get_release("gog:1900000101")).provider == "gog"
    await cache.put_local([LocalFact("gog:1900000101", installed=True, install_path="/games/lantern")], "installs")
    assert (await cache.get_release("lantern-keep")).key == "gog:1900000101"


async def test_details_hold_description_dlc_and_the_guess(cache: LibraryCache) -> None:
    known = await cache.details("lantern-keep")
    assert known["description"] == "Keep the light."
    assert known["dlc"] == [{"key": "gog:1900000102", "title": "Lantern Keep: Tides"}]
    assert (await cache.details("divided-old-sky"))["guessed"] is True


async def test_completions_offer_ids_and_keys(cache: LibraryCache, tmp_path: Path) -> None:
    assert [each[0] for each in rows.completions(db(tmp_path), "lan")] == ["lantern-keep", "lantern-keep-2"]
    assert [each[0] for each in rows.completions(db(tmp_path), "gog:19000001")] == ["gog:1900000101"]


@given(st.text(max_size=60))
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_shelf_order_ignores_articles_and_counts_digits_by_value() -> None:
    names = ["Port 10", "The Anchor", "Port 9", "A Buoy"]
    assert sorted(names, key=sort_key) == ["The Anchor", "A Buoy", "Port 9", "Port 10"]


def test_reading_the_library_imports_nothing_heavy() -> None:
    ask = "import sys, integ_runtime.cache.rows, integ_runtime.settings; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", ask], text=True, env={"PATH": os.environ["PATH"], "HOME": "/"}).split()
    assert not {"pydantic", "httpx", "fastapi", "sqlmodel", "sqlalchemy", "textual", "rich", "asyncio", "typer"} & set(loaded)


_LIST_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from integ_runtime.cache import rows
from integ_runtime.cache.query import LibraryQuery
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file grows: as on a full disk, for whoever runs this
print(rows.list_json(Path(sys.argv[1]), LibraryQuery()))
"""


def on_a_full_disk(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _LIST_ON_A_FULL_DISK, str(db(tmp_path))], capture_output=True, text=True, check=False)


async def test_a_full_disk_hides_no_game(cache: LibraryCache, tmp_path: Path) -> None:
    done = on_a_full_disk(tmp_path)
    assert json.loads(done.stdout)["total"] == len(listed(tmp_path)) > 0, done.stderr


async def test_a_library_that_cannot_be_read_is_not_taken_for_an_empty_one(cache: LibraryCache, tmp_path: Path) -> None:
    for end in ("-wal", "-shm"):
        db(tmp_path).with_name(f"library.db{end}").unlink(missing_ok=True)
    db(tmp_path).with_name("library.db-wal").write_bytes(b"what another process wrote last")
    done = on_a_full_disk(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "OperationalError" in done.stderr
