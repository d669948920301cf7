"""The shapes of Steam's answers, as far as Integ reads them; whatever may be missing has a default."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from integ_server.providers._text import Count, Line

AppId = Annotated[int, Field(gt=0, lt=2**32)]


class SteamModel(BaseModel):
    model_config = ConfigDict(extra="ignore")


class OwnedApp(SteamModel):
    appid: AppId
    name: Line = ""
    playtime_forever: Count = 0
    playtime_disconnected: Count = 0
    rtime_last_played: Count = 0


class OwnedApps(SteamModel):
    game_count: int | None = None
    games: list[OwnedApp] | None = None


class OwnedGamesAnswer(SteamModel):
    response: OwnedApps


class Player(SteamModel):
    steamid: str
    personaname: Line = ""
    profileurl: str = ""
    avatarmedium: str = ""


class Players(SteamModel):
    players: list[Player] = []


class PlayersAnswer(SteamModel):
    response: Players


class Vanity(SteamModel):
    success: int
    steamid: str = ""


class VanityAnswer(SteamModel):
    response: Vanity


class Named(SteamModel):
    name: Line = ""


class BasicInfo(SteamModel):
    short_description: str = ""
    publishers: list[Named] = []
    developers: list[Named] = []


class Assets(SteamModel):
    asset_url_format: str = ""
    library_capsule: str = ""
    header: str = ""


class Release(SteamModel):
    steam_release_date: Count = 0
    original_release_date: Count = 0
    is_coming_soon: bool = False


class Platforms(SteamModel):
    windows: bool = False
    mac: bool = False
    steamos_linux: bool = False


class RelatedItems(SteamModel):
    parent_appid: int | None = None


class StoreItem(SteamModel):
    appid: int | None = None
    id: int | None = None
    success: int = 0
    name: Line = ""
    type: int = 0
    basic_info: BasicInfo = BasicInfo()
    assets: Assets = Assets()
    release: Release = Release()
    platforms: Platforms = Platforms()
    related_items: RelatedItems = RelatedItems()


class StoreItems(SteamModel):
    store_items: list[StoreItem] = []


class StoreItemsAnswer(SteamModel):
    response: StoreItems


class AnyJson(SteamModel):
    """Fits every JSON object: to tell a method's own answer from a web page."""
