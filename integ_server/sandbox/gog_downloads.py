"""Offline installers: what a product offers, where a file lies right now, the files themselves and their checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from integ_server.sandbox.answers import FileAnswer
from integ_server.sandbox.gog_ground import Asked, access_denied, blocked, json, route
from integ_server.sandbox.gog_installer import linux_installer, linux_version, windows_parts
from integ_server.sandbox.gog_recipes import trick_of
from integ_server.sandbox.gog_signing import fastly_address, gcore_address
from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.world import WORLD_NOW, GogProduct

MIB = 1024 * 1024
_XML_CHUNK = 10_485_760
_OFFLINE = re.compile(r"/secure/offline/(\d+)/\1/(\d+)/\2/([^/]+)")
_REDIRECT = "/redirect"
_DIRS = 6
_LINUX = ("native-game", "native-game-dlc")


@dataclass(frozen=True, slots=True)
class OfflineFile:
    """One file of an installer, patch or extra."""

    kind: str
    """As in its downlink: installer, patch, product_bonus."""
    file_id: str
    name: str
    number: int
    """The version's number, which is part of the address."""
    body: Callable[[], bytes] = field(repr=False)
    has_xml: bool = True


def routes(state: SandboxState) -> list[Route]:
    return [route(state, "/api.gog.com/products/{product:int}/downlink/{kind}/{file}", _downlink)]


def offline_files(state: SandboxState, product: GogProduct) -> list[OfflineFile]:
    """All that can be downloaded of a product by hand; the first Linux file is its installer."""
    updated, trick = state.faults.active("gog.update_out"), trick_of(state)
    version, number = linux_version(updated=updated)
    found = []
    if product.content in _LINUX and "linux" in product.os:
        name = f"{product.slug}_{version.replace('.', '_')}_{number}.sh"
        found.append(
            OfflineFile("installer", "en3installer0", name, number, lambda: linux_installer(product, updated=updated, trick=trick))
        )
    if product.content is not None and "windows" in product.os:
        stem = f"setup_{product.slug}_1.{2 if updated else 1}_(64bit)_({number})"
        for part, name in enumerate((f"{stem}.exe", f"{stem}-1.bin")):
            found.append(OfflineFile("installer", f"en1installer{part}", name, number, _part(product, number, part)))
        if product.type == "game":
            patch = f"patch_{product.slug}_1.0_to_1.1_({number}).exe"
            found.append(OfflineFile("patch", "en1patch0", patch, number, lambda: b"MZ" + bytes(2_000)))
            found.append(OfflineFile("product_bonus", "88001", f"{product.slug}_harbor_map.zip", 1, lambda: b"PK\5\6" + bytes(18), False))
    return found


def _part(product: GogProduct, number: int, part: int) -> Callable[[], bytes]:
    return lambda: windows_parts(product, number)[part]


def downloads(state: SandboxState, product: GogProduct) -> dict[str, Any]:
    """The `downloads` object; sizes are rounded to MiB, as GOG's are."""
    listed: dict[str, Any] = {"installers": [], "patches": [], "language_packs": [], "bonus_content": []}
    offered = offline_files(state, product)
    version, number = linux_version(updated=state.faults.active("gog.update_out"))
    for os, marker in (("windows", "en1"), ("linux", "en3")):
        parts = [file for file in offered if file.file_id.startswith(f"{marker}installer")]
        if parts:
            shown = f"{version} ({number})" if os == "linux" else None if product.type == "dlc" else f"1.{2 if number > 70_100 else 1}"
            listed["installers"].append(_entry(product, f"installer_{os}_en", os, shown, parts))
    patches = [file for file in offered if file.kind == "patch"]
    if patches:
        listed["patches"].append(_entry(product, "patch_windows_en", "windows", "1.0 to 1.1", patches))
    for file in offered:
        if file.kind == "product_bonus":
            rows = [{"id": int(file.file_id), "size": MIB, "downlink": _address(product, file)}]
            entry = {"id": int(file.file_id), "name": "harbor map", "type": "artworks", "count": 1, "total_size": MIB, "files": rows}
            nothing = {"id": 88_002, "name": "soundtrack", "type": "audio", "count": 0, "total_size": 0, "files": []}
            listed["bonus_content"] += [entry, nothing]
    return listed


def _entry(product: GogProduct, entry_id: str, os: str, version: str | None, parts: list[OfflineFile]) -> dict[str, Any]:
    sizes = [-(-len(file.body()) // MIB) * MIB for file in parts]
    rows = [{"id": file.file_id, "size": size, "downlink": _address(product, file)} for file, size in zip(parts, sizes, strict=True)]
    named = {"id": entry_id, "name": product.title, "os": os, "language": "en", "language_full": "English", "version": version}
    return {**named, "total_size": sum(sizes), "files": rows}


def _address(product: GogProduct, file: OfflineFile) -> str:
    return f"https://api.gog.com/products/{product.id}/downlink/{file.kind}/{file.file_id}"


# --- downlinks -----------------------------------------------------------------------------------------------------


def _downlink(asked: Asked) -> Response:
    if asked.session is None:
        return access_denied()
    title, state, at = asked.state.world.gog_products.get(int(asked.at["product"])), asked.state, asked.at
    product = title.gog if title is not None else None
    wanted = (at["kind"], at["file"])
    file = (
        next((file for file in offline_files(state, product) if (file.kind, file.file_id) == wanted), None) if product is not None else None
    )
    if product is None or file is None or not product.owned:
        return json({"statusCode": 404, "error": "Not Found", "message": "Not found"}, 404)
    path = f"/secure/offline/{product.id}/{product.id}/{file.number}/{file.number}/{file.name}"
    ttl = asked.knobs.downlink_ttl_s
    if state.faults.active("gog.gcdn"):
        found = {"downlink": gcore_address(state, path, ttl), "checksum": gcore_address(state, f"{path}.xml", ttl)}
    else:
        address = fastly_address(state, path, _DIRS, ttl)
        found = {"downlink": address, "checksum": f"{address}.xml"}
    if state.faults.active("gog.redirected"):
        found["downlink"] = f"http://cdn.gog.com{_REDIRECT}{quote(path)}"
    return json(found, headers={"cache-control": "no-store"})


def offline_answer(asked: Asked, path: str) -> Response:
    """The file at a CDN's *path*, whose signature was checked already; or one more redirect on the way to it."""
    state = asked.state
    if path.startswith(_REDIRECT):
        if not state.faults.active("gog.redirected"):
            return _gone()
        return RedirectResponse(gcore_address(state, path.removeprefix(_REDIRECT), asked.knobs.downlink_ttl_s), 302)
    found = _OFFLINE.fullmatch(path)
    title = state.world.gog_products.get(int(found[1])) if found is not None else None
    if found is None or title is None or title.gog is None:
        return _gone()
    name = found[3]
    wanted = name.removesuffix(".xml")
    file = next((file for file in offline_files(state, title.gog) if (file.name, str(file.number)) == (wanted, found[2])), None)
    if file is None:
        return _gone()
    return _checksum(asked, file) if name.endswith(".xml") else _file(asked, file)


def _file(asked: Asked, file: OfflineFile) -> Response:
    faults, body = asked.state.faults, file.body()
    if file.kind == "installer" and faults.hit("gog.html_installer"):
        return blocked(200)
    cut = 0.5 if faults.hit("gog.cut_download") else None
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    return FileAnswer(
        asked.state,
        body,
        asked.headers.get("range"),
        headers={"etag": etag},
        ranges=not faults.hit("gog.range_off"),
        cut_share=cut,
        slow=faults.active("gog.slow"),
    )


def _checksum(asked: Asked, file: OfflineFile) -> Response:
    faults = asked.state.faults
    if not file.has_xml or faults.hit("gog.xml_404"):
        return _gone()
    body = file.body()
    if faults.hit("gog.xml_mismatch"):
        body = bytes(len(body))
    text = checksum_xml(file.name, body)
    if faults.hit("gog.xml_malformed"):
        text = text[: len(text) // 2]
    return Response(text, media_type="application/xml")


@lru_cache(maxsize=32)
def checksum_xml(name: str, body: bytes) -> str:
    """Exact size, md5 of the whole and of each piece of ten MiB; `from` and `to` are inclusive."""
    starts = range(0, len(body), _XML_CHUNK)
    date = datetime.fromtimestamp(WORLD_NOW - 86_400, UTC).strftime("%Y-%m-%d %H:%M:%S")
    whole = hashlib.md5(body).hexdigest()
    facts = f'md5="{whole}" chunks="{len(starts)}" timestamp="{date}" total_size="{len(body)}"'
    pieces = "".join(
        f'  <chunk id="{place}" from="{start}" to="{min(start + _XML_CHUNK, len(body)) - 1}" method="md5">'
        f"{hashlib.md5(body[start : start + _XML_CHUNK]).hexdigest()}</chunk>\n"
        for place, start in enumerate(starts)
    )
    return f'<file name={quoteattr(name)} available="1" notavailablemsg="" {facts}>\n{pieces}</file>\n'


def _gone() -> Response:
    return Response("<h1>404 Not Found</h1>", 404, media_type="text/html")
