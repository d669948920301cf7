"""What Steam's own files on this machine say, with no account, no client running and no network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from integ_runtime.cache.records import LocalFact
from integ_runtime.steam.manifests import SteamApp, apps_in, find_app, is_tool, with_play
from integ_runtime.steam.processes import holds_its_files, running
from integ_runtime.steam.roots import SteamLibrary, SteamRoot, candidate_folders, find_libraries, find_roots, is_app_id, library_lists
from integ_runtime.steam.tools import SteamTool, find_tools, tool_folders
from integ_runtime.steam.users import Play, SteamUser, find_users, read_chosen_tools, read_play

_SYSTEM = Path("/")


class SteamSnapshot(NamedTuple):
    roots: tuple[SteamRoot, ...]
    libraries: tuple[SteamLibrary, ...]
    games: tuple[SteamApp, ...]
    """What is installed, half installed or on a drive that is not there; no tools. By app id; one of several copies."""
    tools: tuple[SteamTool, ...]
    users: tuple[SteamUser, ...]
    """The active user of each root before the others."""
    play: Mapping[int, Play]
    """Of the active users, by app id; games that are not installed too."""
    default_tool: str
    """The tool that Steam takes for every app without a choice of its own; empty when there is none."""
    warnings: tuple[str, ...]
    """Files that could not be understood, one line each; everything else was read all the same."""

    def find_game(self, app_id: int) -> SteamApp | None:
        return next((game for game in self.games if game.app_id == app_id), None)


class SteamFiles:
    """
    The Steam files of one home; nothing is ever written. All calls block: use a thread.

    *system* is the folder that holds `usr`, where distributions put compatibility tools.
    """

    def __init__(self, home: Path, environ: Mapping[str, str] = os.environ, system: Path = _SYSTEM) -> None:
        self._home = home
        self._environ = environ
        self._system = system

    def roots(self) -> list[SteamRoot]:
        return find_roots(self._home, self._environ)

    def tools(self) -> list[SteamTool]:
        """The Proton builds and runtimes; less work than a whole snapshot."""
        warnings: list[str] = []
        roots = self.roots()
        apps = [app for library in self._libraries(roots, warnings) for app in apps_in(library, warnings)]
        return find_tools(roots, apps, self._environ, warnings, self._system)

    def snapshot(self) -> SteamSnapshot:
        """Everything there is to know, read now."""
        warnings: list[str] = []
        roots = self.roots()
        libraries = self._libraries(roots, warnings)
        apps = [app for library in libraries for app in apps_in(library, warnings)]
        tools = find_tools(roots, apps, self._environ, warnings, self._system)
        active: list[SteamUser] = []
        others: list[SteamUser] = []
        play: dict[int, Play] = {}
        chosen: dict[tuple[Path, int], str] = {}
        for root in roots:
            users = find_users(root, warnings)
            active += users[:1]
            others += users[1:]
            for user in users[:1]:
                _merge_play(play, read_play(user, warnings))
            chosen.update({(root.path, app): tool for app, tool in read_chosen_tools(root, warnings).items()})
        return SteamSnapshot(
            roots=tuple(roots),
            libraries=tuple(libraries),
            games=tuple(_games(apps, tools, play, chosen)),
            tools=tuple(tools),
            users=(*active, *others),
            play=play,
            default_tool=next((chosen[root.path, 0] for root in roots if (root.path, 0) in chosen), ""),
            warnings=tuple(warnings),
        )

    def find_app(self, app_id: int) -> SteamApp | None:
        """One app as it is now, by its own manifest alone; of several copies the one to show, None when there is none."""
        found = [app for library in self._libraries(self.roots(), []) if (app := find_app(library, app_id)) is not None]
        return max(found, key=_rank, default=None)

    def client_runs(self) -> bool:
        """Whether a client of one of these Steams runs now."""
        return holds_its_files(self._home, self.roots())

    def doing(self, game_id: str) -> dict[str, Any] | None:
        """What Steam does with a game this moment, as `integ show --json` prints it; None when it has nothing of it here."""
        app = self.find_app(int(game_id)) if is_app_id(game_id) else None
        if app is None:
            return None
        is_moving = app.progress is not None
        return {
            "state": app.state,
            "running": running(game_id),
            "done_bytes": app.bytes_downloaded if is_moving else None,
            "total_bytes": app.bytes_to_download if is_moving else None,
        }

    def local_facts(self, snapshot: SteamSnapshot | None = None) -> list[LocalFact]:
        """What the library cache should know: installed games, and play times of others; a title may be empty."""
        known = snapshot or self.snapshot()
        facts = {game.app_id: _fact(game) for game in known.games}
        for app_id, play in known.play.items():
            facts.setdefault(
                app_id, LocalFact(f"steam:{app_id}", playtime_min=play.playtime_min, last_played_at=_text(play.last_played_at))
            )
        return [facts[app_id] for app_id in sorted(facts)]

    def fingerprint(self) -> str:
        """
        A text that changes when a snapshot would; of the files' times and sizes alone, but for the short lists of libraries.
        """
        import hashlib  # not for those who look for tools alone

        digest = hashlib.blake2b(digest_size=16)
        for path in self._watched():
            try:
                facts = path.stat()
            except OSError:
                digest.update(b"-;")
                continue
            digest.update(f"{os.fspath(path)}\0{facts.st_mtime_ns}\0{facts.st_size}\0{facts.st_ino};".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _libraries(self, roots: list[SteamRoot], warnings: list[str]) -> list[SteamLibrary]:
        """Those of all roots; one that two of them use counts once, for the first."""
        found: dict[Path, SteamLibrary] = {}
        for root in roots:
            for library in find_libraries(root, self._home, warnings):
                found.setdefault(library.path, library)
        return list(found.values())

    def watched(self) -> list[Path]:
        """Every path whose time, size or mere presence moves when a snapshot would; the places where no Steam is yet too."""
        return [*self._watched(), *candidate_folders(self._home, self._environ)]

    def _watched(self) -> Iterator[Path]:
        roots = self.roots()
        for root in roots:
            yield from library_lists(root)
            yield root.path / "config" / "loginusers.vdf"
            yield root.path / "userdata"
            yield from sorted((root.path / "userdata").glob("*/config/localconfig.vdf"))
        for library in self._libraries(roots, []):
            yield library.path
            if library.steamapps is not None:
                yield library.steamapps
                yield library.steamapps / "common"
                yield from sorted(library.steamapps.glob("appmanifest_*.acf"))
        for folder, _ in tool_folders(roots, self._environ, self._system):
            yield folder


def _games(apps: list[SteamApp], tools: list[SteamTool], play: dict[int, Play], chosen: dict[tuple[Path, int], str]) -> list[SteamApp]:
    tool_ids = {tool.app_id for tool in tools}
    best: dict[int, SteamApp] = {}
    for app in apps:
        if app.app_id in tool_ids or is_tool(app):
            continue
        before = best.get(app.app_id)
        if before is None or _rank(app) > _rank(before):
            best[app.app_id] = app
    games = []
    for app_id in sorted(best):
        game = best[app_id]._replace(tool=chosen.get((best[app_id].root, app_id), ""))
        played = play.get(app_id)
        games.append(with_play(game, played.playtime_min, played.last_played_at) if played else game)
    return games


def _rank(app: SteamApp) -> tuple[bool, bool, int]:
    """Which of several copies to show: one that can be played, then one that is here, then the newest."""
    return app.installed and not app.offline, not app.offline, app.updated_at


def _merge_play(play: dict[int, Play], more: dict[int, Play]) -> None:
    for app_id, each in more.items():
        before = play.get(app_id, each)
        play[app_id] = Play(max(before.playtime_min, each.playtime_min), max(before.last_played_at, each.last_played_at))


def _fact(game: SteamApp) -> LocalFact:
    return LocalFact(
        key=f"steam:{game.app_id}",
        title=_printable(game.name),
        platforms=("windows",) if game.windows else (),
        installed=game.installed,
        install_path=_printable(os.fspath(game.path)) if game.path is not None and game.installed else None,
        playtime_min=game.playtime_min,
        last_played_at=_text(game.last_played_at),
        update_available=game.update_available,
        proton=_printable(game.tool) or None,
    )


def _printable(text: str) -> str:
    """*text* as a database and JSON can hold it; bytes that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _text(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None
