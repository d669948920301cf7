"""`integ saves where`: its document against its schema, what people read, and what is told when nothing says where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.paths import read_paths
from tests.cli.conftest import Answer, Integ
from tests.runtime.saves.samples import SAMPLE, write

Valid = Callable[[Answer], dict[str, Any]]
KEY = "gog:1200000001"
MANIFEST = SAMPLE.replace("1234567890", "1200000001")


@pytest.fixture
def game(home: Path, library: Path) -> Path:
    """A Windows game of the library, installed, with a save in its prefix and a file beside it; answers its folder."""
    folder = home / "Games" / "Lantern Keep"
    write(folder / "config.ini", "12")
    installed = InstalledGames(read_paths({"HOME": str(home)}))
    installed.save(InstalledGame(KEY, "Lantern Keep", folder, "windows", "integ", executable=folder / "x.exe"))
    pfx = installed.folder(KEY) / "prefix/pfx"
    write(pfx / "drive_c/users/steamuser/Documents/My Games/SampleQuest/slot1.sav", "12345")
    write(pfx / "user.reg", '[Software\\\\Sample\\\\Quest] 17\n"a"="1"\n')
    return folder


@pytest.fixture
def manifest(home: Path) -> Path:
    return write(home / "manifest.yaml", MANIFEST)


def test_each_place_is_told_with_its_size_and_its_rule(integ: Integ, valid: Valid, game: Path, manifest: Path) -> None:
    data = valid(integ("saves", "where", KEY, "--manifest", str(manifest), "--json"))
    assert (data["key"], data["title"], data["known_by"], data["cloud"]) == (KEY, "Sample Quest", "gog", ["gog", "steam"])
    by_rule = {each["rule"]: each for each in data["places"]}
    save = by_rule["<winDocuments>/My Games/SampleQuest/*.sav"]
    assert save["path"].endswith("/prefix/pfx/drive_c/users/steamuser/Documents/My Games/SampleQuest/slot1.sav")
    assert (save["kind"], save["exists"], save["size_bytes"], save["tags"]) == ("file", True, 5, ["save"])
    assert by_rule["<base>/config.ini"]["path"] == str(game / "config.ini")
    key = by_rule["HKEY_CURRENT_USER/Software/Sample/Quest"]
    assert (key["kind"], key["size_bytes"]) == ("registry", 37)
    assert "<xdgData>/SampleQuest" not in by_rule, "that is for Linux and Steam"
    assert (data["size_bytes"], data["whole"], data["notes"]) == (44, True, [])


def test_people_read_a_line_and_a_table(integ: Integ, game: Path, manifest: Path) -> None:
    assert integ("config", "set", "save_manifest", str(manifest)).code == 0
    (game / "config.ini").unlink()
    told = integ("saves", "where", KEY)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"Sample Quest ({KEY}), known by its GOG id: ")
    assert "slot1.sav" in told.out and "registry" in told.out
    assert f"{game}/config.ini" in told.out and "not there" in told.out


def test_a_games_own_file_counts_before_the_manifest_and_a_damaged_one_is_told(
    integ: Integ, valid: Valid, game: Path, manifest: Path
) -> None:
    own = write(game / ".ludusavi.yaml", "Its own name: {files: {<base>/config.ini: {}}}\n")
    data = valid(integ("saves", "where", KEY, "--json"))
    assert (data["title"], data["known_by"], data["manifest"]) == ("Its own name", "own", str(own))
    assert [each["path"] for each in data["places"]] == [str(game / "config.ini")]
    own.write_text("&a [*a]")
    data = valid(integ("saves", "where", KEY, "--manifest", str(manifest), "--json"))
    assert data["known_by"] == "gog" and "is left out" in data["notes"][0]


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ([KEY], 2, "integ config set save_manifest"),
        ([KEY, "--manifest", "{home}/gone.yaml"], 3, "save_manifest"),
        ([KEY, "--manifest", "{home}/other.yaml"], 3, "--manifest FILE"),
        ([KEY, "--manifest", "{home}/odd.yaml"], 7, "--manifest FILE"),
        (["gog:1200000003", "--manifest", "{home}/manifest.yaml"], 3, "integ install gog:1200000003"),
        (["steam:70001", "--manifest", "{home}/manifest.yaml"], 3, "integ install steam:70001"),
        (["nothing"], 3, "integ"),
    ],
)
def test_what_cannot_be_said_is_told_with_what_helps(
    integ: Integ, valid: Valid, home: Path, game: Path, manifest: Path, words: list[str], code: int, hint: str
) -> None:
    write(home / "other.yaml", "Another: {steam: {id: 1}}\n")
    write(home / "odd.yaml", "Lantern Keep (GOG): [\n")
    told = integ("saves", "where", *(word.format(home=home) for word in words), "--json")
    assert told.code == code, told.err
    valid(told)
    assert hint in told.json["hint"]


def test_a_manifest_is_set_by_an_absolute_path(integ: Integ, home: Path) -> None:
    assert integ("config", "set", "save_manifest", "manifest.yaml").code == 2
    assert integ("config", "set", "save_manifest", "~/manifest.yaml").code == 0
    assert integ("config", "get", "save_manifest").out.strip() == str(home / "manifest.yaml")


def test_only_what_is_there_is_offered_below_saves(integ: Integ) -> None:
    told = integ("saves", "--help").out
    assert "where" in told and "restore" not in told
