"""Prefixes that a real Wine makes and works in, behind a folder with the shape of a Proton build."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from integ_runtime.prefix.prefixes import Prefixes
from integ_runtime.prefix.programs import PrefixPrograms
from integ_runtime.prefix.users import users_of
from integ_server.contract.errors import BusyError
from tests.runtime.launch.stage import Stage, make_proton, until
from tests.runtime.launch.test_windows import stage  # noqa: F401 - a fixture

KEY = "local:tea"
PROTON = """#!/bin/sh
verb=$1; shift
export WINEPREFIX="$STEAM_COMPAT_DATA_PATH/pfx" WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml=
mkdir -p "$WINEPREFIX"
echo "$verb" >> "$STEAM_COMPAT_DATA_PATH/verbs"
case $verb in
waitforexitandrun) wineserver -w; exec wine "$@";;
run|runinprefix) exec wine "$@";;
*) exit 90;;
esac
"""
GAME = r"""
#include <windows.h>
int main(int argc, char **argv)
{
    char text[] = "a save", end[MAX_PATH];
    HANDLE file = CreateFileA("C:\\save.txt", GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    DWORD written;
    WriteFile(file, text, sizeof text - 1, &written, NULL);
    CloseHandle(file);
    GetModuleFileNameA(NULL, end, sizeof end - 8);
    strcat(end, ".end");
    for (int tries = 0; tries < 2000 && GetFileAttributesA(end) == INVALID_FILE_ATTRIBUTES; tries++)
        Sleep(50);
    return 7;
}
"""

pytestmark = pytest.mark.integration


@pytest.fixture
def game(stage: Stage, home: Path, need: Callable[[str], str]) -> Path:  # noqa: F811
    """A Windows game that runs until a file beside it says that it may end, and a build for it."""
    source = home / "tea.c"
    source.write_text(GAME)
    made = stage.game("MZ", key=KEY, name="tea.exe", platform="windows")
    assert made.executable is not None
    subprocess.run([need("x86_64-w64-mingw32-gcc"), "-O1", "-s", "-o", made.executable, source], check=True)
    stage.proton.build = make_proton(home / "proton" / "GE-Proton9-27", needs=None, script=PROTON)
    return made.executable


@pytest.mark.timeout(400)
async def test_a_real_prefix_from_its_making_to_a_restore(stage: Stage, game: Path) -> None:  # noqa: F811
    prefixes, programs = Prefixes(stage.installed), PrefixPrograms(stage.installed, stage.launcher)
    prefix = stage.installed.folder(KEY) / "prefix"
    made = await programs.create(KEY)
    assert made.created
    assert (prefix / "pfx" / "system.reg").read_text().startswith("WINE REGISTRY")
    assert users_of(prefix) == [], "the registry is written and nothing runs any more"

    # a program by itself: its exit code, its words, its doing
    ran = await programs.run(KEY, "cmd", ["/c", "echo two words> C:\\said.txt & exit 5"], attach=False)
    assert (ran.verb, ran.outcome.exit_code) == ("run", 5)
    drive = await prefixes.drive(KEY)
    assert (drive / "said.txt").read_text().strip() == "two words"

    taken = await prefixes.take(KEY, note="before the game")
    assert not (taken.tree / "pfx" / "drive_c" / "save.txt").exists()
    assert os.readlink(taken.tree / "pfx" / "dosdevices" / "z:") == "/"

    # beside the game: it goes on, nobody touches the prefix, the same wineserver serves both
    playing = asyncio.create_task(stage.launcher.run(await stage.launcher.plan(KEY), attach=False))
    await until((drive / "save.txt").exists, within_s=120)
    beside = await programs.run(KEY, "cmd", ["/c", "exit 4"], attach=False)
    assert (beside.verb, beside.outcome.exit_code) == ("runinprefix", 4)
    running = (await prefixes.info(KEY)).running
    assert "tea.exe" in {each.name for each in running}
    for doing in (prefixes.take(KEY), prefixes.restore(KEY), prefixes.remove(KEY), programs.create(KEY)):
        with pytest.raises(BusyError):
            await doing
    assert not playing.done()
    Path(f"{game}.end").touch()
    assert (await playing).exit_code == 7
    assert (prefix / "verbs").read_text().split() == ["run", "run", "waitforexitandrun", "runinprefix"]

    # back to the snapshot and forth again, as soon as Wine has let go; each time the prefix works
    restored, kept = await prefixes.restore(KEY, taken.id)
    assert kept is not None and restored.id == taken.id
    assert not (drive / "save.txt").exists()
    again = await programs.run(KEY, "cmd", ["/c", "type C:\\said.txt"], attach=False)
    assert again.outcome.log_path is not None
    assert again.outcome.exit_code == 0
    assert "two words" in again.outcome.log_path.read_text(errors="replace")
    await prefixes.restore(KEY, kept.id)
    assert (drive / "save.txt").read_text() == "a save"
    await prefixes.remove(KEY, purge=True)
    assert sorted(each.name for each in stage.installed.folder(KEY).iterdir() if each.name.startswith((".prefix", "prefix"))) == [
        "prefix-snapshots"
    ]
