"""What is run in a prefix beside its game: by which verb, through which tool, with whose exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.errors import LaunchError, ProgramMissingError
from integ_runtime.launch.run import play_lock
from integ_runtime.prefix.prefixes import Prefixes
from integ_runtime.prefix.programs import PrefixPrograms, check_verbs, resolve_program, show_folder
from integ_runtime.prefix.versions import Used, last_build
from integ_server.contract.errors import BusyError, IntegError, NotFoundError, UsageError
from tests.runtime.launch.stage import Stage, alive, make_proton, make_stage, until, write_program

KEY = "gog:1"
PROTON = """#!/bin/sh
echo "$@" >> "$STEAM_COMPAT_DATA_PATH/verbs"
verb=$1; shift
mkdir -p "$STEAM_COMPAT_DATA_PATH/pfx/drive_c"
case "$1" in
wineboot) [ -e "$STEAM_COMPAT_DATA_PATH/../broken" ] || touch "$STEAM_COMPAT_DATA_PATH/pfx/system.reg"; exit 5;;
wait) echo $$ > "$2.pid"; while [ ! -e "$2" ]; do sleep 0.02; done; exit 0;;
code) exit "$2";;
where) pwd > "$2"; exit 0;;
*play.exe) echo $$ > "$1.pid"; while [ ! -e "$1.end" ]; do sleep 0.02; done; exit 0;;
esac
"""
UMU = """#!/bin/sh
mkdir -p "$WINEPREFIX/pfx"
echo "$PROTON_VERB $*" >> "$WINEPREFIX/verbs"
[ "$1" = createprefix ] && { touch "$WINEPREFIX/pfx/system.reg"; exit 1; }
[ "$1" = winetricks ] || exit 0
shift
for each in "$@"; do
    case $each in
    broken) exit 1;;
    meanwhile) echo meanwhile >> "$WINEPREFIX/pfx/winetricks.log"; exit 1;;
    esac
    grep -qx "$each" "$WINEPREFIX/pfx/winetricks.log" 2>/dev/null && exit 1
    echo "$each" >> "$WINEPREFIX/pfx/winetricks.log"
done
"""
WINETRICKS = """#!/bin/sh
[ "$1" = -q ] || exit 2
shift
case $WINE in */files/bin/wine) ;; *) exit 3;; esac
case $WINESERVER in */files/bin/wineserver) ;; *) exit 4;; esac
for each in "$@"; do [ "$each" = broken ] && exit 1; echo "$each" >> "$WINEPREFIX/winetricks.log"; done
"""


@pytest.fixture
def stage(home: Path) -> Stage:
    """A Windows game, and a build that writes down what is asked of it."""
    stage = make_stage(home, {"PATH": f"{home}/bin:/usr/bin:/bin"})
    build = stage.proton.build = make_proton(home / "proton", needs=None, script=PROTON)
    for name in ("wine", "wineserver"):
        write_program(build.path / "files" / "bin" / name, "#!/bin/sh\n")
    stage.game("MZ", name="play.exe", platform="windows")
    return stage


@pytest.fixture
def programs(stage: Stage) -> PrefixPrograms:
    return PrefixPrograms(stage.installed, stage.launcher)


@pytest.fixture
def umu(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() == 0:  # umu refuses root, and so nothing asks it then
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr("integ_runtime.launch.prefix.prepare", lambda prefix: prefix.mkdir(exist_ok=True))
    write_program(stage.settings.paths.home / "bin" / "umu-run", UMU)


def verbs(stage: Stage) -> list[str]:
    """What Proton, or umu, was asked to do in the prefix."""
    file = stage.installed.folder(KEY) / "prefix" / "verbs"
    return file.read_text().splitlines() if file.exists() else []


async def test_a_prefix_is_made_and_noted_whatever_proton_exits_with(programs: PrefixPrograms, stage: Stage) -> None:
    made = await programs.create(KEY)
    assert (made.created, made.proton, made.family) == (True, "GE-Proton9-27", "ge")
    assert verbs(stage) == ["run wineboot"]
    assert last_build(made.path) == Used("GE-Proton9-27", "ge")
    assert stage.proton.used == ["GE-Proton9-27"]
    assert (await programs.create(KEY)).created is False
    assert stage.sessions() == [], "that was no play"
    assert stage.launcher.running() == []


async def test_a_prefix_that_was_not_made_is_an_error_that_names_the_log(programs: PrefixPrograms, stage: Stage) -> None:
    folder = stage.installed.folder(KEY)
    (folder / "broken").touch()
    with pytest.raises(LaunchError, match="did not make the prefix") as caught:
        await programs.create(KEY)
    log = Path(caught.value.hint.removeprefix("less "))
    assert log.is_file()
    assert log.parent == stage.settings.paths.logs_dir / "gog-1"


@pytest.mark.usefixtures("umu")
async def test_umu_is_asked_in_its_own_words(programs: PrefixPrograms, stage: Stage) -> None:
    home = stage.settings.paths.home
    stage.proton.build = make_proton(home / "proton", needs="1628350")
    (home / ".local/share/umu/steamrt3/pressure-vessel").mkdir(parents=True)
    assert (await programs.create(KEY)).created
    ran = await programs.run(KEY, "regedit", ["/S"])
    assert (ran.verb, ran.outcome.exit_code) == ("run", 0)
    assert verbs(stage) == ["run createprefix", "run regedit /S"]


async def test_a_linux_game_and_one_that_is_not_installed_have_no_prefix(programs: PrefixPrograms, stage: Stage) -> None:
    stage.game(key="gog:2")
    for doing in (programs.create("gog:2"), programs.run("gog:2", "regedit"), programs.winetricks("gog:2", ["d3dx9"])):
        with pytest.raises((UsageError, ProgramMissingError)):
            await doing
    with pytest.raises(NotFoundError, match="not installed"):
        await programs.create("gog:3")
    with pytest.raises(UsageError, match="Steam's own"):
        await programs.create("steam:620")


async def test_a_program_s_exit_code_is_passed_on_and_no_play_is_recorded(programs: PrefixPrograms, stage: Stage) -> None:
    ran = await programs.run(KEY, "code", ["7"], attach=False)
    assert (ran.verb, ran.outcome.exit_code) == ("run", 7)
    assert ran.outcome.log_path is not None
    assert verbs(stage) == ["run code 7"]
    assert stage.sessions() == []


async def test_a_file_runs_in_its_own_folder_by_its_whole_path(
    programs: PrefixPrograms, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stage.settings.paths.home / "Down loads"
    tool = write_program(folder / "patch.exe", "MZ")
    monkeypatch.chdir(stage.settings.paths.home)
    prefix = stage.installed.folder(KEY) / "prefix"
    assert resolve_program("Down loads/patch.exe", prefix) == ((str(tool),), folder)
    assert resolve_program(str(tool), prefix) == ((str(tool),), folder)
    monkeypatch.chdir(folder)
    assert resolve_program("patch.exe", prefix) == ((str(tool),), folder)
    package = write_program(folder / "setup.msi", "MSI")
    assert resolve_program("setup.msi", prefix)[0] == ("msiexec", "/i", "Z:" + str(package).replace("/", "\\"))
    assert resolve_program("C:\\tool.exe", prefix) == (("C:\\tool.exe",), prefix.parent)
    with pytest.raises(ProgramMissingError, match="is no file"):
        resolve_program("./nothing.exe", prefix)
    await programs.run(KEY, "where", [str(folder / "pwd")], attach=False)
    (prefix / "pfx" / "drive_c").mkdir(parents=True, exist_ok=True)
    await programs.run(KEY, "where", [str(folder / "pwd")], attach=False)
    assert (folder / "pwd").read_text().strip() == str(prefix / "pfx" / "drive_c")


async def test_in_a_live_prefix_it_is_runinprefix_and_never_waitforexitandrun(programs: PrefixPrograms, stage: Stage) -> None:
    game = stage.installed.get(KEY)
    playing = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(KEY), attach=False))
    await until(stage.launcher.running)
    await until((game.path / "play.exe.pid").exists)
    ran = await programs.run(KEY, "code", ["3"], attach=False)
    assert (ran.verb, ran.outcome.exit_code) == ("runinprefix", 3)
    assert verbs(stage)[1:] == ["runinprefix code 3"]
    with pytest.raises(BusyError):
        await programs.create(KEY)
    write_program(stage.settings.paths.home / "bin" / "winetricks", WINETRICKS)
    with pytest.raises(BusyError):
        await programs.winetricks(KEY, ["d3dx9"])
    assert [line for line in verbs(stage)[1:] if "waitforexitandrun" in line] == []
    assert not playing.done()
    (game.path / "play.exe.end").touch()
    assert (await playing).exit_code == 0


async def test_what_runs_beside_a_game_has_to_be_of_the_build_that_the_game_runs_with(programs: PrefixPrograms, stage: Stage) -> None:
    game = stage.installed.get(KEY)
    playing = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(KEY), attach=False))
    await until(stage.launcher.running)
    stage.proton.build = make_proton(stage.settings.paths.home / "newer", version="GE-Proton10-1", needs=None, script=PROTON)
    with pytest.raises(BusyError, match="runs with GE-Proton9-27"):
        await programs.run(KEY, "code", ["3"], proton="GE-Proton10-1", attach=False)
    assert stage.proton.asked[-1][0] == "GE-Proton10-1"
    with pytest.raises(BusyError):
        await programs.run(KEY, "code", ["3"], attach=False)
    assert stage.proton.asked[-1][0] == "GE-Proton9-27", "without a wish the running build is asked for"
    (game.path / "play.exe.end").touch()
    await playing


async def test_ending_a_program_beside_a_game_leaves_the_game_alone(programs: PrefixPrograms, stage: Stage) -> None:
    game = stage.installed.get(KEY)
    assert stage.proton.build
    server = write_program(stage.proton.build.path / "files" / "bin" / "wineserver", '#!/bin/sh\ntouch "$WINEPREFIX/asked"\n')
    playing = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(KEY), attach=False))
    await until(stage.launcher.running)
    flag = stage.settings.paths.home / "flag"
    beside = asyncio.create_task(programs.run(KEY, "wait", [str(flag)], attach=False))
    await until(lambda: Path(f"{flag}.pid").exists() and Path(f"{flag}.pid").read_text().strip())
    beside.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beside
    assert not alive(int(Path(f"{flag}.pid").read_text()))
    assert not playing.done()
    assert not (stage.installed.folder(KEY) / "prefix" / "pfx" / "asked").exists(), f"{server} would have ended the game too"
    (game.path / "play.exe.end").touch()
    assert (await playing).exit_code == 0


async def test_while_a_program_runs_in_it_the_prefix_is_kept_and_the_game_does_not_start(programs: PrefixPrograms, stage: Stage) -> None:
    flag = stage.settings.paths.home / "flag"
    running = asyncio.create_task(programs.run(KEY, "wait", [str(flag)], attach=False))
    await until(Path(f"{flag}.pid").exists)
    with pytest.raises(BusyError):
        await stage.launcher.run(await stage.launcher.plan(KEY), attach=False)
    with pytest.raises(BusyError):
        await Prefixes(stage.installed).take(KEY)
    flag.touch()
    assert (await running).outcome.exit_code == 0


async def test_while_the_prefix_is_worked_on_no_program_starts_in_it(programs: PrefixPrograms, stage: Stage) -> None:
    with play_lock(stage.installed.folder(KEY)), pytest.raises(BusyError, match="being worked on"):
        await programs.run(KEY, "regedit", attach=False)
    assert verbs(stage) == []


async def test_a_step_back_is_prepared_for_a_program_too(programs: PrefixPrograms, stage: Stage) -> None:
    await programs.create(KEY)
    stage.proton.build = make_proton(stage.settings.paths.home / "older", version="GE-Proton8-1", needs=None, script=PROTON)
    await programs.run(KEY, "code", ["0"], attach=False)
    (kept,) = await Prefixes(stage.installed).snapshots(KEY)
    assert (kept.reason, kept.used) == ("older-build", Used("GE-Proton9-27", "ge"))


# --- winetricks ---


@pytest.mark.usefixtures("umu")
async def test_verbs_go_through_umu_and_those_applied_already_are_left_out(programs: PrefixPrograms, stage: Stage) -> None:
    first = await programs.winetricks(KEY, ["d3dx9", "sound=alsa"])
    assert (first.by, first.applied, first.already) == ("umu-run", ("d3dx9", "sound=alsa"), ())
    second = await programs.winetricks(KEY, ["d3dx9", "vcrun2022"])
    assert (second.by, second.applied, second.already) == ("umu-run", ("vcrun2022",), ("d3dx9",))
    third = await programs.winetricks(KEY, ["d3dx9"])
    assert (third.by, third.applied, third.already) == (None, (), ("d3dx9",))
    assert verbs(stage) == ["waitforexitandrun winetricks d3dx9 sound=alsa", "waitforexitandrun winetricks vcrun2022"]


@pytest.mark.usefixtures("umu")
async def test_umu_s_exit_1_for_what_is_applied_already_is_told_as_such(programs: PrefixPrograms) -> None:
    done = await programs.winetricks(KEY, ["meanwhile"])
    assert (done.by, done.applied, done.already) == (None, (), ("meanwhile",))


@pytest.mark.usefixtures("umu")
async def test_umu_s_exit_1_for_anything_else_is_a_failure(programs: PrefixPrograms) -> None:
    with pytest.raises(IntegError, match="umu-run exited with 1, and broken is not applied") as caught:
        await programs.winetricks(KEY, ["d3dx9", "broken"], attach=False)
    assert caught.value.hint.startswith("less ")


async def test_without_umu_the_machine_s_winetricks_gets_the_build_s_wine(programs: PrefixPrograms, stage: Stage) -> None:
    write_program(stage.settings.paths.home / "bin" / "winetricks", WINETRICKS)
    done = await programs.winetricks(KEY, ["d3dx9"], attach=False)
    assert (done.by, done.applied) == ("winetricks", ("d3dx9",))
    assert verbs(stage) == ["run wineboot"], "the prefix is made first"
    with pytest.raises(IntegError, match="winetricks exited with 1"):
        await programs.winetricks(KEY, ["broken"], attach=False)


async def test_without_both_the_winetricks_that_the_build_brings_is_taken(programs: PrefixPrograms, stage: Stage) -> None:
    assert stage.proton.build
    write_program(stage.proton.build.path / "protonfixes" / "winetricks", WINETRICKS)
    assert (await programs.winetricks(KEY, ["d3dx9"], attach=False)).applied == ("d3dx9",)


async def test_without_any_it_says_what_to_install_and_makes_nothing(programs: PrefixPrograms, stage: Stage) -> None:
    with pytest.raises(ProgramMissingError) as caught:
        await programs.winetricks(KEY, ["d3dx9"])
    assert "winetricks" in caught.value.hint
    assert verbs(stage) == []


@pytest.mark.parametrize("verb", ["--force", "-q", "a b", "a;b", "", "a/../b", "/tmp/x.verb", "a=b c", "a\n", "ä"])
def test_what_can_not_be_a_verb_goes_nowhere(verb: str) -> None:
    with pytest.raises(UsageError):
        check_verbs(["d3dx9", verb])
    check_verbs(["d3dx9", "vcrun2022", "7zip", "renderer=gl", "remove_mono", "videomemorysize=default", "nocrashdialog"])


# --- open ---


def test_a_desktop_is_asked_to_show_the_folder_and_nobody_over_ssh(tmp_path: Path) -> None:
    opener = write_program(
        tmp_path / "xdg-open", f"#!{sys.executable} -IS\nimport sys\nopen({str(tmp_path / 'shown')!r}, 'w').write(sys.argv[1])\n"
    )
    for environ in ({}, {"DISPLAY": ":0", "SSH_CONNECTION": "a b c d"}, {"WAYLAND_DISPLAY": "w", "SSH_TTY": "/dev/pts/1"}):
        assert not show_folder(tmp_path, environ, opener)
    assert not show_folder(tmp_path, {"DISPLAY": ":0"}, None)
    assert not show_folder(tmp_path, {"DISPLAY": ":0"}, tmp_path / "nothing")
    assert not (tmp_path / "shown").exists()
    assert show_folder(tmp_path, {"DISPLAY": ":0"}, opener)

    async def shown() -> Any:
        return await until(lambda: (tmp_path / "shown").exists() and (tmp_path / "shown").read_text())

    assert asyncio.run(shown()) == str(tmp_path)
