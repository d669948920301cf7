"""What the player decided, as the library shows it: told by the backend, or not heard of by it yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integ_runtime.cache.query import LibraryQuery
from integ_runtime.cache.records import LaunchWishes, LocalFact, TitleRow, Waiting
from integ_runtime.cache.store import LibraryCache
from integ_server.contract.types import Changes, LoosePreferences, ReleaseRecord, TitleRecord, UserPreferences

AT = "2026-11-01T10:00:00Z"


def release(key: str, title_id: str, **more: Any) -> ReleaseRecord:
    provider, _, game_id = key.partition(":")
    return ReleaseRecord(key=key, provider=provider, provider_game_id=game_id, title_id=title_id, title=title_id.title(), **more)


TOLD = Changes(
    revision=1,
    titles=[
        TitleRecord(id="keep", title="Keep", tags=["slow"], notes="the red key"),
        TitleRecord(id="castle", title="Castle", favourite=True, tags=["Slow", "old"]),
        TitleRecord(id="orbit", title="Orbit", hidden=True),
    ],
    releases=[release("steam:1", "keep"), release("gog:1", "keep"), release("gog:2", "castle"), release("steam:3", "orbit")],
    preferences=UserPreferences(default_proton="GE-Proton9-27"),
    loose=[LoosePreferences(key="local:tea", favourite=True, tags=["own"], notes="mine", proton="GE-Proton8-26", launch_options="-w")],
)


@pytest.fixture
async def cache(tmp_path: Path) -> LibraryCache:
    library = LibraryCache(tmp_path / "library.db")
    await library.apply(TOLD)
    return library


async def everything(cache: LibraryCache) -> dict[str, TitleRow]:
    return {title.title_id: title for title in await cache.titles(LibraryQuery(include_hidden=True))}


async def notes(cache: LibraryCache, title_id: str) -> str:
    return str((await cache.details(title_id))["notes"])


def wish(key: str, **wishes: Any) -> Waiting:
    return Waiting("game", (key,), wishes, AT)


async def keys(cache: LibraryCache) -> dict[str, list[str]]:
    return {title_id: [each.key for each in title.releases] for title_id, title in (await everything(cache)).items()}


async def test_a_note_a_version_and_launch_options_are_kept_as_they_were_told(cache: LibraryCache) -> None:
    await cache.apply(Changes(revision=2, releases=[release("gog:1", "keep", proton="GE-Proton9-1", launch_options="-w 'a b'")]))
    assert await notes(cache, "keep") == "the red key"
    assert (await cache.details("keep"))["launch"] == [{"key": "gog:1", "proton": "GE-Proton9-1", "launch_options": "-w 'a b'"}]
    known = await cache.launch_wishes("gog:1")
    assert (known.proton, known.launch_options) == ("GE-Proton9-1", "-w 'a b'")
    assert known.proton_at is not None
    assert await cache.launch_wishes("steam:1") == LaunchWishes()
    assert await cache.preferences() == {"default_proton": "GE-Proton9-27"}


async def test_what_was_decided_about_a_game_of_no_store_shows_with_it_once_it_is_on_this_disk(cache: LibraryCache) -> None:
    assert "tea" not in await everything(cache)
    await cache.put_local([LocalFact("local:tea", "Tea", installed=True)], "installs")
    tea = (await everything(cache))["tea"]
    assert (tea.favourite, tea.tags, await notes(cache, "tea")) == (True, ("own",), "mine")
    assert (await cache.launch_wishes("local:tea")).launch_options == "-w"
    await cache.apply(Changes(revision=2, loose=[]))
    assert not (await everything(cache))["tea"].favourite
    assert (await cache.launch_wishes("local:tea")).proton is None


async def test_what_waits_shows_at_once_and_is_gone_without_a_trace_when_it_was_refused(cache: LibraryCache) -> None:
    before = await everything(cache)
    stamp = await cache.stamp()
    await cache.show_waiting(
        [
            wish("steam:1", favourite=True, add_tags=[" New\x1b", "SLOW"], notes="\nthe blue\x1b key \n"),
            wish("gog:2", tags=["b", "A"], remove_tags=["B"], favourite=False),
            wish("steam:3", hidden=False, proton="GE-Proton9-1", launch_options=" -x "),
            Waiting("user", wishes={"default_proton": None, "language": "de"}, at=AT),
        ]
    )
    seen = await everything(cache)
    assert (seen["keep"].favourite, seen["keep"].tags, await notes(cache, "keep")) == (True, ("New", "slow"), "the blue key")
    assert (seen["castle"].favourite, seen["castle"].tags, seen["orbit"].hidden) == (False, ("A",), False)
    assert await cache.launch_wishes("steam:3") == LaunchWishes(None, "GE-Proton9-1", AT, "-x")
    assert await cache.preferences() == {"language": "de"}
    assert await cache.stamp() != stamp
    assert await cache.shows_waiting()
    await cache.apply(Changes(revision=2, titles=[TitleRecord(id="keep", title="Keep", tags=["told"])]))
    assert (await everything(cache))["keep"].tags == ("New", "SLOW", "told"), "what was told meanwhile lies below"
    await cache.show_waiting([])
    assert not await cache.shows_waiting()
    after = await everything(cache)
    assert after.pop("keep").tags == ("told",)
    assert after == {title_id: title for title_id, title in before.items() if title_id != "keep"}
    assert await cache.preferences() == {"default_proton": "GE-Proton9-27"}


async def test_a_merge_that_waits_joins_what_was_decided_and_is_undone_by_its_refusal(cache: LibraryCache) -> None:
    before = await everything(cache)
    await cache.show_waiting([Waiting("merge", ("steam:1", "gog:2"), at=AT)])
    seen = await everything(cache)
    assert [each.key for each in seen["keep"].releases] == ["gog:1", "gog:2", "steam:1"]
    assert "castle" not in seen
    assert (seen["keep"].title, seen["keep"].favourite, seen["keep"].tags) == ("Keep", True, ("old", "slow"))
    assert await notes(cache, "keep") == "the red key"
    await cache.show_waiting([])
    assert await everything(cache) == before


async def test_merges_and_splits_that_wait_follow_one_another(cache: LibraryCache) -> None:
    merged = Waiting("merge", ("gog:2", "steam:1"), at=AT)
    both = {"castle": ["gog:1", "gog:2", "steam:1"], "orbit": ["steam:3"]}
    await cache.show_waiting([merged])
    assert await keys(cache) == both
    await cache.show_waiting([merged, Waiting("split", ("gog:1",), at=AT)])
    assert await keys(cache) == {"castle": ["gog:2", "steam:1"], "keep": ["gog:1"], "orbit": ["steam:3"]}
    await cache.show_waiting([merged, Waiting("split", ("castle",), at=AT)])
    assert await keys(cache) == {"castle": ["gog:2"], "keep": ["gog:1", "steam:1"], "orbit": ["steam:3"]}
    await cache.show_waiting([merged, Waiting("merge", ("steam:3", "gog:1"), at=AT)])
    assert await keys(cache) == {"orbit": ["gog:1", "gog:2", "steam:1", "steam:3"]}


async def test_a_release_that_is_split_off_keeps_what_its_title_had(cache: LibraryCache) -> None:
    await cache.show_waiting([Waiting("split", ("gog:1",), at=AT), Waiting("split", ("gog:2",), at=AT)])
    seen = await everything(cache)
    apart = next(title for title_id, title in seen.items() if title_id not in {"keep", "castle", "orbit"})
    assert ([each.key for each in apart.releases], apart.tags, await notes(cache, apart.title_id)) == (["gog:1"], ("slow",), "the red key")
    assert [each.key for each in seen["castle"].releases] == ["gog:2"], "alone it has nothing to leave"


async def test_the_moment_of_a_choice_is_that_of_its_last_change(cache: LibraryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(f"2026-11-0{day}T00:00:00Z" for day in range(1, 9))
    monkeypatch.setattr("integ_runtime.cache.told.utc_now_text", lambda: next(moments))

    async def told(revision: int, version: str | None, **more: Any) -> tuple[str | None, str | None]:
        await cache.apply(Changes(revision=revision, releases=[release("gog:1", "keep", proton=version)], **more))
        known = await cache.launch_wishes("gog:1")
        return known.proton, known.proton_at

    assert await told(2, "A1") == ("A1", "2026-11-01T00:00:00Z")
    assert await told(3, "A1") == ("A1", "2026-11-01T00:00:00Z"), "told again it is no new choice"
    assert await told(4, "B1") == ("B1", "2026-11-03T00:00:00Z")
    assert await told(5, None) == (None, "2026-11-04T00:00:00Z"), "taken back, which is a decision too"
    assert await told(6, None, reset=True) == (None, "2026-11-04T00:00:00Z")
    assert await cache.proton_choices() == {"gog:1": (None, "2026-11-04T00:00:00Z")}


async def test_another_owner_sees_nothing_of_what_was_decided(cache: LibraryCache) -> None:
    await cache.show_waiting([wish("local:tea", favourite=True)])
    assert await cache.belong_to("bob")
    await cache.put_local([LocalFact("local:tea", "Tea", installed=True)], "installs")
    seen = await everything(cache)
    assert (list(seen), seen["tea"].favourite, await cache.preferences(), await cache.shows_waiting()) == (["tea"], False, {}, False)


async def test_written_piece_by_piece_what_waits_reads_like_written_at_once(cache: LibraryCache, tmp_path: Path) -> None:
    waiting = [wish("gog:1", favourite=True), Waiting("merge", ("gog:2", "gog:1"), at=AT), Waiting("split", ("steam:1",), at=AT)]
    for upto in range(len(waiting) + 1):
        await cache.show_waiting(waiting[:upto])
    other = LibraryCache(tmp_path / "other.db")
    await other.apply(TOLD)
    await other.show_waiting(waiting)
    assert await everything(cache) == await everything(other)
