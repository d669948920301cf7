"""What the cache takes in: the changes feed, and what this machine knows."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integ_runtime.cache.records import LocalFact, Waiting
from integ_runtime.cache.store import LibraryCache, put_local
from integ_server.contract.errors import GameNotFoundError
from integ_server.contract.types import Changes, ReleaseRecord, TitleRecord


def feed(revision: int, *keys: str, reset: bool = False, removed: bool = False, playtime_min: int = 0) -> Changes:
    return Changes(
        revision=revision,
        reset=reset,
        titles=[TitleRecord(id=f"t-{key.replace(':', '-')}", title=f"Game {key}") for key in keys],
        releases=[
            ReleaseRecord(
                key=key,
                provider=key.split(":")[0],
                provider_game_id=key.split(":")[1],
                title_id=f"t-{key.replace(':', '-')}",
                title=f"Game {key}",
                removed=removed,
                playtime_min=playtime_min,
            )
            for key in keys
        ],
    )


@pytest.fixture
def cache(tmp_path: Path) -> LibraryCache:
    return LibraryCache(tmp_path / "library.db")


async def keys(cache: LibraryCache) -> list[str]:
    return [release.key for title in await cache.titles() for release in title.releases]


async def test_a_feed_adds_changes_and_removes(cache: LibraryCache) -> None:
    await cache.apply(feed(1, "steam:1", "steam:2"))
    await cache.apply(feed(2, "steam:2", playtime_min=9))
    await cache.apply(feed(3, "steam:1", removed=True))
    titles = await cache.titles()
    assert [(title.title_id, title.playtime_min) for title in titles] == [("t-steam-2", 9)]
    assert await cache.revision() == 3


async def test_an_older_answer_that_comes_late_is_dropped(cache: LibraryCache) -> None:
    await cache.apply(feed(5, "steam:1", playtime_min=50))
    await cache.apply(feed(4, "steam:1", playtime_min=40))
    assert (await cache.titles())[0].playtime_min == 50


async def test_a_reset_starts_from_nothing_but_keeps_what_this_machine_knows(cache: LibraryCache) -> None:
    await cache.apply(feed(9, "steam:1", "steam:2"))
    await cache.put_local([LocalFact("local:mine", "Mine", installed=True, install_path="/mine")], "installs")
    await cache.apply(feed(1, "gog:7", reset=True))
    assert sorted(await keys(cache)) == ["gog:7", "local:mine"]


async def test_the_larger_playtime_counts_and_facts_are_merged_in(cache: LibraryCache) -> None:
    await cache.put_local([LocalFact("steam:1", "Local name", ("linux",), True, "/games/1", 70, "2026-01-01T00:00:00Z")], "steam-files")
    await cache.apply(feed(1, "steam:1", playtime_min=60))
    release = (await cache.titles())[0].releases[0]
    assert (release.title, release.playtime_min, release.installed, release.platforms) == ("Game steam:1", 70, True, ("linux",))
    await cache.apply(feed(2, "steam:1", playtime_min=80))
    assert (await cache.titles())[0].playtime_min == 80


async def test_installed_steam_games_show_without_any_account_and_go_when_they_are_gone(cache: LibraryCache) -> None:
    assert await cache.put_local([LocalFact("steam:1", "Lantern Keep", installed=True, install_path="/x")], "steam-files") is True
    assert (await cache.get_title("lantern keep")).installed
    assert await cache.put_local([LocalFact("steam:1", "Lantern Keep", installed=True, install_path="/x")], "steam-files") is False
    assert await cache.put_local([], "steam-files") is True
    with pytest.raises(GameNotFoundError):
        await cache.get_title("lantern keep")


async def test_a_play_time_alone_is_no_game_until_a_store_tells_of_it(cache: LibraryCache) -> None:
    await cache.put_local([LocalFact("steam:1", playtime_min=90)], "steam-files")
    assert await cache.titles() == []
    await cache.apply(feed(1, "steam:1"))
    assert (await cache.titles())[0].playtime_min == 90


async def test_sources_do_not_touch_each_other(cache: LibraryCache) -> None:
    await cache.put_local([LocalFact("steam:1", "One", installed=True)], "steam-files")
    await cache.put_local([LocalFact("local:two", "Two", installed=True)], "installs")
    await cache.put_local([], "steam-files")
    assert await keys(cache) == ["local:two"]


async def test_the_stamp_moves_with_changes_only(cache: LibraryCache) -> None:
    await cache.apply(feed(1, "steam:1"))
    before = await cache.stamp()
    await cache.apply(Changes(revision=2))
    assert await cache.stamp() == before
    await cache.put_local([LocalFact("steam:1", installed=True)], "steam-files")
    assert await cache.stamp() != before


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all, but long enough to be taken for one" * 40, b"SQLite format 3\x00" + b"\xff" * 600]
)
async def test_a_damaged_cache_is_made_anew(cache: LibraryCache, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "library.db").write_bytes(content)
    assert await cache.titles() == []
    await cache.apply(feed(1, "steam:1"))
    assert await keys(cache) == ["steam:1"]


async def test_a_cache_of_another_version_is_made_anew(cache: LibraryCache, tmp_path: Path) -> None:
    await cache.apply(feed(1, "steam:1"))
    base = sqlite3.connect(tmp_path / "library.db")
    base.execute("PRAGMA user_version = 99")
    base.close()
    assert await cache.revision() == 0
    await cache.apply(feed(2, "steam:2"))
    assert await keys(cache) == ["steam:2"]


def test_many_processes_can_make_and_write_it_at_once(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from integ_runtime.cache.records import LocalFact, Waiting
        from integ_runtime.cache.store import put_local
        for n in range(5):
            put_local(Path(sys.argv[1]), [LocalFact(f"local:{sys.argv[2]}-{n}", "Game", installed=True)], f"source-{sys.argv[2]}-{n}")
    """)
    children = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "library.db"), str(n)]) for n in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    base = sqlite3.connect(tmp_path / "library.db")
    assert base.execute("SELECT count(*) FROM releases").fetchone()[0] == 20
    assert base.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    base.close()


def test_a_writer_that_is_killed_leaves_the_library_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "library.db"
    put_local(file, [LocalFact("local:one", "One", installed=True)], "installs")
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from integ_runtime.cache.schema import open_writer
        with open_writer(Path(sys.argv[1])) as base:
            base.execute("DELETE FROM releases")
            base.execute("DELETE FROM titles")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    killed = subprocess.run([sys.executable, "-c", script, str(file)], check=False, env={"PATH": os.environ["PATH"]})
    assert killed.returncode == -signal.SIGKILL
    assert put_local(file, [LocalFact("local:one", "One", installed=True)], "installs") is False


def waiting(key: str, first: str, *, merged: bool) -> list[Waiting]:
    arranged = Waiting("merge", (first, key)) if merged else Waiting("split", (key,))
    return [Waiting("game", (key,), {"favourite": merged, "notes": key, "proton": "GE-Proton9-1"}, "2026-11-01T00:00:00Z"), arranged]


_KEYS = st.sampled_from(["steam:1", "steam:2", "gog:1", "local:a"])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.lists(_KEYS, max_size=3), st.booleans()),
        st.tuples(st.just("facts"), st.lists(_KEYS, max_size=3), st.booleans()),
        st.tuples(st.just("waiting"), st.lists(_KEYS, max_size=3), st.booleans()),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STEPS)
def test_written_piece_by_piece_it_reads_like_written_at_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[str], bool]]
) -> None:
    """The merged tables never depend on the order in which both sides came."""
    from integ_runtime.cache.merge import merge
    from integ_runtime.cache.schema import open_writer
    from integ_runtime.cache.told import apply, show_waiting

    file = tmp_path_factory.mktemp("cache") / "library.db"
    for number, (kind, names, flag) in enumerate(steps, start=1):
        if kind == "feed":
            apply(file, feed(number, *dict.fromkeys(names), removed=flag, playtime_min=number))
        elif kind == "waiting":
            show_waiting(file, [each for name in names for each in waiting(name, names[0], merged=flag)])
        else:
            put_local(file, [LocalFact(name, f"Game {name}", installed=flag) for name in dict.fromkeys(names)], "installs")
    with open_writer(file) as base:
        ask = "SELECT id, item FROM titles ORDER BY id"
        piecewise = base.execute(ask).fetchall()
        merge(base, None)
        assert base.execute(ask).fetchall() == piecewise
        assert base.execute("INSERT INTO titles_found (titles_found) VALUES ('integrity-check')").fetchall() == []
