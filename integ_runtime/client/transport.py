"""How requests reach the backend: over a socket, or into an app that lives in a thread of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from anyio.from_thread import start_blocking_portal

from integ_runtime.client.api import EMBEDDED_HOST
from integ_runtime.client.patience import PatientTransport
from integ_runtime.client.sign_in import SessionAuth, TokenAuth
from integ_runtime.secrets import MasterKey, holding_key
from integ_runtime.session_store import SessionStore
from integ_runtime.settings import LOOPBACK, RuntimeSettings, shown_address
from integ_server.contract.errors import UsageError
from integ_server.upstream import proxy_for, tls_for

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from fastapi import FastAPI

    from integ_server.settings import ServerSettings

IN_PROCESS = f"http://{EMBEDDED_HOST}"


class EmbeddedTransport(httpx.AsyncBaseTransport):
    """Hand requests to an app that lives in another thread, with a loop of its own, so that it can't freeze a screen."""

    def __init__(self, app: FastAPI, thread: BlockingPortal) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)  # a bug is a 500, as over a socket
        self._thread = thread

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()  # the other thread must not wait for this one's loop
        answer = self._thread.start_task_soon(self._inner.handle_async_request, request)
        return await asyncio.wrap_future(answer)


@asynccontextmanager
async def open_http(settings: RuntimeSettings, store: SessionStore | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """
    A client whose relative addresses mean the backend that *settings* name; *store* holds the sign-in there.

    Raises:
        UsageError: Tokens would travel readable for everybody on the way.
    """
    if settings.backend_url is None:
        async with _embedded(settings) as inside, httpx.AsyncClient(transport=inside, base_url=IN_PROCESS, timeout=60) as http:
            yield http
    else:
        url = settings.backend_url
        _check_secrecy(settings, url)
        wire = httpx.AsyncHTTPTransport(verify=tls_for(url), proxy=proxy_for(url), trust_env=False)
        transport = PatientTransport(wire)
        auth = TokenAuth(settings.token, url) if settings.token else SessionAuth(store or SessionStore(settings.paths, url), transport, url)
        limit = httpx.Timeout(30, connect=10)
        async with httpx.AsyncClient(transport=transport, base_url=url, auth=auth, timeout=limit) as http:
            yield http


def _check_secrecy(settings: RuntimeSettings, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and settings.plain_http != "allow":
        raise UsageError(
            f"{shown_address(url)} is not encrypted: everybody on the way could read and use your sign-in",
            hint="use https://, or in a network you trust: integ config set plain_http allow",
        )


@asynccontextmanager
async def _embedded(settings: RuntimeSettings) -> AsyncIterator[EmbeddedTransport]:
    async with holding_key(settings.paths) as key, _embedded_with(settings, key) as transport:
        yield transport


def server_settings(settings: RuntimeSettings, key: MasterKey) -> ServerSettings:
    """Those of the backend in this process."""
    from integ_server.app import embedded_settings

    return embedded_settings(
        data_dir=settings.paths.data,
        secret_key=key.text,
        upstream_url=settings.upstream_url,
        steam_api_key=settings.steam_api_key,
        gog_client_id=settings.gog_client_id,
        gog_client_secret=settings.gog_client_secret,
    )


@asynccontextmanager
async def _embedded_with(settings: RuntimeSettings, key: MasterKey) -> AsyncIterator[EmbeddedTransport]:
    def build() -> FastAPI:
        from integ_server.app import create_app

        return create_app(server_settings(settings, key))

    app = await asyncio.to_thread(build)  # importing the backend takes most of a second
    entering = start_blocking_portal(backend="asyncio")
    thread = await asyncio.to_thread(entering.__enter__)
    try:
        life = thread.wrap_async_context_manager(app.router.lifespan_context(app))
        await asyncio.to_thread(life.__enter__)
        try:
            yield EmbeddedTransport(app, thread)
        finally:
            await asyncio.shield(asyncio.to_thread(life.__exit__, None, None, None))
    finally:
        await asyncio.shield(asyncio.to_thread(entering.__exit__, None, None, None))
