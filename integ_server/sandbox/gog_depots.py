"""Packs files the way GOG's content system holds them: chunks of one zlib stream each, depot manifests, build metas."""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CHUNK_BYTES = 256 * 1024
"""Smaller than the real 10 MiB, so that a game of a megabyte has files of several chunks."""
SMALL_FILE_BYTES = 2048


@dataclass(frozen=True, slots=True)
class GameFile:
    path: str
    """With slashes; the manifest gets backslashes."""
    body: bytes = field(repr=False)
    flags: tuple[str, ...] = ()
    """Of `executable`, `hidden`, `support`."""


@dataclass(frozen=True, slots=True)
class GameFolder:
    path: str


@dataclass(frozen=True, slots=True)
class GameLink:
    path: str
    target: str


Item = GameFile | GameFolder | GameLink


@dataclass(frozen=True, slots=True)
class Depot:
    product_id: int
    items: tuple[Item, ...]
    languages: tuple[str, ...] = ("*",)
    bitness: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One generation 2 build of a base game, DLC included."""

    product_id: int
    number: int
    """Orders the builds of a product; the highest is the newest."""
    version: str
    depots: tuple[Depot, ...]
    products: tuple[tuple[int, str], ...]
    """Base first, then the DLC it can install, as (id, name)."""
    folder: str
    client: tuple[str, str]
    published: float
    branch: str | None = None
    private: bool = False
    offline: Depot | None = None

    @property
    def build_id(self) -> str:
        return build_id(self.product_id, self.number)


def build_id(product_id: int, number: int) -> str:
    """17 digits, as all builds of generation 2 have."""
    return str(58_000_000_000_000_000 + product_id * 100 + number)


@dataclass
class Packed:
    """What a CDN holds of one build or of several."""

    metas: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Build metas and depot manifests by their hash, as plain JSON."""
    chunks: dict[tuple[int, str], bytes] = field(default_factory=dict, repr=False)
    """Zlib streams by product id and their own md5."""

    def add(self, other: Packed) -> None:
        self.metas.update(other.metas)
        self.chunks.update(other.chunks)


def pack(build: Build) -> tuple[str, Packed]:
    """The hash of the build's meta, and all that it leads to."""
    packed = Packed()
    depots = [pack_depot(depot, packed) for depot in build.depots]
    meta: dict[str, Any] = {
        "version": 2,
        "baseProductId": str(build.product_id),
        "buildId": build.build_id,
        "clientId": build.client[0],
        "clientSecret": build.client[1],
        "cloudSaves": [{"name": "saves", "location": f"<?APPLICATION_DATA_ROAMING?>/{build.folder}"}],
        "depots": depots,
        "installDirectory": build.folder,
        "platform": "windows",
        "tags": ["csb_10_6_1"],
        "products": [{"productId": str(pid), "name": name, "temp_executable": "", "temp_arguments": ""} for pid, name in build.products],
    }
    if build.offline is not None:
        meta["offlineDepot"] = pack_depot(build.offline, packed)
    text = json.dumps(meta).encode()
    name = md5(zlib.compress(text))
    packed.metas[name] = text
    return name, packed


def pack_depot(depot: Depot, packed: Packed) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    container = bytearray()
    for item in depot.items:
        if isinstance(item, GameFolder):
            items.append({"type": "DepotDirectory", "path": _windows(item.path)})
        elif isinstance(item, GameLink):
            items.append({"type": "DepotLink", "path": item.path, "target": item.target})
        else:
            items.append(_pack_file(item, depot.product_id, packed, container))
    content: dict[str, Any] = {"items": items}
    if container:
        content["smallFilesContainer"] = {"chunks": _pack_chunks(bytes(container), depot.product_id, packed), "md5": md5(bytes(container))}
    text = json.dumps({"version": 2, "depot": content}).encode()
    name = md5(zlib.compress(text))
    packed.metas[name] = text
    chunks = [chunk for item in items for chunk in item.get("chunks", ())]
    listed: dict[str, Any] = {"productId": str(depot.product_id), "languages": list(depot.languages), "manifest": name}
    if depot.bitness:
        listed["osBitness"] = list(depot.bitness)
    return {**listed, "size": sum(chunk["size"] for chunk in chunks), "compressedSize": sum(chunk["compressedSize"] for chunk in chunks)}


def _pack_file(file: GameFile, product_id: int, packed: Packed, container: bytearray) -> dict[str, Any]:
    """One file's row; a small one is in the container too."""
    chunks = _pack_chunks(file.body, product_id, packed)
    row: dict[str, Any] = {"type": "DepotFile", "path": _windows(file.path), "chunks": chunks}
    if file.flags:
        row["flags"] = list(file.flags)
    if len(chunks) > 1:
        row["md5"] = md5(file.body)
        row["sha256"] = hashlib.sha256(file.body).hexdigest()
    if 0 < len(file.body) <= SMALL_FILE_BYTES and not file.flags:
        row["sfcRef"] = {"offset": len(container), "size": len(file.body)}
        container += file.body
    return row


def _pack_chunks(body: bytes, product_id: int, packed: Packed) -> list[dict[str, Any]]:
    chunks = []
    for piece in _pieces(body):
        stream = zlib.compress(piece)
        name = md5(stream)
        packed.chunks[product_id, name] = stream
        chunks.append({"md5": md5(piece), "size": len(piece), "compressedMd5": name, "compressedSize": len(stream)})
    return chunks


def _pieces(body: bytes) -> Sequence[bytes]:
    """Pieces of one chunk each; the last takes a small rest along, so it may be larger than the others."""
    starts = list(range(0, len(body), CHUNK_BYTES))
    if len(starts) > 1 and len(body) - starts[-1] < CHUNK_BYTES // 8:
        starts.pop()
    return [body[start:end] for start, end in itertools.pairwise([*starts, len(body)])]


def _windows(path: str) -> str:
    return path.replace("/", "\\")


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()
