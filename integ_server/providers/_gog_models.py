"""The shapes of GOG's answers about accounts, libraries and games, with all their ways of saying "nothing"."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from integ_server.providers._text import Count, Line

PRODUCT_ID = re.compile(r"[1-9][0-9]{0,19}\Z")
_SYSTEMS = {"linux": "linux", "windows": "windows", "mac": "mac", "osx": "mac"}
PLATFORM_ORDER = ("linux", "windows", "mac")


def _text_of_number(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_list(value: Any) -> Any:
    """PHP writes a list with gaps as an object with numeric keys, and an empty anything as null."""
    return list(value.values()) if isinstance(value, dict) else [] if value is None else value


def as_dict(value: Any) -> Any:
    """PHP writes an empty object as `[]`."""
    return {} if value is None or value == [] else value


def _as_texts(value: Any) -> Any:
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def text_or_empty(value: Any) -> Any:
    return "" if value is None else value


def _number_or_none(value: Any) -> int | None:
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


Id = Annotated[str, BeforeValidator(_text_of_number), Field(max_length=200)]
ProductId = Annotated[str, BeforeValidator(_text_of_number), Field(pattern=r"^[1-9][0-9]{0,19}$")]
Text = Annotated[str, BeforeValidator(text_or_empty)]
Localised = Annotated[dict[str, str], BeforeValidator(_as_texts)]
Total = Annotated[int | None, BeforeValidator(_number_or_none)]


def localised(texts: dict[str, str]) -> str:
    return texts.get("en-US") or texts.get("*") or next(iter(texts.values()), "")


def platforms_of(names: set[str]) -> tuple[str, ...]:
    """GOG's names of operating systems as Integ's, in its order."""
    known = {_SYSTEMS[name.lower()] for name in names if name.lower() in _SYSTEMS}
    return tuple(name for name in PLATFORM_ORDER if name in known)


class GogModel(BaseModel):
    model_config = ConfigDict(extra="ignore")


# --- sign-in -------------------------------------------------------------------------------------------------------


class Token(GogModel):
    access_token: str = Field(min_length=1, repr=False)
    refresh_token: Text = Field(default="", repr=False)
    user_id: Id = Field(min_length=1)
    expires_in: Annotated[int, Field(gt=0)] = 3600


class TokenError(GogModel):
    error: str
    error_description: Line = ""


class UserData(GogModel):
    isLoggedIn: bool = False
    username: Line = ""
    avatar: Text = ""


# --- library -------------------------------------------------------------------------------------------------------


class LibraryRow(GogModel):
    platform_id: Text = ""
    external_id: Id
    owned: bool | None = None
    hidden: bool | None = None


class LibraryPage(GogModel):
    total_count: Total = None
    next_page_token: str | None = None
    items: list[LibraryRow]


class ProductRow(GogModel):
    id: ProductId
    title: Line = ""
    worksOn: Annotated[dict[str, bool | None], BeforeValidator(as_dict)] = {}
    isHidden: bool | None = None
    isMovie: bool | None = None


class ProductPage(GogModel):
    totalPages: Count
    totalProducts: Total = None
    products: Annotated[list[ProductRow], BeforeValidator(as_list)]


class OwnedIds(GogModel):
    owned: Annotated[list[ProductId], BeforeValidator(as_list)]


# --- GamesDB -------------------------------------------------------------------------------------------------------


class Ref(GogModel):
    platform_id: Text = ""
    external_id: Id = ""


class Named(GogModel):
    name: Line = ""


class NamedLocalised(GogModel):
    name: Localised = {}


class System(GogModel):
    slug: Text = ""


class Art(GogModel):
    url_format: Text = ""


Refs = Annotated[list[Ref], BeforeValidator(as_list)]


class DbGame(GogModel):
    releases: Refs = []
    title: Localised = {}
    summary: Localised = {}
    type: Text = ""
    developers: Annotated[list[Named], BeforeValidator(as_list)] = []
    publishers: Annotated[list[Named], BeforeValidator(as_list)] = []
    genres: Annotated[list[NamedLocalised], BeforeValidator(as_list)] = []
    first_release_date: str | None = None
    visible_in_library: bool | None = None
    vertical_cover: Art | None = None
    logo: Art | None = None


class DbRelease(GogModel):
    game_id: Id
    type: Text = ""
    title: Localised = {}
    summary: Localised = {}
    dlcs: Refs = []
    supported_operating_systems: Annotated[list[System], BeforeValidator(as_list)] = []
    first_release_date: str | None = None
    game: DbGame


# --- products ------------------------------------------------------------------------------------------------------


class File(GogModel):
    id: Id
    size: Count = 0
    downlink: Text = ""


class Installer(GogModel):
    os: Text = ""
    language: Text = ""
    version: Text = ""
    total_size: Count = 0
    files: Annotated[list[File], BeforeValidator(as_list)] = []


class Downloads(GogModel):
    installers: Annotated[list[Installer], BeforeValidator(as_list)] = []


class DlcLink(GogModel):
    id: ProductId


class Dlcs(GogModel):
    products: Annotated[list[DlcLink], BeforeValidator(as_list)] = []


class Description(GogModel):
    lead: Text = ""
    full: Text = ""


class Card(GogModel):
    """A product of `api.gog.com/products`."""

    id: ProductId
    title: Line = ""
    slug: Text = ""
    game_type: Text = ""
    release_date: str | None = None
    links: Localised = {}
    images: Localised = {}
    dlcs: Annotated[Dlcs, BeforeValidator(as_dict)] = Dlcs()
    """`[]` when there are none, an object otherwise."""
    downloads: Annotated[Downloads, BeforeValidator(as_dict)] = Downloads()
    description: Annotated[Description, BeforeValidator(as_dict)] = Description()

    @property
    def systems(self) -> set[str]:
        """The systems it has installers for; `content_system_compatibility` is not to be trusted."""
        return {installer.os for installer in self.downloads.installers}


class Cards(RootModel[list[Card]]):
    pass


class Link(GogModel):
    href: Text = ""


class GameLinks(GogModel):
    requiresGames: Annotated[list[Link], BeforeValidator(as_list)] = []


class SystemName(GogModel):
    name: Text = ""


class Supported(GogModel):
    operatingSystem: SystemName = SystemName()


class GameParts(GogModel):
    supportedOperatingSystems: Annotated[list[Supported], BeforeValidator(as_list)] = []


class Game(GogModel):
    """A product of `api.gog.com/v2/games`."""

    links: GameLinks = Field(default=GameLinks(), alias="_links")
    parts: GameParts = Field(default=GameParts(), alias="_embedded")
