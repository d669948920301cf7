"""What Steam tells about the player: the owned games with all their switches, the public profile, the achievements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from random import Random
from typing import Any

from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.world import WORLD_NOW, SteamApp


class MissingParameterError(Exception):
    """A parameter that the method cannot do without."""


class _OwnedGames:
    """Encoded lists by what was asked: five thousand games are encoded once, not at every sync."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[str, tuple[bool, ...]], bytes] = {}


def flag(value: object, *, default: bool = False) -> bool:
    return default if value is None else str(value).lower() in ("1", "true")


def number(parameters: Mapping[str, Any], name: str) -> int:
    text = str(parameters.get(name, ""))
    if not (text.isascii() and text.isdigit()):
        raise MissingParameterError(name)
    return int(text)


def resolve_vanity(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    if "vanityurl" not in given:
        raise MissingParameterError("vanityurl")
    if str(given["vanityurl"]).lower() == state.world.vanity and str(given.get("url_type", "1")) == "1":
        return 200, {"response": {"steamid": state.world.steam_id, "success": 1}}
    return 200, {"response": {"success": 42, "message": "No match"}}


def summaries(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    if "steamids" not in given:
        raise MissingParameterError("steamids")
    world = state.world
    hidden = state.faults.active("steam.private_profile") and not own_key
    asked = str(given["steamids"]).split(",")[:100]
    if crowd := [each for each in asked if each in world.libraries]:
        return 200, {"response": {"players": [_public_profile(each) for each in crowd]}}
    if world.steam_id not in asked:
        return 200, {"response": {"players": []}}
    picture = hashlib.sha1(world.persona.encode()).hexdigest()
    player: dict[str, object] = {
        "steamid": world.steam_id,
        "communityvisibilitystate": 1 if hidden else 3,
        "profilestate": 1,
        "personaname": world.persona,
        "profileurl": f"https://steamcommunity.com/id/{world.vanity}/",
        "avatar": f"https://avatars.steamstatic.com/{picture}.jpg",
        "avatarmedium": f"https://avatars.steamstatic.com/{picture}_medium.jpg",
        "avatarfull": f"https://avatars.steamstatic.com/{picture}_full.jpg",
        "avatarhash": picture,
        "personastate": 0,
    }
    if not hidden:
        player |= {"commentpermission": 1, "lastlogoff": WORLD_NOW - 10_000, "timecreated": 1_200_000_000, "personastateflags": 0}
    return 200, {"response": {"players": [player]}}


def _public_profile(steam_id: str) -> dict[str, object]:
    return {
        "steamid": steam_id,
        "communityvisibilitystate": 3,
        "profilestate": 1,
        "personaname": f"Player {steam_id[-4:]}",
        "profileurl": f"https://steamcommunity.com/profiles/{steam_id}/",
        "personastate": 0,
    }


def owned_games(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    steam_id = str(number(given, "steamid"))
    is_known = steam_id == state.world.steam_id or steam_id in state.world.libraries
    if not is_known or (state.faults.hit("steam.private_profile") and not own_key):
        return 200, {"response": {}}
    if state.faults.hit("steam.empty_library"):
        return 200, {"response": {"game_count": 0}}
    asked = (
        flag(given.get("include_appinfo")),
        flag(given.get("include_extended_appinfo")),
        flag(given.get("include_played_free_games")),
        flag(given.get("include_free_sub")),
        flag(given.get("skip_unvetted_apps"), default=True),
    )
    only = _appids(given)
    half = state.faults.hit("steam.half_list")
    if only is not None or half:
        return 200, _owned_list(state, steam_id, asked, only, half=half)
    bodies = state.part(_OwnedGames).bodies
    if (steam_id, asked) not in bodies:
        listed = _owned_list(state, steam_id, asked, None)
        bodies[steam_id, asked] = json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode()
    return 200, bodies[steam_id, asked]


def _appids(given: Mapping[str, Any]) -> set[int] | None:
    """The filter in its indexed or JSON form; Steam ignores a plain `appids_filter=`."""
    listed = given.get("appids_filter")
    values = listed if isinstance(listed, list) else [value for name, value in given.items() if name.startswith("appids_filter[")]
    return {int(value) for value in values if str(value).isdigit()} or None


def _owned_list(state: SandboxState, steam_id: str, asked: tuple[bool, ...], only: set[int] | None, *, half: bool = False) -> object:
    appinfo, extended, free, free_sub, skip_unvetted = asked
    games = [
        _owned(app, appinfo=appinfo, extended=appinfo and extended)
        for app in state.world.libraries.get(steam_id, state.world.owned_steam)
        if (free or not app.free)
        and (free_sub or not app.free_sub)
        and not (skip_unvetted and app.unvetted)
        and (only is None or app.appid in only)
    ]
    if half:
        return {"response": {"game_count": len(games), "games": games[: len(games) // 2]}}
    return {"response": {"game_count": len(games), **({"games": games} if games else {})}}


def _owned(app: SteamApp, *, appinfo: bool, extended: bool) -> dict[str, object]:
    """One entry, in Steam's own order of fields; what is empty is left out."""
    entry: dict[str, object] = {"appid": app.appid}
    if appinfo:
        entry["name"] = app.name
    entry |= _playtimes(app)
    if appinfo:
        entry["img_icon_url"] = app.icon
        if app.achievements:
            entry["has_community_visible_stats"] = True
    entry["rtime_last_played"] = app.last_played
    if extended:
        folder = f"{app.asset_folder}/" if app.asset_folder else ""
        entry |= {"capsule_filename": f"{folder}library_600x900.jpg", "sort_as": app.name.removeprefix("The "), "has_workshop": False}
        entry |= {"has_market": False, "has_dlc": False, "has_leaderboards": False}
    if app.descriptors:
        entry["content_descriptorids"] = list(app.descriptors)
    entry["playtime_disconnected"] = app.disconnected_min
    return entry


def _playtimes(app: SteamApp) -> dict[str, object]:
    times: dict[str, object] = {"playtime_forever": app.playtime_min}
    if app.playtime_2weeks_min:
        times["playtime_2weeks"] = app.playtime_2weeks_min
    return times | {
        "playtime_windows_forever": app.playtime_min - app.linux_min,
        "playtime_mac_forever": 0,
        "playtime_linux_forever": app.linux_min,
        "playtime_deck_forever": app.deck_min,
    }


def recently_played(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    if str(number(given, "steamid")) != state.world.steam_id or (state.faults.hit("steam.private_profile") and not own_key):
        return 200, {"response": {}}
    played = sorted((app for app in state.world.owned_steam if app.playtime_2weeks_min), key=lambda app: -app.playtime_2weeks_min)
    wanted = played[: int(given.get("count") or 0) or len(played)]
    if not played:
        return 200, {"response": {"total_count": 0}}
    games = [{"appid": app.appid, "name": app.name, "img_icon_url": app.icon, **_playtimes(app)} for app in wanted]
    return 200, {"response": {"total_count": len(played), "games": games}}


def _names(app: SteamApp) -> list[tuple[str, str]]:
    words = ("First Light", "Long Way Home", "Kettle On", "No Lamp Left", "Tide Table", "Patience", "Quick Hands", "The Old Song")
    return [(f"ACH_{index:02d}", f"{words[index % len(words)]} {index // len(words) + 1}") for index in range(max(0, app.achievements))]


def _app(state: SandboxState, appid: int) -> SteamApp | None:
    title = state.world.steam_apps.get(appid)
    return None if title is None else title.steam


def achievements(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    steam_id, app = number(given, "steamid"), _app(state, number(given, "appid"))
    if str(steam_id) != state.world.steam_id or (state.faults.hit("steam.private_profile") and not own_key):
        return 403, {"playerstats": {"error": "Profile is not public", "success": False}}
    if app is None or not app.achievements:
        return 400, {"playerstats": {"error": "Requested app has no stats", "success": False}}
    stats: dict[str, object] = {"steamID": state.world.steam_id, "gameName": app.name}
    luck = Random(f"achievements {app.appid}")
    rows = []
    for name, shown in _names(app):
        got = luck.random() < 0.5
        row: dict[str, object] = {"apiname": name, "achieved": int(got), "unlocktime": WORLD_NOW - luck.randrange(10**7) if got else 0}
        rows.append(row | {"name": shown, "description": ""} if "l" in given else row)
    if rows:
        stats["achievements"] = rows
        if rows[0]["achieved"]:
            rows[0]["unlocktime"] = 0  # Steam forgets when some early ones were earned
    return 200, {"playerstats": stats | {"success": True}}


def achievement_schema(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    app = _app(state, number(given, "appid"))
    if app is None or not app.achievements:
        return 200, {"game": {}}
    icons = f"https://cdn.akamai.steamstatic.com/steamcommunity/public/images/apps/{app.appid}/"
    rows: list[dict[str, object]] = []
    for index, (name, shown) in enumerate(_names(app)):
        hidden = index % 5 == 4
        row: dict[str, object] = {"name": name, "defaultvalue": 0, "displayName": shown, "hidden": int(hidden)}
        rows.append(
            row | ({} if hidden else {"description": f"{shown}."}) | {"icon": f"{icons}{name}.jpg", "icongray": f"{icons}{name}_g.jpg"}
        )
    stats = {"achievements": rows} if rows else {"stats": [{"name": "runs", "defaultvalue": 0, "displayName": ""}]}
    return 200, {"game": {"gameName": f"ValveTestApp{app.appid}", "gameVersion": "7", "availableGameStats": stats}}


def achievement_shares(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    app = _app(state, number(given, "gameid"))
    if app is None or app.achievements < 1:
        return 403, {}
    rows = [{"name": name, "percent": f"{81.4 / (index + 1):.1f}"} for index, (name, _) in enumerate(_names(app))]
    return 200, {"achievementpercentages": {"achievements": rows}}
