"""Who uses Steam on this machine, how long they played, and which tools they chose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from integ_runtime.steam.manifests import moment
from integ_runtime.steam.roots import SteamRoot, is_app_id
from integ_runtime.steam.vdf import Section, read_vdf
from integ_server.contract.errors import IntegrityError

FIRST_STEAM_ID = 76561197960265728
_STEAM = ("Software", "Valve", "Steam")
_EMPTY = Section()


class SteamUser(NamedTuple):
    """Somebody who signed in to this Steam."""

    steam_id: str
    """The 64-bit id."""
    persona_name: str
    most_recent: bool
    signed_in_at: int
    """Unix seconds; 0 when unknown."""
    folder: Path
    """`userdata/<32-bit id>`; may not be there yet."""

    @property
    def local_config(self) -> Path:
        return self.folder / "config" / "localconfig.vdf"


class Play(NamedTuple):
    playtime_min: int
    last_played_at: int
    """Unix seconds; 0 when unknown or never."""


def find_users(root: SteamRoot, warnings: list[str]) -> list[SteamUser]:
    """The users of *root*, the active one first."""
    named = _read(root.path / "config" / "loginusers.vdf", warnings).section("users")
    users: dict[int, SteamUser] = {}
    for steam_id, facts in named.sections():
        account = int(steam_id) - FIRST_STEAM_ID if steam_id.isascii() and steam_id.isdigit() and len(steam_id) == 17 else 0
        if 0 < account < 2**32:
            users[account] = SteamUser(
                steam_id,
                facts.text("PersonaName") or facts.text("AccountName"),
                facts.number("MostRecent") == 1,
                max(0, facts.number("Timestamp")),
                root.path / "userdata" / str(account),
            )
    for folder in _user_folders(root):
        account = int(folder.name)
        if account not in users:
            users[account] = SteamUser(str(FIRST_STEAM_ID + account), "", False, 0, folder)
    return sorted(users.values(), key=lambda user: (user.most_recent, user.signed_in_at, _written_at(user.local_config)), reverse=True)


def read_play(user: SteamUser, warnings: list[str]) -> dict[int, Play]:
    """What *user* played, by app id; only what was played at all."""
    content = _read(user.local_config, warnings)
    played: dict[int, Play] = {}
    # The full path counts: other trees of the file use the same numbers for other things.
    for app, facts in content.section("UserLocalConfigStore", *_STEAM, "apps").sections():
        if is_app_id(app):
            play = Play(min(max(0, facts.number("Playtime")), 2**31 - 1), moment(facts.number("LastPlayed")))
            if play.playtime_min or play.last_played_at:
                played[int(app)] = play
    return played


def read_chosen_tools(root: SteamRoot, warnings: list[str]) -> dict[int, str]:
    """The compatibility tool that the player chose, by app id; 0 is the choice for all other apps."""
    steam = _read(root.path / "config" / "config.vdf", warnings).section("InstallConfigStore", *_STEAM)
    chosen: dict[int, str] = {}
    for tree in ("ToolMapping", "CompatToolMapping"):  # the second is today's
        for app, facts in steam.section(tree).sections():
            name = facts.text("name")
            if name and (app == "0" or is_app_id(app)):
                chosen[int(app)] = name
    return chosen


def _user_folders(root: SteamRoot) -> Iterable[Path]:
    try:
        folders = list((root.path / "userdata").iterdir())
    except OSError:
        return []
    return sorted(each for each in folders if is_app_id(each.name) and str(int(each.name)) == each.name)  # not 0, ac, anonymous


def _written_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _read(file: Path, warnings: list[str]) -> Section:
    try:
        return read_vdf(file)
    except FileNotFoundError:
        return _EMPTY
    except IntegrityError as damaged:
        if damaged.message not in warnings:
            warnings.append(damaged.message)
        return _EMPTY
