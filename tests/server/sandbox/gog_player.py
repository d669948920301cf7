"""Somebody who talks to the sandbox's GOG as a client does: by the original addresses, with a Bearer token once signed in."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from integ_server.sandbox.app import Sandbox, create_sandbox
from integ_server.sandbox.gog_auth import CLIENT_ID, CLIENT_SECRET, REDIRECT
from integ_server.sandbox.gog_ground import Knobs
from integ_server.sandbox.world import make_world

AUTH = "https://auth.gog.com"
CLIENT = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


class Player:
    def __init__(self, sandbox: Sandbox, http: httpx.AsyncClient) -> None:
        self.sandbox, self.http = sandbox, http
        self.knobs, self.faults, self.world = sandbox.state.part(Knobs), sandbox.faults, sandbox.world
        self.token: dict[str, Any] = {}
        self.now = 1_800_000_000.0
        sandbox.state.clock = lambda: self.now

    @property
    def user(self) -> str:
        return self.world.gog_user_id

    async def ask(self, address: str, *, method: str = "GET", signed_in: bool = True, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if signed_in and self.token:
            headers["authorization"] = f"Bearer {self.token['access_token']}"
        return await self.http.request(method, "/" + address.partition("://")[2], headers=headers, **more)

    async def json(self, address: str, **more: Any) -> Any:
        answer = await self.ask(address, **more)
        assert answer.status_code == 200, (address, answer.status_code, answer.text[:200])
        return answer.json()

    async def code(self, **changed: str) -> str:
        asked = {"client_id": CLIENT_ID, "redirect_uri": REDIRECT, "response_type": "code", "layout": "client2", **changed}
        answer = await self.ask(f"{AUTH}/auth", params=asked)
        assert answer.status_code == 302
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    async def exchange(self, code: str, **changed: str) -> httpx.Response:
        asked = {**CLIENT, "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, **changed}
        return await self.ask(f"{AUTH}/token", params=asked, signed_in=False)

    async def refresh(self, **changed: str) -> httpx.Response:
        asked = {
            **CLIENT,
            "grant_type": "refresh_token",
            "refresh_token": self.token["refresh_token"],
            "without_new_session": "1",
            **changed,
        }
        return await self.ask(f"{AUTH}/token", params=asked, signed_in=False)

    async def sign_in(self) -> None:
        answer = await self.exchange(await self.code())
        assert answer.status_code == 200
        self.token = answer.json()

    async def unpacked(self, address: str) -> Any:
        """A meta or a manifest: zlib, then JSON."""
        answer = await self.ask(address, signed_in=False)
        assert answer.status_code == 200
        assert answer.content[:1] == b"\x78" and "content-encoding" not in answer.headers
        return json.loads(zlib.decompress(answer.content))

    async def current_build(self, product: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The item of the default branch and its meta."""
        items = (await self.json(f"https://content-system.gog.com/products/{product}/os/windows/builds?generation=2"))["items"]
        item = next(item for item in items if item["branch"] is None)
        return item, await self.unpacked(item["link"])

    async def manifest(self, name: str) -> list[dict[str, Any]]:
        address = f"https://gog-cdn-fastly.gog.com/content-system/v2/meta/{name[:2]}/{name[2:4]}/{name}"
        items: list[dict[str, Any]] = (await self.unpacked(address))["depot"]["items"]
        return items

    async def endpoints(self, product: int) -> dict[str, dict[str, Any]]:
        link = await self.json(f"https://content-system.gog.com/products/{product}/secure_link?_version=2&generation=2&path=/")
        return {entry["endpoint_name"]: entry for entry in link["urls"]}

    async def chunk(self, endpoint: dict[str, Any], chunk: dict[str, Any]) -> bytes:
        """One chunk, checked on the wire and again inflated."""
        answer = await self.ask(chunk_address(endpoint, chunk["compressedMd5"]), signed_in=False)
        assert answer.status_code == 200, answer.text
        assert (len(answer.content), md5(answer.content)) == (chunk["compressedSize"], chunk["compressedMd5"])
        body = zlib.decompress(answer.content)
        assert (len(body), md5(body)) == (chunk["size"], chunk["md5"])
        return body

    async def downlink(self, product: int, file: str = "en3installer0", kind: str = "installer") -> dict[str, str]:
        found: dict[str, str] = await self.json(f"https://api.gog.com/products/{product}/downlink/{kind}/{file}")
        return found


@asynccontextmanager
async def gog_player(*, signed_in: bool = True) -> AsyncIterator[Player]:
    sandbox = create_sandbox(make_world("small"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app), base_url="http://sandbox.test") as http:
        player = Player(sandbox, http)
        if signed_in:
            await player.sign_in()
        yield player


def chunk_address(endpoint: dict[str, Any], name: str) -> str:
    """An address as a client puts it together: the hash path appended, every {key} filled."""
    parameters = {**endpoint["parameters"], "path": f"{endpoint['parameters']['path']}/{name[:2]}/{name[2:4]}/{name}"}
    address = str(endpoint["url_format"])
    for key, value in parameters.items():
        address = address.replace(f"{{{key}}}", str(value))
    return address


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()
