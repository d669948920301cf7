"""What GOG publishes about games: products (v1), games (v2), and GamesDB, which joins the same game across stores."""

from __future__ import annotations

import hashlib
from html import escape
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from integ_server.sandbox.answers import html
from integ_server.sandbox.gog_downloads import downloads
from integ_server.sandbox.gog_ground import Asked, ids_in, json, route, unless_changed, utc_date
from integ_server.sandbox.pictures import picture
from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.world import GamesDb, GogProduct, World, WorldTitle

_MOST_IDS = 50
_FORMATTERS = (
    "",
    "_196",
    "_392",
    "_glx_vertical_cover",
    "_product_tile_256",
    "_glx_logo",
    "_glx_logo_2x",
    "_sbicon",
    "_ggvgm",
    "_ggvgt",
    "_gac_60",
)
_AVATARS = ("_avs", "_avs2", "_avm", "_avm2", "_avl", "_avl2", "_sdk_img32", "_sdk_img64", "_sdk_img184")


def routes(state: SandboxState) -> list[Route]:
    images = ("images.gog.com", "images.gog-statics.com", *(f"images-{number}.gog-statics.com" for number in range(1, 5)))
    return [
        route(state, "/api.gog.com/products", _products),
        route(state, "/api.gog.com/products/", _products),
        route(state, "/api.gog.com/products/{product:int}", _product),
        route(state, "/api.gog.com/v2/games/{product:int}", _game),
        route(state, "/gamesdb.gog.com/platforms/{platform}/external_releases/{external}", _external_release),
        *(route(state, f"/{host}/{{picture}}", _picture, cdn=True) for host in images),
    ]


# --- products, v1 --------------------------------------------------------------------------------------------------


def _product(asked: Asked) -> Response:
    found = _on_sale(asked.state.world, int(asked.at["product"]))
    if found is None:
        return json({"statusCode": 404, "error": "Not Found", "message": "Product not found"}, 404)
    return json(_product_card(asked.state, *found, _expanded(asked)))


def _products(asked: Asked) -> Response:
    ids = list(ids_in(asked.query.get("ids", "")))
    if len(ids) > _MOST_IDS:
        return json({"statusCode": 400, "error": "Bad Request", "message": "Too many ids"}, 400)
    found = (_on_sale(asked.state.world, product) for product in ids)
    return json([_product_card(asked.state, *one, _expanded(asked)) for one in found if one is not None])


def _expanded(asked: Asked) -> set[str]:
    return set(asked.query.get("expand", "").split(",")) - {""}


def _on_sale(world: World, product_id: int) -> tuple[WorldTitle, GogProduct] | None:
    title = world.gog_products.get(product_id)
    return (title, title.gog) if title is not None and title.gog is not None and not title.gog.delisted else None


def _product_card(state: SandboxState, title: WorldTitle, product: GogProduct, expand: set[str]) -> dict[str, Any]:
    cover = _image(product, "store")
    codes = {"en-US": ("en", "English"), "de-DE": ("de", "Deutsch"), "fr-FR": ("fr", "français"), "pl-PL": ("pl", "polski")}
    card: dict[str, Any] = {
        "id": product.id,
        "title": product.title,
        "purchase_link": f"https://www.gog.com/checkout/manual/{product.id}",
        "slug": product.slug,
        "content_system_compatibility": {os: os in product.os for os in ("windows", "osx", "linux")},
        "languages": dict(codes.get(language, (language, language)) for language in product.languages),
        "links": {
            "purchase_link": f"https://www.gog.com/checkout/manual/{product.id}",
            "product_card": f"https://www.gog.com/game/{product.slug}",
            "support": f"https://www.gog.com/support/{product.slug}",
            "forum": f"https://www.gog.com/forum/{product.slug}",
        },
        "in_development": {"active": False, "until": None},
        "is_secret": False,
        "is_installable": product.type != "pack",
        "game_type": product.type,
        "is_pre_order": False,
        "release_date": None if product.id % 11 == 0 else f"{title.release_date}T00:00:00+0300",
        "images": {
            "background": f"//images-1.gog-statics.com/{cover}.jpg",
            "logo": f"//images-2.gog-statics.com/{cover}_glx_logo.jpg",
            "logo2x": f"//images-2.gog-statics.com/{cover}_glx_logo_2x.jpg",
            "icon": f"//images-3.gog-statics.com/{cover}.png" if product.id % 3 else None,
            "sidebarIcon": f"//images-3.gog-statics.com/{cover}_sbicon.png",
            "sidebarIcon2x": f"//images-3.gog-statics.com/{cover}_sbicon_2x.png",
            "menuNotificationAv": f"//images-4.gog-statics.com/{cover}_menu_notification_av.png",
            "menuNotificationAv2": f"//images-4.gog-statics.com/{cover}_menu_notification_av2.png",
        },
        "dlcs": _dlcs(product),
    }
    if "downloads" in expand:
        card["downloads"] = downloads(state, product)
    if "expanded_dlcs" in expand:  # incomplete since 2026: what came through a package is missing
        found = (_on_sale(state.world, dlc) for dlc in product.dlc_ids[:-1])
        card["expanded_dlcs"] = [_product_card(state, *one, expand - {"expanded_dlcs"}) for one in found if one is not None]
    if "description" in expand:
        text = escape(title.description)
        card["description"] = {
            "lead": f"<p>{text}</p>",
            "full": f"<p><b>{escape(product.title)}</b></p>{text}<br>",
            "whats_cool_about_it": "",
        }
    if "screenshots" in expand:
        shot = _image(product, "shot")
        template = f"https://images.gog-statics.com/{shot}_{{formatter}}.png"
        shown = {"formatter_name": "ggvgt", "image_url": f"https://images.gog-statics.com/{shot}_ggvgt.jpg"}
        card["screenshots"] = [{"image_id": shot, "formatter_template_url": template, "formatted_images": [shown]}]
    rest: dict[str, Any] = {"videos": [], "related_products": [], "changelog": None}
    return card | {name: empty for name, empty in rest.items() if name in expand}


def _dlcs(product: GogProduct) -> list[Any] | dict[str, Any]:
    """An empty list when there are none, an object otherwise."""
    if not product.dlc_ids:
        return []
    address, joined = "https://api.gog.com/products", ",".join(str(dlc) for dlc in product.dlc_ids)
    return {
        "products": [
            {"id": dlc, "link": f"{address}/{dlc}", "expanded_link": f"{address}/{dlc}?expand=downloads"} for dlc in product.dlc_ids
        ],
        "all_products_url": f"{address}?ids={joined}",
        "expanded_all_products_url": f"{address}?ids={joined}&expand=downloads,description&locale=en-US",
    }


# --- games, v2 -----------------------------------------------------------------------------------------------------


def _game(asked: Asked) -> Response:
    world = asked.state.world
    found = _on_sale(world, int(asked.at["product"]))
    if found is None:
        return json({"statusCode": 404, "error": "Not Found", "message": "Game not found"}, 404)
    title, product = found
    cover = f"https://images.gog-statics.com/{_image(product, 'store')}"
    date = f"{title.release_date}T00:00:00+03:00"
    links: dict[str, Any] = {
        "self": {"href": _v2_address(product.id)},
        "store": {"href": f"https://www.gog.com/en/game/{product.slug}"},
        "support": {"href": f"https://www.gog.com/en/support/{product.slug}"},
        "forum": {"href": f"https://www.gog.com/forum/{product.slug}"},
        "icon": {"href": f"{cover}.png"},
        "iconSquare": {"href": f"{cover}.png"},
        "logo": {"href": f"{cover}.png"},
        "boxArtImage": {"href": f"{cover}.jpg"},
        "backgroundImage": {"href": f"{cover}.jpg"},
        "galaxyBackgroundImage": {"href": f"{cover}.jpg"},
    }
    if product.dlc_ids:
        links["isRequiredByGames"] = [{"href": _v2_address(dlc)} for dlc in product.dlc_ids]
    if product.parent_id is not None:
        links["requiresGames"] = [{"href": _v2_address(product.parent_id)}]
    image = {"href": f"{cover}_{{formatter}}.jpg", "templated": True, "formatters": ["196", "392"]}
    price = f"https://api.gog.com/products/{product.id}/prices{{?country}}"
    language = {"language": {"code": "en", "name": "English"}, "localizationScope": {"type": "text"}}
    need = {"id": "processor", "name": "Processor:", "description": "Any"}
    needs = [{"type": "minimum", "description": "", "requirements": [need]}]
    versions = {"windows": "10, 11", "osx": "12.0+", "linux": "Ubuntu 22.04"}
    system = [{"operatingSystem": {"name": os, "versions": versions[os]}, "systemRequirements": needs} for os in product.os]
    embedded = {
        "product": {
            "id": product.id,
            "title": product.title,
            "isAvailableForSale": True,
            "isVisibleInCatalog": True,
            "isPreorder": False,
            "isVisibleInAccount": True,
            "isInstallable": product.type != "pack",
            "globalReleaseDate": date,
            "gogReleaseDate": date,
            "hasProductCard": True,
            "isSecret": False,
            "_links": {
                "image": image,
                "checkout": {"href": f"https://www.gog.com/checkout/{product.id}"},
                "prices": {"href": price, "templated": True},
            },
        },
        "productType": product.type.upper(),
        "localizations": [{"_embedded": language}],
        "videos": [],
        "bonuses": [],
        "screenshots": [{"_links": {"self": {**image, "formatters": ["ggvgm"]}}}],
        "publisher": {"name": title.publisher} if title.publisher else None,
        "developers": [{"name": title.developer}] if title.developer else [],
        "supportedOperatingSystems": system,
        "tags": [{"id": place + 1, "name": name, "level": 1, "slug": _slug(name)} for place, name in enumerate(title.genres)],
        "properties": [],
        **dict.fromkeys(("esrbRating", "pegiRating", "uskRating", "brRating", "gogRating")),
        "features": [{"id": "single", "name": "Single-player"}],
        "editions": [],
        "series": None,
    }
    text = escape(title.description)
    game = {
        "inDevelopment": {"active": False},
        "copyrights": f"© {escape(title.publisher)}",
        "isUsingDosBox": False,
        "releaseStatus": "released",
        "description": f"<p>{text}</p>",
        "size": 2048,
        "overview": text,
        "featuresDescription": "",
        "additionalRequirements": "",
    }
    return json({**game, "_links": links, "_embedded": embedded})


def _v2_address(product_id: int) -> str:
    return f"https://api.gog.com/v2/games/{product_id}?locale=en-US"


# --- GamesDB -------------------------------------------------------------------------------------------------------


def _external_release(asked: Asked) -> Response:
    world, platform, external = asked.state.world, asked.at["platform"], asked.at["external"]
    title, known = _title_of(world, platform, external)
    if known == 502 or asked.state.faults.hit("gog.gamesdb_down"):
        return html("502 Bad Gateway", status=502)
    if title is None or known == 404 or not title.gamesdb_id:
        said = f"Release with per platform id: {platform}_{external} not found"
        return json({"error": "not_found", "error_description": said}, 404)
    answer = json(_release_card(world, title, platform, external))
    digest = hashlib.md5(bytes(answer.body)).hexdigest()
    return unless_changed(asked, answer, f'W/"{digest}"' if int(external) % 2 else f'"{digest}"')


def _title_of(world: World, platform: str, external: str) -> tuple[WorldTitle | None, GamesDb]:
    number = int(external) if external.isdigit() and len(external) < 18 else -1
    if platform == "gog":
        title = world.gog_products.get(number)
        return title, title.gog.gamesdb if title is not None and title.gog is not None else 404
    if platform == "steam":
        title = world.steam_apps.get(number)
        return title, title.steam.gamesdb if title is not None and title.steam is not None else 404
    return None, 404


def _releases_of(title: WorldTitle) -> list[dict[str, Any]]:
    found = []
    if title.steam is not None:
        found.append(("steam", str(title.steam.appid), f"53{title.steam.appid:015d}"))
    if title.gog is not None:
        found.append(("gog", str(title.gog.id), f"52{title.gog.id:015d}"))
    return [
        {"id": own, "platform_id": platform, "external_id": external, "release_per_platform_id": f"{platform}_{external}"}
        for platform, external, own in found
    ]


def _release_card(world: World, title: WorldTitle, platform: str, external: str) -> dict[str, Any]:
    releases = [release for same in world.gamesdb[title.gamesdb_id] for release in _releases_of(same)]
    own = next(release for release in releases if (release["platform_id"], release["external_id"]) == (platform, external))
    dlc_titles = [world.gog_products[dlc] for dlc in (title.gog.dlc_ids if title.gog is not None else ()) if dlc in world.gog_products]
    dlcs = [release for dlc in dlc_titles for release in _releases_of(dlc) if release["platform_id"] == platform]
    parent = world.gog_products.get(title.gog.parent_id) if title.gog is not None and title.gog.parent_id is not None else None
    names = (title.gog.title, title.gog.type) if platform == "gog" and title.gog is not None else (title.title, "game")
    kind = title.steam.kind if platform == "steam" and title.steam is not None else names[1]
    wire_kind = {"dlc": "dlc", "tool": "spam", "demo": "game", "pack": "game"}.get(kind, "game")
    released = None if int(external) % 13 == 0 else utc_date(title.year, title.month, title.day)
    systems = title.gog.os if platform == "gog" and title.gog is not None else title.steam.platforms if title.steam is not None else ()
    named = {"windows": "Windows", "mac": "macOS", "osx": "macOS", "linux": "Linux"}
    humble = {"id": f"54{int(external):015d}", "platform_id": "humble", "external_id": f"{title.slug}_steam"}
    children: list[str] | dict[str, str] = [dlc.gamesdb_id for dlc in dlc_titles if dlc.gamesdb_id]
    if len(children) > 1:  # a list for some games, an object with gaps between its numbers for others
        children = {str(place * 3): dlc for place, dlc in enumerate(children)}
    game = {
        "id": title.gamesdb_id,
        "parent_id": parent.gamesdb_id if parent is not None else None,
        "dlcs_ids": children,
        "first_release_date": released,
        "releases": [*releases, {**humble, "release_per_platform_id": f"humble_{title.slug}_steam"}],
        "title": _everywhere(title.title),
        "sorting_title": _everywhere(title.title),
        "type": wire_kind,
        "developers_ids": ["51"] if title.developer else [],
        "developers": [{"id": "51", "name": title.developer, "slug": _slug(title.developer)}] if title.developer else [],
        "publishers_ids": ["52"] if title.publisher else [],
        "publishers": [{"id": "52", "name": title.publisher, "slug": _slug(title.publisher)}] if title.publisher else [],
        "genres_ids": [str(61 + place) for place in range(len(title.genres))],
        "genres": [{"id": str(61 + place), "name": _everywhere(name), "slug": _slug(name)} for place, name in enumerate(title.genres)],
        "themes_ids": [],
        "themes": [],
        "screenshots": [_art(title.slug, "screenshot")],
        "videos": [],
        "artworks": [],
        "summary": _everywhere(title.description),
        "visible_in_library": wire_kind in ("game", "mod"),
        "aggregated_rating": (85, 71.25, None)[int(external) % 3],
        "game_modes": [{"id": "81", "name": "Single player", "slug": "single-player"}],
        **{art: _art(title.slug, art) for art in ("horizontal_artwork", "background", "vertical_cover", "cover", "logo", "icon")},
        "square_icon": _art(title.slug, "square") if int(external) % 2 else None,
        "global_popularity_all_time": 0,
        "global_popularity_current": 0,
        "slug": title.slug,
    }
    card = {
        "id": own["id"],
        "game_id": title.gamesdb_id,
        "platform_id": platform,
        "external_id": external,
        "dlcs_ids": [dlc["id"] for dlc in dlcs],
        "dlcs": dlcs,
        "parent_id": None,
        "supported_operating_systems": [{"slug": "osx" if os == "mac" else os, "name": named[os]} for os in systems],
        "available_languages": [{"code": "en-US"}],
        "first_release_date": released,
        "game": game,
        "title": {"*": names[0], "en-US": title.title},
        "sorting_title": _everywhere(title.title),
        "type": wire_kind,
        "summary": _everywhere(title.description),
        "videos": [],
        "game_modes": [],
        "icon": _art(title.slug, "icon"),
        "logo": None,
    }
    if int(external) % 4 == 0:
        del game["slug"]
    return card


def _everywhere(text: str) -> dict[str, str]:
    return {"*": text, "en-US": text}


def _art(slug: str, kind: str) -> dict[str, str]:
    digest = hashlib.sha256(f"{kind} {slug}".encode()).hexdigest()
    return {"url_format": f"https://images.gog.com/{digest}{{formatter}}.{{ext}}?namespace=gamesdb"}


def _image(product: GogProduct, kind: str) -> str:
    return hashlib.sha256(f"{kind} {product.slug}".encode()).hexdigest()


def _slug(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.casefold()).split())


# --- pictures ------------------------------------------------------------------------------------------------------


def _picture(asked: Asked) -> Response:
    """A plain coloured PNG for any formatter that exists; 400 for one that does not."""
    name, _, _ = asked.at["picture"].partition(".")
    digest, underscore, formatter = name.partition("_")
    suffix = underscore + formatter
    known = suffix in (*_FORMATTERS, *_AVATARS)
    if not known or not digest.isalnum():
        return json({"error": "bad_request", "error_description": "unknown formatter"}, 400)
    return Response(picture(digest, 100, 142), media_type="image/png", headers={"cache-control": "public, max-age=31536000"})
