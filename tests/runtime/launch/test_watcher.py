"""A supervisor that begins before anybody knows what it is to start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.errors import LaunchError
from integ_runtime.launch import run as running
from integ_runtime.launch.watcher import Watcher
from integ_server.contract.errors import BusyError
from tests.runtime.launch.stage import RECORDER, Stage, alive, make_proton, make_stage, until, write_program


@pytest.fixture
def stage(home: Path) -> Stage:
    return make_stage(home)


def links(pid: int) -> dict[int, str]:
    """What each descriptor of *pid* is."""
    return {int(each.name): os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}


async def test_one_that_is_given_no_plan_ends_and_is_collected() -> None:
    watcher = Watcher(attach=False)
    watcher.dismiss()
    watcher.dismiss()
    with pytest.raises(ChildProcessError):
        os.waitpid(watcher.pid, 0)


async def test_one_without_a_plan_ends_with_whoever_began_it(tmp_path: Path) -> None:
    ask = "from integ_runtime.launch.watcher import Watcher; print(Watcher(attach=True).pid, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", ask], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        assert alive(pid)
        owner.kill()
    await until(lambda: not alive(pid))


async def test_no_signal_ends_one_that_waits(stage: Stage) -> None:
    game = stage.game()
    plan = await stage.launcher.plan(game.key)
    watcher = Watcher(attach=False)
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(watcher.pid, number)
    outcome = await stage.launcher.run(plan, attach=False, watcher=watcher)
    assert outcome.exit_code == 0 and len(stage.sessions()) == 1


async def test_it_is_the_one_that_runs_the_game_whatever_it_was_begun_with(stage: Stage) -> None:
    game = stage.game("#!/bin/sh\necho $PPID > pid\nls -l /proc/self/fd/ > fds\necho said\n")
    plan = await stage.launcher.plan(game.key, env={"LONG": "x" * 100_000})
    watcher = Watcher(attach=False)
    outcome = await stage.launcher.run(plan, attach=False, watcher=watcher)
    assert int((game.path / "pid").read_text()) == watcher.pid
    assert outcome.log_path and outcome.log_path.read_text().endswith("\n\nsaid\n")
    handles = [line.split()[8] for line in (game.path / "fds").read_text().splitlines()[1:]]
    assert {each for each in handles if int(each) > 2} <= {"3"}, "of its own descriptors the game gets none; 3 is the folder that ls reads"


async def test_it_holds_the_lock_and_nothing_else_of_ours(stage: Stage) -> None:
    game = stage.game('#!/bin/sh\necho $PPID > "$0.pid"\nwhile [ ! -e "$0.end" ]; do sleep 0.02; done\n')
    plan = await stage.launcher.plan(game.key)
    secret = os.open(game.path, os.O_RDONLY | os.O_CLOEXEC)
    task = asyncio.create_task(stage.launcher.run(plan, attach=False, watcher=Watcher(attach=False)))
    await until(lambda: (game.path / "play.pid").exists() and (game.path / "play.pid").read_text())
    held = links(int((game.path / "play.pid").read_text()))
    folder = stage.installed.folder(game.key)
    assert str(folder / "play.lock") in held.values()
    assert str(game.path) not in held.values()
    os.close(secret)
    with pytest.raises(BusyError), running.play_lock(folder):
        pass
    (game.path / "play.end").touch()
    await task
    with running.play_lock(folder):
        pass


async def test_one_that_was_killed_before_it_got_its_plan_is_told(stage: Stage) -> None:
    game = stage.game()
    plan = await stage.launcher.plan(game.key, env={"LONG": "x" * 100_000})
    watcher = Watcher(attach=False)
    os.kill(watcher.pid, signal.SIGKILL)
    await until(lambda: not alive(watcher.pid))
    with pytest.raises(LaunchError):
        await stage.launcher.run(plan, attach=False, watcher=watcher)
    assert not (game.path / "started.json").exists()
    with running.play_lock(stage.installed.folder(game.key)):
        pass


async def test_half_a_plan_starts_nothing() -> None:
    watcher = Watcher(attach=False)
    assert watcher._channel
    watcher._channel.sendall(b"\xfb\x05\x00\x00\x00")
    watcher._channel.close()
    _, status = await asyncio.to_thread(os.waitpid, watcher.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


AT_ONCE = """
import os, signal, sys
from integ_runtime.launch.watcher import Watcher
give = Watcher.give
def watched(self, plan, handles):
    sys.stderr.write(" ".join(sys.modules) + "\\n")
    status = give(self, plan, handles)
    for name in {signals!r}:
        os.kill(os.getpid(), getattr(signal, name))
    return status
Watcher.give = watched
from integ_cli.__main__ import main
main()
"""


def at_once(stage: Stage, *words: str, signals: tuple[str, ...] = (), **more: Any) -> subprocess.CompletedProcess[str]:
    """`integ` with these words; the modules that were loaded when the game was started are the first line of its stderr."""
    env = {"HOME": stage.environ["HOME"], "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    argv = [sys.executable, "-c", AT_ONCE.format(signals=signals), *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60, **more)


HEAVY = {"typer", "rich", "asyncio", "logging", "subprocess", "shutil", "socket", "hashlib", "ctypes", "unicodedata", "tomllib"}
HEAVY |= {"dataclasses", "inspect", "secrets", "random"}


def loaded_before_the_start(stage: Stage, key: str) -> set[str]:
    at_once(stage, "launch", key)  # the first time the library is brought up to date
    done = at_once(stage, "launch", key)
    assert done.returncode == 0
    return set(done.stderr.splitlines()[0].split())


def test_a_game_does_not_wait_for_what_it_needs_none_of(stage: Stage) -> None:
    loaded = loaded_before_the_start(stage, stage.game().key)
    assert HEAVY & loaded == set()
    assert not {name for name in loaded if name.startswith(("integ_runtime.steam", "integ_runtime.proton", "integ_runtime.downloads"))}


def test_a_windows_game_does_not_wait_for_what_installs_builds(stage: Stage) -> None:
    make_proton(stage.settings.paths.proton_dir / "GE-Proton9-27", needs=None)
    loaded = loaded_before_the_start(stage, stage.game("MZ", name="play.exe", platform="windows").key)
    assert HEAVY & loaded == set()
    assert not {"integ_runtime.proton.published", "integ_runtime.downloads.fetch", "integ_runtime.prefix.snapshots"} & loaded


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_between_the_start_and_the_waiting_stops_the_game(stage: Stage, number: str) -> None:
    game = stage.game('#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 600\n')
    done = at_once(stage, "launch", game.key, "--json", signals=(number,))
    (session,) = stage.sessions()
    assert session["exit_code"] == 128 + signal.SIGTERM
    if number == "SIGTERM":
        assert done.returncode == 128 + signal.SIGTERM and json.loads(done.stdout)["data"]["exit_code"] == 128 + signal.SIGTERM
    else:
        assert done.returncode == 130 and json.loads(done.stdout)["error"] == "Interrupted"


def test_a_wrapper_a_command_before_and_one_after_are_run_as_ever(stage: Stage) -> None:
    game = stage.game()
    folder = Path(stage.environ["HOME"]) / "bin"
    for name in ("front", "first", "last"):
        write_program(folder / name / name, RECORDER)
    words = ["--wrapper", f"{folder}/front/front -x", "--before", f"{folder}/first/first", "--after", f"{folder}/last/last"]
    assert at_once(stage, "options", game.key, *words).returncode == 0
    done = at_once(stage, "launch", game.key, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["data"]["after_code"] == 0
    assert "asyncio" in done.stderr.splitlines()[0].split(), "a command that is run first is waited for"
    front = json.loads((folder / "front" / "started.json").read_text())
    assert front["argv"][1:] == ["-x", str(game.executable)]
    assert (folder / "first" / "started.json").exists() and (folder / "last" / "started.json").exists()
