"""Where Integ keeps things: the XDG folders, read once from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from integ_server.contract.errors import UsageError


class Paths(NamedTuple):
    """All folders are absolute; none is created before something is written into it."""

    home: Path
    data: Path
    """Embedded database, games' prefixes and ledgers: `~/.local/share/integ`."""
    cache: Path
    """Library cache, Proton versions: `~/.cache/integ`."""
    config: Path
    """`~/.config/integ`."""
    state: Path
    """Logs: `~/.local/state/integ`."""
    runtime: Path | None
    """`$XDG_RUNTIME_DIR/integ`, when there is one."""
    cache_name: str = "library.db"
    """Of the library cache's file: each backend has its own, so that no two libraries mix."""

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def cache_db(self) -> Path:
        return self.cache / self.cache_name

    @property
    def proton_dir(self) -> Path:
        return self.cache / "proton"

    @property
    def games_dir(self) -> Path:
        """One folder a game, `<provider>-<id>`: its prefix, its ledger, its play record."""
        return self.data / "games"

    @property
    def embedded_db(self) -> Path:
        return self.data / "integ.db"

    @property
    def logs_dir(self) -> Path:
        return self.state / "logs"

    def game_dir(self, key: str) -> Path:
        """The folder of one game; *key* is `provider:id`, already checked."""
        return self.games_dir / key.replace(":", "-", 1)


def read_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """
    The folders that *environ* asks for, by the XDG base directory rules.

    Raises:
        UsageError: HOME is not set or not absolute.
    """
    home = Path(environ.get("HOME", ""))
    if not home.is_absolute():
        raise UsageError("HOME is not set to an absolute path", hint="export HOME=/home/you")

    def folder(variable: str, default: str) -> Path:
        asked = Path(environ.get(variable, ""))
        base = asked if asked.is_absolute() else home / default  # a relative value is to be ignored, says the standard
        return base / "integ"

    runtime = Path(environ.get("XDG_RUNTIME_DIR", ""))
    return Paths(
        home=home,
        data=folder("XDG_DATA_HOME", ".local/share"),
        cache=folder("XDG_CACHE_HOME", ".cache"),
        config=folder("XDG_CONFIG_HOME", ".config"),
        state=folder("XDG_STATE_HOME", ".local/state"),
        runtime=runtime / "integ" if runtime.is_absolute() else None,
    )
