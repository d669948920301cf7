"""How often something may be tried, counted over all processes."""

from __future__ import annotations

import ipaddress
import time
from functools import lru_cache

from integ_server.contract.errors import RateLimitedError
from integ_server.services.backend import Backend


async def count_try(backend: Backend, name: str, who: str, *, most: int, per_s: float) -> None:
    """
    Count a try of *name* by *who*, in windows of *per_s* seconds that begin at whole multiples of it.

    A try that is refused adds to nobody's wait, unlike a place in a queue: many may share an address.

    Raises:
        RateLimitedError: There were *most* in this window already; `retry_after_s` tells when the next one begins.
    """
    window, into_s = divmod(time.time(), per_s)
    if await backend.cache.increase(_counter(name, who, window), per_s) > most:
        raise RateLimitedError("too many tries", hint="wait a moment", retry_after_s=max(1.0, per_s - into_s))


async def forgive(backend: Backend, name: str, who: str, *, per_s: float) -> None:
    """Take back a try that was a good one."""
    await backend.cache.increase(_counter(name, who, time.time() // per_s), per_s, by=-1)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Who an address counts as: itself, or for IPv6 its /64, of which one machine has every address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _counter(name: str, who: str, window: float) -> str:
    return f"tries/{name}/{who}/{int(window)}"
