"""A store's content servers on a loopback port, as small as can be, and a backend that plans downloads from them."""

from __future__ import annotations

import hashlib
import io
import json
import random
import stat
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from integ_runtime.cache.store import LibraryCache
from integ_runtime.content.games import Games
from integ_runtime.content.installed import InstalledGames
from integ_runtime.settings import RuntimeSettings, read_settings
from integ_server.contract.types import CdnEndpoint, DepotRef, DownloadPlan, DownloadRequest, InstallerFile

HOST, SPARE = "cdn.example.com", "spare.example.com"
CHUNK = 1000
"""Bytes of a chunk; the real ones have 10 MiB."""


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@dataclass
class Cdn:
    """What is served, by path below a host, and what went wrong on purpose."""

    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """`host/path` of every request, in order."""
    token: str = "t0"
    """In every signed address; another one is refused."""
    fault: Callable[[str], int | bytes | None] = lambda path: None
    """For a `host/path`: a status to answer with, another body, or None for no fault."""

    def chunks_asked(self) -> Counter[str]:
        return Counter(path.rsplit("/", 1)[1] for path in self.asked if "/store/" in path)

    def add_chunks(self, product: str, data: bytes, size: int = CHUNK) -> list[dict[str, Any]]:
        told = []
        for at in range(0, len(data), size):
            raw = data[at : at + size]
            packed = zlib.compress(raw)
            name = md5(packed)
            self.bodies[f"store/{product}/{name[:2]}/{name[2:4]}/{name}"] = packed
            told.append({"md5": md5(raw), "size": len(raw), "compressedMd5": name, "compressedSize": len(packed)})
        return told

    def add_manifest(self, depot: Mapping[str, Any], *, plain: bool = False) -> str:
        text = json.dumps({"version": 2, "depot": depot}).encode()
        body = text if plain else zlib.compress(text)
        name = md5(body)
        self.bodies[f"meta/{name}"] = body
        return f"https://{HOST}/meta/{name}"

    def file(self, product: str, path: str, data: bytes, **more: Any) -> dict[str, Any]:
        return {"type": "DepotFile", "path": path, "chunks": self.add_chunks(product, data), **more}

    def packed(self, product: str, files: Mapping[str, bytes]) -> dict[str, Any]:
        """A depot whose files lie in one container too."""
        items, at, whole = [], 0, b"".join(files.values())
        for path, data in files.items():
            items.append(self.file(product, path, data, sfcRef={"offset": at, "size": len(data)}))
            at += len(data)
        return {"items": items, "smallFilesContainer": {"chunks": self.add_chunks(product, whole, size=1 << 20)}}

    def answer(self, host: str, path: str) -> tuple[int, bytes]:
        wrong = self.fault(f"{host}/{path}")
        if isinstance(wrong, bytes):
            return 200, wrong
        if wrong is not None:
            return wrong, b"<html>no</html>"
        if path.startswith("token="):
            token, _, path = path.partition("/")
            if token != f"token={self.token}":
                return 403, b"expired"
        body = self.bodies.get(path)
        return (404, b"") if body is None else (200, body)


@contextmanager
def serving(cdn: Cdn) -> Iterator[Cdn]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host, _, path = self.path.lstrip("/").partition("/")
            cdn.asked.append(f"{host}/{path}")
            status, body = cdn.answer(host, path)
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            try:
                self.send_response(206 if status == 200 and asked else status)
                if status == 200 and asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                self.wfile.write(body[start:])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    cdn.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cdn
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Backend:
    """Plans downloads; each plan has links that are good when it is made."""

    cdn: Cdn
    plan: DownloadPlan | None = None
    asked: list[DownloadRequest] = field(default_factory=list)
    renews: bool = True

    async def download_plan(self, key: str, wanted: DownloadRequest) -> DownloadPlan:
        self.asked.append(wanted)
        assert self.plan is not None
        assert self.plan.key == key
        if self.renews or not hasattr(self, "_links"):
            self._links = {each.product_id: endpoints(each.product_id, self.cdn.token) for each in self.plan.depots}
        return self.plan.model_copy(update={"endpoints": self._links} if self.plan.kind == "galaxy" else {})

    def offers(self, *depots: tuple[str, Mapping[str, Any]], key: str = "gog:1", build: str = "b1", **more: Any) -> None:
        """From now on the game is this build."""
        manifests = [(product, self.cdn.add_manifest(depot)) for product, depot in depots]
        told = [DepotRef(product_id=product, manifest_url=url, size_bytes=0, compressed_bytes=0) for product, url in manifests]
        sizes = [chunk for _, depot in depots for item in depot["items"] for chunk in item.get("chunks", [])]
        self.plan = DownloadPlan(
            key=key,
            title="Tea",
            kind="galaxy",
            build=build,
            depots=told,
            folder_name="Tea Time",
            download_bytes=sum(each["compressedSize"] or 0 for each in sizes),
            disk_bytes=sum(each["size"] for each in sizes),
            **more,
        )

    def offers_installer(self, body: bytes, *, version: str = "1.0", checked: bool = True, dlc: Mapping[str, bytes] | None = None) -> None:
        """From now on the game comes by this installer, with those of *dlc* by file name."""
        files = []
        for name, content in {"tea.sh": body, **(dlc or {})}.items():
            self.cdn.bodies[name] = content
            size, digest = (len(content), md5(content)) if checked else (None, None)
            files.append(InstallerFile(url=f"https://{HOST}/{name}", file_name=name, size_bytes=size, md5=digest))
        self.plan = DownloadPlan(
            key="gog:1",
            title="Tea",
            kind="linux_installer",
            platform="linux",
            version=version,
            installer=files[0],
            dlc=[f"dlc{number}" for number in range(1, len(files))],
            dlc_installers=files[1:],
            folder_name="Tea",
        )


def endpoints(product: str, token: str) -> list[CdnEndpoint]:
    signed = {"base": f"https://{HOST}", "token": token, "path": f"store/{product}"}
    spare = {**signed, "base": f"https://{SPARE}"}
    return [
        CdnEndpoint(endpoint_name="spare", url_format="{base}/token={token}/{path}", parameters=spare, priority=99, fallback_only=True),
        CdnEndpoint(endpoint_name="fast", url_format="{base}/token={token}/{path}", parameters=signed, priority=10),
    ]


@dataclass
class Shop:
    """A player's machine with a store behind it."""

    cdn: Cdn
    backend: Backend
    settings: RuntimeSettings
    installed: InstalledGames

    @property
    def games(self) -> Games:
        async def api() -> Any:
            return self.backend

        return Games(self.settings, api, self.installed, self.library)

    @property
    def library(self) -> LibraryCache:
        return LibraryCache(self.settings.paths.cache_db)

    @property
    def folder(self) -> Path:
        """Where the game goes."""
        assert self.backend.plan is not None
        return self.settings.games_root / self.backend.plan.folder_name

    def tree(self, folder: Path | None = None) -> dict[str, bytes]:
        """Every file below the game's folder, by its path."""
        top = folder or self.folder
        return {
            str(each.relative_to(top)): each.read_bytes() for each in sorted(top.rglob("*")) if each.is_file() and not each.is_symlink()
        }


def make_shop(home: Path, cdn: Cdn) -> Shop:
    settings = read_settings({"HOME": str(home), "INTEG_UPSTREAM_URL": cdn.url})
    return Shop(cdn, Backend(cdn), settings, InstalledGames(settings.paths))


INFO = {
    "gameId": "1",
    "rootGameId": "1",
    "buildId": "b1",
    "name": "Tea",
    "playTasks": [
        {"type": "URLTask", "isPrimary": True, "link": "https://example.com"},
        {"type": "FileTask", "category": "tool", "path": "cfg.exe"},
        {
            "type": "FileTask",
            "isPrimary": True,
            "category": "game",
            "path": "BIN\\tea.EXE",
            "workingDir": "bin",
            "arguments": '-w "two words"',
        },
    ],
}
FILES = {
    "bin\\Tea.exe": b"MZ" + random.Random(1).randbytes(3300),
    "data\\leaves.pak": random.Random(2).randbytes(3600),
    "data\\water.pak": random.Random(3).randbytes(2801),
    "goggame-1.info": json.dumps(INFO).encode(),
    "empty.txt": b"",
}
"""A small build: several chunks, one chunk, and a file of none; no two chunks are alike."""


def small_build(cdn: Cdn) -> dict[str, Any]:
    items = [cdn.file("1", path, data, flags=["executable"] if path.endswith(".exe") else []) for path, data in FILES.items()]
    return {"items": [*items, {"type": "DepotDirectory", "path": "saves\\old"}]}


def unixed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path.replace("\\", "/"): data for path, data in files.items()}


def zip_member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2024, 1, 2, 3, 4, 6))
    info.create_system = 3
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def linux_installer(members: Sequence[tuple[str, bytes, int]]) -> bytes:
    """A script with a payload of its own, and the zip behind both; members are (name, content, mode)."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for name, data, mode in members:
            out.writestr(zip_member(name, mode), data)
    return b'#!/bin/sh\noffset=`head -n 3 "$0"`\nfilesizes="9"\n' + b"\x1f\x8bpayload" + archive.getvalue()


REGULAR, PROGRAM, LINK = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755, stat.S_IFLNK | 0o777
