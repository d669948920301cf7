"""Signed addresses of the CDNs: what they look like, and whether one is still good."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from integ_server.sandbox.gog_ground import Asked
from integ_server.sandbox.state import SandboxState

FASTLY, GCORE = "https://gog-cdn-fastly.gog.com", "https://gog-cdn.gcdn.co"
_TOKEN = re.compile(r"/token=nva=(\d+)~dirs=(\d+)~token=([0-9a-f]+)(/.*)")


@dataclass
class Signatures:
    """The key of one sandbox, and which addresses are refused until they are asked for anew."""

    key: str = ""
    awaited: set[str] = field(default_factory=set)
    """Signed folders whose link was refused as run out."""
    renewed: set[str] = field(default_factory=set, repr=False)
    """Tokens handed out after that."""


def sign(state: SandboxState, expires: int, signed: str) -> str:
    """A token for everything below the path *signed*."""
    signatures = state.part(Signatures)
    if not signatures.key:
        signatures.key = state.secret(64)
    return hmac.new(signatures.key.encode(), f"{expires} {signed}".encode(), hashlib.sha256).hexdigest()[:32]


def renewed(state: SandboxState, token: str, signed: str) -> None:
    """Note a token that was just handed out."""
    signatures = state.part(Signatures)
    if signed in signatures.awaited:
        signatures.awaited.discard(signed)
        signatures.renewed.add(token)


def folder(path: str, dirs: int) -> str:
    """The first *dirs* segments of *path*."""
    return "/".join(path.split("/")[: dirs + 1])


def fastly_address(state: SandboxState, path: str, dirs: int, ttl_s: int) -> str:
    expires, signed = int(state.clock()) + ttl_s, folder(path, dirs)
    token = sign(state, expires, signed)
    renewed(state, token, signed)
    return f"{FASTLY}/token=nva={expires}~dirs={dirs}~token={token}{quote(path)}"


def gcore_address(state: SandboxState, path: str, ttl_s: int) -> str:
    """The other CDN signs the one object, so nothing may be appended to the path."""
    expires = int(state.clock()) + ttl_s
    token = sign(state, expires, path)
    renewed(state, token, path)
    return f"{GCORE}{quote(path)}?wsSecret={token}&wsTime={expires:x}&prefix={quote(path)}"


def link_endpoints(state: SandboxState, path: str, dirs: int, ttl_s: int) -> list[dict[str, Any]]:
    """A secure link's `urls` for the folder *path*: two endpoints, each with its own way to build an address."""
    expires = int(state.clock()) + ttl_s
    token = sign(state, expires, path)
    renewed(state, token, path)
    common = {"max_fails": 5, "supports_generation": [1, 2]}
    fastly = {"base_url": FASTLY, "path": path, "token": token, "expires_at": expires, "dirs": dirs}
    gcore = {"base_url": GCORE, "path": path.removeprefix("/"), "token": token, "time": f"{expires:x}", "prefix": f"{path}/"}
    return [
        {
            "endpoint_name": "gcore_cdn",
            "url_format": "{base_url}/{path}?wsSecret={token}&wsTime={time}&prefix={prefix}",
            "parameters": gcore,
            "priority": 1,
            **common,
            "fallback_only": True,
        },
        {
            "endpoint_name": "fastly",
            "url_format": "{base_url}/token=nva={expires_at}~dirs={dirs}~token={token}{path}",
            "parameters": fastly,
            "priority": 10,
            **common,
            "fallback_only": False,
        },
    ]


def opened(asked: Asked) -> str | None:
    """The path behind a signed address; None when the signature is wrong, for another folder, or has run out."""
    found = _TOKEN.fullmatch(asked.path)
    if found is not None:
        expires, dirs, token, path = int(found[1]), int(found[2]), found[3], found[4]
        signed = folder(path, dirs)
    elif "wsSecret" in asked.query:
        prefix, path, token = asked.query.get("prefix", ""), asked.path, asked.query["wsSecret"]
        if path != prefix and not (prefix.endswith("/") and path.startswith(prefix)):
            return None
        signed = prefix.removesuffix("/")
        try:
            expires = int(asked.query.get("wsTime", ""), 16)
        except ValueError:
            return None
    else:
        return None
    state = asked.state
    if not hmac.compare_digest(sign(state, expires, signed), token) or expires <= state.clock():
        return None
    signatures = state.part(Signatures)
    if token not in signatures.renewed and state.faults.hit("gog.link_expired"):
        signatures.awaited.add(signed)
        return None
    return path
