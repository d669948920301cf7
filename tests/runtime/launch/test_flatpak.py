"""Games started from inside Flatpak: what the host is asked, what it is handed and how, and how an end is seen and brought about."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.errors import LaunchError
from integ_runtime.launch import flatpak
from integ_runtime.launch import run as running
from integ_runtime.launch.flatpak import on_the_host
from integ_runtime.launch.launcher import Launcher
from integ_runtime.launch.plan import LaunchPlan, plan_native
from integ_runtime.prefix import users
from integ_server.contract.errors import BusyError, NotFoundError
from tests.runtime.launch.flatpak_host import Host, running_host
from tests.runtime.launch.stage import RECORDER, Stage, alive, make_proton, make_stage, until, write_program
from tests.runtime.launch.test_plan import GAME, machine

WAITS = '#!/bin/sh\ntouch "$0.runs"\nwhile [ ! -e "$0.end" ]; do sleep 0.02; done\nexit 5\n'
DEAF = "#!/bin/sh\ntrap '' TERM INT\necho $$ > \"$0.pid\"\nwhile :; do sleep 0.02; done\n"


@pytest.fixture
def host(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(flatpak, "_SANDBOX_ONLY", ("/app", "/run/host"))  # this test's home is below /tmp
    with running_host(home / "sandbox-bin", {"PATH": "/usr/bin:/bin", "OF_THE_HOST": "yes"}) as host:
        monkeypatch.setenv("PATH", f"{host.folder}:{os.environ['PATH']}")
        yield host


@pytest.fixture
def stage(home: Path, host: Host) -> Stage:
    (home / "info").write_text("[Application]\nname=org.example.Integ\n")
    return make_stage(home, {"HOME": str(home), "PATH": f"{host.folder}:/usr/bin:/bin", "OF_THE_SANDBOX": "yes"})


def inside(stage: Stage) -> Launcher:
    """A launcher that finds itself inside Flatpak."""
    launcher, home = stage.launcher, stage.settings.paths.home
    launcher._flatpak_info, launcher._host_root = home / "info", home / "host"
    return launcher


def cmdlines() -> str:
    """The words of every process of this machine, as every user may read them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(found)


def games(host: Host) -> list[dict[str, Any]]:
    """The calls that start something; not those that look at or end what runs."""
    return [call for call in host.calls() if "grep" not in str(call) and "kill -s" not in str(call)]


async def test_the_host_runs_the_game_and_is_handed_its_variables_by_no_word_of_a_command(stage: Stage, host: Host) -> None:
    game = stage.game(RECORDER.replace("sys.exit", "import time; time.sleep(0.5); sys.exit"), arguments=("-w",))
    odd = "quo'te\"d\nü = 1\\ $HOME"
    plan = await inside(stage).plan(
        game.key, env={"EXIT_WITH": "7", "ODD": odd, "MY_TOKEN": "hush-hush", "EMPTY": "", "LD_PRELOAD": "/x.so"}
    )
    task = asyncio.create_task(inside(stage).run(plan, attach=False))
    await until((game.path / "started.json").exists)
    shown = cmdlines()
    assert str(game.executable) in shown and "hush-hush" not in shown and "quo'te" not in shown
    assert (await task).exit_code == 7
    seen = stage.started(game)
    assert {name: seen["env"][name] for name in ("ODD", "MY_TOKEN", "EMPTY", "LD_PRELOAD", "OF_THE_HOST")} == {
        "ODD": odd, "MY_TOKEN": "hush-hush", "EMPTY": "", "LD_PRELOAD": "/x.so", "OF_THE_HOST": "yes",
    }  # fmt: skip
    assert "OF_THE_SANDBOX" not in seen["env"]
    assert seen["cwd"] == str(game.path)
    (call,) = games(host)
    assert call["argv"] == ["--host", "--watch-bus", f"--directory={game.path}", "--env-fd=9", str(game.executable), "-w"]
    assert call["cmdline"][1:] == call["argv"]
    assert not {"LD_PRELOAD", "MY_TOKEN"} & call["own"].keys(), "what is the game's is not flatpak-spawn's"
    (session,) = stage.sessions()
    assert session["exit_code"] == 7


async def test_an_older_flatpak_spawn_is_handed_them_by_a_file_that_the_hosts_shell_reads(stage: Stage, host: Host) -> None:
    host.put_spawn(old=True)
    game = stage.game(arguments=("-w", "two words"))
    odd = "quo'te\"d\nü = 1\\ $HOME `id`"
    plan = await inside(stage).plan(game.key, env={"ODD": odd, "MY_TOKEN": "hush-hush", "EMPTY": ""})
    assert (await inside(stage).run(plan, attach=False)).exit_code == 0
    seen = stage.started(game)
    assert (seen["env"]["ODD"], seen["env"]["MY_TOKEN"], seen["env"]["EMPTY"]) == (odd, "hush-hush", "")
    assert seen["argv"][1:] == ["-w", "two words"]
    (call,) = games(host)
    reads = '. /proc/self/fd/9 && exec 9<&- && exec "$@"'
    assert call["argv"] == [
        *("--host", "--watch-bus", f"--directory={game.path}", "--forward-fd=9", "/bin/sh", "-c", reads, "sh"),
        *(str(game.executable), "-w", "two words"),
    ]
    kept = [file.name for file in stage.settings.paths.home.rglob("*") if file.is_file() and b"hush-hush" in file.read_bytes()]
    assert kept == ["started.json"], "what the game wrote down itself; nothing else is on the disk"
    plan = await inside(stage).plan(game.key, env={"no.name-of-a-shell": "1"})
    outcome = await inside(stage).run(plan, attach=False)
    assert outcome.exit_code == 125 and outcome.log_path and "hands no variable of such a name" in outcome.log_path.read_text()
    assert len(games(host)) == 1


async def test_a_plan_shows_names_and_values_but_no_secret_and_its_words_hold_no_value(stage: Stage) -> None:
    game = stage.game()
    inside(stage).change_options(game.key, {"after": "sh -c true"})
    write_program(stage.settings.paths.home / "host/usr/bin/sh", "")
    plan = await inside(stage).plan(game.key, env={"A": "x y", "MY_TOKEN": "hush"})
    shown = plan.as_dict()
    assert shown["env"] == {"A": "x y", "MY_TOKEN": "***"}
    assert shown["argv"][-2:] == ["=A=INTEG_RUN_ID=MY_TOKEN", str(game.executable)]
    assert shown["after"][-4:] == ["=A=INTEG_EXIT_CODE=INTEG_GAME_KEY=INTEG_GAME_TITLE", "/usr/bin/sh", "-c", "true"]
    assert "hush" not in json.dumps(shown) and "x y" not in json.dumps([shown["argv"], shown["after"]])


async def test_commands_around_the_game_are_run_by_the_host_too_and_told_no_secret(stage: Stage, home: Path) -> None:
    game = stage.game()
    recorder = write_program(home / "around.sh", '#!/bin/sh\nenv > "$0.$1"\n')
    inside(stage).change_options(game.key, {"before": f"{recorder} before", "after": f"{recorder} after"})
    plan = await inside(stage).plan(game.key, env={"A": "1", "MY_TOKEN": "hush", "EXIT_WITH": "3"})
    outcome = await inside(stage).run(plan, attach=False)
    assert (outcome.exit_code, outcome.after_code) == (3, 0)
    for when in ("before", "after"):
        seen = Path(f"{recorder}.{when}").read_text()
        assert "A=1\n" in seen and "INTEG_GAME_KEY=gog:1\n" in seen and "OF_THE_HOST=yes\n" in seen
        assert "hush" not in seen
    assert "INTEG_EXIT_CODE=3\n" in seen


async def test_stop_asks_wine_on_the_host_with_the_games_prefix(stage: Stage, host: Host, home: Path) -> None:
    build = stage.proton.build = make_proton(home / "proton", needs=None, script=WAITS)
    wineserver = write_program(
        build.path / "files/bin/wineserver", f'#!/bin/sh\necho "$1 $WINEPREFIX $OF_THE_HOST" > "$0.asked"\ntouch {build.path}/proton.end\n'
    )
    game = stage.game("MZ", name="play.exe", platform="windows")
    plan = await inside(stage).plan(game.key)
    task = asyncio.create_task(inside(stage).run(plan, attach=False))
    await until((build.path / "proton.runs").exists)
    await until(inside(stage).running)
    told: list[str] = []
    (ended,) = await inside(stage).stop(game.key, tell=told.append)
    assert ended.key == "gog:1" and told[0] == "Tea: Wine is asked to end it"
    assert (await task).exit_code == 5, "it ended by itself, as Wine ends it"
    assert Path(f"{wineserver}.asked").read_text() == f"-k {plan.prefix}/pfx yes\n"
    assert [str(wineserver), "-k"] in [call["argv"][-2:] for call in host.calls()]
    assert inside(stage).running() == [] and host.programs() == []


async def test_what_is_deaf_to_signals_is_killed_on_the_host_as_well(stage: Stage, host: Host) -> None:
    game = stage.game(DEAF)
    plan = await inside(stage).plan(game.key)
    folder = stage.installed.folder(game.key)
    task = asyncio.create_task(running.run_game(plan, game_dir=folder, log_dir=folder / "logs", attach=False, patience_s=1.0))
    pid = int(await until(lambda: (game.path / "play.pid").exists() and (game.path / "play.pid").read_text()))
    await until(inside(stage).running)
    told: list[str] = []
    await inside(stage).stop(game.key, tell=told.append)
    assert told[0] == "Tea: all its processes are told to end"
    assert (await task).exit_code == 128 + signal.SIGKILL
    assert not alive(pid) and host.programs() == []


async def test_a_play_lasts_until_what_its_program_left_running_on_the_host_has_ended(stage: Stage, host: Host) -> None:
    game = stage.game('#!/bin/sh\n"$0-real" &\nexit 3\n')
    real = write_program(game.path / "play-real", WAITS)
    task = asyncio.create_task(inside(stage).run(await inside(stage).plan(game.key), attach=False))
    await until(Path(f"{real}.runs").exists)
    await until(lambda: any("grep" in str(call) for call in host.calls()))
    assert len(inside(stage).running()) == 1 and not task.done()
    await inside(stage).stop(game.key)
    assert (await task).exit_code == 3
    assert host.programs() == []


async def test_a_play_that_another_sandbox_watches_is_listed_stopped_and_not_taken_for_cut_short(stage: Stage, host: Host) -> None:
    game = stage.game(WAITS)
    task = asyncio.create_task(inside(stage).run(await inside(stage).plan(game.key), attach=False))
    await until((game.path / "play.runs").exists)
    (mine,) = await until(inside(stage).running)
    (journal,) = (stage.installed.folder(game.key) / "playing").glob("*.json")
    journal.write_text(json.dumps({**json.loads(journal.read_text()), "pid_start": 1}))  # its number is somebody else's in this sandbox
    (seen,) = inside(stage).running()
    assert (seen.key, seen.run_id) == ("gog:1", mine.run_id) and seen.pid in host.programs()
    running.close_stale(stage.installed.folder(game.key))
    assert stage.sessions() == [] and journal.exists(), "it goes on"
    assert [play.run_id for play in await inside(stage).stop(game.key)] == [mine.run_id]
    assert (await task).exit_code == 128 + signal.SIGTERM
    assert host.programs() == []
    with pytest.raises(NotFoundError):
        await inside(stage).stop(game.key)


async def test_what_wine_leaves_running_on_the_host_keeps_its_prefix_from_being_copied(
    stage: Stage, host: Host, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = stage.proton.build = make_proton(home / "proton", needs=None, script='#!/bin/sh\n"${0%/*}/wineserver" &\n')
    server = write_program(build.path / "wineserver", WAITS)
    game = stage.game("MZ", name="play.exe", platform="windows")
    plan = await inside(stage).plan(game.key)
    assert plan.prefix is not None
    assert (await inside(stage).run(plan, attach=False)).exit_code == 0, "for a servant nobody waits"
    await until(Path(f"{server}.runs").exists)
    monkeypatch.setattr(users, "INFO", home / "info")
    (user,) = users.users_of(plan.prefix)
    assert user.name == "wineserver" and user.pid in host.programs()
    with pytest.raises(BusyError, match="wineserver"):
        users.wait_until_quiet(plan.prefix, lambda: None, within_s=0.1)
    Path(f"{server}.end").touch()
    users.wait_until_quiet(plan.prefix, lambda: None)
    assert users.users_of(home / "another") == []


async def test_umu_that_has_the_terminal_is_not_blamed_for_what_is_not_seen_from_here(stage: Stage, home: Path) -> None:
    umu = write_program(home / "umu-run", "#!/bin/sh\nexit 0\n")
    plan = LaunchPlan("gog:1", "Tea", (str(umu),), {}, dict(stage.environ), home, "umu")
    outcome = await running.run_game(on_the_host(plan), game_dir=home / "tea", log_dir=home / "logs", attach=True)
    assert outcome.exit_code == 0
    with pytest.raises(LaunchError, match="did not start Tea"):
        await running.run_game(on_the_host(plan), game_dir=home / "tea", log_dir=home / "logs", attach=False)


async def test_without_flatpak_spawn_the_program_is_missing(stage: Stage, host: Host) -> None:
    game = stage.game()
    (host.folder / "flatpak-spawn").unlink()
    outcome = await inside(stage).run(await inside(stage).plan(game.key), attach=False)
    assert outcome.exit_code == 127 and outcome.log_path and "flatpak-spawn can't be used" in outcome.log_path.read_text()


async def test_a_host_that_may_not_be_asked_is_told_at_once(stage: Stage, host: Host) -> None:
    refuses = '#!/bin/sh\n[ "$1" = --help ] || { echo "Portal call failed: org.freedesktop.DBus.Error.ServiceUnknown" >&2; exit 1; }\n'
    write_program(host.folder / "flatpak-spawn", refuses)
    game = stage.game()
    outcome = await inside(stage).run(await inside(stage).plan(game.key), attach=False)
    assert outcome.exit_code == 1 and outcome.seconds < 8
    assert outcome.log_path and "Portal call failed" in outcome.log_path.read_text()


async def test_programs_are_looked_up_where_the_host_has_them(stage: Stage, home: Path) -> None:
    write_program(home / "host/usr/bin/gamescope", "")
    assert inside(stage)._which("gamescope") == Path("/usr/bin/gamescope")
    assert inside(stage)._which("mangohud") is None
    plan = plan_native(GAME, machine(programs={"gamescope": Path("/usr/bin/gamescope")}), wrappers=["gamescope -f"])
    hosted = on_the_host(plan)
    assert hosted.argv[0] == sys.executable
    assert hosted.argv[-5:] == ("/usr/bin/gamescope", "-f", "--", *plan.argv[-2:])
    assert (hosted.before, hosted.after, hosted.stop) == ((), (), ())


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ("/app/bin/umu-run", "/home/ann/Tea.exe")},
        {"cwd": Path("/tmp/Tea")},
        {"env": {"STEAM_COMPAT_TOOL_PATHS": "/home/ann/proton:/app/share/proton"}},
        {"before": ("/app/bin/first",)},
    ],
)
def test_what_is_in_the_sandbox_alone_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(LaunchError, match="Flatpak alone"):
        on_the_host(plan_native(GAME, machine())._replace(**changes))  # type: ignore[arg-type]
