"""Snapshots of a prefix: kept, brought back, dropped; whole at every instant."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.launch.run import play_lock
from integ_runtime.prefix import restoring, snapshots, swapping
from integ_runtime.prefix.prefixes import Prefixes
from integ_runtime.prefix.snapshots import KEPT_AUTOMATIC, list_snapshots, take_snapshot
from integ_runtime.prefix.versions import Used, last_build, write_note
from integ_runtime.progress import Progress
from integ_server.contract.errors import BusyError, NotFoundError, StorageError, UsageError
from tests.runtime.prefix.states import KEY, hidden, state, write_state


async def test_a_snapshot_holds_the_prefix_and_what_is_known_of_it(prefixes: Prefixes, folder: Path) -> None:
    told: list[Progress] = []
    taken = await prefixes.take(KEY, note="before the mods", report=told.append)
    write_state(folder, "second")
    (listed,) = await prefixes.snapshots(KEY)
    assert listed == taken
    assert (taken.reason, taken.note, taken.used) == ("asked", "before the mods", Used("GE-Proton10-1", "ge"))
    assert taken.size_bytes > 0
    assert (taken.tree / "pfx" / "drive_c" / "save.txt").read_text() == "first"
    assert told and all(each.total_bytes == taken.size_bytes for each in told)
    assert hidden(folder) == []


async def test_two_snapshots_in_one_second_have_two_names_in_their_order(prefixes: Prefixes, folder: Path) -> None:
    taken = [(await prefixes.take(KEY)).id for _ in range(3)]
    assert [each.id for each in await prefixes.snapshots(KEY)] == taken


@pytest.mark.parametrize("in_one_step", [True, False])
async def test_a_restore_brings_the_state_and_its_build_back_and_keeps_what_was_there(
    prefixes: Prefixes, folder: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_one_step:
        monkeypatch.setattr(restoring, "exchange", lambda *_: False)
    taken = await prefixes.take(KEY)
    write_state(folder, "second")
    write_note(folder, Used("GE-Proton9-27", "ge"))
    restored, kept = await prefixes.restore(KEY)
    assert restored == taken
    assert kept is not None
    assert (state(folder), last_build(folder / "prefix")) == ("first", Used("GE-Proton10-1", "ge"))
    assert (kept.reason, kept.used, kept.note) == ("restore", Used("GE-Proton9-27", "ge"), f"before {taken.id} was restored")
    assert (taken.tree / "pfx" / "drive_c" / "save.txt").read_text() == "first", "the snapshot itself stays"
    assert hidden(folder) == []
    await prefixes.restore(KEY, kept.id)
    assert state(folder) == "second"


async def test_a_removed_prefix_comes_back_from_its_snapshot(prefixes: Prefixes, folder: Path) -> None:
    await prefixes.take(KEY)
    assert await prefixes.remove(KEY) > 0
    assert not (folder / "prefix").exists()
    assert last_build(folder / "prefix") is None
    with pytest.raises(NotFoundError, match="no prefix") as caught:
        await prefixes.take(KEY)
    assert caught.value.hint == f"integ prefix create {KEY}"
    restored, kept = await prefixes.restore(KEY)
    assert kept is None
    assert state(folder) == "first"
    assert await prefixes.snapshots(KEY) == [restored]
    assert hidden(folder) == []


async def test_a_prefix_whose_pfx_is_a_link_to_itself_as_umu_makes_it_is_kept_and_restored(prefixes: Prefixes, folder: Path) -> None:
    prefix = folder / "prefix"
    shutil.move(prefix / "pfx" / "drive_c", prefix / "drive_c")
    shutil.move(prefix / "pfx" / "system.reg", prefix / "system.reg")
    (prefix / "pfx").rmdir()
    (prefix / "pfx").symlink_to(prefix)
    taken = await prefixes.take(KEY)
    assert sorted(each.name for each in taken.tree.iterdir()) == ["drive_c", "pfx", "system.reg"]
    assert os.readlink(taken.tree / "pfx") == str(prefix)
    write_state(folder, "second")
    await prefixes.restore(KEY)
    assert state(folder) == "first"
    assert (prefix / "pfx").resolve() == prefix


async def test_remove_keeps_snapshots_unless_purged(prefixes: Prefixes, folder: Path) -> None:
    await prefixes.take(KEY)
    (folder / "prefix" / "pfx" / "drive_c").chmod(0o555)
    await prefixes.remove(KEY)
    assert len(await prefixes.snapshots(KEY)) == 1
    await prefixes.remove(KEY, purge=True)
    assert await prefixes.snapshots(KEY) == []
    assert hidden(folder) == []
    with pytest.raises(NotFoundError):
        await prefixes.remove(KEY, purge=True)


async def test_forget_drops_one_and_no_other(prefixes: Prefixes, folder: Path) -> None:
    first, second = await prefixes.take(KEY), await prefixes.take(KEY)
    assert await prefixes.forget(KEY, first.id) == first
    assert await prefixes.snapshots(KEY) == [second]
    for odd in (first.id, "../prefix", ".", "", f"{second.id}/prefix"):
        with pytest.raises(NotFoundError):
            await prefixes.forget(KEY, odd)
    assert state(folder) == "first"
    assert hidden(folder) == []


async def test_only_a_few_automatic_ones_are_kept_and_none_that_was_asked_for_goes(prefixes: Prefixes, folder: Path) -> None:
    asked = [(await prefixes.take(KEY)).id for _ in range(KEPT_AUTOMATIC + 2)]
    for _ in range(KEPT_AUTOMATIC + 2):
        await prefixes.restore(KEY, asked[0])
    left = await prefixes.snapshots(KEY)
    assert [each.id for each in left if each.reason == "asked"] == asked
    assert len([each for each in left if each.reason == "restore"]) == KEPT_AUTOMATIC
    oldest = next(each for each in left if each.reason == "restore")
    await prefixes.restore(KEY, oldest.id)
    assert oldest.id in {each.id for each in await prefixes.snapshots(KEY)}, "what has just been restored stays"


async def test_while_the_game_runs_nothing_touches_its_prefix(prefixes: Prefixes, folder: Path) -> None:
    taken = await prefixes.take(KEY)
    with play_lock(folder):
        for doing in (prefixes.take(KEY), prefixes.restore(KEY), prefixes.forget(KEY, taken.id), prefixes.remove(KEY, purge=True)):
            with pytest.raises(BusyError):
                await doing
        assert (await prefixes.info(KEY)).snapshots == (taken,), "looking is allowed"
    assert state(folder) == "first"


async def test_a_program_of_wine_s_that_somebody_else_started_is_seen_and_waited_for(
    prefixes: Prefixes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integ_runtime.prefix.users.wait_until_quiet.__kwdefaults__", {"within_s": 0.3})
    program = tmp_path / "wineserver"
    shutil.copy(shutil.which("sleep") or "", program)
    environ = {"WINEPREFIX": f"{folder}/prefix/pfx/"}
    running = subprocess.Popen([program, "600"], env=environ)
    shell = subprocess.Popen(["sh", "-c", "sleep 600 & wait"], env={**environ, "PATH": os.environ["PATH"]}, start_new_session=True)
    try:
        (seen,) = (await prefixes.info(KEY)).running
        assert (seen.pid, seen.name) == (running.pid, "wineserver")
        for doing in (prefixes.take(KEY), prefixes.remove(KEY)):
            with pytest.raises(BusyError, match="wineserver") as caught:
                await doing
            assert caught.value.hint.endswith(f"kill {running.pid}")
        monkeypatch.setattr("integ_runtime.prefix.users.wait_until_quiet.__kwdefaults__", {"within_s": 30.0})
        waiting = asyncio.create_task(prefixes.take(KEY))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        running.kill()
        running.wait()
        assert (await waiting).reason == "asked", "a shell in which the prefix is exported runs nothing in it"
    finally:
        running.kill()
        running.wait()
        os.killpg(shell.pid, 9)
        shell.wait()


async def test_a_program_left_by_a_play_that_was_cut_short_keeps_the_prefix(prefixes: Prefixes, folder: Path) -> None:
    (folder / "playing").mkdir()
    (folder / "playing" / "run.json").write_text(json.dumps({"id": "run", "key": KEY, "pid": 0, "boot_id": "another"}))
    left = subprocess.Popen(["sleep", "600"], env={"INTEG_RUN_ID": "run", "PATH": os.environ["PATH"]})
    try:
        with pytest.raises(BusyError, match=f"pid {left.pid}") as caught:
            await prefixes.take(KEY)
        assert caught.value.hint == f"integ stop {KEY}"
    finally:
        left.kill()
        left.wait()
    assert (await prefixes.take(KEY)).reason == "asked"


async def test_without_room_nothing_changes(prefixes: Prefixes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = await prefixes.take(KEY)
    write_state(folder, "second")

    def full(*_: object, hint: str) -> None:
        raise StorageError("a copy of the prefix needs room", hint=hint)

    monkeypatch.setattr(snapshots, "check_room", full)
    for doing in (prefixes.take(KEY), prefixes.restore(KEY)):
        with pytest.raises(StorageError) as told:
            await doing
        assert told.value.hint.endswith(f"integ prefix snapshots {KEY}")
    assert (state(folder), await prefixes.snapshots(KEY)) == ("second", [taken])
    assert hidden(folder) == []


async def test_a_copy_that_fails_in_the_middle_leaves_nothing(prefixes: Prefixes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(source: Path, target: Path, **_: Any) -> None:
        target.mkdir()
        (target / "half").write_text("half")
        raise OSError(28, "No space left on device", str(target / "half"))

    monkeypatch.setattr(snapshots, "copy_tree", fails)
    with pytest.raises(StorageError, match="the disk is full"):
        await prefixes.take(KEY)
    assert await prefixes.snapshots(KEY) == []
    assert hidden(folder) == []


async def test_a_cancelled_snapshot_leaves_nothing(prefixes: Prefixes, folder: Path) -> None:
    for number in range(3000):
        (folder / "prefix" / "pfx" / "drive_c" / f"file{number}").write_bytes(b"x" * 4096)
    begun = asyncio.Event()
    task = asyncio.create_task(prefixes.take(KEY, report=lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await prefixes.snapshots(KEY) == []
    assert hidden(folder) == []


async def test_a_steam_game_s_prefix_is_left_to_steam(prefixes: Prefixes) -> None:
    with pytest.raises(UsageError, match="Steam's own") as caught:
        await prefixes.info("steam:620")
    assert caught.value.hint == "protontricks 620 winecfg"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"note": 1, "size_bytes": -1, "proton": []}', "[" * 100_000])
async def test_a_snapshot_with_a_damaged_record_can_still_be_restored_and_is_never_dropped_by_itself(
    prefixes: Prefixes, folder: Path, text: str
) -> None:
    taken = await prefixes.take(KEY)
    (taken.path / "snapshot.json").write_text(text)
    (read,) = await prefixes.snapshots(KEY)
    assert (read.id, read.taken_at, read.reason, read.note, read.used) == (taken.id, taken.taken_at, "asked", "", None)
    write_state(folder, "second")
    await prefixes.restore(KEY)
    assert (state(folder), last_build(folder / "prefix")) == ("first", None)


def test_the_exchange_of_two_folders_is_one_step_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other" / "inner").mkdir(parents=True)
    assert swapping.exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "inner").is_dir()
    with pytest.raises(FileNotFoundError):
        swapping.exchange(tmp_path / "one", tmp_path / "nothing")
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    assert not swapping.exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "inner").is_dir()


def test_two_processes_never_work_on_one_prefix(folder: Path, home: Path) -> None:
    """Several at once: each says that it is done, or that somebody else is at it, and all that is left is whole."""
    script = (
        "import asyncio, sys\n"
        "from integ_runtime.content.installed import InstalledGames\n"
        "from integ_runtime.paths import read_paths\n"
        "from integ_runtime.prefix.prefixes import Prefixes\n"
        "from integ_server.contract.errors import BusyError\n"
        "async def work():\n"
        "    for _ in range(5):\n"
        "        try: await getattr(Prefixes(InstalledGames(read_paths())), sys.argv[1])('gog:1')\n"
        "        except BusyError: await asyncio.sleep(0.01)\n"
        "asyncio.run(work())\n"
    )
    take_snapshot(folder, "asked")
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    started = [
        subprocess.Popen([sys.executable, "-c", script, what], env=env, stderr=subprocess.PIPE, text=True)
        for what in ("take", "restore", "take")
    ]
    for each in started:
        _, told = each.communicate(timeout=60)
        assert each.returncode == 0, told
    assert state(folder) == "first"
    assert hidden(folder) == []
    for each in list_snapshots(folder):
        assert json.loads((each.path / "snapshot.json").read_text())["size_bytes"] == each.size_bytes > 0
        assert (each.tree / "pfx/drive_c/save.txt").read_text() == "first"
