"""What would be run, decided without touching anything; and stand-ins for umu-run and a Steam runtime that write down what they get."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.content.installed import InstalledGame
from integ_runtime.errors import LaunchError, NotExecutableError
from integ_runtime.launch.calling import Asked, BuildTool
from integ_runtime.launch.machine import Machine
from integ_runtime.launch.options import arguments_of
from integ_runtime.launch.plan import LaunchPlan, plan_native, plan_windows
from integ_runtime.launch.run import run_game
from integ_runtime.steam.tools import SteamTool, read_tool
from integ_server.contract.errors import NotFoundError
from tests.runtime.launch.stage import RECORDER, make_proton, make_stage, write_program

HOME = Path("/home/ann")
GAME = InstalledGame("gog:5", "Tea", HOME / "Games/Tea", "windows", "integ", executable=HOME / "Games/Tea/bin/Tea.exe", arguments=("-w",))
PREFIX = HOME / ".local/share/integ/games/gog-5/prefix"


def tool(path: Path, needs: str | None, *, app_id: int | None = None, line: str = "/proton %verb%") -> SteamTool:
    return SteamTool(path.name, path.name, path, app_id, None, needs, line, "")


def build(needs: str | None = "1628350") -> BuildTool:
    return BuildTool("GE-Proton9-27", tool(HOME / ".cache/integ/proton/GE-Proton9-27", needs))


SNIPER = tool(HOME / "steam/common/SteamLinuxRuntime_sniper", None, app_id=1628350, line="/_v2-entry-point --verb=%verb% --")


def machine(**more: Any) -> Machine:
    return Machine(**{"environ": {"PATH": "/usr/bin"}, "home": HOME, "uid": 1000, **more})


def windows(*, needs: str | None = "1628350", on: Machine | None = None, **more: Any) -> LaunchPlan:
    return plan_windows(GAME, build(needs), on or machine(), prefix=PREFIX, **more)


UMU = {"umu_run": Path("/usr/bin/umu-run"), "umu_runtimes": frozenset({"1628350"})}


def test_umu_gets_absolute_folders_and_asks_nobody_for_updates() -> None:
    plan = windows(on=machine(**UMU), args=["-x"])
    assert plan.runner == "umu"
    assert plan.argv == ("/usr/bin/umu-run", str(GAME.executable), "-w", "-x")
    assert plan.cwd == HOME / "Games/Tea/bin"
    assert plan.prefix == PREFIX
    expected = {
        "PROTONPATH": str(HOME / ".cache/integ/proton/GE-Proton9-27"),
        "WINEPREFIX": str(PREFIX),
        "GAMEID": "umu-default",
        "STORE": "gog",
        "PROTON_VERB": "waitforexitandrun",
        "UMU_RUNTIME_UPDATE": "0",
        "STEAM_COMPAT_INSTALL_PATH": str(GAME.path),
    }
    assert plan.env == expected
    assert windows(on=machine(**UMU), umu_id="umu-620").env == expected | {"GAMEID": "umu-620"}
    assert plan.environ == {"PATH": "/usr/bin", **expected}


def test_a_steam_runtime_stands_around_proton_with_the_same_verb() -> None:
    plan = windows(on=machine(tools=(SNIPER,), steam_root=HOME / "steam"))
    assert plan.runner == "runtime"
    proton = HOME / ".cache/integ/proton/GE-Proton9-27"
    assert plan.argv == (
        str(SNIPER.path / "_v2-entry-point"),
        "--verb=waitforexitandrun",
        "--",
        str(proton / "proton"),
        "waitforexitandrun",
        str(GAME.executable),
        "-w",
    )
    assert plan.env["STEAM_COMPAT_TOOL_PATHS"] == f"{proton}:{SNIPER.path}", "innermost first"
    assert plan.env["STEAM_COMPAT_DATA_PATH"] == str(PREFIX)
    assert plan.env["STEAM_COMPAT_CLIENT_INSTALL_PATH"] == str(HOME / "steam")
    assert plan.env["SteamGameId"] == "0"
    assert "WINEPREFIX" not in plan.env


def test_a_chain_of_runtimes_is_followed_and_a_loop_is_told() -> None:
    inner = SNIPER._replace(require_tool_appid="4183110")
    outer = tool(HOME / "outer", None, app_id=4183110, line="/run %verb%")
    plan = windows(on=machine(tools=(inner, outer)))
    assert plan.argv[:2] == (str(outer.path / "run"), "waitforexitandrun")
    with pytest.raises(LaunchError, match="asks for itself"):
        windows(on=machine(tools=(SNIPER._replace(require_tool_appid="1628350"),)))


def test_a_build_that_needs_no_runtime_runs_on_the_host() -> None:
    plan = windows(needs=None, on=machine(**UMU))
    assert plan.runner == "bare"
    assert plan.env["STEAM_COMPAT_CLIENT_INSTALL_PATH"] == "", "Proton wants it to be there even where no Steam is"
    assert windows(on=machine(tools=(SNIPER,)), runner="bare").runner == "bare"


def test_a_missing_runtime_is_told_with_what_brings_it() -> None:
    with pytest.raises(LaunchError, match="1628350") as caught:
        windows()
    assert "steam://install/1628350" in caught.value.hint
    with pytest.raises(LaunchError, match="unknown to Integ"):
        windows(needs="99")
    with pytest.raises(LaunchError):
        windows(on=machine(umu_run=Path("/usr/bin/umu-run")))  # its runtime would have to be fetched: no network in a launch


def test_a_way_that_was_asked_for_is_gone_or_refused_but_not_replaced() -> None:
    assert windows(on=machine(umu_run=Path("/usr/bin/umu-run"), tools=(SNIPER,)), runner="umu").runner == "umu"
    assert windows(on=machine(**UMU, tools=(SNIPER,)), runner="runtime").runner == "runtime"
    with pytest.raises(LaunchError, match="not installed"):
        windows(on=machine(tools=(SNIPER,)), runner="umu")
    with pytest.raises(LaunchError, match="root"):
        windows(on=machine(**UMU, uid=0), runner="umu")
    assert windows(on=machine(**UMU, uid=0, tools=(SNIPER,))).runner == "runtime", "umu-run refuses root, so auto does not try it"


def test_folders_that_the_container_does_not_show_are_named_to_it() -> None:
    far = GAME._replace(path=Path("/games/Tea"), executable=Path("/games/Tea/Tea.exe"))
    on = machine(**UMU, environ={"PRESSURE_VESSEL_FILESYSTEMS_RW": "/mine:/games/Tea"})
    assert plan_windows(far, build(), on, prefix=PREFIX).env["PRESSURE_VESSEL_FILESYSTEMS_RW"] == "/mine:/games/Tea"
    on = machine(tools=(SNIPER,))
    assert plan_windows(far, build(), on, prefix=PREFIX).env["STEAM_COMPAT_MOUNTS"] == "/games/Tea"
    assert "STEAM_COMPAT_MOUNTS" not in windows(on=on).env


def test_a_wrapper_that_is_there_but_no_program_is_told_as_a_shell_would(tmp_path: Path) -> None:
    here = tmp_path / "my wrapper"
    here.write_text("")
    with pytest.raises(NotExecutableError) as caught:
        plan_native(GAME, machine(programs={str(here): None}), wrappers=[shlex.quote(str(here))])
    assert shlex.split(caught.value.hint) == ["chmod", "+x", str(here)]


def test_a_dry_run_shows_no_secret() -> None:
    shown = windows(on=machine(**UMU), env={"SOME_TOKEN": "hush"}).as_dict()
    assert set(shown) == {"argv", "env", "cwd", "runner", "prefix", "proton", "before", "after"}
    assert "hush" not in json.dumps(shown)
    assert shown["proton"] == "GE-Proton9-27"


def test_an_installer_package_is_opened_by_wine_s_own_program() -> None:
    msi = GAME._replace(executable=HOME / "Games/Tea/Setup.MSI")
    assert plan_windows(msi, build(None), machine(), prefix=PREFIX).argv[2:5] == ("msiexec", "/i", "Z:\\home\\ann\\Games\\Tea\\Setup.MSI")


def test_a_game_that_nothing_starts_says_how_to_name_its_program() -> None:
    with pytest.raises(LaunchError) as caught:
        plan_native(GAME._replace(executable=None), machine())
    assert "integ import gog:5 --path" in caught.value.hint


@pytest.mark.parametrize("runner", ["umu", "runtime"])
async def test_what_was_planned_is_what_the_stand_ins_are_started_with(home: Path, runner: str) -> None:
    proton = make_proton(home / "proton" / "GE-Proton9-27")
    umu = write_program(home / "bin" / "umu-run", RECORDER.replace("sys.exit", 'print("Proton:", sys.argv[1])\nsys.exit'))
    sniper = home / "steam" / "SteamLinuxRuntime_sniper"
    entry = write_program(sniper / "_v2-entry-point", RECORDER)
    (sniper / "toolmanifest.vdf").write_text(
        '"manifest" { "version" "2" "commandline" "/_v2-entry-point --verb=%verb% --" "compatmanager_layer_name" "container-runtime" }'
    )
    runtime = read_tool(sniper, app_id=1628350)
    inner = read_tool(proton.path)
    assert runtime
    assert inner
    exe = home / "Games" / "Tea" / "Tea.exe"
    exe.parent.mkdir(parents=True)
    exe.write_text("MZ")
    game = GAME._replace(path=exe.parent, executable=exe)
    on = Machine(environ={"PATH": "/usr/bin:/bin"}, home=home, uid=1000, umu_run=umu, tools=(runtime,))
    prefix = home / "prefix"
    plan = plan_windows(game, BuildTool(proton.version, inner), on, prefix=prefix, runner=runner)
    outcome = await run_game(plan, game_dir=home / "game", log_dir=home / "logs", attach=False)
    assert outcome.exit_code == 0
    seen = json.loads(((umu if runner == "umu" else entry).parent / "started.json").read_text())
    assert tuple(seen["argv"]) == plan.argv
    assert seen["cwd"] == str(exe.parent)
    assert seen["env"].items() >= plan.env.items()
    assert seen["env"]["INTEG_RUN_ID"]


async def test_the_runner_and_the_versions_asked_for_come_from_the_player(home: Path) -> None:
    stage = make_stage(home, INTEG_RUNNER="bare")
    stage.proton.build = make_proton(home / "proton")
    stage.game("MZ", name="play.exe", platform="windows")
    await stage.tell(required_proton="ge-8.1")
    plan = await stage.launcher.plan("gog:1", proton="ge-9.27")
    assert plan.runner == "bare"
    assert stage.proton.asked == [("ge-9.27", "ge-8.1")]
    assert not (stage.installed.folder("gog:1") / "prefix").exists(), "a plan touches nothing"


async def test_a_game_that_is_not_here_is_not_launched(home: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        await make_stage(home).launcher.plan("gog:404")
    assert caught.value.hint == "integ install gog:404"


@pytest.mark.parametrize(
    ("options", "words", "told"),
    [
        (None, [], ""),
        ("", [], ""),
        ("-windowed --name 'two words'", ["-windowed", "--name", "two words"], ""),
        ("$(reboot) `id` ; rm *", ["$(reboot)", "`id`", ";", "rm", "*"], ""),
        (
            "MANGOHUD=1 gamescope -f -- %command% -w",
            ["-w"],
            "MANGOHUD=1 gamescope -f -- before %command% is left out: integ options gog:1 --args does that, on this machine",
        ),
        ("%command% -w", ["-w"], ""),
        ("-name 'open", [], "its launch options are left out: they can't be read (no closing quotation)"),
        ("a\0b", [], "its launch options are left out: no program takes them"),
    ],
)
def test_launch_options_are_words_for_the_game_and_nothing_else(options: str | None, words: list[str], told: str) -> None:
    found, notes = arguments_of(options, "gog:1")
    assert (found, "".join(notes)) == (words, told)


async def test_the_players_launch_options_are_used_unless_the_command_line_has_some(home: Path) -> None:
    stage = make_stage(home)
    game = stage.game(key="gog:1", arguments=("-own",))
    await stage.tell(launch_options="DEBUG=1 %command% -w 'a b'")
    plan = await stage.launcher.plan("gog:1")
    assert plan.argv == (str(game.executable), "-own", "-w", "a b")
    assert plan.as_dict()["argv"] == list(plan.argv)
    assert plan.notes == ("DEBUG=1 before %command% is left out: integ options gog:1 --args does that, on this machine",)
    plan = await stage.launcher.plan("gog:1", args=["-x"])
    assert (plan.argv, plan.notes) == ((str(game.executable), "-own", "-x"), ())


async def test_what_the_game_requires_is_asked_for_on_every_way_to_a_launch(home: Path) -> None:
    stage = make_stage(home, INTEG_RUNNER="bare")
    stage.proton.build = make_proton(home / "proton")
    stage.game("MZ", name="play.exe", platform="windows")
    await stage.tell(required_proton="ge-8.1")
    await stage.launcher.plan("gog:1")
    assert stage.proton.asked == [(None, "ge-8.1")]


def test_no_secret_stands_in_a_traceback_that_shows_a_plan_or_a_machine() -> None:
    here = machine(environ={"HOME": str(HOME), "PATH": "/usr/bin", "MY_TOKEN": "hush"})
    plan = plan_native(GAME._replace(platform="linux"), here, env={"MY_API_KEY": "hush", "PLAIN": "seen"})
    assert plan.environ["MY_TOKEN"] == plan.env["MY_API_KEY"] == "hush"
    assert "hush" not in f"{plan!r}{here!r}"
    assert "seen" in repr(plan)
    asked = Asked("run", ("tea.exe",), GAME.path, GAME.path, PREFIX, "gog", env={"MY_API_KEY": "hush"})
    assert "hush" not in f"{asked!r}{build(None).call('bare', here, asked)._replace(env=dict(asked.env))!r}"
