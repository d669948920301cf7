"""Games with plain Wine: what would be run, how it ends, and a real Windows program in a real Wine."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integ_runtime.errors import LaunchError, ProgramMissingError
from integ_runtime.launch.builds import read_call
from integ_runtime.launch.calling import WineBuild
from integ_runtime.launch.launcher import Launcher
from integ_runtime.launch.options import GameOptions
from integ_runtime.launch.playtime import playing
from integ_runtime.prefix.prefixes import Prefixes
from integ_runtime.prefix.programs import PrefixPrograms
from integ_runtime.prefix.snapshots import list_snapshots
from integ_runtime.prefix.users import users_of
from integ_runtime.prefix.versions import Used, last_build
from integ_runtime.proton.installed import InstalledBuild
from integ_server.contract.errors import BusyError, IntegrityError
from tests.runtime.launch.stage import RECORDER, Stage, make_proton, make_stage, make_wine, until, write_program
from tests.runtime.launch.test_windows import stage as real_stage  # noqa: F401 - a fixture

KEY = "gog:1"
ELF_32 = b"\x7fELF\x01\x01\x01" + bytes(11) + b"\x03\x00" + bytes(44)


@pytest.fixture
def stage(home: Path) -> Stage:
    stage = make_stage(home, {"PATH": f"{home}/bin:/usr/bin:/bin", "LOGNAME": "ann", "USER": "ann"})
    stage.proton.build = make_wine(home / "wine-11.7")
    stage.game("MZ", name="play.exe", platform="windows", arguments=("-w",))
    return stage


def build_of(stage: Stage) -> InstalledBuild:
    assert stage.proton.build is not None
    return stage.proton.build


def prefix_of(stage: Stage) -> Path:
    return stage.installed.folder(KEY) / "prefix"


async def test_the_plan_is_the_builds_own_wine_with_wines_own_prefix(stage: Stage) -> None:
    plan = await stage.launcher.plan(KEY, args=["-x"])
    folder, game = build_of(stage).path, stage.installed.get(KEY)
    assert plan.argv == (f"{folder}/bin/wine", str(game.executable), "-w", "-x")
    assert plan.stop == (f"{folder}/bin/wineserver", "-k")
    assert (plan.runner, plan.prefix, plan.proton) == ("wine", prefix_of(stage), "wine-11.7")
    assert plan.env == {
        "WINEPREFIX": str(prefix_of(stage) / "pfx"),
        "WINESERVER": f"{folder}/bin/wineserver",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "winemenubuilder.exe=d",
        "WINEFSYNC": "1",
        "USER": "steamuser",
    }
    assert plan.notes == ()
    assert json.loads(json.dumps(plan.as_dict()))["runner"] == "wine"
    assert not prefix_of(stage).exists(), "a plan touches nothing"


@pytest.mark.parametrize(
    ("runner", "told"), [("umu", "umu-run is left out"), ("runtime", "the Steam runtime is left out"), ("bare", ""), ("auto", "")]
)
async def test_umu_and_steams_runtime_are_left_out_and_whoever_chose_them_is_told(home: Path, runner: str, told: str) -> None:
    stage = make_stage(home, {"PATH": f"{home}/bin:/usr/bin:/bin"}, INTEG_RUNNER=runner)
    write_program(home / "bin" / "umu-run", "#!/bin/sh\nexit 99\n")
    stage.proton.build = make_wine(home / "wine-11.7")
    stage.game("MZ", name="play.exe", platform="windows")
    plan = await stage.launcher.plan(KEY)
    assert plan.runner == "wine" and plan.argv[0] == str(home / "wine-11.7/bin/wine")
    assert not {"PROTONPATH", "GAMEID", "STEAM_COMPAT_DATA_PATH"} & plan.env.keys()
    assert [note.partition(":")[0] for note in plan.notes] == ([told] if told else [])


async def test_what_the_player_sets_is_joined_with_what_wine_needs(stage: Stage) -> None:
    folder = build_of(stage).path
    for library in ("lib", "lib64"):
        (folder / library / "gstreamer-1.0").mkdir(parents=True)
        (folder / library / "libvkd3d.so.1").touch()
    plan = await stage.launcher.plan(
        KEY, env={"WINEDLLOVERRIDES": "dinput8=n,b", "LD_LIBRARY_PATH": "/mine", "WINEDEBUG": "+seh", "WINEPREFIX": "/elsewhere"}
    )
    assert plan.env["WINEDLLOVERRIDES"] == "winemenubuilder.exe=d;dinput8=n,b"
    assert plan.env["LD_LIBRARY_PATH"] == f"/mine:{folder}/lib64:{folder}/lib"
    assert plan.env["GST_PLUGIN_SYSTEM_PATH_1_0"] == f"{folder}/lib64/gstreamer-1.0:{folder}/lib/gstreamer-1.0"
    assert plan.env["WINEDEBUG"] == "+seh"
    assert plan.env["WINEPREFIX"] == str(prefix_of(stage) / "pfx")
    assert plan.notes == ("WINEPREFIX is set by Integ and can't be changed",)


async def test_wrappers_stand_before_wine(stage: Stage, home: Path) -> None:
    write_program(home / "bin" / "mangohud", "#!/bin/sh\n")
    plan = await stage.launcher.plan(KEY, wrappers=["mangohud"])
    assert plan.argv[:2] == (str(home / "bin/mangohud"), f"{build_of(stage).path}/bin/wine")


async def test_the_game_gets_a_clean_environment_and_a_prefix_that_is_noted(stage: Stage) -> None:
    stage.environ |= {"PYTHONPATH": "/x", "LD_PRELOAD": "/y.so", "WINEARCH": "win32", "GITHUB_TOKEN": "secret", "INTEG_TOKEN": "secret"}
    outcome = await stage.launcher.run(await stage.launcher.plan(KEY), attach=False)
    assert outcome.exit_code == 0
    started = json.loads((build_of(stage).path / "bin" / "started.json").read_text())
    assert not {"PYTHONPATH", "LD_PRELOAD", "WINEARCH", "GITHUB_TOKEN", "INTEG_TOKEN"} & started["env"].keys()
    assert started["env"]["WINEPREFIX"] == str(prefix_of(stage) / "pfx")
    assert started["cwd"] == str(stage.installed.get(KEY).path)
    assert last_build(prefix_of(stage)) == Used("wine-11.7", "kron4ek")
    assert list_snapshots(stage.installed.folder(KEY)) == [], "nothing had used it"
    assert stage.proton.used == ["wine-11.7"]
    assert [each["proton"] for each in stage.sessions()] == ["wine-11.7"]


async def test_what_the_player_runs_around_a_game_is_the_players_own(stage: Stage, home: Path) -> None:
    write_program(home / "bin" / "hello", f'#!/bin/sh\necho "$USER" > {home}/who\n')
    stage.launcher.keep_options(KEY, GameOptions(before="hello"))
    await stage.launcher.run(await stage.launcher.plan(KEY), attach=False)
    assert (home / "who").read_text() == "ann\n"


async def test_a_change_between_proton_and_wine_is_told_and_keeps_a_snapshot(stage: Stage, home: Path) -> None:
    wine = build_of(stage)
    proton = make_proton(home / "GE-Proton9-27", needs=None, script='#!/bin/sh\nmkdir -p "$STEAM_COMPAT_DATA_PATH/pfx"\n')
    stage.proton.build = proton
    await stage.launcher.run(await stage.launcher.plan(KEY), attach=False)
    (prefix_of(stage) / "version").write_text("GE-Proton9-27\n")
    stage.proton.build = wine
    plan = await stage.launcher.plan(KEY)
    (note,) = plan.notes
    assert note.startswith("GE-Proton9-27 has used this prefix, and wine-11.7 is older or of another family")
    await stage.launcher.run(plan, attach=False)
    (kept,) = list_snapshots(stage.installed.folder(KEY))
    assert (kept.reason, kept.used) == ("older-build", Used("GE-Proton9-27", "ge"))
    assert (await stage.launcher.plan(KEY)).notes == (), "Wine has it now"
    stage.proton.build = wine._replace(version="wine-11.8")
    assert (await stage.launcher.plan(KEY)).notes == (), "a newer one of the family may have it"
    stage.proton.build = proton
    assert "wine-11.7 has used this prefix" in (await stage.launcher.plan(KEY)).notes[0]


async def test_the_windows_users_folders_are_kept_from_becoming_links_and_links_of_the_players_stay(stage: Stage, home: Path) -> None:
    user = prefix_of(stage) / "pfx/drive_c/users/steamuser"
    (user / "Documents/My Games").mkdir(parents=True)
    (home / "pictures").mkdir()
    (user / "Pictures").symlink_to(home / "pictures")
    await stage.launcher.run(await stage.launcher.plan(KEY), attach=False)
    assert (user / "Pictures").readlink() == home / "pictures" and list((home / "pictures").iterdir()) == []
    kept = {"Desktop", "Documents", "Downloads", "Music", "Videos", "AppData/Roaming/Microsoft/Windows/Templates"}
    assert {name for name in kept if (user / name).is_dir() and any((user / name).iterdir())} == kept
    assert (await stage.launcher.run(await stage.launcher.plan(KEY), attach=False)).exit_code == 0, "once more"


async def test_stop_asks_the_wineserver_of_the_same_build(stage: Stage) -> None:
    folder = build_of(stage).path
    write_program(folder / "bin" / "wine", '#!/bin/sh\ntouch "$0.runs"\nwhile [ ! -e "$0.end" ]; do sleep 0.02; done\nsleep 0.5\nexit 4\n')
    asks = '#!/bin/sh\necho "$*|$WINEPREFIX" > "$0.asked"\ntouch "$(dirname "$0")/wine.end"\n'
    server = write_program(folder / "bin" / "wineserver", asks)
    task = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(KEY), attach=False))
    await until((folder / "bin" / "wine.runs").exists)
    await until(lambda: playing(stage.installed.folder(KEY)))
    told: list[str] = []
    (ended,) = await stage.launcher.stop(KEY, tell=told.append)
    assert ended.proton == "wine-11.7" and told == ["Tea: Wine is asked to end it"]
    outcome = await task
    assert (outcome.exit_code, outcome.stopped) == (4, True)
    assert Path(f"{server}.asked").read_text() == f"-k|{prefix_of(stage) / 'pfx'}\n"


async def test_a_game_waits_until_what_another_wine_left_in_the_prefix_has_ended(stage: Stage, home: Path) -> None:
    other = home / "wineserver"
    other.write_bytes(Path("/bin/sleep").read_bytes())
    other.chmod(0o755)
    with subprocess.Popen([other, "600"], env={"WINEPREFIX": str(prefix_of(stage) / "pfx")}) as left:
        try:
            await until(lambda: users_of(prefix_of(stage)))
            task = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(KEY), attach=False))
            await asyncio.sleep(0.5)
            assert not (build_of(stage).path / "bin" / "started.json").exists()
        finally:
            left.send_signal(signal.SIGKILL)
    assert (await task).exit_code == 0


async def test_a_build_with_wine64_alone_is_called_by_that(stage: Stage) -> None:
    folder = build_of(stage).path
    (folder / "bin" / "wine").rename(folder / "bin" / "wine64")
    assert (await stage.launcher.plan(KEY)).argv[0] == f"{folder}/bin/wine64"
    (folder / "bin" / "wine64").unlink()
    with pytest.raises(IntegrityError, match="no wine and wineserver") as told:
        await stage.launcher.plan(KEY)
    assert told.value.hint == "integ proton verify wine-11.7"


def called(build: InstalledBuild, prefix: Path, root: Path) -> WineBuild:
    found = read_call(build, prefix, root)
    assert isinstance(found, WineBuild)
    return found


def test_without_32_bit_libraries_the_64_bit_loader_is_taken_with_a_word(stage: Stage, home: Path) -> None:
    build, root = build_of(stage), home / "host"
    (build.path / "bin" / "wine").write_bytes(ELF_32)
    with pytest.raises(LaunchError, match="needs 32-bit libraries") as told:
        called(build, prefix_of(stage), root)
    assert told.value.hint.startswith("integ install-proton wine-11.7,")
    write_program(build.path / "bin" / "wine64", RECORDER)
    found = called(build, prefix_of(stage), root)
    assert found.wine.name == "wine64" and "32-bit programs will not run" in found.notes[0]
    (root / "lib").mkdir(parents=True)
    (root / "lib/ld-linux.so.2").touch()
    found = called(build, prefix_of(stage), root)
    assert (found.wine.name, found.notes) == ("wine", ())


def test_a_32_bit_build_is_not_let_into_a_64_bit_prefix(stage: Stage, home: Path) -> None:
    build = build_of(stage)._replace(version="wine-11.7-x86")
    (build.path / "bin" / "wine").write_bytes(ELF_32)
    (home / "lib").mkdir()
    (home / "lib/ld-linux.so.2").touch()
    registry = prefix_of(stage) / "pfx" / "system.reg"
    registry.parent.mkdir(parents=True)
    registry.write_text("WINE REGISTRY Version 2\n;; All keys relative to REGISTRY\\\\Machine\n\n#arch=win64\n")
    with pytest.raises(LaunchError, match="knows 32-bit prefixes alone") as told:
        called(build, prefix_of(stage), home)
    assert told.value.hint.startswith("integ launch gog:1 --proton wine-11.7,")
    registry.write_text("WINE REGISTRY Version 2\n#arch=win32\n")
    assert called(build, prefix_of(stage), home).wine.name == "wine"


async def test_from_inside_flatpak_the_host_is_given_all_that_wine_needs(stage: Stage, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".flatpak-info").touch()
    stage.environ["LD_LIBRARY_PATH"] = "/app/lib"
    (build_of(stage).path / "lib" / "libvkd3d.so.1").touch()
    launcher = stage.launcher
    inside = Launcher(
        stage.settings, stage.installed, launcher._proton, launcher._steam, environ=stage.environ, flatpak_info=home / ".flatpak-info"
    )
    monkeypatch.setattr("integ_runtime.launch.flatpak._SANDBOX_ONLY", ("/app",))  # the tests' own home is in /tmp
    plan = await inside.plan(KEY)
    assert plan.on_host and f"{build_of(stage).path}/bin/wine" in plan.argv
    named = plan.argv[plan.argv.index(str(plan.cwd)) + 1].split("=")
    assert {"WINEPREFIX", "WINESERVER", "WINEDLLOVERRIDES", "LD_LIBRARY_PATH"} <= set(named)
    assert plan.environ["WINEPREFIX"] == str(prefix_of(stage) / "pfx")
    assert plan.environ["LD_LIBRARY_PATH"] == str(build_of(stage).path / "lib"), "what the sandbox has is not on the host"
    assert f"{build_of(stage).path}/bin/wineserver" in plan.stop


MAKES = '#!/bin/sh\nmkdir -p "$WINEPREFIX"\necho "$*|$WINEDLLOVERRIDES" >> "$0.asked"\ntouch "$WINEPREFIX/system.reg"\n'


def asked_of(stage: Stage) -> list[str]:
    return (build_of(stage).path / "bin" / "wine.asked").read_text().splitlines()


async def test_a_prefix_is_made_without_a_question_that_nobody_could_answer(stage: Stage) -> None:
    write_program(build_of(stage).path / "bin" / "wine", MAKES)
    programs = PrefixPrograms(stage.installed, stage.launcher)
    made = await programs.create(KEY)
    assert (made.created, made.proton, made.family) == (True, "wine-11.7", "kron4ek")
    (build_of(stage).path / "share/wine/mono").mkdir(parents=True)
    await programs.create(KEY)
    assert asked_of(stage) == ["wineboot|winemenubuilder.exe=d;mscoree,mshtml=", "wineboot|winemenubuilder.exe=d"]
    ran = await programs.run(KEY, "winecfg", attach=False)
    assert (ran.verb, asked_of(stage)[-1]) == ("run", "winecfg|winemenubuilder.exe=d")


async def test_winetricks_gets_the_builds_wine_though_umu_is_there(stage: Stage, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.launcher.__class__, "find_program", lambda self, name: self._which(name))  # root or not
    write_program(build_of(stage).path / "bin" / "wine", MAKES)
    write_program(home / "bin" / "umu-run", "#!/bin/sh\nexit 99\n")
    programs = PrefixPrograms(stage.installed, stage.launcher)
    with pytest.raises(ProgramMissingError, match=r"winetricks is not on this machine, and wine-11\.7 brings none"):
        await programs.winetricks(KEY, ["d3dx9"], attach=False)
    tells = '#!/bin/sh\necho "$*|$WINE|$WINESERVER|$WINEPREFIX" > "$0.asked"\necho d3dx9 > "$WINEPREFIX/winetricks.log"\n'
    write_program(home / "bin" / "winetricks", tells)
    done = await programs.winetricks(KEY, ["d3dx9"], attach=False)
    assert (done.by, done.applied) == ("winetricks", ("d3dx9",))
    folder = build_of(stage).path / "bin"
    said = (home / "bin" / "winetricks.asked").read_text().strip()
    assert said == f"-q d3dx9|{folder}/wine|{folder}/wineserver|{prefix_of(stage)}/pfx"


# with a real Wine

GAME = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <direct.h>
#include <windows.h>

int main(int argc, char **argv)
{
    char path[MAX_PATH + 8];
    snprintf(path, sizeof path, "%s\\Tea", getenv("APPDATA"));
    _mkdir(path);
    strcat(path, "\\save.txt");
    FILE *save = fopen(path, "wb");
    if (!save)
        return 3;
    fprintf(save, "%s", argc > 1 ? argv[1] : "");
    fclose(save);
    GetModuleFileNameA(NULL, path, MAX_PATH);
    strcat(path, ".end");
    for (int tries = 0; tries < 2000 && GetFileAttributesA(path) == INVALID_FILE_ATTRIBUTES; tries++)
        Sleep(50);
    return 7;
}
"""


@pytest.fixture
def real(real_stage: Stage, home: Path, need: Callable[[str], str]) -> Iterator[Path]:  # noqa: F811
    """A Windows game that runs until a file beside it says that it may end, and this machine's Wine in the shape of Kron4ek's builds."""
    (home / "tea.c").write_text(GAME)
    made = real_stage.game("MZ", key=KEY, name="tea.exe", platform="windows")
    assert made.executable is not None
    subprocess.run([need("x86_64-w64-mingw32-gcc"), "-O1", "-s", "-o", made.executable, home / "tea.c"], check=True)
    build = real_stage.proton.build = make_wine(home / "wine-8.0", version="wine-8.0", script=f'#!/bin/sh\nexec {need("wine")} "$@"\n')
    write_program(build.path / "bin" / "wineserver", f'#!/bin/sh\nexec {need("wineserver")} "$@"\n')
    yield made.executable
    Path(f"{made.executable}.end").touch()


def saves(stage: Stage) -> list[Path]:
    return list((prefix_of(stage) / "pfx" / "drive_c" / "users").glob("*/AppData/Roaming/Tea/save.txt"))


@pytest.mark.integration
@pytest.mark.timeout(400)
async def test_a_real_game_from_its_prefix_to_its_end(real_stage: Stage, real: Path) -> None:  # noqa: F811
    stage, programs = real_stage, PrefixPrograms(real_stage.installed, real_stage.launcher)
    made = await programs.create(KEY)
    assert made.created and made.family == "kron4ek"
    links = [each for each in (prefix_of(stage) / "pfx/drive_c/users").rglob("*") if each.is_symlink()]
    assert links == [], "what a game keeps lies in the prefix, not in the player's home folder"
    assert (prefix_of(stage) / "pfx" / "system.reg").read_text().startswith("WINE REGISTRY")
    assert users_of(prefix_of(stage)) == []

    plan = await stage.launcher.plan(KEY, args=["two words"])
    game = asyncio.create_task(stage.launcher.run(plan, attach=False))
    (save,) = await until(lambda: saves(stage), within_s=120)
    assert save.relative_to(prefix_of(stage) / "pfx/drive_c/users").parts[0] == "steamuser", "where a Proton would look for it too"
    beside = await programs.run(KEY, "cmd", ["/c", "exit 4"], attach=False)
    assert (beside.verb, beside.outcome.exit_code) == ("runinprefix", 4)
    with pytest.raises(BusyError):
        await Prefixes(stage.installed).take(KEY)
    assert not game.done(), "it goes on"
    Path(f"{real}.end").touch()
    outcome = await game
    assert outcome.log_path is not None
    assert outcome.exit_code == 7, outcome.log_path.read_text()
    assert save.read_text() == "two words"
    (session,) = stage.sessions(KEY)
    assert (session["exit_code"], session["proton"]) == (7, "wine-8.0")


@pytest.mark.integration
@pytest.mark.timeout(400)
async def test_a_real_game_is_stopped_by_asking_its_wine(real_stage: Stage, real: Path) -> None:  # noqa: F811
    stage = real_stage
    game = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(KEY), attach=False))
    await until(lambda: saves(stage), within_s=120)
    told: list[str] = []
    await stage.launcher.stop(KEY, tell=told.append)
    assert not [each for each in told if each != "Tea: Wine is asked to end it"], "nothing had to be killed"
    assert (await game).stopped
    await until(lambda: not users_of(prefix_of(stage)))
    assert (prefix_of(stage) / "pfx" / "user.reg").is_file(), "Wine has written down what it knew"
