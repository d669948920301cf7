"""Steam's store: GetItems and its companions, the unofficial appdetails, and the hosts of the pictures."""

from __future__ import annotations

import html as markup
import json
from collections import deque
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integ_server.sandbox.pictures import picture
from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.steam_player import MissingParameterError, flag
from integ_server.sandbox.world import SteamApp, WorldTitle

_TYPES = {"game": 0, "demo": 1, "dlc": 4, "tool": 13}
_TAGS = {
    "Indie": 492, "Adventure": 21, "Action": 19, "Strategy": 9, "Role-playing": 122, "Simulation": 599,
    "Racing": 699, "Sports": 701, "Casual": 597, "Puzzle": 1664,
}  # fmt: skip
_GENRES = {
    "Action": "1", "Strategy": "2", "Role-playing": "3", "Casual": "4", "Puzzle": "4", "Racing": "9", "Sports": "18",
    "Indie": "23", "Adventure": "25", "Simulation": "28",
}  # fmt: skip
_JSON = "application/json; charset=utf-8"
_DETAILS_LIMIT = 200
_DETAILS_WINDOW_S = 300
_SIZES = {"library_600x900.jpg": (60, 90), "header.jpg": (92, 43), "capsule_616x353.jpg": (61, 35), "library_hero.jpg": (96, 31)}
_IMAGE_HOSTS = (
    "shared.akamai.steamstatic.com",
    "shared.steamstatic.com",
    "shared.cloudflare.steamstatic.com",
    "shared.fastly.steamstatic.com",
)


class _DetailsCalls:
    def __init__(self) -> None:
        self.at: deque[float] = deque(maxlen=_DETAILS_LIMIT)


def items(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    """IStoreBrowseService/GetItems; the order of the answer is not that of the question."""
    ids = given.get("ids")
    if not isinstance(ids, list):
        raise MissingParameterError("ids")
    request = given.get("data_request")
    wanted = {name for name, value in request.items() if value} if isinstance(request, dict) else set()
    asked = [entry["appid"] for entry in ids if isinstance(entry, dict) and isinstance(entry.get("appid"), int)]
    return 200, {"response": {"store_items": [_item(state, appid, wanted) for appid in reversed(asked)]}}


def _item(state: SandboxState, appid: int, wanted: set[str]) -> dict[str, object]:
    title = state.world.steam_apps.get(appid)
    if title is None or title.steam is None or title.steam.delisted:
        return {"item_type": 0, "id": appid, "success": 15, "appid": appid}
    app = title.steam
    item: dict[str, object] = {"item_type": 0, "id": appid, "success": 1, "visible": True, "name": app.name}
    item |= {"store_url_path": f"app/{appid}/{title.slug}", "appid": appid, "type": _TYPES[app.kind]}
    if app.parent_appid is not None:
        item["related_items"] = {"parent_appid": app.parent_appid}
    tags = [_TAGS[genre] for genre in title.genres if genre in _TAGS]
    if tags:
        item["tagids"] = tags
    item["categories"] = {"supported_player_categoryids": [2], "feature_categoryids": [22, 23]}
    if "include_reviews" in wanted and app.review_percent:
        label = {"review_count": 412, "percent_positive": app.review_percent, "review_score": 8, "review_score_label": "Very Positive"}
        item["reviews"] = {"summary_filtered": label}
    if "include_basic_info" in wanted:
        item["basic_info"] = {
            "short_description": markup.escape(title.description),
            "publishers": [{"name": title.publisher}] if title.publisher else [],
            "developers": [{"name": title.developer, "creator_clan_account_id": 4_000_001}] if title.developer else [],
        }
    if tags and "include_tag_count" in wanted:
        item["tags"] = [{"tagid": tag, "weight": 310 - 10 * index} for index, tag in enumerate(tags)]
    if "include_assets" in wanted and app.icon:
        item["assets"] = _assets(app)
    if "include_release" in wanted:
        item["release"] = {"steam_release_date": _unix(title), "original_release_date": _unix(title)}
    if "include_platforms" in wanted:
        item["platforms"] = _platforms(app)
    item |= {"is_free": True} if app.free else {"best_purchase_option": _price(app)}
    return item


def _unix(title: WorldTitle) -> int:
    return (date(title.year, title.month, title.day) - date(1970, 1, 1)).days * 86_400 + 61_200


def _platforms(app: SteamApp) -> dict[str, object]:
    """False booleans and category 0 are left out; the Linux flag has a name of its own."""
    names = {"windows": "windows", "mac": "mac", "linux": "steamos_linux"}
    found: dict[str, object] = {names[name]: True for name in app.platforms}
    if app.deck_category:
        found |= {"steam_deck_compat_category": app.deck_category, "steam_os_compat_category": 2 if app.deck_category > 1 else 1}
    return found


def _assets(app: SteamApp) -> dict[str, object]:
    folder = f"{app.asset_folder}/" if app.asset_folder else ""
    return {
        "asset_url_format": f"steam/apps/{app.appid}/${{FILENAME}}?t=1790000000",
        "main_capsule": f"{folder}capsule_616x353.jpg",
        "header": f"{folder}header.jpg",
        "library_capsule": f"{folder}library_600x900.jpg",
        "library_capsule_2x": f"{folder}library_600x900_2x.jpg",
        "library_hero": f"{folder}library_hero.jpg",
        "community_icon": app.icon,
        "page_background_path": f"steam/apps/{app.appid}/page_bg_generated_v6b.jpg",
    }


def _price(app: SteamApp) -> dict[str, object]:
    cents = 499 + 500 * (app.appid % 6)
    shown = f"{cents // 100},{cents % 100:02d}€"
    option: dict[str, object] = {"packageid": app.appid + 1_000_000, "purchase_option_name": f"Buy {app.name}"}
    return option | {"final_price_in_cents": str(cents), "formatted_final_price": shown}


def tag_list(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    """IStoreService/GetTagList; who has the hash already gets an empty answer."""
    if given.get("have_version_hash") == "a1b2c3":
        return 200, {"response": {}}
    return 200, {"response": {"version_hash": "a1b2c3", "tags": [{"tagid": tag, "name": name} for name, tag in _TAGS.items()]}}


def app_list(state: SandboxState, given: Mapping[str, Any], own_key: bool) -> tuple[int, object]:
    """IStoreService/GetAppList; on the last page both trailing fields are missing, and delisted apps always are."""
    kinds = {"game"} if flag(given.get("include_games"), default=True) else set()
    kinds |= {"dlc"} if flag(given.get("include_dlc")) else set()
    kinds |= {"tool"} if flag(given.get("include_software")) else set()
    after, most = int(given.get("last_appid") or 0), min(50_000, int(given.get("max_results") or 10_000))
    apps = [title.steam for _, title in sorted(state.world.steam_apps.items()) if title.steam is not None]
    left = [app for app in apps if app.appid > after and app.kind in kinds and not app.delisted]
    rows = [
        {"appid": app.appid, "name": app.name, "last_modified": 1_790_000_000, "price_change_number": 29_000_001} for app in left[:most]
    ]
    more = {"have_more_results": True, "last_appid": left[most - 1].appid} if len(left) > most else {}
    return 200, {"response": {"apps": rows, **more}}


def routes(state: SandboxState) -> list[Route]:
    async def details(request: Request) -> Response:
        return _details(state, dict(parse_qsl(request.url.query)))

    async def image(request: Request) -> Response:
        return _image(state, request.path_params["appid"], request.path_params["name"])

    return [
        Route("/store.steampowered.com/api/appdetails", details),
        Route("/store.steampowered.com/api/appdetails/", details),
        *(Route(f"/{host}/store_item_assets/steam/apps/{{appid:int}}/{{name:path}}", image) for host in _IMAGE_HOSTS),
        *(
            Route(f"/{host}/steam/apps/{{appid:int}}/{{name:path}}", image)
            for host in ("cdn.cloudflare.steamstatic.com", "cdn.akamai.steamstatic.com")
        ),
    ]


def _image(state: SandboxState, appid: int, name: str) -> Response:
    """Newer apps have their pictures below a folder that nobody can guess; the old address is 404 for them."""
    title = state.world.steam_apps.get(appid)
    folder = title.steam.asset_folder if title is not None and title.steam is not None else ""
    plain = name.removeprefix(f"{folder}/") if folder else name
    if title is None or plain not in _SIZES or bool(folder) != (plain != name):
        return Response("", 404, media_type="text/html")
    return Response(
        picture(f"{appid}/{plain}", *_SIZES[plain]), headers={"cache-control": "public, max-age=2592000"}, media_type="image/png"
    )


def _details(state: SandboxState, given: dict[str, str]) -> Response:
    from integ_server.sandbox.steam_api import trouble

    if (down := trouble(state)) is not None:
        return down
    calls, now = state.part(_DetailsCalls).at, state.clock()
    if state.faults.hit("steam.null"):
        return Response("null", media_type=_JSON)
    if len(calls) == _DETAILS_LIMIT and now - calls[0] < _DETAILS_WINDOW_S:
        return Response("null", 429, media_type=_JSON)
    calls.append(now)
    ids = given.get("appids", "").split(",")
    prices_only = given.get("filters") == "price_overview"
    if not all(appid.isdigit() for appid in ids) or (len(ids) > 1 and not prices_only):
        return Response("null", 400, media_type=_JSON)
    found = {appid: _detail(state, int(appid), prices_only=prices_only) for appid in ids}
    return Response(json.dumps(found, ensure_ascii=False, separators=(",", ":")), media_type=_JSON)


def _detail(state: SandboxState, appid: int, *, prices_only: bool) -> dict[str, object]:
    title = state.world.steam_apps.get(appid)
    if title is None or title.steam is None or title.steam.delisted:
        return {"success": False}
    app = title.steam
    cents = 499 + 500 * (appid % 6)
    price = {"currency": "EUR", "initial": cents, "final": cents, "discount_percent": 0, "initial_formatted": "", "final_formatted": ""}
    if prices_only:
        return {"success": True, "data": [] if app.free else {"price_overview": price}}
    root = f"https://shared.akamai.steamstatic.com/store_item_assets/steam/apps/{appid}/"
    picture_at = root + (f"{app.asset_folder}/" if app.asset_folder else "") + "header.jpg?t=1790000000"
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    data: dict[str, object] = {
        "type": {"tool": "game"}.get(app.kind, app.kind),
        "name": app.name,
        "steam_appid": appid,
        "required_age": "18" if app.descriptors else 0,
        "is_free": app.free,
        "detailed_description": f"<p>{markup.escape(title.description)}</p>",
        "about_the_game": f"<p>{markup.escape(title.description)}</p>",
        "short_description": markup.escape(title.description),
        "supported_languages": "English<strong>*</strong>, German<br><strong>*</strong>languages with full audio support",
        "header_image": picture_at,
        "website": None,
        "pc_requirements": {"minimum": "<ul><li>A computer</li></ul>"},
        "mac_requirements": {"minimum": "<ul></ul>"} if "mac" in app.platforms else [],
        "linux_requirements": {"minimum": "<ul></ul>"} if "linux" in app.platforms else [],
        "developers": [title.developer],
        "publishers": [title.publisher],
        "package_groups": [],
        "platforms": {name: name in app.platforms for name in ("windows", "mac", "linux")},
        "categories": [{"id": 2, "description": "Single-player"}],
        "genres": [{"id": _GENRES[genre], "description": genre} for genre in title.genres if genre in _GENRES],
        "release_date": {"coming_soon": False, "date": f"{title.day} {months[title.month - 1]}, {title.year}"},
        "support_info": {"url": "", "email": ""},
        "content_descriptors": {"ids": list(app.descriptors), "notes": None},
    }
    if not app.free:
        data["price_overview"] = price
    parent = state.world.steam_apps.get(app.parent_appid or 0)
    if parent is not None and parent.steam is not None:
        data["fullgame"] = {"appid": str(parent.steam.appid), "name": parent.steam.name}
    dlc = [other.steam.appid for other in state.world.titles if other.steam is not None and other.steam.kind == "dlc"
           and other.steam.parent_appid == appid]  # fmt: skip
    return {"success": True, "data": data | ({"dlc": dlc} if dlc else {})}
