"""A game with a prefix, and what can be done to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from integ_runtime.content.installed import InstalledGames
from integ_runtime.paths import read_paths
from integ_runtime.prefix.prefixes import Prefixes
from integ_runtime.prefix.versions import Used, write_note
from tests.runtime.prefix.states import write_state


@pytest.fixture
def prefixes(home: Path) -> Prefixes:
    return Prefixes(InstalledGames(read_paths({"HOME": str(home)})))


@pytest.fixture
def folder(home: Path) -> Path:
    """The folder of a game that has a prefix, used by GE-Proton10-1."""
    game_dir = home / ".local/share/integ/games/gog-1"
    write_state(game_dir, "first")
    write_note(game_dir, Used("GE-Proton10-1", "ge"))
    return game_dir
