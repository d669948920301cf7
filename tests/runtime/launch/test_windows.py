"""A real Windows program in a real Wine, behind a folder with the shape of a Proton build."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integ_runtime.content.games import Games
from tests.runtime.launch.stage import Stage, make_proton, make_stage

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <direct.h>

int main(int argc, char **argv)
{
    char path[1024];
    snprintf(path, sizeof path, "%s\\Tea", getenv("APPDATA"));
    _mkdir(path);
    strcat(path, "\\save.txt");
    FILE *save = fopen(path, "wb");
    if (!save)
        return 3;
    char cwd[1024];
    fprintf(save, "%s|%s", argc > 1 ? argv[1] : "", _getcwd(cwd, sizeof cwd));
    fclose(save);
    return 7;
}
"""
PROTON = """#!/bin/sh
[ "$1" = waitforexitandrun ] || exit 90
shift
export WINEPREFIX="$STEAM_COMPAT_DATA_PATH/pfx" WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml=
mkdir -p "$WINEPREFIX"
exec wine "$@"
"""


@pytest.fixture
def stage(home: Path, need: Callable[[str], str]) -> Iterator[Stage]:
    wine = Path(need("wine"))
    server = need("wineserver")
    stage = make_stage(home, {"PATH": f"{wine.parent}:{os.environ['PATH']}"})
    yield stage
    for prefix in stage.settings.paths.games_dir.glob("*/prefix/pfx"):
        subprocess.run([server, "-k"], env={"WINEPREFIX": str(prefix), "PATH": os.environ["PATH"]}, check=False, capture_output=True)


async def test_a_windows_game_runs_in_its_own_prefix_and_saves_there(stage: Stage, home: Path, need: Callable[[str], str]) -> None:
    compiler = need("x86_64-w64-mingw32-gcc")
    folder = home / "Old Games" / "Tea"
    folder.mkdir(parents=True)
    (home / "tea.c").write_text(PROGRAM)
    subprocess.run([compiler, "-O1", "-s", "-o", folder / "Tea.exe", home / "tea.c"], check=True)

    async def no_backend() -> None:
        raise AssertionError("taking a game over needs no backend")

    games = Games(stage.settings, no_backend, stage.installed)  # type: ignore[arg-type]
    done = await games.import_game("Tea Time", "Tea Time", folder, Path("Tea.exe"))
    assert done["key"] == "local:tea-time"
    assert done["platform"] == "windows"

    stage.proton.build = make_proton(home / "proton" / "GE-Proton9-27", needs=None, script=PROTON)
    plan = await stage.launcher.plan("local:tea-time", args=["two words"])
    assert plan.runner == "bare"
    outcome = await stage.launcher.run(plan, attach=False)
    assert outcome.log_path is not None
    assert outcome.exit_code == 7, outcome.log_path.read_text()
    prefix = stage.settings.paths.game_dir("local:tea-time") / "prefix"
    (save,) = (prefix / "pfx" / "drive_c" / "users").glob("*/AppData/Roaming/Tea/save.txt")
    said, cwd = save.read_text().split("|")
    assert said == "two words"
    assert cwd.lower() == "z:" + str(folder).replace("/", "\\").lower()
    assert [each["exit_code"] for each in stage.sessions("local:tea-time")] == [7]
    assert not [each for each in folder.iterdir() if each.name != "Tea.exe"], "nothing is put into a game that was taken over"
