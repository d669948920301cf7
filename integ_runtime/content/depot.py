"""What a Galaxy build is made of: its depot manifests, and where its chunks lie. Source: heroic-gogdl, lgogdownloader, NexusMods.App."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from integ_runtime.content.ledger import Root
from integ_runtime.content.names import Parts, check_links, spelt_as_on_disk, windows_parts
from integ_runtime.content.sums import EMPTY, link_sum, md5_sum
from integ_runtime.downloads.background import Stop
from integ_server.contract.errors import IntegrityError, ProviderError, ProviderUnavailableError

if TYPE_CHECKING:
    from integ_server.contract.types import CdnEndpoint
    from integ_server.upstream import BulkDoor

MAX_MANIFEST_BYTES = 256 << 20
MAX_CHUNK_BYTES = 256 << 20
"""Real ones have up to 18 MB; the limit keeps a wrong number from filling the memory."""
_TRIES = 4

_Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$", to_lower=True)]
_Size = Annotated[int, Field(ge=0, le=MAX_CHUNK_BYTES)]


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class _Chunk(_Told):
    md5: _Md5
    size: _Size
    compressed_md5: _Md5 = Field(alias="compressedMd5")
    compressed_size: _Size = Field(alias="compressedSize")


class _SfcRef(_Told):
    offset: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=0)]


class _Item(_Told):
    type: str
    path: str
    chunks: list[_Chunk] = []
    flags: list[str] = []
    target: str = ""
    md5: str = ""
    sfc_ref: _SfcRef | None = Field(default=None, alias="sfcRef")


class _Container(_Told):
    chunks: list[_Chunk] = []


class _Depot(_Told):
    items: Annotated[list[_Item], Field(max_length=2_000_000)] = []
    small_files: _Container | None = Field(default=None, alias="smallFilesContainer")


class _Manifest(_Told):
    version: Literal[2]
    depot: _Depot


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file: an address by what its compressed form hashes to, and what it must hash to once inflated."""

    md5: str
    size: int
    compressed_md5: str
    compressed_size: int


@dataclass(frozen=True, slots=True)
class Container:
    """Many small files in one stream of chunks."""

    product_id: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class DepotFile:
    root: Root
    parts: Parts
    product_id: str
    chunks: tuple[Chunk, ...]
    executable: bool = False
    container: Container | None = None
    """Where its bytes are packed too, from `offset` on."""
    offset: int = 0

    @property
    def sum(self) -> str:
        return md5_sum([(chunk.size, chunk.md5) for chunk in self.chunks]) if self.chunks else EMPTY

    @property
    def size_bytes(self) -> int:
        return sum(chunk.size for chunk in self.chunks)

    @property
    def compressed_bytes(self) -> int:
        return sum(chunk.compressed_size for chunk in self.chunks)


@dataclass(slots=True)
class Layout:
    """A whole build, with every path where it will stand."""

    files: dict[tuple[Root, Parts], DepotFile] = field(default_factory=dict)
    links: dict[tuple[Root, Parts], str] = field(default_factory=dict)
    folders: set[tuple[Root, Parts]] = field(default_factory=set)

    @property
    def disk_bytes(self) -> int:
        return sum(each.size_bytes for each in self.files.values())

    @property
    def download_bytes(self) -> int:
        return sum(each.compressed_bytes for each in self.files.values())


def read_manifest(door: BulkDoor, url: str, stop: Stop) -> _Manifest:
    """
    The depot manifest at *url*: a zlib stream of JSON, now and then JSON as it is.

    Raises:
        ProviderError: It can't be had, or is no manifest.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            with door.open(url) as answer:
                answer.raise_for_status()
                body = bytearray()
                for part in answer.chunks():
                    stop.check()
                    body += part
                    if len(body) > MAX_MANIFEST_BYTES:
                        raise ProviderError("a depot manifest is larger than any real one")
            return parse_manifest(bytes(body))
        except ProviderUnavailableError as error:
            if attempt == _TRIES or (error.retry_after_s or 0) > 30:
                raise
            stop.wait(error.retry_after_s or 0.2 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def parse_manifest(body: bytes) -> _Manifest:
    """
    Raises:
        ProviderError: *body* is no manifest of generation 2.
    """
    try:
        text = _inflated(body)
        return _Manifest.model_validate_json(text)
    except (ValidationError, zlib.error) as error:
        raise ProviderError("a depot manifest is in a form that Integ does not know", hint="integ install GAME --build ID") from error


def lay_out(manifests: Iterable[tuple[str, _Manifest]], roots: Mapping[Root, Path]) -> Layout:
    """
    Put the depots over each other, a later one over an earlier one, as Windows would: paths that differ by case alone are one.

    *manifests* come with the product each belongs to; what is on the disk under *roots* keeps its spelling.

    Raises:
        IntegrityError: A path or a link leads out of the game's folder. Nothing has been written then.
        ProviderError: A manifest contradicts itself.
    """
    told: dict[tuple[Root, Parts], DepotFile | str | None] = {}
    for product_id, manifest in manifests:
        depot = manifest.depot
        packed = Container(product_id, tuple(map(_chunk, depot.small_files.chunks))) if depot.small_files else None
        for item in depot.items:
            support = "support" in item.flags
            parts = windows_parts(item.path)
            where: tuple[Root, Parts] = ("support", (product_id, *parts)) if support else ("game", parts)
            if item.type == "DepotDirectory":
                told.setdefault(where, None)
            elif item.type == "DepotLink":
                told[where] = item.target.replace("\\", "/")
            elif item.type == "DepotFile":
                told[where] = _file(item, where, product_id, packed)
            else:
                raise ProviderError(f"a depot manifest holds a {item.type[:40]!r}, which Integ does not know")
    return _spelt(told, roots)


def chunk_url(endpoint: CdnEndpoint, compressed_md5: str) -> str:
    """
    The address of a chunk: its hash at the end of the signed path, then every `{key}` of the format filled in, whatever keys there are.

    Raises:
        ProviderError: The format names a key that is not there.
    """
    given: dict[str, Any] = dict(endpoint.parameters)
    path = str(given.get("path", "")).rstrip("/")
    given["path"] = f"{path}/{compressed_md5[:2]}/{compressed_md5[2:4]}/{compressed_md5}"

    def fill(found: re.Match[str]) -> str:
        if found[1] not in given:
            raise ProviderError(f"the address of {endpoint.endpoint_name[:40]} needs {found[1][:40]!r}, which the store did not send")
        return str(given[found[1]])

    return re.sub(r"\{(\w+)\}", fill, endpoint.url_format)


def in_order(endpoints: Iterable[CdnEndpoint]) -> list[CdnEndpoint]:
    """The best first; those that are a last resort last."""
    return sorted(endpoints, key=lambda each: (each.fallback_only, -each.priority))


def _file(item: _Item, where: tuple[Root, Parts], product_id: str, packed: Container | None) -> DepotFile:
    chunks = tuple(map(_chunk, item.chunks))
    if len(chunks) == 1 and item.md5 and item.md5.lower() != chunks[0].md5:
        raise ProviderError("a depot manifest gives two different hashes for one file")
    size = sum(chunk.size for chunk in chunks)
    container, offset = None, 0
    if packed is not None and item.sfc_ref is not None and len(chunks) == 1 and item.sfc_ref.size == size:
        if item.sfc_ref.offset + size > sum(chunk.size for chunk in packed.chunks):
            raise ProviderError("a depot manifest points behind the end of its small files")
        container, offset = packed, item.sfc_ref.offset
    return DepotFile(where[0], where[1], product_id, chunks, "executable" in item.flags, container, offset)


def _spelt(told: Mapping[tuple[Root, Parts], DepotFile | str | None], roots: Mapping[Root, Path]) -> Layout:
    layout = Layout()
    for root, folder in roots.items():
        mine = [parts for where, parts in told if where == root]
        spelt = spelt_as_on_disk(folder, mine)
        for parts in mine:
            what, at = told[root, parts], (root, spelt[parts])
            if what is None:
                layout.folders.add(at)
                continue
            layout.files.pop(at, None)
            layout.links.pop(at, None)
            if isinstance(what, str):
                layout.links[at] = what
            else:
                layout.files[at] = DepotFile(
                    root, at[1], what.product_id, what.chunks, what.executable, what.container, what.offset
                )  # fmt: skip
        layout.folders -= layout.files.keys() | layout.links.keys()
        _check_shape(layout, root)
    return layout


def _check_shape(layout: Layout, root: Root) -> None:
    files = [parts for where, parts in layout.files if where == root]
    links = {parts: target for (where, parts), target in layout.links.items() if where == root}
    folders = [parts for where, parts in layout.folders if where == root]
    check_links(links, [*files, *folders])
    taken = set(files)
    for parts in (*files, *folders):
        for depth in range(1, len(parts)):
            if parts[:depth] in taken:
                raise IntegrityError(f"{'/'.join(parts[:depth])!a} is a file and a folder in one build", hint="nothing was written")


def link_entries(layout: Layout) -> dict[tuple[Root, Parts], str]:
    """The sums of the layout's links."""
    return {where: link_sum(target) for where, target in layout.links.items()}


def _chunk(told: _Chunk) -> Chunk:
    return Chunk(told.md5, told.size, told.compressed_md5, told.compressed_size)


def _inflated(body: bytes) -> bytes:
    if body[:1] in {b"{", b"["} or not body:
        return body
    stream = zlib.decompressobj()
    text = stream.decompress(body, MAX_MANIFEST_BYTES)
    if stream.unconsumed_tail or not stream.eof:
        raise zlib.error("cut short, or too large")
    return text
