"""The library follows this machine's files, and looks at them again only when one of them moved."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from integ_runtime import freshness, local
from integ_runtime.cache.query import LibraryQuery
from integ_runtime.cache.rows import titles
from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.freshness import NOTE, bring_up_to_date
from integ_runtime.paths import Paths, read_paths
from integ_server.contract.errors import StorageError
from tests.runtime.steam.steam_home import SteamHome


@pytest.fixture
def paths(home: Path) -> Paths:
    return read_paths({"HOME": str(home)})


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home)}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that the files were really read."""
    counted: list[int] = []
    real = local.refresh_local

    def counting(*asked: object) -> bool:
        counted.append(1)
        return real(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(local, "refresh_local", counting)
    return counted


def shown(paths: Paths) -> list[str]:
    return [title.title for title in titles(paths.cache_db, LibraryQuery(installed=True))]


def test_nothing_is_read_again_while_nothing_moves(paths: Paths, environ: dict[str, str], home: Path, looks: list[int]) -> None:
    SteamHome(home / ".local/share/Steam").app(70001, "Lantern Keep")
    for _ in range(3):
        bring_up_to_date(paths, environ)
    assert looks == [1]
    assert shown(paths) == ["Lantern Keep"]


def test_a_cache_of_an_older_version_hides_no_game_that_is_on_this_disk(paths: Paths, environ: dict[str, str], home: Path) -> None:
    SteamHome(home / ".local/share/Steam").app(70001, "Lantern Keep")
    bring_up_to_date(paths, environ)
    with closing(sqlite3.connect(paths.cache_db)) as base:
        base.execute("PRAGMA user_version = 1")
    note = json.loads((paths.cache / NOTE).read_text())
    (paths.cache / NOTE).write_text(json.dumps({**note, "cache": paths.cache_db.stat().st_ino}))
    assert shown(paths) == []
    bring_up_to_date(paths, environ)
    assert shown(paths) == ["Lantern Keep"]


def test_a_game_that_steam_installs_or_removes_shows_with_the_next_look(paths: Paths, environ: dict[str, str], home: Path) -> None:
    bring_up_to_date(paths, environ)
    assert shown(paths) == []
    steam = SteamHome(home / ".local/share/Steam")
    steam.app(70001, "Lantern Keep")
    bring_up_to_date(paths, environ)
    assert shown(paths) == ["Lantern Keep"]
    steam.app(70002, "Amber Mill")
    bring_up_to_date(paths, environ)
    assert shown(paths) == ["Amber Mill", "Lantern Keep"]
    (home / ".local/share/Steam/steamapps/appmanifest_70002.acf").unlink()
    bring_up_to_date(paths, environ)
    assert shown(paths) == ["Lantern Keep"]


def test_integ_s_own_installs_show_too(paths: Paths, environ: dict[str, str], tmp_path: Path) -> None:
    bring_up_to_date(paths, environ)
    game = InstalledGame("gog:1", "Brasswater Drift", tmp_path / "game", "linux", "integ")
    InstalledGames(paths).save(game)
    bring_up_to_date(paths, environ)
    assert shown(paths) == ["Brasswater Drift"]
    InstalledGames(paths).remove("gog:1")
    bring_up_to_date(paths, environ)
    assert shown(paths) == []


def test_another_steam_folder_in_the_environment_is_looked_at(paths: Paths, environ: dict[str, str], tmp_path: Path) -> None:
    SteamHome(tmp_path / "elsewhere").app(70003, "Clay Kettle")
    bring_up_to_date(paths, environ)
    bring_up_to_date(paths, {**environ, "STEAM_DIR": str(tmp_path / "elsewhere")})
    assert shown(paths) == ["Clay Kettle"]


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"variables": 1}', b'{"files": 3, "variables": null, "cache": null}', b"\xff"])
def test_a_damaged_note_only_means_a_look(paths: Paths, environ: dict[str, str], home: Path, looks: list[int], note: bytes) -> None:
    SteamHome(home / ".local/share/Steam").app(70001, "Lantern Keep")
    bring_up_to_date(paths, environ)
    (paths.cache / NOTE).write_bytes(note)
    bring_up_to_date(paths, environ)
    bring_up_to_date(paths, environ)
    assert looks == [1, 1]


def test_a_cache_that_was_thrown_away_is_filled_again(paths: Paths, environ: dict[str, str], home: Path) -> None:
    SteamHome(home / ".local/share/Steam").app(70001, "Lantern Keep")
    bring_up_to_date(paths, environ)
    for left in paths.cache.glob("*library.db*"):
        left.unlink()
    bring_up_to_date(paths, environ)
    assert shown(paths) == ["Lantern Keep"]
    shutil.rmtree(paths.cache)
    bring_up_to_date(paths, environ)
    assert shown(paths) == ["Lantern Keep"]


def test_a_cache_that_can_t_be_written_is_told(paths: Paths, environ: dict[str, str], home: Path) -> None:
    (home / ".cache").write_text("a file")
    with pytest.raises(StorageError):
        bring_up_to_date(paths, environ)


def test_a_note_that_can_t_be_kept_costs_only_a_look(
    paths: Paths, environ: dict[str, str], home: Path, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    SteamHome(home / ".local/share/Steam").app(70001, "Lantern Keep")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(freshness.Path, "replace", full)
    bring_up_to_date(paths, environ)
    bring_up_to_date(paths, environ)
    assert looks == [1, 1]
    assert shown(paths) == ["Lantern Keep"]
    assert list(paths.cache.glob(f".{NOTE}.*")) == []
