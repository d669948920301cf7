"""The player's account at GOG: who it is, what it owns in three lists of which none is complete, how long it was played."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json as json_text
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from integ_server.sandbox.answers import html
from integ_server.sandbox.gog_ground import Asked, access_denied, json, not_signed_in, route, unless_changed
from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.world import GogProduct, World, WorldTitle

_SHORT_PAGE = 4
"""Page size while a fault needs a second page in a small world."""
_LINKED_STEAM_ROWS = 3


@dataclass
class PlayRecord:
    """Play sessions that were reported to this sandbox."""

    minutes: dict[str, int] = field(default_factory=dict)
    """Product id to minutes, on top of what the world says."""
    last_start: dict[str, int] = field(default_factory=dict)


def routes(state: SandboxState) -> list[Route]:
    hosts = ("embed.gog.com", "www.gog.com")
    return [
        *(route(state, f"/{host}/userData.json", _user_data) for host in hosts),
        *(route(state, f"/{host}/user/data/games", _owned) for host in hosts),
        *(route(state, f"/{host}/account/getFilteredProducts", _filtered) for host in hosts),
        route(state, "/menu.gog.com/v1/account/licences", _licences),
        route(state, "/users.gog.com/users/{user}", _user),
        route(state, "/galaxy-library.gog.com/users/{user}/releases", _releases),
        route(state, "/gameplay.gog.com/games/{product}/users/{user}/sessions", _sessions, "GET", "POST"),
        route(state, "/gameplay.gog.com/clients/{client}/users/{user}/achievements", _achievements),
    ]


def has_update(state: SandboxState, product: GogProduct) -> bool:
    return product.content is not None and state.faults.active("gog.update_out")


def _user_data(asked: Asked) -> Response:
    """Answers 200 for a stranger too: only the flag tells."""
    world = asked.state.world
    if asked.session is None:
        return json({"isLoggedIn": False, "country": "PT", "currencies": [], "checksum": {"cart": None, "games": None, "wishlist": None}})
    owned = world.owned_gog
    checksum = hashlib.md5(",".join(str(product.id) for product in owned).encode()).hexdigest()
    euro = {"code": "EUR", "symbol": "€"}
    return json(
        {
            "country": "PT",
            "currencies": [euro],
            "selectedCurrency": euro,
            "preferredLanguage": {"code": "en", "name": "English"},
            "ratingBrand": "PEGI",
            "isLoggedIn": True,
            "checksum": {"cart": None, "games": checksum, "wishlist": None, "reviews_votes": None, "games_rating": None},
            "updates": {"messages": 0, "pendingFriendRequests": 0, "unreadChatMessages": 0, "products": 0, "total": 0},
            "userId": f"46{world.gog_user_id[2:]}",
            "username": world.gog_username,
            "galaxyUserId": world.gog_user_id,
            "email": world.gog_email,
            "avatar": f"https://images.gog.com/{hashlib.sha256(world.gog_username.encode()).hexdigest()}",
            "walletBalance": {"currency": "EUR", "amount": 0},
            "purchasedItems": {"games": len(owned), "movies": 0},
            "wishlistedItems": 4,
            "friends": [],
            "personalizedProductPrices": [],
            "personalizedSeriesPrices": [],
        }
    )


def _user(asked: Asked) -> Response:
    session, world, user = asked.session, asked.state.world, asked.at["user"]
    if session is None:
        return access_denied()
    if user != world.gog_user_id:
        return json({"error": "not_found", "error_description": f"User #{user} not found"}, 404)
    image = f"https://images.gog.com/{hashlib.sha256(world.gog_username.encode()).hexdigest()}"
    suffixes = {"small": "avs", "small_2x": "avs2", "medium": "avm", "medium_2x": "avm2", "large": "avl", "large_2x": "avl2"}
    sizes = {f"sdk_img_{size}": f"sdk_img{size}" for size in (32, 64, 184)}
    menus = {"menu_small": "menu_small", "menu_small_2": "menu_small2", "menu_big": "menu_big", "menu_big_2": "menu_big2"}
    public = {"id": user, "username": world.gog_username, "created_date": "2014-03-05T10:00:00+02:00"}
    avatar = {
        "gog_image_id": image.rpartition("/")[2],
        **{name: f"{image}_{end}.jpg" for name, end in {**suffixes, **sizes, **menus}.items()},
    }
    rights = {"allow_to_be_invited_by": "friend", "allow_to_be_searched": True}
    private = {
        "email": world.gog_email,
        "email_sha256_hash": hashlib.sha256(world.gog_email.encode()).hexdigest(),
        "roles": ["ROLE_USER"],
        "status": 1,
        "checksum": "0cc175b9",
        "settings": {**rights, "use_two_step_authentication": False, "use_two_factor_authentication": True},
        "password_set": True,
        "marketing_consent": False,
    }
    return json({**public, "avatar": avatar, "is_employee": False, "tags": [], **private})


def _owned(asked: Asked) -> Response:
    if asked.session is None:
        return not_signed_in(asked)
    if asked.state.faults.hit("gog.no_owned_key"):
        return json({})
    return json({"owned": [product.id for product in reversed(asked.state.world.owned_gog)]})


def _licences(asked: Asked) -> Response:
    if asked.session is None:
        return not_signed_in(asked)
    return json([str(product.id) for product in asked.state.world.owned_gog])


# --- the account page's list ---------------------------------------------------------------------------------------


def _filtered(asked: Asked) -> Response:
    if asked.session is None:
        return not_signed_in(asked)
    state, world, query = asked.state, asked.state.world, asked.query
    half = state.faults.active("gog.half_list")
    size = _SHORT_PAGE if half else asked.knobs.products_page
    page = int(query.get("page", "1")) if query.get("page", "1").isdigit() else 1
    if half and page > 1:
        return html("Bad Gateway", status=502)
    tag_ids = _tag_ids(world)
    titles = [title for title in world.titles if title.gog is not None and _listed(state, title.gog, query, tag_ids)]
    order = query.get("sortBy", "title")
    titles.sort(key=lambda title: title.release_date if order.startswith("release_date") else _product(title).title.casefold())
    if order == "release_date_desc":
        titles.reverse()
    shown = titles[(page - 1) * size : page * size]
    dlc_counts = Counter(product.parent_id for product in world.owned_gog if product.parent_id is not None)
    tags = [
        {"id": str(tag), "name": name, "productCount": str(sum(name in product.tags for product in world.owned_gog))}
        for name, tag in tag_ids.items()
    ]
    return json(
        {
            "sortBy": order,
            "page": page,
            "totalProducts": len(titles),
            "totalPages": -(-len(titles) // size),
            "productsPerPage": size,
            "contentSystemCompatibility": None,
            "moviesCount": 0,
            "tags": tags,
            "products": [_row(state, title, _product(title), tag_ids, dlc_counts) for title in shown],
            "updatedProductsCount": sum(has_update(state, product) for product in world.owned_gog if product.type == "game"),
            "hiddenUpdatedProductsCount": 0,
            "appliedFilters": {"tags": query.get("tags", "").split(",") if query.get("tags") else None},
            "hasHiddenProducts": any(product.hidden for product in world.owned_gog),
        }
    )


def _product(title: WorldTitle) -> GogProduct:
    if title.gog is None:
        raise ValueError(f"{title.slug} is not at GOG")
    return title.gog


def _tag_ids(world: World) -> dict[str, int]:
    return {name: 70_001 + place for place, name in enumerate(sorted({tag for product in world.owned_gog for tag in product.tags}))}


def _listed(state: SandboxState, product: GogProduct, query: dict[str, str], tag_ids: dict[str, int]) -> bool:
    if not product.owned or product.type == "dlc" or query.get("mediaType", "1") != "1":
        return False
    if query.get("hiddenFlag", "0") != str(int(product.hidden)):
        return False
    if query.get("isUpdated") == "1" and not has_update(state, product):
        return False
    if query.get("search", "").casefold() not in product.title.casefold():
        return False
    wanted = set(query.get("tags", "").split(",")) - {""}
    return wanted <= {str(tag_ids[tag]) for tag in product.tags}


def _row(
    state: SandboxState, title: WorldTitle, product: GogProduct, tag_ids: dict[str, int], dlc_counts: Mapping[int, int]
) -> dict[str, Any]:
    """One product with the quirks that depend on it alone, so that each answer shows the same ones."""
    quirk = product.id % 5
    broken = product.works_on_broken or state.faults.active("gog.works_on_broken")
    names = {"Windows": "windows", "Mac": "osx", "Linux": "linux"}
    updates: int | str | None = 1 if has_update(state, product) else (0, None, "0", 0, "0")[quirk]
    date = {"date": f"{title.release_date} 00:00:00.000000", "timezone_type": 3, "timezone": "Europe/Nicosia"}
    unknown = {**date, "date": "1970-01-01 02:00:00.000000"}
    return {
        "isGalaxyCompatible": "windows" in product.os,
        "tags": [str(tag_ids[tag]) for tag in product.tags],
        "id": product.id,
        "availability": {"isAvailable": not product.delisted, "isAvailableInAccount": True},
        "title": product.title,
        "image": f"//images-{1 + product.id % 4}.gog-statics.com/{hashlib.sha256(product.slug.encode()).hexdigest()}",
        "url": (f"/game/{product.slug}", f"/en/game/{product.slug}", "", None, f"/game/{product.slug}")[quirk],
        "worksOn": {shown: os in product.os and not broken for shown, os in names.items()},
        "category": title.genres[0] if title.genres else "",
        "rating": product.id % 50,
        "isComingSoon": False,
        "isMovie": False,
        "isGame": True,
        "slug": product.slug,
        "updates": updates,
        "isNew": False,
        "dlcCount": dlc_counts.get(product.id, 0),
        "releaseDate": (date, date, None, unknown, date)[quirk],
        "isBaseProductMissing": False,
        "isHidingDisabled": False,
        "isInDevelopment": False,
        "isHidden": product.hidden,
    }


# --- Galaxy's list -------------------------------------------------------------------------------------------------


def _releases(asked: Asked) -> Response:
    if asked.session is None or asked.session.user_id != asked.at["user"]:
        return access_denied()
    faults, size = asked.state.faults, asked.knobs.releases_page
    half, repeating = faults.active("gog.half_list"), faults.active("gog.repeating_token")
    if half or repeating:
        size = _SHORT_PAGE
    start = _offset(asked.query.get("page_token", ""))
    if half and start:
        return html("Bad Gateway", status=502)
    rows = _library(asked.state.world)
    more = start + size < len(rows)
    token = _page_token(size) if repeating else _page_token(start + size) if more else None
    page: dict[str, Any] = {"total_count": len(rows), "limit": size, "page_token": asked.query.get("page_token")}
    if token or len(rows) % 2:  # the last page leaves it out, or says null
        page["next_page_token"] = token
    page["items"] = [_release(*row) for row in rows[start : start + size]]
    etag = f'"{hashlib.md5(json_text.dumps(page).encode()).hexdigest()}"'
    return unless_changed(asked, json(page), etag)


def _page_token(start: int) -> str:
    return base64.urlsafe_b64encode(f"releases:{start}".encode()).decode()


def _offset(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token).decode().removeprefix("releases:")) if token else 0
    except (binascii.Error, ValueError):
        return 0


def _library(world: World) -> list[tuple[str, str, GogProduct | None]]:
    """Owned products in no helpful order, those that are not owned, and a few rows of the linked Steam account."""
    rows: list[tuple[str, str, GogProduct | None]] = [
        ("gog", str(product.id), product) for product in sorted(world.owned_gog, key=lambda product: product.id % 97)
    ]
    rows += [("gog", str(title.gog.id), title.gog) for title in world.titles if title.gog is not None and not title.gog.owned]
    linked: list[tuple[str, str, GogProduct | None]] = [("steam", str(app.appid), None) for app in world.owned_steam[:_LINKED_STEAM_ROWS]]
    return rows[:2] + linked + rows[2:]


def _release(platform: str, external_id: str, product: GogProduct | None) -> dict[str, Any]:
    since = product.owned_since if product is not None else None
    hidden: bool | None = True if product is not None and product.hidden else (None if int(external_id) % 3 == 0 else False)
    overrides = "title my_sorting_title generated_sorting_title summary background logo square_icon vertical_cover developers publishers"
    later = "genres themes release_dates comment linked_game_id subscriptions"
    return {
        "platform_id": platform,
        "external_id": external_id,
        "origin": "client",
        "owned": product is None or product.owned,
        "owned_since": since,
        "date_created": max(since or 0, 1_556_000_000),
        "certificate": f"eyJ{hashlib.sha256(f'{platform}_{external_id}'.encode()).hexdigest()}",
        "hidden": hidden,
        "tags": [{"name": tag} for tag in product.tags] if product is not None else [],
        "my_rating": None,
        **dict.fromkeys(overrides.split()),
        **dict.fromkeys(later.split()),
    }


# --- play ----------------------------------------------------------------------------------------------------------


def _sessions(asked: Asked) -> Response:
    session, product_id = asked.session, asked.at["product"]
    if session is None or session.user_id != asked.at["user"]:
        return access_denied()
    record = asked.state.part(PlayRecord)
    if asked.method == "POST":
        try:
            told = json_text.loads(asked.body)
            minutes, start = int(told["time"]), int(told["session_date"])
        except (ValueError, KeyError, TypeError):
            return json({"error": "bad_request", "error_description": "session_date and time are required"}, 400)
        record.minutes[product_id] = record.minutes.get(product_id, 0) + minutes
        record.last_start[product_id] = start
        return Response(status_code=201)
    title = asked.state.world.gog_products.get(int(product_id)) if product_id.isdigit() else None
    known = title.gog.playtime_min if title is not None and title.gog is not None else 0
    answer = {"time_sum": known + record.minutes.get(product_id, 0)}
    if title is not None and title.gog is not None and title.gog.last_played and title.gog.id % 2:
        answer["last_session_date"] = title.gog.last_played
    return json(answer)


def _achievements(asked: Asked) -> Response:
    """Every second game has some; the others answer 404 or an empty list, as the service does."""
    session, client = asked.session, asked.at["client"]
    if session is None or session.user_id != asked.at["user"]:
        return access_denied()
    number = int(client) if client.isdigit() else 0
    if number % 3 == 0:
        return json({"error": "not_found", "error_description": ""}, 404)
    names = ("First Light", "Half Way", "The Long Night") if number % 3 == 1 else ()
    items = [
        {
            "achievement_id": f"59{number:012d}{place}",
            "achievement_key": name.upper().replace(" ", "_"),
            "visible": place < 2,
            "name": name,
            "description": f"Reach {name.lower()}.",
            "image_url_unlocked": f"https://images.gog.com/{hashlib.sha256(name.encode()).hexdigest()}_gac_60.jpg",
            "image_url_locked": f"https://images.gog.com/{hashlib.sha256(name[::-1].encode()).hexdigest()}_gac_60.jpg",
            "rarity": 41.2 / (place + 1),
            "rarity_level_description": "Common",
            "rarity_level_slug": "common",
            "date_unlocked": datetime(2024, 3, 5, 10, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S%z") if place == 0 else None,
        }
        for place, name in enumerate(names)
    ]
    return json({"total_count": len(items), "limit": 1000, "page_token": "0", "achievements_mode": "all_visible", "items": items})
