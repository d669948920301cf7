"""A real Windows program, from its compiler to its save: Proton or plain Wine by install-proton, the game by import, played by launch."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Player

pytestmark = pytest.mark.integration

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <direct.h>
int main(int count, char **words) {
    char path[1024];
    snprintf(path, sizeof path, "%s\\Teapot", getenv("APPDATA"));
    _mkdir(path);
    strcat(path, "\\save.txt");
    FILE *save = fopen(path, "w");
    if (!save) return 1;
    fprintf(save, "cups=3 words=%d", count - 1);
    fclose(save);
    puts("tea is ready");
    return 7;
}
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("asked", ["ge-latest", "kron4ek", "wine-ge"])
def test_a_windows_program_runs_saves_and_passes_its_exit_code_on(
    player: Player, sandbox: Any, tmp_path: Path, need: Callable[[str], str], asked: str
) -> None:
    compiler, _ = need("x86_64-w64-mingw32-gcc"), need("wine")
    game = tmp_path / "Teapot"
    game.mkdir()
    (tmp_path / "teapot.c").write_text(PROGRAM)
    subprocess.run([compiler, tmp_path / "teapot.c", "-o", game / "teapot.exe"], check=True)
    player.more["PATH"] = f"{player.environ['PATH']}:/usr/games"

    version = player.done("install-proton", asked, "--json").data["version"]
    imported = player.done("import", "Teapot", "--path", str(game), "--exe", "teapot.exe", "--json").data
    try:
        played = player.integ("launch", imported["key"], "--json", "--", "-sugar", timeout_s=180)
        assert played.code == 7, played.out + played.err
        plan = player.done("launch", imported["key"], "--dry-run", "--json").data
        saves = list(Path(plan["prefix"]).rglob("Teapot/save.txt"))
        assert len(saves) == 1
        assert saves[0].read_text() == "cups=3 words=1"
        assert plan["proton"] == version
        assert str(player.home / ".local/share/integ/games") in plan["prefix"]
    finally:
        prefix = player.home / ".local/share/integ/games"
        for pfx in prefix.glob("*/prefix*/pfx"):
            subprocess.run(["wineserver", "-k"], env={**player.environ, "WINEPREFIX": str(pfx)}, check=False, capture_output=True)
