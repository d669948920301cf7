"""The sandbox's Windows game the whole way: from GOG's chunks to a save below %APPDATA%."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Player

pytestmark = pytest.mark.integration


@pytest.mark.timeout(300)
def test_a_windows_game_is_installed_from_chunks_and_plays(signed_in: Player, sandbox: Any, need: Callable[[str], str]) -> None:
    server = (need("wine"), need("wineserver"))[1]
    signed_in.more["PATH"] = f"{signed_in.environ['PATH']}:/usr/games"
    signed_in.done("sync", "gog")
    signed_in.done("install-proton", "ge-latest")
    game = sandbox.world.with_content("windows-game")
    key = f"gog:{game.id}"
    installed = signed_in.done("install", key, "--language", "de", "--json").data
    folder = Path(installed["path"])

    program = folder / "bin/brasswater.exe"
    assert program.read_bytes()[:2] == b"MZ" and os.access(program, os.X_OK)
    assert (folder / "lang/de.txt").exists() and not (folder / "lang/fr.txt").exists()
    assert (folder / "bin/notes_64.txt").exists() and not (folder / "bin/notes_32.txt").exists()
    assert not list(folder.rglob("offline_only.txt"))
    assert (folder / "data/empty.txt").read_bytes() == b""
    assert (folder / "saves/templates").is_dir()
    assert (folder / "data/current.map").read_bytes() == (folder / "data/levels/north/lock_one.map").read_bytes()
    assert "Night Canals" in (folder / "data/banner.txt").read_text(), "the DLC's copy wins"
    assert {path.name.casefold() for path in folder.iterdir()} >= {"bin", "data"}
    assert len([path for path in folder.iterdir() if path.name.casefold() == "data"]) == 1, "two spellings are one folder"

    try:
        for start, (words, code) in enumerate({("--", "exit", "7"): 7, (): 0}.items(), 1):
            played = signed_in.integ("launch", key, *words, timeout_s=180)
            assert played.code == code, played.out + played.err
            assert f"{game.title}: start number {start}, the save is C:\\" in played.out
    finally:
        for pfx in (signed_in.home / ".local/share/integ/games").glob("*/prefix*/pfx"):
            subprocess.run([server, "-k"], env={**signed_in.environ, "WINEPREFIX": str(pfx)}, check=False, capture_output=True)
