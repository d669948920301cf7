"""Ending what runs: the steps are told, whoever was left alone is found, and nothing else is touched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from integ_runtime.errors import LaunchError
from integ_runtime.launch import run as running
from integ_runtime.launch.playtime import left_behind, playing, read_plays
from integ_server.contract.errors import NotFoundError
from tests.runtime.launch.stage import RECORDER, Stage, alive, make_proton, make_stage, until, write_program

DEAF = "#!/bin/sh\ntrap '' TERM\ntouch \"$0.runs\"\nwhile :; do sleep 0.02; done\n"


@pytest.fixture
def stage(home: Path) -> Stage:
    return make_stage(home)


async def test_each_step_is_told_and_a_deaf_game_is_killed_in_the_end(stage: Stage, home: Path) -> None:
    build = stage.proton.build = make_proton(home / "proton", needs=None, script=DEAF)
    write_program(build.path / "files" / "bin" / "wineserver", RECORDER)
    game = stage.game("MZ", name="play.exe", platform="windows")
    plan = await stage.launcher.plan(game.key)
    assert plan.prefix
    plan.prefix.mkdir(parents=True)
    folder = stage.installed.folder(game.key)
    task = asyncio.create_task(running.run_game(plan, game_dir=folder, log_dir=folder / "logs", attach=False, patience_s=3.0))
    await until((build.path / "proton.runs").exists)
    await until(lambda: playing(folder))
    told: list[str] = []
    (ended,) = await stage.launcher.stop(game.key, tell=told.append)
    assert (ended.key, ended.title, ended.proton) == ("gog:1", "Tea", "GE-Proton9-27")
    assert told[:2] == ["Tea: Wine is asked to end it", "Tea: all its processes are told to end"]
    assert (await task).exit_code == 128 + signal.SIGKILL


async def test_a_second_stop_kills_at_once(stage: Stage) -> None:
    game = stage.game(DEAF)
    task = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(game.key), attach=False))
    await until((game.path / "play.runs").exists)
    await until(stage.launcher.running)
    with pytest.raises(LaunchError, match="does not end") as caught:
        await stage.launcher.stop(game.key, within_s=0.2)
    assert caught.value.hint.startswith("integ stop gog:1")
    await until(lambda: stage.launcher.running()[0].stopping == "terminated")
    told: list[str] = []
    await stage.launcher.stop(game.key, tell=told.append, within_s=5)
    assert (await task).exit_code == 128 + signal.SIGKILL


async def test_whoever_gives_up_waiting_changes_nothing(stage: Stage) -> None:
    game = stage.game('#!/bin/sh\ntrap \'touch "$0.heard"\' TERM\ntouch "$0.runs"\nwhile [ ! -e "$0.end" ]; do sleep 0.02; done\nexit 5\n')
    task = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(game.key), attach=False))
    await until((game.path / "play.runs").exists)
    await until(stage.launcher.running)
    stopping = asyncio.create_task(stage.launcher.stop(game.key))
    await until((game.path / "play.heard").exists)
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stopping
    assert not task.done() and stage.launcher.running(), "it was asked once, and goes on until it obeys or its time is up"
    (game.path / "play.end").touch()
    assert (await task).exit_code == 5


async def test_what_a_killed_watcher_left_behind_is_ended_too(stage: Stage) -> None:
    game = stage.game('#!/bin/sh\nsleep 600 &\necho $$ > "$0.pid"\ntrap "" TERM\nwhile :; do sleep 0.02; done\n')
    task = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(game.key), attach=False))
    await until((game.path / "play.pid").exists)
    (one,) = await until(stage.launcher.running)
    os.kill(one.pid, signal.SIGKILL)
    with pytest.raises(LaunchError):
        await task
    folder = stage.installed.folder(game.key)
    assert len(left_behind(folder)) >= 2
    told: list[str] = []
    (seen,) = stage.launcher.running()
    assert (seen.key, seen.title) == ("gog:1", "Tea") and alive(seen.pid), "it is listed, though nobody watches it"
    assert await stage.launcher.stop(game.key, tell=told.append) == [seen]
    assert "cut short" in told[0]
    assert left_behind(folder) == []
    assert not alive(one.game_pid)
    assert stage.launcher.running() == []
    assert read_plays(folder).sessions == 1, "its time counts"


async def test_what_does_not_run_is_told_so(stage: Stage) -> None:
    game = stage.game()
    with pytest.raises(NotFoundError) as caught:
        await stage.launcher.stop(game.key)
    assert caught.value.hint == "integ ps"
    with pytest.raises(NotFoundError, match="not run by Integ"):
        await stage.launcher.stop("steam:620")
