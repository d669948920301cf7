"""A build of the first generation, as old games still list one: a plain repository, and all files in one blob."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from integ_server.sandbox.gog_depots import GameFile, GameFolder, GameLink, Item
from integ_server.sandbox.gog_ground import offset_date
from integ_server.sandbox.gog_recipes import windows_build
from integ_server.sandbox.gog_signing import FASTLY
from integ_server.sandbox.world import GogProduct

OLD_TIMESTAMP = 37_241_003
_PUBLISHED = 1_514_800_800
_DEPOT = "11111111-2222-3333-4444-555555555555.json"


def old_build_item(product: GogProduct) -> dict[str, Any]:
    return {
        "build_id": f"50{product.id:015d}",
        "product_id": str(product.id),
        "os": "windows",
        "branch": None,
        "version_name": "0.9",
        "tags": [],
        "public": True,
        "date_published": offset_date(_PUBLISHED),
        "generation": 1,
        "legacy_build_id": OLD_TIMESTAMP,
        "link": f"{FASTLY}/content-system/v1/manifests/{product.id}/windows/{OLD_TIMESTAMP}/repository.json",
    }


def old_document(product: GogProduct, name: str) -> dict[str, Any] | None:
    """The repository, or the one depot manifest beside it."""
    if name == "repository.json":
        return _repository(product)
    return _manifest(product)[0] if name == _DEPOT else None


def old_blob(product: GogProduct) -> bytes:
    """main.bin: the files end to end."""
    return _manifest(product)[1]


def _items(product: GogProduct) -> tuple[Item, ...]:
    return windows_build(product, (), 1).depots[0].items


def _repository(product: GogProduct) -> dict[str, Any]:
    pid, size = str(product.id), str(len(old_blob(product)))
    depots = [
        {"languages": ["Neutral"], "size": size, "gameIDs": [pid], "systems": ["Windows"], "manifest": _DEPOT},
        {"redist": "MSVC2010", "executable": "vcredist_x86.exe", "argument": "/q", "size": "0", "targetDir": "__redist"},
    ]
    command = {"languages": ["Neutral"], "executable": "/setup.exe", "gameID": pid, "argument": "", "systems": ["Windows"]}
    game = {"gameID": pid, "name": {"en": product.title}, "dependencies": [], "standalone": True}
    listed = {"timestamp": OLD_TIMESTAMP, "installDirectory": product.title, "rootGameID": pid, "projectName": product.slug}
    return {"version": 1, "product": {**listed, "depots": depots, "support_commands": [command], "gameIDs": [game]}}


@lru_cache(maxsize=8)
def _manifest(product: GogProduct) -> tuple[dict[str, Any], bytes]:
    files: list[dict[str, Any]] = []
    blob = bytearray()
    for item in _items(product):
        if isinstance(item, GameFolder):
            files.append({"path": f"/{item.path}", "directory": True})
        elif isinstance(item, GameLink):
            files.append({"path": f"/{item.path}", "target": item.target, "symlinkType": "file"})
        else:
            files.append(_file(item, len(blob), product))
            blob += item.body
    return {"version": 1, "depot": {"name": product.slug, "files": files}}, bytes(blob)


def _file(item: GameFile, offset: int, product: GogProduct) -> dict[str, Any]:
    row: dict[str, Any] = {"path": f"/{item.path}", "offset": offset, "size": len(item.body)}
    return {**row, "hash": hashlib.md5(item.body).hexdigest(), "url": f"{product.id}/main.bin", **dict.fromkeys(item.flags, True)}
