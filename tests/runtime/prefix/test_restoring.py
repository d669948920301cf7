"""A restore that fails or is cut short: finished, undone, or told; never half of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.prefix import restoring, snapshots, swapping
from integ_runtime.prefix.prefixes import Prefixes
from integ_runtime.prefix.restoring import finish_restore
from integ_runtime.prefix.snapshots import list_snapshots, take_snapshot
from integ_runtime.prefix.versions import Used, last_build, write_note
from integ_server.contract.errors import IntegrityError, StorageError
from tests.runtime.prefix.states import KEY, hidden, state, write_state


async def test_a_journal_that_can_not_be_read_stops_everything_before_anything_is_swept_away(prefixes: Prefixes, folder: Path) -> None:
    precious = folder / "prefix-snapshots" / ".20260101T000000Z.tmp" / "prefix"
    precious.mkdir(parents=True)
    for text in ("", "[]", '{"work": "../../x", "inode": 1, "used": null}'):
        (folder / "prefix-restore.json").write_text(text)
        with pytest.raises(IntegrityError, match="can't be read"):
            await prefixes.take(KEY)
    assert precious.is_dir()


@pytest.mark.parametrize("in_one_step", [True, False])
async def test_a_swap_that_can_not_be_done_is_undone_and_blocks_nothing(
    prefixes: Prefixes, folder: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prefixes.take(KEY)
    write_state(folder, "second")

    def busy(*_: object) -> bool:
        if not in_one_step and sys._getframe(1).f_code.co_name == "_swap":
            return False
        raise OSError(16, "Device or resource busy", str(folder / "prefix"))

    with monkeypatch.context() as broken:
        broken.setattr(restoring, "exchange", busy)
        if not in_one_step:
            rename = Path.rename
            broken.setattr(Path, "rename", lambda self, target: busy() if self == folder / "prefix" else rename(self, target))
        with pytest.raises(StorageError, match="busy"):
            await prefixes.restore(KEY)
    assert state(folder) == "second"
    assert not (folder / "prefix-restore.json").exists()
    await prefixes.take(KEY)
    assert hidden(folder) == []


async def test_snapshots_on_another_file_system_can_be_taken_and_are_told_when_they_should_come_back(
    prefixes: Prefixes, folder: Path, runtime_dir: Path
) -> None:
    if runtime_dir.stat().st_dev == folder.stat().st_dev:
        pytest.skip("there is but one file system here")
    (folder / "prefix-snapshots").symlink_to(runtime_dir)
    taken = await prefixes.take(KEY)
    write_state(folder, "second")
    with pytest.raises(StorageError, match="another file system") as caught:
        await prefixes.restore(KEY)
    assert str(folder) in caught.value.hint
    assert (state(folder), await prefixes.snapshots(KEY)) == ("second", [taken])


class CutError(BaseException):
    """The machine stops here."""


STEPS = 24


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_restore_cut_short_at_any_step_is_finished_or_has_not_begun(
    folder: Path, tmp_path: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename, write and removal of a restore is the last one once; then whoever comes next makes it whole."""
    taken = take_snapshot(folder, "asked")
    write_state(folder, "second")
    write_note(folder, Used("GE-Proton9-27", "ge"))
    template = tmp_path / "template"
    shutil.copytree(folder, template, symlinks=True)
    left = 0

    def counted(function: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise CutError
            return function(*arguments, **more)

        return call

    for name in ("rename", "replace", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(restoring, "exchange", counted(swapping.exchange if in_one_step else lambda *_: False))
    ends = {"begun": 0, "done": 0}
    for step in range(STEPS):
        shutil.rmtree(folder)
        shutil.copytree(template, folder, symlinks=True)
        left = step
        try:
            restoring.restore(folder, taken, snapshots.Watch())
            finished = True
        except CutError:
            finished = False
        left = 10_000
        decided = (folder / "prefix-restore.json").exists()
        assert finish_restore(folder) is decided
        snapshots.sweep(folder)
        kept = [each for each in list_snapshots(folder) if each.reason == "restore"]
        if decided or finished or kept:
            assert (state(folder), last_build(folder / "prefix")) == ("first", Used("GE-Proton10-1", "ge"))
            assert [(each.tree / "pfx/drive_c/save.txt").read_text() for each in kept] == ["second"]
            ends["done"] += 1
        else:
            assert (state(folder), last_build(folder / "prefix")) == ("second", Used("GE-Proton9-27", "ge"))
            ends["begun"] += 1
        assert list_snapshots(folder)[0].id == taken.id
        assert hidden(folder) == []
        if finished:
            break
    else:
        raise AssertionError("the restore has more steps than were cut")
    assert min(ends.values()) > 2, ends
