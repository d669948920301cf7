"""Where a request comes from, and how often it may come: stricter for what can be guessed at."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, Request
from starlette.types import Scope

from integ_server.services.backend import Backend
from integ_server.services.limits import count_try, network_of
from integ_server.settings import ServerSettings


def client_address(scope: Scope, settings: ServerSettings) -> str:
    """
    The address of whoever asks. `X-Forwarded-For` is believed from the right, as far as its hops are `trusted_proxies`; what stands
    further left anybody can write.
    """
    client: Any = scope.get("client")
    address = str(client[0]) if client else ""
    if not settings.trusted_proxies or not _is_trusted(address, settings):
        return address
    said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    for hop in reversed([each.strip() for each in said.split(",") if each.strip()]):
        try:
            address = str(ipaddress.ip_address(hop))
        except ValueError:
            break
        if not _is_trusted(address, settings):
            break
    return address


def limited(name: str, most: int, per_s: float) -> Any:
    """A dependency that lets one address through *most* times in *per_s* seconds; embedded, any number of times."""

    async def check(request: Request) -> None:
        backend: Backend = request.app.state.backend
        if not backend.settings.is_embedded:
            who = network_of(client_address(request.scope, backend.settings))
            await count_try(backend, name, who, most=most, per_s=per_s)

    checked: Callable[[Request], Awaitable[None]] = check
    return Depends(checked)


def _is_trusted(address: str, settings: ServerSettings) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in settings.trusted_proxies)
