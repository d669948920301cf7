"""A home with games in it that are really started: small programs that write down how they were started, and do odd things."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integ_runtime.cache.store import LibraryCache
from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.launch.launcher import Launcher
from integ_runtime.proton.installed import InstalledBuild
from integ_runtime.settings import RuntimeSettings, read_settings
from integ_runtime.steam.library import SteamFiles
from integ_server.contract.errors import BuildNotFoundError
from integ_server.contract.types import Changes, ReleaseRecord, TitleRecord

RECORDER = f"""#!{sys.executable} -IS
import json, os, sys
told = {{"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ), "stdin": os.readlink("/proc/self/fd/0"), "sid": os.getsid(0)}}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "started.json"), "w") as out:
    json.dump(told, out)
sys.exit(int(os.environ.get("EXIT_WITH", "0")))
"""


class FakeProton:
    """A store of Proton versions that has one, or none."""

    def __init__(self, build: InstalledBuild | None = None) -> None:
        self.build = build
        self.used: list[str] = []
        self.asked: list[tuple[str | None, str | None]] = []

    async def build_for(self, key: str | None, *, asked: str | None = None, required: str | None = None) -> InstalledBuild:
        self.asked.append((asked, required))
        if self.build is None:
            raise BuildNotFoundError("no Proton version is installed", hint="integ install-proton")
        return self.build

    async def mark_used(self, build: InstalledBuild) -> None:
        self.used.append(build.version)


@dataclass
class Stage:
    settings: RuntimeSettings
    installed: InstalledGames
    proton: FakeProton
    environ: dict[str, str]

    @property
    def launcher(self) -> Launcher:
        steam = SteamFiles(self.settings.paths.home, self.environ, system=self.settings.paths.home / "no-system")
        return Launcher(self.settings, self.installed, lambda: self.proton, lambda: steam, self.library, environ=self.environ)  # type: ignore

    @property
    def library(self) -> LibraryCache:
        return LibraryCache(self.settings.paths.cache_db)

    async def tell(self, key: str = "gog:1", **facts: Any) -> None:
        """What the backend tells of a release."""
        provider, _, game_id = key.partition(":")
        release = ReleaseRecord(key=key, provider=provider, provider_game_id=game_id, title_id="tea", title="Tea", **facts)
        revision = await self.library.revision() + 1
        await self.library.apply(Changes(revision=revision, titles=[TitleRecord(id="tea", title="Tea")], releases=[release]))

    def game(
        self, script: str = RECORDER, *, key: str = "gog:1", name: str = "play", platform: Any = "linux", **more: Any
    ) -> InstalledGame:
        """A game whose program is *script*, installed."""
        folder = self.settings.games_root / key.replace(":", " ")
        program = write_program(folder / name, script)
        game = InstalledGame(key, "Tea", folder, platform, "integ", executable=program, **more)
        self.installed.save(game)
        return game

    def started(self, game: InstalledGame) -> dict[str, Any]:
        """What the recorder wrote down."""
        return json.loads((game.path / "started.json").read_text())

    def sessions(self, key: str = "gog:1") -> list[dict[str, Any]]:
        file = self.installed.folder(key) / "sessions.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def make_stage(home: Path, environ: Mapping[str, str] | None = None, **variables: str) -> Stage:
    known = {"HOME": str(home), "PATH": os.environ["PATH"], **variables}
    settings = read_settings(known)
    return Stage(settings, InstalledGames(settings.paths), FakeProton(), {**known, **(environ or {})})


def write_program(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def make_proton(folder: Path, *, version: str = "GE-Proton9-27", needs: str | None = "1628350", script: str = RECORDER) -> InstalledBuild:
    """A folder with the shape of a Proton build, around *script*."""
    write_program(folder / "proton", script)
    needed = f'"require_tool_appid" "{needs}"' if needs else ""
    (folder / "toolmanifest.vdf").write_text(
        f'"manifest" {{ "version" "2" "commandline" "/proton %verb%" {needed} "compatmanager_layer_name" "proton" }}'
    )
    (folder / "version").write_text(f"1784900000 {version}\n")
    return InstalledBuild(version, "ge", folder, "integ", needs)


def make_wine(folder: Path, *, version: str = "wine-11.7", family: str = "kron4ek", script: str = RECORDER) -> InstalledBuild:
    """A folder with the shape of a build of plain Wine, around *script*; its wineserver does nothing."""
    write_program(folder / "bin" / "wine", script)
    write_program(folder / "bin" / "wineserver", "#!/bin/sh\n")
    (folder / "lib" / "wine").mkdir(parents=True)
    return InstalledBuild(version, family, folder, "integ")


async def until(condition: Callable[[], Any], *, within_s: float = 20.0) -> Any:
    """What *condition* answers once that is true; processes tell nobody what they do, so it is asked again and again."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
