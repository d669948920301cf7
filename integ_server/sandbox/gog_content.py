"""GOG's content system: builds, their metas and manifests, secure links, and the chunks behind those."""

from __future__ import annotations

import hashlib
import json as json_text
import re
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from integ_server.sandbox.answers import FileAnswer
from integ_server.sandbox.gog_depots import Depot, GameFile, Packed, pack, pack_depot
from integ_server.sandbox.gog_downloads import offline_answer
from integ_server.sandbox.gog_ground import Asked, access_denied, json, offset_date, route
from integ_server.sandbox.gog_old_builds import OLD_TIMESTAMP, old_blob, old_build_item, old_document
from integ_server.sandbox.gog_recipes import BASE_RECIPES, BRANCH_PASSWORD, TRICKS, Trick, dlcs_of, numbers, trick_of, windows_build
from integ_server.sandbox.gog_signing import FASTLY, GCORE, link_endpoints, opened
from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.world import GogProduct, World

_HASHED = re.compile(r"/([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{28})")
_META = "/content-system/v2/meta"
_REDIST_META = "/content-system/v2/dependencies/meta"
_REDIST_STORE = "/content-system/v2/dependencies/store"
_STORE = re.compile(r"/content-system/v2/store/(\d+)(/.*)")
_OLD_META = re.compile(r"/content-system/v1/manifests/(\d+)/windows/(\d+)/([\w.-]+)")
_OLD_DATA = re.compile(r"/content-system/v1/depots/(\d+)/windows/(\d+)/main\.bin")
_OLD_FOLDER = re.compile(r"/windows/(\d+)/?")
_TYPE = "application/octet-stream"


@dataclass
class Store:
    """What the CDN of one sandbox holds; filled as builds are asked for."""

    packed: Packed = field(default_factory=Packed)
    links: dict[str, tuple[GogProduct, int]] = field(default_factory=dict)
    """Hash in a build's link to the build it stands for."""
    complete: bool = False


def routes(state: SandboxState) -> list[Route]:
    system = "/content-system.gog.com"
    cdns = ("gog-cdn-fastly.gog.com", "cdn.gog.com", "gog-cdn.gcdn.co")
    return [
        route(state, f"{system}/products/{{product:int}}/os/{{os}}/builds", _builds),
        route(state, f"{system}/products/{{product:int}}/secure_link", _secure_link),
        route(state, f"{system}/products/{{product:int}}/patches", _patches),
        route(state, f"{system}/dependencies/repository", _dependencies),
        route(state, f"{system}/open_link", _open_link),
        *(route(state, f"/{cdn}/{{path:path}}", _from_cdn, cdn=True) for cdn in cdns),
    ]


# --- builds --------------------------------------------------------------------------------------------------------


def _builds(asked: Asked) -> Response:
    product = _with_builds(asked.state.world, int(asked.at["product"]))
    if product is None or asked.at["os"] != "windows":
        # Nobody knows which of the two the service means, so it does both.
        if int(asked.at["product"]) % 2:
            return json({"error": "not_found", "error_description": ""}, 404)
        return json({"total_count": 0, "count": 0, "items": [], "has_private_branches": False})
    private = asked.session is not None and asked.query.get("password") == BRANCH_PASSWORD
    listed = [] if asked.query.get("generation") == "1" else numbers(updated=asked.state.faults.active("gog.update_out"), private=private)
    urls = asked.query.get("_version") == "2"
    items = [_build_item(asked.state, product, number) for number in listed] + [old_build_item(product)]
    if urls:
        items = [_with_urls(item) for item in items]
    # Older builds than these exist, and are never listed.
    return json({"total_count": len(items) + 3, "count": len(items), "items": items, "has_private_branches": True})


def _with_builds(world: World, product_id: int) -> GogProduct | None:
    title = world.gog_products.get(product_id)
    product = title.gog if title is not None else None
    return product if product is not None and product.content in BASE_RECIPES else None


def _build_item(state: SandboxState, product: GogProduct, number: int) -> dict[str, Any]:
    dlcs = dlcs_of(state.world, product)
    build = windows_build(product, dlcs, number)
    name, _ = _packed(product, dlcs, number, "")
    state.part(Store).links[name] = (product, number)
    return {
        "build_id": build.build_id,
        "product_id": str(product.id),
        "os": "windows",
        "branch": build.branch,
        "version_name": build.version if number > 1 else "",
        "tags": ["csb_10_6_1"],
        "public": not build.private,
        "date_published": offset_date(build.published),
        "generation": 2,
        "link": f"{FASTLY}{_META}/{name[:2]}/{name[2:4]}/{name}",
    }


def _with_urls(item: dict[str, Any]) -> dict[str, Any]:
    """The same item as `_version=2` shows it: no link, but the ways to it."""
    path = str(item["link"]).removeprefix(FASTLY)
    ways = (("fastly", FASTLY, 10, False), ("gcore_cdn", GCORE, 1, True))
    urls = [
        {
            "endpoint_name": name,
            "url": f"{base}{path}",
            "url_format": "{base_url}{path}",
            "parameters": {"base_url": base, "path": path},
            "priority": priority,
            "max_fails": 5,
            "supports_generation": [1, 2],
            "fallback_only": fallback,
        }
        for name, base, priority, fallback in ways
    ]
    return {**{key: value for key, value in item.items() if key != "link"}, "urls": urls}


@lru_cache(maxsize=64)
def _packed(product: GogProduct, dlcs: tuple[GogProduct, ...], number: int, trick: Trick) -> tuple[str, Packed]:
    return pack(windows_build(product, dlcs, number, trick))


def _store(state: SandboxState) -> Store:
    """The CDN's content, with every build that could have been asked for before: addresses outlive a sandbox."""
    store = state.part(Store)
    if not store.complete:
        for title in state.world.titles:
            if title.gog is not None and title.gog.content in BASE_RECIPES:
                for number in numbers(updated=True, private=True):
                    _build_item(state, title.gog, number)
                    store.packed.add(_packed(title.gog, dlcs_of(state.world, title.gog), number, "")[1])
        store.packed.add(_redist()[1])
        store.complete = True
    return store


# --- links ---------------------------------------------------------------------------------------------------------


def _secure_link(asked: Asked) -> Response:
    session, world, product_id = asked.session, asked.state.world, int(asked.at["product"])
    if session is None:
        return access_denied()
    title = world.gog_products.get(product_id)
    if title is None or title.gog is None or not title.gog.owned:
        said = f"User #{session.user_id} does not have the license for product #{product_id}."
        return json({"error": "invalid_licence", "error_description": said}, 403)
    asked_path = asked.query.get("path", "/")
    old = _OLD_FOLDER.fullmatch(asked_path)
    if asked.query.get("type") == "depot" and old is not None:
        path, dirs = f"/content-system/v1/depots/{product_id}/windows/{old[1]}", 6
    else:
        path, dirs = f"/content-system/v2/store/{product_id}", 4
    urls = link_endpoints(asked.state, path, dirs, asked.knobs.link_ttl_s)
    return json({"product_id": product_id, "type": "depot", "urls": urls}, headers={"cache-control": "no-store"})


def _patches(asked: Asked) -> Response:
    """Patches are optional; this stand-in has none."""
    return access_denied() if asked.session is None else json({"error": "not_found", "error_description": ""}, 404)


# --- the CDN -------------------------------------------------------------------------------------------------------


def _from_cdn(asked: Asked) -> Response:
    path = asked.path
    for public in (_META, _REDIST_META):
        if path.startswith(public):
            return _meta(asked, path.removeprefix(public))
    old = _OLD_META.fullmatch(path)
    if old is not None:
        return _old_meta(asked, int(old[1]), int(old[2]), old[3])
    if path.startswith(_REDIST_STORE):
        return _chunk(asked, 0, path.removeprefix(_REDIST_STORE))
    if path.startswith("/redirect/secure/offline/"):
        return offline_answer(asked, path)
    inner = opened(asked)
    if inner is None:
        return Response("<h1>403 Forbidden</h1>", 403, media_type="text/html")
    stored = _STORE.fullmatch(inner)
    if stored is not None:
        return _chunk(asked, int(stored[1]), stored[2])
    data = _OLD_DATA.fullmatch(inner)
    if data is not None and int(data[2]) == OLD_TIMESTAMP:
        product = _with_builds(asked.state.world, int(data[1]))
        if product is not None:
            return FileAnswer(
                asked.state, old_blob(product), asked.headers.get("range"), ranges=not asked.state.faults.hit("gog.range_off")
            )
    return offline_answer(asked, inner)


def _meta(asked: Asked, tail: str) -> Response:
    found, state = _HASHED.fullmatch(tail), asked.state
    name = found[3] if found is not None else ""
    store, trick = _store(state), trick_of(state)
    text = store.packed.metas.get(name)
    if trick and name in store.links:
        product, number = store.links[name]
        tricked_name, packed = _packed(product, dlcs_of(state.world, product), number, trick)
        store.packed.add(packed)
        text = packed.metas[tricked_name]
    if text is None:
        text = _tricked_manifest(state, name)
    if text is None:
        return Response("<h1>404 Not Found</h1>", 404, media_type="text/html")
    body = text if state.faults.hit("gog.plain_json_meta") else zlib.compress(text)
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    if asked.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return Response(body, media_type=_TYPE, headers={"etag": etag})


def _tricked_manifest(state: SandboxState, name: str) -> bytes | None:
    """A hostile manifest whose meta was handed out before this sandbox started, or before its fault went off."""
    for product, number in list(state.part(Store).links.values()):
        for trick in TRICKS:
            text = _packed(product, dlcs_of(state.world, product), number, trick)[1].metas.get(name)
            if text is not None:
                return text
    return None


def _chunk(asked: Asked, product_id: int, tail: str) -> Response:
    found, faults = _HASHED.fullmatch(tail), asked.state.faults
    body = _store(asked.state).packed.chunks.get((product_id, found[3])) if found is not None else None
    if body is None or faults.hit("gog.chunk_404"):
        return Response("<h1>404 Not Found</h1>", 404, media_type="text/html")
    if faults.hit("gog.chunk_corrupt"):
        middle = len(body) // 2
        body = body[:middle] + bytes((body[middle] ^ 1,)) + body[middle + 1 :]
    return FileAnswer(asked.state, body, asked.headers.get("range"), ranges=not faults.hit("gog.range_off"))


def _old_meta(asked: Asked, product_id: int, timestamp: int, name: str) -> Response:
    product = _with_builds(asked.state.world, product_id)
    document = old_document(product, name) if product is not None and timestamp == OLD_TIMESTAMP else None
    return json(document) if document is not None else Response("<h1>404 Not Found</h1>", 404, media_type="text/html")


# --- redistributables ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _redist() -> tuple[str, Packed]:
    """One redistributable that a game could depend on."""
    packed = Packed()
    row = pack_depot(Depot(0, (GameFile("__redist/MSVC2017_x64/VC_redist.x64.exe", b"MZ" + bytes(510), ("executable",)),)), packed)
    program = {"path": "__redist/MSVC2017_x64/VC_redist.x64.exe", "arguments": "/install /quiet /norestart"}
    named = {"dependencyId": "MSVC2017_x64", "readableName": "Visual C++ 2017", "executable": program, "internal": False, "signature": ""}
    depot = {**named, **{key: value for key, value in row.items() if key != "productId"}}
    text = json_text.dumps({"depots": [depot]}).encode()
    name = hashlib.md5(zlib.compress(text)).hexdigest()
    packed.metas[name] = text
    return name, packed


def _dependencies(asked: Asked) -> Response:
    name, _ = _redist()
    address = f"{FASTLY}{_REDIST_META}/{name[:2]}/{name[2:4]}/{name}"
    return json({"repository_manifest": address, "build_id": "56000000000000001", "generation": 2})


def _open_link(asked: Asked) -> Response:
    way = {"endpoint_name": "fastly", "url": f"{FASTLY}{_REDIST_STORE}", "priority": 10, "max_fails": 5, "supports_generation": [2]}
    return json({"product_id": 0, "type": "depot", "urls": [{**way, "fallback_only": False}]})
