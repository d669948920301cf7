"""
Requests to addresses that users name: their webhooks. Nobody can make the backend knock at a door of its own network with them.

An address is checked by what its name means at the moment of the request, and the connection goes to exactly what was checked, with the
name in `Host` and in TLS: a name that means something else a moment later gains nothing. No redirect is followed, no proxy of the
environment is used, since it would look names up by itself, and INTEG_UPSTREAM_URL does not apply: these are no addresses of stores.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from integ_server.contract.errors import UsageError
from integ_server.pacing import retry_after_s
from integ_server.proxies import tls_for

PORTS = (443, 8443)
TIMEOUT_S = 10.0
_MOST_ADDRESSES = 3
_UNWANTED = re.compile(r"[\x00-\x20\x7f-\uffff\\]")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.ip_network("::/96")
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_IPV4_ELSEWHERE = ("0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15")
_IPV6_ELSEWHERE = ("100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10")
_ELSEWHERE = tuple(ipaddress.ip_network(each) for each in (*_IPV4_ELSEWHERE, *_IPV6_ELSEWHERE))
"""Of no use to anybody outside, whatever the running Python thinks of them."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Callback:
    """An address in its parts, each of which means one thing only."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"https": 443, "http": 80}[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class CallbackAnswer:
    status: int
    retry_after_s: float | None


class CallbackRefusedError(Exception):
    """The address means a place that webhooks do not go to."""


def parse_callback(url: str, *, allow_private: bool) -> Callback:
    """
    Raises:
        UsageError: It is nothing that a webhook may have.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise UsageError("the address can't be read", hint="https://NAME/PATH") from None
    if _UNWANTED.search(url) or not host or "%" in host:
        raise UsageError("the address holds what no address does", hint="https://NAME/PATH, in ASCII")
    if parts.scheme not in {"https", "http"} or (parts.scheme == "http" and not allow_private):
        raise UsageError("a webhook needs an https address", hint="https://NAME/PATH")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UsageError("a webhook's address takes no user, password or fragment", hint="deliveries are signed")
    if _ip(host) is None and _NUMERIC.fullmatch(host.rpartition(".")[2]):
        raise UsageError("an address of numbers has to be written in full", hint="https://NAME/PATH")
    port = port if port is not None else {"https": 443, "http": 80}[parts.scheme]
    if port not in PORTS and not allow_private:
        raise UsageError(f"webhooks go to the ports {' and '.join(map(str, PORTS))}", hint="put a reverse proxy before it")
    if port == 0:
        raise UsageError("port 0 is none", hint="https://NAME/PATH")
    return Callback(parts.scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def is_public(address: IpAddress) -> bool:
    """Whether *address* is somebody's on the internet; one that carries another inside is as public as that."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback or address.is_link_local:
        return False
    return address.is_global and not any(address in each for each in (_SHARED, *_ELSEWHERE) if each.version == address.version)


def is_household(address: IpAddress) -> bool:
    """Whether *address* is of this machine or a private network; never one of a link alone, where clouds answer for their secrets."""
    inner = _inner(address)
    if inner is not None:
        return is_household(inner)
    if address.is_loopback:
        return True
    if address.is_multicast or address.is_unspecified or address.is_link_local or address.is_reserved:
        return False
    return address in _SHARED or (address.is_private and not any(address in each for each in _ELSEWHERE if each.version == address.version))


async def resolve(host: str, port: int) -> list[str]:
    """What the system says that *host* means."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class CallbackSender:
    """Sends to webhooks; every request has a connection of its own."""

    def __init__(self, http: httpx.AsyncBaseTransport, *, allow_private: bool, lookup: Resolve = resolve) -> None:
        self._http = http
        self._allow_private = allow_private
        self._lookup = lookup

    async def check(self, url: str) -> tuple[Callback, list[str]]:
        """
        The address in parts, and what its name means now: all of it is where a webhook may go.

        Raises:
            UsageError: It is nothing that a webhook may have.
            CallbackRefusedError: It means a place that webhooks do not go to, or nothing at all.
        """
        callback = parse_callback(url, allow_private=self._allow_private)
        literal = _ip(callback.host)
        try:
            found = [str(literal)] if literal is not None else await self._lookup(callback.host, callback.port)
            addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
        except (OSError, ValueError, UnicodeError):
            raise CallbackRefusedError("the name means no address") from None
        public = [is_public(each) for each in addresses]
        may = [fine or (self._allow_private and is_household(each)) for fine, each in zip(public, addresses, strict=True)]
        if not addresses or not all(may):
            raise CallbackRefusedError("the name means an address that is not public")
        if callback.scheme == "http" and any(public):
            raise CallbackRefusedError("outside of a household only https will do")
        return callback, [str(each) for each in addresses]

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> CallbackAnswer:
        """
        Send *body*; of the answer nothing but the status is read.

        Raises:
            UsageError, CallbackRefusedError: See `check`.
            httpx.TransportError: Nothing answered within ten seconds.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                callback, addresses = await self.check(url)
                for number, address in enumerate(addresses[:_MOST_ADDRESSES], start=1):
                    try:
                        return await self._post_to(callback, address, body, headers)
                    except (httpx.ConnectError, httpx.ConnectTimeout):
                        if number == len(addresses[:_MOST_ADDRESSES]):
                            raise
        except TimeoutError:
            raise httpx.ReadTimeout("no answer within ten seconds") from None
        raise httpx.ConnectError("no address to connect to")

    async def _post_to(self, callback: Callback, address: str, body: bytes, headers: Mapping[str, str]) -> CallbackAnswer:
        place = f"[{address}]" if ":" in address else address
        request = httpx.Request(
            "POST",
            f"{callback.scheme}://{place}:{callback.port}{callback.target}",
            headers={**headers, "Host": callback.netloc, "Content-Length": str(len(body)), "Connection": "close"},
            content=body,
            extensions={"sni_hostname": callback.host, "timeout": httpx.Timeout(TIMEOUT_S).as_dict()},
        )
        answer = await self._http.handle_async_request(request)
        try:
            return CallbackAnswer(answer.status_code, retry_after_s(answer.headers.get("Retry-After")))
        finally:
            await answer.aclose()


@asynccontextmanager
async def open_callbacks(
    *, allow_private: bool, tls: ssl.SSLContext | None = None, lookup: Resolve = resolve
) -> AsyncIterator[CallbackSender]:
    # A connection that is kept would be taken for the next name with the same address, whose certificate nobody has looked at.
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=0)
    async with httpx.AsyncHTTPTransport(verify=tls or tls_for(None), limits=limits, trust_env=False) as http:
        yield CallbackSender(http, allow_private=allow_private, lookup=lookup)


def _ip(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner(address: IpAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, compatible, translated (NAT64), 6to4 or Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in each for each in _NAT64) or (address in _COMPATIBLE and int(address) > 1):
        return last
    if address.sixtofour is not None:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else None
