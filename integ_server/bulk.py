"""Big bodies, blocking, for threads: urllib3 moves bytes at a fraction of httpx's cost."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from integ_server.addresses import check_outside, host_of, original, rewritten
from integ_server.contract.errors import ProviderError, ProviderUnavailableError, RateLimitedError
from integ_server.pacing import retry_after_s
from integ_server.proxies import proxy_for, tls_for
from integ_server.redaction import install_log_redaction

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_AT_ONCE = 10
_REDIRECTS = 6
_PRIVATE = {"authorization", "cookie", "x-gog-library-cert", "proxy-authorization"}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")


class Throttle(Protocol):
    """Holds transfers back; asked by whichever thread reads."""

    def portion(self, n: int) -> int:
        """How much of *n* bytes to read at once: little enough that no wait for it is long."""
        ...

    def passed(self, count: int) -> None:
        """Come back when *count* more bytes may have arrived."""
        ...


class BulkAnswer:
    """
    An answer whose body is read as it comes.

    `status` is 200, 206, or any 4xx but 429: 401 and 403 (a signed address that ran out), 404 and 416 mean different things to different
    callers. `raise_for_status` turns what is no body into a `ProviderError`.
    """

    def __init__(
        self, response: BaseHTTPResponse, host: str, *, start: int, total_bytes: int | None, throttle: Throttle | None = None
    ) -> None:
        self._response = response
        self._host = host
        self._throttle = throttle
        self.status = response.status
        self.start = start
        """Where in the whole the body begins; 0 when a range was asked for and not given."""
        self.total_bytes = total_bytes
        """Size of the whole, not of the part; None when it is not announced."""
        self.headers: Mapping[str, str] = response.headers

    def raise_for_status(self) -> BulkAnswer:
        """
        Raises:
            ProviderError: It is a 4xx.
        """
        if self.status not in {200, 206}:
            raise ProviderError(f"{self._host} answered {self.status}")
        return self

    def read(self, n: int) -> bytes:
        """
        Up to *n* bytes, as soon as that many are there, or as many as the throttle lets through at once; empty at the end.

        Raises:
            ProviderUnavailableError: The connection broke off, stalled, or ended early.
        """
        import urllib3

        try:
            part: bytes = self._response.read(self._throttle.portion(n) if self._throttle else n, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ProviderUnavailableError(f"{self._host} broke off the transfer") from error
        if self._throttle:
            self._throttle.passed(len(part))
        return part

    def chunks(self, size: int = 1 << 20) -> Iterator[bytes]:
        """The rest of the body in parts of at most *size* bytes; raises as `read` does."""
        while part := self.read(size):
            yield part


class BulkDoor:
    """Opens addresses for reading; may be shared by threads. At most ten connections to an original host at once."""

    def __init__(self, upstream_url: str | None = None, *, version: str = "", throttle: Throttle | None = None) -> None:
        self._upstream_url = upstream_url.rstrip("/") if upstream_url else None
        self._version = version
        self._throttle = throttle
        self._lock = threading.Lock()
        self._pools: dict[str | None, PoolManager] = {}
        self._places: dict[str, threading.BoundedSemaphore] = {}

    def __enter__(self) -> BulkDoor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop idle connections; answers that are still read end by themselves."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.clear()

    @contextmanager
    def open(
        self,
        url: str,
        *,
        start: int = 0,
        end: int | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float = 60,
    ) -> Iterator[BulkAnswer]:
        """
        Ask for *url* from byte *start* on, up to but without *end*; redirects are followed, each original address checked.

        A transfer that broke off is not tried again here: only the caller knows how far it came.

        Raises:
            ProviderError: The address, a redirect, or the range of the answer makes no sense.
            ProviderUnavailableError: No connection, a time-out, a 5xx.
            RateLimitedError: A 429; `retry_after_s` says how long, if it did.
        """
        asked = {name: value for name, value in (headers or {}).items() if name.lower() not in {"range", "accept-encoding", "host"}}
        if start or end is not None:
            asked["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        for _ in range(_REDIRECTS):
            host = host_of(check_outside(url))
            with self._place(host), self._asked(url, host, asked, read_timeout_s) as response:
                target = self._redirect_target(url, response)
                if target is None:
                    yield _checked(response, host, start, ranged="Range" in asked, throttle=self._throttle)
                    return
            if host_of(target) != host:
                asked = {name: value for name, value in asked.items() if name.lower() not in _PRIVATE}
            url = target
        raise ProviderError(f"{host_of(url)} redirects without end")

    @contextmanager
    def _place(self, host: str) -> Iterator[None]:
        with self._lock:
            places = self._places.setdefault(host, threading.BoundedSemaphore(_AT_ONCE))
        with places:
            yield

    @contextmanager
    def _asked(self, url: str, host: str, headers: Mapping[str, str], read_timeout_s: float) -> Iterator[BaseHTTPResponse]:
        import urllib3

        address = rewritten(url, self._upstream_url)
        try:
            response = self._pool(proxy_for(address)).request(
                "GET",
                address,
                headers={"User-Agent": self._agent(), "Accept-Encoding": "identity", **headers},
                timeout=urllib3.Timeout(connect=10, read=read_timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ProviderUnavailableError(f"{host} did not answer") from error
        try:
            yield response
        finally:
            # a connection whose body was read to its end is in its pool again by now; another is of no use to anybody
            response.close()
            response.release_conn()

    def _pool(self, proxy: str | None) -> PoolManager:
        import urllib3

        install_log_redaction()
        with self._lock:
            if proxy not in self._pools:
                shape: dict[str, Any] = {"num_pools": 32, "maxsize": 32, "ssl_context": tls_for(self._upstream_url)}
                if proxy is None:
                    self._pools[proxy] = urllib3.PoolManager(**shape)
                else:
                    user = urlsplit(proxy)
                    login = unquote(f"{user.username or ''}:{user.password or ''}") if user.username is not None else None
                    bare = user._replace(netloc=user.netloc.rpartition("@")[2]).geturl()
                    self._pools[proxy] = urllib3.ProxyManager(bare, proxy_headers=urllib3.make_headers(proxy_basic_auth=login), **shape)
            return self._pools[proxy]

    def _agent(self) -> str:
        from integ_server.upstream import user_agent

        return user_agent(self._version)

    def _redirect_target(self, url: str, response: BaseHTTPResponse) -> str | None:
        if response.status not in {301, 302, 303, 307, 308}:
            return None
        location = response.headers.get("Location", "")
        if not location:
            raise ProviderError(f"{host_of(url)} redirects to nowhere")
        target = urljoin(url, original(location, self._upstream_url))
        # GOG's own hops may be plain http; what stands behind them answers https too, and nothing is asked any other way
        return f"https://{target[7:]}" if target[:7].lower() == "http://" else target


def _checked(response: BaseHTTPResponse, host: str, start: int, *, ranged: bool, throttle: Throttle | None) -> BulkAnswer:
    status = response.status
    asked_s = retry_after_s(response.headers.get("Retry-After"))
    if status == 429:
        raise RateLimitedError(f"{host} asks for a pause", retry_after_s=asked_s)
    if status >= 500 or status == 408:
        raise ProviderUnavailableError(f"{host} answered {status}", retry_after_s=asked_s)
    if status == 206:
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        if not ranged or found is None or int(found[1]) != start or int(found[2]) < start:
            raise ProviderError(f"{host} sent another part than the one asked for")
        return BulkAnswer(response, host, start=start, total_bytes=None if found[3] == "*" else int(found[3]), throttle=throttle)
    if status != 200 and not 400 <= status < 500:
        raise ProviderError(f"{host} answered {status}")
    length = response.headers.get("Content-Length", "")
    whole = int(length) if status == 200 and length.isascii() and length.isdigit() and len(length) < 19 else None
    return BulkAnswer(response, host, start=0, total_bytes=whole, throttle=throttle)
