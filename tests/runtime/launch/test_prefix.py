"""A prefix is made where Wine can use it, and a copy is kept before an older build gets at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integ_runtime.launch.prefix import Used, last_build, note_build, prepare
from integ_server.contract.errors import StorageError
from tests.runtime.launch.stage import make_proton, make_stage


def copies(prefix: Path) -> list[str]:
    folder = prefix.parent / "prefix-copies"
    return sorted(each.name.split(" ", 1)[1] for each in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    folder = tmp_path / "gog-1" / "prefix"
    prepare(folder)
    (folder / "pfx").mkdir()
    (folder / "pfx" / "save.txt").write_text("precious")
    (folder / "pfx" / "z:").symlink_to("/")
    return folder


def test_going_forward_keeps_no_copy_and_going_back_does(prefix: Path) -> None:
    for version in ("GE-Proton8-9", "GE-Proton8-26", "GE-Proton10-1", "GE-Proton10-1"):
        note_build(prefix, Used(version, "ge"))
    assert copies(prefix) == []
    note_build(prefix, Used("GE-Proton9-27", "ge"))
    assert copies(prefix) == ["GE-Proton10-1"]
    (copy,) = (prefix.parent / "prefix-copies").iterdir()
    assert (copy / "pfx" / "save.txt").read_text() == "precious"
    assert os.readlink(copy / "pfx" / "z:") == "/"
    assert last_build(prefix) == Used("GE-Proton9-27", "ge")


def test_what_is_left_of_a_copy_that_was_cut_short_goes_with_the_next_one(prefix: Path) -> None:
    left = prefix.parent / "prefix-copies" / ".20260101T000000Z.tmp"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    for version in ("GE-Proton10-1", "GE-Proton9-27"):
        note_build(prefix, Used(version, "ge"))
    assert not left.exists()
    assert copies(prefix) == ["GE-Proton10-1"]


def test_another_family_is_going_back_too(prefix: Path) -> None:
    note_build(prefix, Used("GE-Proton8-9", "ge"))
    note_build(prefix, Used("UMU-Proton-9.0-4e", "umu"))
    assert copies(prefix) == ["GE-Proton8-9"]


def test_only_a_few_copies_are_kept(prefix: Path) -> None:
    for number in range(10, 4, -1):
        note_build(prefix, Used(f"GE-Proton{number}-1", "ge"))
    assert len(copies(prefix)) == 2


def test_without_room_for_the_copy_the_older_build_does_not_get_at_the_prefix(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    note_build(prefix, Used("GE-Proton9-1", "ge"))
    (tmp_path / "bin").mkdir()
    full = tmp_path / "bin" / "cp"
    full.write_text("#!/bin/sh\necho 'cp: No space left on device' >&2\nexit 1\n")
    full.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(StorageError, match="No space left"):
        note_build(prefix, Used("GE-Proton8-1", "ge"))
    assert last_build(prefix) == Used("GE-Proton9-1", "ge")
    assert copies(prefix) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"proton": 1}', "\xff", "[" * 100_000])
def test_a_damaged_note_is_as_good_as_none(prefix: Path, text: str) -> None:
    (prefix.parent / "prefix.json").write_bytes(text.encode("latin-1"))
    assert last_build(prefix) is None
    note_build(prefix, Used("GE-Proton9-1", "ge"))
    assert last_build(prefix) == Used("GE-Proton9-1", "ge")


def test_a_prefix_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        prepare(tmp_path / "file" / "prefix")


async def test_the_library_is_told_which_build_a_game_was_played_with(home: Path) -> None:
    stage = make_stage(home)
    stage.proton.build = make_proton(home / "proton", needs=None)
    game = stage.game("MZ", name="play.exe", platform="windows")
    before = stage.installed.fingerprint()
    await stage.launcher.run(await stage.launcher.plan(game.key), attach=False)
    (fact,) = stage.installed.local_facts()
    assert fact.proton == "GE-Proton9-27"
    assert stage.installed.fingerprint() != before
