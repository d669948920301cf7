"""What a player achieved in one Steam game: three answers, of which only the first has to come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from integ_server.contract.achievements import Achievement
from integ_server.contract.errors import IntegError, PrivateProfileError
from integ_server.providers._http import Answer, error_for
from integ_server.providers._steam_models import SteamModel
from integ_server.providers._text import Count, Line, moment

Call = Callable[[str, dict[str, str | int]], Awaitable[Answer]]
"""Asks a method of the Web API with the player's credentials; a refused key is raised, any other answer is handed back."""

M = TypeVar("M", bound=SteamModel)
_PRIVATE_HINT = "set Profile > Edit Profile > Privacy > Game details to Public at Steam, or sign in with your own API key"


def _percent(value: Any) -> float | None:
    """A number, or a text with one, or nothing usable."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return round(number, 1) if 0 <= number <= 100 else None


class _Earned(SteamModel):
    apiname: str
    achieved: Count = 0
    unlocktime: Count = 0
    name: Line = ""
    description: Line = ""


class _Stats(SteamModel):
    success: bool = False
    error: str = ""
    achievements: list[_Earned] = []


class _StatsAnswer(SteamModel):
    playerstats: _Stats


class _Described(SteamModel):
    name: str
    displayName: Line = ""
    hidden: Count = 0
    description: Line = ""
    icon: str = ""
    icongray: str = ""


class _Available(SteamModel):
    achievements: list[_Described] = []


class _Game(SteamModel):
    availableGameStats: _Available = _Available()


class _SchemaAnswer(SteamModel):
    game: _Game = _Game()


class _Share(SteamModel):
    name: str
    percent: Annotated[float | None, BeforeValidator(_percent)] = None


class _Shares(SteamModel):
    achievements: list[_Share] = []


class _SharesAnswer(SteamModel):
    achievementpercentages: _Shares = _Shares()


async def read_achievements(call: Call, steamid: str, appid: str) -> list[Achievement]:
    """
    The game's achievements with what the account has of them; empty for a game without any.

    Raises:
        AuthenticationError: Steam refused the credentials.
        PrivateProfileError: The account hides its games from them.
        ProviderError: Steam answered oddly, is down, or asks for a pause.

    Source: https://partner.steamgames.com/doc/webapi/ISteamUserStats
    """
    answer = await call("ISteamUserStats/GetPlayerAchievements/v1/", {"steamid": steamid, "appid": appid, "l": "english"})
    earned = _earned(answer)
    if not earned:
        return []
    described, shares = await asyncio.gather(
        _told(call("ISteamUserStats/GetSchemaForGame/v2/", {"appid": appid, "l": "english"}), _SchemaAnswer),
        _told(call("ISteamUserStats/GetGlobalAchievementPercentagesForApp/v2/", {"gameid": appid}), _SharesAnswer),
    )
    by_name = {each.name: each for each in described.game.availableGameStats.achievements} if described else {}
    rarity = {each.name: each.percent for each in shares.achievementpercentages.achievements} if shares else {}
    return [_achievement(each, by_name, rarity) for each in earned]


def _earned(answer: Answer) -> list[_Earned]:
    told = answer.find_model(_StatsAnswer)
    if told is None or answer.status not in {200, 400, 403}:
        return answer.model(_StatsAnswer).playerstats.achievements  # raises what the status or the body means
    if answer.status == 200 and told.playerstats.success:
        return told.playerstats.achievements
    if "no stats" in told.playerstats.error:
        return []
    if "not public" in told.playerstats.error:
        raise PrivateProfileError("Steam hides this account's achievements", hint=_PRIVATE_HINT)
    raise error_for(answer)


async def _told(asking: Awaitable[Answer], kind: type[M]) -> M | None:
    """What makes the list nicer; without it the list is shown all the same."""
    try:
        return (await asking).find_model(kind)
    except IntegError:
        return None


def _achievement(earned: _Earned, by_name: Mapping[str, _Described], rarity: Mapping[str, float | None]) -> Achievement:
    about = by_name.get(earned.apiname)
    got = bool(earned.achieved)
    icon = (about.icon if got else about.icongray) if about else ""
    return Achievement(
        id=earned.apiname[:200],
        name=(about.displayName if about else "") or earned.name or earned.apiname[:200],
        description=(about.description if about else "") or earned.description,
        unlocked=got,
        unlocked_at=moment(min(earned.unlocktime, int(datetime.now(UTC).timestamp()) + 86_400)) if got else None,
        hidden=bool(about and about.hidden),
        rarity_percent=rarity.get(earned.apiname),
        icon_url=icon if icon.startswith("https://") and len(icon) < 500 else None,
    )
