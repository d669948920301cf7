"""The httpx transport under `open_upstream`: checked addresses, polite retries, limits by host, INTEG_UPSTREAM_URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx

from integ_server.addresses import check_outside, original, rewritten
from integ_server.gates import Gates, Sleep
from integ_server.pacing import BUSY, key_of, pace_for, pause_before_retry, retry_after_s
from integ_server.proxies import proxy_for, tls_for

RETRIES = "integ_retries"
"""Request extension: "any" (what GET and HEAD do), "unsent" (only if no connection came about) or "none" (all other methods)."""

Watch = Callable[[str, int, float, float], None]
"""The host, the answer's status (0: there was none), the seconds until it was this request's turn, and those until the answer began."""
Open = Callable[[str | None], httpx.AsyncBaseTransport]


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Everything above it sees original addresses: credentials, cookies, redirects and limits are decided by those."""

    def __init__(
        self,
        upstream_url: str | None = None,
        *,
        open_transport: Open | None = None,
        sleep: Sleep = asyncio.sleep,
        watch: Watch | None = None,
        gates: Gates | None = None,
    ) -> None:
        """
        *open_transport* makes the wire for a proxy address or None; tests hand in one of their own. *watch* hears of each try. Without
        *gates* this transport keeps to the stores' pace alone.
        """
        self._watch = watch
        self._upstream_url = upstream_url.rstrip("/") if upstream_url else None
        self._open: Open = open_transport or _Wires(self._upstream_url)
        self._wires: dict[str | None, httpx.AsyncBaseTransport] = {}
        self._sleep = sleep
        self._gates = gates or Gates(sleep=sleep)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        check_outside(str(request.url))
        pace = pace_for(request.url.host, request.url.path)
        key = key_of(pace, request.url.params)
        wanted = cast(str, request.extensions.get(RETRIES, "any" if request.method in {"GET", "HEAD"} else "none"))
        attempt = 0
        while True:
            attempt += 1
            asked_at = time.monotonic()
            places = await self._gates.enter(pace, key)
            sent_at = time.monotonic()
            pause: float | None = None
            status = 0
            try:
                answer = await self._send(request)
                status = answer.status_code
            except httpx.TransportError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if wanted == "any" or (wanted == "unsent" and unsent):
                    pause = pause_before_retry(attempt, None, None)
                places.release()
                if pause is None:
                    raise
            except BaseException:
                places.release()
                raise
            else:
                asked_s = retry_after_s(answer.headers.get("Retry-After")) if answer.status_code in BUSY else None
                if asked_s:
                    await self._gates.pause(pace, asked_s)
                if answer.status_code in BUSY and wanted == "any":
                    pause = pause_before_retry(attempt, answer.status_code, asked_s)
                if pause is None and isinstance(answer.stream, httpx.ByteStream):  # there already, as a whole: nobody will close it
                    places.release()
                    return answer
                if pause is None:
                    answer.stream = _HeldStream(cast(httpx.AsyncByteStream, answer.stream), places)
                    return answer
                try:
                    await answer.aclose()
                finally:
                    places.release()
            finally:
                if self._watch is not None:
                    self._watch(request.url.host, status, sent_at - asked_at, time.monotonic() - sent_at)
            await self._sleep(pause)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        address = rewritten(str(request.url), self._upstream_url)
        if address != str(request.url):
            url = httpx.URL(address)
            headers = request.headers.copy()
            headers["Host"] = url.netloc.decode("ascii")
            request = httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)
        answer = await self._wire(proxy_for(address)).handle_async_request(request)
        if "Location" in answer.headers:
            answer.headers["Location"] = original(answer.headers["Location"], self._upstream_url)
        return answer

    def _wire(self, proxy: str | None) -> httpx.AsyncBaseTransport:
        if proxy not in self._wires:
            self._wires[proxy] = self._open(proxy)
        return self._wires[proxy]

    async def aclose(self) -> None:
        wires, self._wires = list(self._wires.values()), {}
        for wire in wires:
            await wire.aclose()


class _HeldStream(httpx.AsyncByteStream):
    """A body that keeps its place in the queue until it is closed."""

    def __init__(self, body: httpx.AsyncByteStream, places: asyncio.Semaphore) -> None:
        self._body = body
        self._places: asyncio.Semaphore | None = places

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            places, self._places = self._places, None
            if places is not None:
                places.release()


class _Wires:
    def __init__(self, upstream_url: str | None) -> None:
        self._tls = tls_for(upstream_url)

    def __call__(self, proxy: str | None) -> httpx.AsyncBaseTransport:
        limits = httpx.Limits(max_connections=60, max_keepalive_connections=20, keepalive_expiry=30)
        return httpx.AsyncHTTPTransport(verify=self._tls, limits=limits, proxy=proxy, trust_env=False)
