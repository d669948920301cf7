"""A prefix is made where Wine can use it, and a copy is kept before an older build gets at it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from integ_runtime.downloads.background import Stop
from integ_runtime.launch import prefix as prefixes
from integ_runtime.launch.prefix import prepare
from integ_runtime.prefix.snapshots import KEPT_AUTOMATIC, list_snapshots
from integ_runtime.prefix.versions import Used, last_build
from integ_server.contract.errors import StorageError
from tests.runtime.launch.stage import make_proton, make_stage


def copies(prefix: Path) -> list[str]:
    """The builds whose state of the prefix is kept, the oldest first."""
    return [each.used.version for each in list_snapshots(prefix.parent) if each.used]


def note_build(prefix: Path, used: Used) -> None:
    prefixes.note_build(prefix, used, Stop())


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
    (copy,) = list_snapshots(prefix.parent)
    assert copy.reason == "older-build"
    assert (copy.tree / "pfx" / "save.txt").read_text() == "precious"
    assert os.readlink(copy.tree / "pfx" / "z:") == "/"
    assert last_build(prefix) == Used("GE-Proton9-27", "ge")


def test_what_is_left_of_a_copy_that_was_cut_short_goes_with_the_next_one(prefix: Path) -> None:
    left = prefix.parent / "prefix-snapshots" / ".20260101T000000Z.tmp"
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
    assert copies(prefix) == [f"GE-Proton{number}-1" for number in range(5 + KEPT_AUTOMATIC, 5, -1)]


def test_without_room_for_the_copy_the_older_build_does_not_get_at_the_prefix(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_build(prefix, Used("GE-Proton9-1", "ge"))
    known = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*known[:4], 1, *known[5:])))
    with pytest.raises(StorageError, match="GE-Proton9-1 has used this prefix"):
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


async def test_a_step_back_is_announced_by_the_plan_and_a_snapshot_is_there_before_the_game_starts(home: Path) -> None:
    stage = make_stage(home)
    game = stage.game("MZ", name="play.exe", platform="windows")
    folder = stage.installed.folder(game.key)
    seen = '#!/bin/sh\nls "$STEAM_COMPAT_DATA_PATH/../prefix-snapshots" > "$2.seen" 2>/dev/null; mkdir -p "$STEAM_COMPAT_DATA_PATH/pfx"\n'
    for version, snapshots in (("GE-Proton10-1", 0), ("GE-Proton9-27", 1), ("GE-Proton9-27", 1), ("GE-Proton10-1", 1)):
        stage.proton.build = make_proton(home / "builds" / version, version=version, needs=None, script=seen)
        plan = await stage.launcher.plan(game.key)
        back = [note for note in plan.notes if "a snapshot is kept" in note]
        assert len(list_snapshots(folder)) + len(back) == snapshots, "the plan tells of it and takes none"
        await stage.launcher.run(plan, attach=False)
        assert len((game.path / "play.exe.seen").read_text().split()) == snapshots == len(list_snapshots(folder))


async def test_a_launch_finishes_a_restore_that_was_cut_short(home: Path) -> None:
    stage = make_stage(home)
    game = stage.game("MZ", name="play.exe", platform="windows")
    stage.proton.build = make_proton(home / "proton", needs=None)
    folder = stage.installed.folder(game.key)
    work = folder / "prefix-snapshots" / ".20260101T000000Z.tmp"
    (work / "prefix" / "pfx").mkdir(parents=True)
    journal = {"work": work.name, "inode": (work / "prefix").stat().st_ino, "used": {"proton": "GE-Proton9-27", "family": "ge"}}
    (folder / "prefix-restore.json").write_text(json.dumps(journal))
    await stage.launcher.run(await stage.launcher.plan(game.key), attach=False)
    assert (folder / "prefix" / "pfx").is_dir()
    assert not (folder / "prefix-restore.json").exists()
    assert list_snapshots(folder) == []
