"""The contract with umu-run and with Proton, variable by variable, against stand-ins that do what the real ones do with them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.errors import LaunchError
from integ_server.contract.errors import BusyError
from tests.runtime.launch.stage import Stage, make_proton, make_stage, until, write_program

UMU = f"""#!{sys.executable} -IS
# What umu-run does with its surroundings: checks, overwrites, then Proton with the verb; a failure of its own ends with 0.
import hashlib, json, os, sys
env = dict(os.environ)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "umu.json"), "w") as out:
    json.dump({{"argv": sys.argv, "env": env}}, out)
def fails(why):
    print("ERROR:", why, file=sys.stderr)
    sys.exit(0)
if not env.get("WINEPREFIX"):
    fails("WINEPREFIX is empty")
proton = env.get("PROTONPATH", "")
if not os.path.isabs(proton) or not os.path.isfile(proton + "/toolmanifest.vdf"):
    fails("PROTONPATH is no build: api.github.com would be asked")
prefix = env["WINEPREFIX"]
os.makedirs(prefix, exist_ok=True)
if not os.path.lexists(prefix + "/pfx"):
    os.symlink(".", prefix + "/pfx")
verb = env.get("PROTON_VERB", "")
known = ("waitforexitandrun", "run", "runinprefix", "destroyprefix", "getcompatpath", "getnativepath")
verb = verb if verb in known else "waitforexitandrun"
game = env.get("GAMEID", "umu-default")
number = game[4:] if game.startswith("umu-") and game[4:].isalnum() else "0"
env.update(
    STEAM_COMPAT_DATA_PATH=prefix, STEAM_COMPAT_TOOL_PATHS=proton, STEAM_COMPAT_MOUNTS=proton, STEAM_COMPAT_CLIENT_INSTALL_PATH="",
    STEAM_COMPAT_SHADER_PATH=prefix + "/shadercache", FONTCONFIG_PATH="", SteamAppId=number, SteamGameId=number, UMU_ID=game,
    STEAM_COMPAT_APP_ID=hashlib.md5(prefix.encode()).hexdigest(),
)
env.setdefault("STEAM_COMPAT_INSTALL_PATH", os.path.dirname(sys.argv[1]))
print("Proton:", sys.argv[1], file=sys.stderr, flush=True)
os.execve(proton + "/proton", [proton + "/proton", verb, *sys.argv[1:]], env)
"""


@pytest.fixture
def stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """umu-run on PATH, a build behind it that writes down what reaches it, and a Windows game."""
    monkeypatch.setattr("os.geteuid", lambda: home.stat().st_uid or 1000)  # umu-run refuses root
    monkeypatch.setattr("integ_runtime.launch.prefix.prepare", lambda prefix: prefix.mkdir(parents=True, exist_ok=True))
    write_program(home / "bin/umu-run", UMU)
    stage = make_stage(home, {"PATH": f"{home / 'bin'}:/usr/bin:/bin"}, INTEG_RUNNER="umu")
    stage.proton.build = make_proton(home / "proton")
    stage.game("MZ", name="play.exe", platform="windows")
    return stage


async def reached(stage: Stage, **asked: Any) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The environments that umu-run and Proton got, and Proton's words."""
    plan = await stage.launcher.plan("gog:1", **asked)
    assert plan.runner == "umu"
    outcome = await stage.launcher.run(plan, attach=False)
    assert outcome.exit_code == 0, outcome.log_path and outcome.log_path.read_text()
    home = stage.settings.paths.home
    umu, proton = json.loads((home / "bin/umu.json").read_text()), json.loads((home / "proton/started.json").read_text())
    return umu["env"], proton["env"], proton["argv"]


def prefix_of(stage: Stage) -> Path:
    return stage.installed.folder("gog:1") / "prefix"


async def test_wineprefix_names_the_folder_above_wines_own_prefix(stage: Stage) -> None:
    umu, proton, _ = await reached(stage)
    assert umu["WINEPREFIX"] == proton["STEAM_COMPAT_DATA_PATH"] == str(prefix_of(stage))
    assert (prefix_of(stage) / "pfx").resolve() == prefix_of(stage), "both views are one folder"


async def test_protonpath_is_the_build_s_own_absolute_folder_so_nobody_is_asked_for_one(stage: Stage, home: Path) -> None:
    umu, _, argv = await reached(stage)
    assert umu["PROTONPATH"] == str(home / "proton")
    assert argv[0] == str(home / "proton/proton")


async def test_a_game_is_started_with_the_verb_that_waits_for_the_prefix_to_be_free(stage: Stage) -> None:
    umu, _, argv = await reached(stage, args=["-x"])
    assert umu["PROTON_VERB"] == "waitforexitandrun"
    assert argv[1:] == ["waitforexitandrun", str(stage.installed.get("gog:1").executable), "-x"]


async def test_the_id_is_always_there_so_no_fix_is_taken_from_digits_in_a_path(stage: Stage) -> None:
    umu, proton, _ = await reached(stage)
    assert (umu["GAMEID"], proton["UMU_ID"], proton["SteamGameId"]) == ("umu-default", "umu-default", "default")


async def test_the_store_picks_the_fixes(stage: Stage) -> None:
    umu, _, _ = await reached(stage)
    assert umu["STORE"] == "gog"


async def test_the_install_folder_and_the_log_folder_are_named(stage: Stage) -> None:
    umu, proton, _ = await reached(stage)
    assert proton["STEAM_COMPAT_INSTALL_PATH"] == str(stage.installed.get("gog:1").path)
    assert umu["PROTON_LOG_DIR"] == str(stage.settings.paths.logs_dir / "gog-1")


async def test_no_update_is_looked_for_and_no_window_is_opened(stage: Stage) -> None:
    stage.environ.update({"UMU_RUNTIME_UPDATE": "1", "UMU_ZENITY": "1"})
    umu, _, _ = await reached(stage)
    assert umu["UMU_RUNTIME_UPDATE"] == "0"
    assert "UMU_ZENITY" not in umu


@pytest.mark.parametrize(
    "name",
    [
        *("GAMEID", "WINEPREFIX", "PROTONPATH", "PROTON_VERB", "RUNTIMEPATH", "UMU_NO_PROTON", "UMU_USE_STEAM", "UMU_CONTAINER_NSENTER"),
        *("UMU_ID", "UMU_INVOCATION_ID", "STEAM_COMPAT_DATA_PATH", "STEAM_COMPAT_APP_ID", "SteamGameId", "SteamAppId", "WINEARCH"),
    ],
)
async def test_an_outer_session_s_value_does_not_reach_umu(stage: Stage, name: str) -> None:
    stage.environ[name] = "of an outer session"
    umu, proton, _ = await reached(stage)
    assert "of an outer session" not in {umu.get(name), proton.get(name)}


@pytest.mark.parametrize(
    "name", ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_PRELOAD", "BASH_FUNC_x%%", "CONDA_PREFIX", "GITHUB_TOKEN", "INTEG_TOKEN"]
)
async def test_what_breaks_python_programs_or_is_nobodys_business_reaches_neither(stage: Stage, name: str) -> None:
    stage.environ[name] = "/nowhere"
    umu, proton, _ = await reached(stage)
    assert name not in umu and name not in proton


@pytest.mark.parametrize("name", ["UMU_LOG", "UMU_FOLDERS_PATH", "UMU_HTTP_TIMEOUT", "https_proxy", "PROTON_LOG", "WINEDEBUG"])
async def test_what_the_player_has_set_for_umu_and_proton_reaches_them(stage: Stage, name: str) -> None:
    stage.environ[name] = "1"
    umu, proton, _ = await reached(stage)
    assert (umu[name], proton[name]) == ("1", "1")


async def test_proton_keeps_the_players_language_by_way_of_host_lc_all(stage: Stage) -> None:
    stage.environ["LC_ALL"] = "de_DE.UTF-8"
    umu, _, _ = await reached(stage)
    assert umu["HOST_LC_ALL"] == "de_DE.UTF-8"


async def test_the_run_s_own_tag_reaches_every_process_of_it(stage: Stage) -> None:
    umu, proton, _ = await reached(stage)
    assert umu["INTEG_RUN_ID"] == proton["INTEG_RUN_ID"] != ""


# --- an end that is none of the game's ---


@pytest.mark.parametrize("code", [0, 1])
async def test_umu_that_failed_itself_does_not_count_as_a_game_that_ran(stage: Stage, home: Path, code: int) -> None:
    write_program(home / "bin/umu-run", f"#!/bin/sh\necho 'ERROR: no runtime, and no network' >&2\nexit {code}\n")
    plan = await stage.launcher.plan("gog:1")
    with pytest.raises(LaunchError, match=f"umu-run ended with {code} and did not start Tea") as caught:
        await stage.launcher.run(plan, attach=False)
    assert type(caught.value) is LaunchError, "exit code 125"
    assert ".log" in caught.value.hint
    assert stage.sessions() == []


async def test_without_a_log_a_process_of_wine_s_says_that_the_game_ran(stage: Stage, home: Path) -> None:
    (home / "wine").mkdir()
    shutil.copy("/bin/sleep", home / "wine/wineserver")
    write_program(home / "bin/umu-run", f"#!/bin/sh\n{home}/wine/wineserver 1\nexit 5\n")
    outcome = await stage.launcher.run(await stage.launcher.plan("gog:1"), attach=True)
    assert outcome.exit_code == 5
    write_program(home / "bin/umu-run", "#!/bin/sh\nexit 0\n")
    with pytest.raises(LaunchError, match="did not start Tea"):
        await stage.launcher.run(await stage.launcher.plan("gog:1"), attach=True)
    assert [each["exit_code"] for each in stage.sessions()] == [5]


async def test_the_game_s_own_exit_code_comes_through_umu(stage: Stage) -> None:
    outcome = await stage.launcher.run(await stage.launcher.plan("gog:1", env={"EXIT_WITH": "9"}), attach=False)
    assert outcome.exit_code == 9


async def test_a_live_prefix_gets_no_second_waiting_verb(stage: Stage, home: Path) -> None:
    stage.proton.build = make_proton(home / "proton", script='#!/bin/sh\ntouch "$2.runs"\nwhile [ ! -e "$2.end" ]; do sleep 0.02; done\n')
    game = stage.installed.get("gog:1")
    first = asyncio.create_task(stage.launcher.run(await stage.launcher.plan("gog:1"), attach=False))
    await until((game.path / "play.exe.runs").exists)
    with pytest.raises(BusyError, match="gog:1") as caught:
        await stage.launcher.run(await stage.launcher.plan("gog:1"), attach=False)
    assert "integ stop gog:1" in caught.value.hint
    (game.path / "play.exe.end").touch()
    assert (await first).exit_code == 0


# --- the runtime that a build asks for ---


async def test_the_runtime_is_the_one_that_the_build_s_own_manifest_asks_for(stage: Stage, home: Path) -> None:
    stage = make_stage(home, {"PATH": "/usr/bin:/bin"})
    stage.game("MZ", name="play.exe", platform="windows")
    for needs in ("1628350", "4183110"):
        stage.proton.build = make_proton(home / f"proton-{needs}", needs=needs)
        with pytest.raises(LaunchError, match=f"needs the Steam runtime {needs}"):
            await stage.launcher.plan("gog:1")
    stage.proton.build = make_proton(home / "proton-none", needs=None)
    assert (await stage.launcher.plan("gog:1")).runner == "bare"
