"""
The one door to the outside, for both sides of Integ: an httpx client for answers, a `BulkDoor` for big bodies.

Importing it is cheap: httpx and urllib3 are loaded when a door is opened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from integ_server.addresses import check_outside, original, rewritten
from integ_server.bulk import BulkAnswer, BulkDoor
from integ_server.proxies import proxy_for, tls_for
from integ_server.redaction import install_log_redaction, install_redaction, redact

if TYPE_CHECKING:
    import httpx

    from integ_server.gates import Gates
    from integ_server.transport import Watch

__all__ = [
    "BulkAnswer",
    "BulkDoor",
    "check_outside",
    "install_redaction",
    "open_upstream",
    "original",
    "proxy_for",
    "redact",
    "rewritten",
    "tls_for",
    "user_agent",
]


def user_agent(version: str = "") -> str:
    """What Integ calls itself to the outside."""
    if not version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed_version

        try:
            version = installed_version("integ")
        except PackageNotFoundError:  # run from a checkout that is not installed
            version = "0"
    return f"Integ/{version}"


@asynccontextmanager
async def open_upstream(
    upstream_url: str | None = None, *, version: str = "", watch: Watch | None = None, gates: Gates | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """
    A client for the outside. Ask it for original addresses; redirects are not followed unless a call says so.

    GET and HEAD are tried again for a moment when there is no answer, a 429 or a 5xx; a longer `Retry-After` is left to the caller as the
    answer it came with. The extension `integ_retries` ("any", "unsent", "none") says otherwise for one call. No cookie is kept: one client
    serves many accounts.
    """
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    from integ_server.transport import UpstreamTransport

    install_log_redaction()
    async with httpx.AsyncClient(
        transport=UpstreamTransport(upstream_url, watch=watch, gates=gates),
        timeout=httpx.Timeout(30.0, connect=10.0, pool=60.0),
        headers={"User-Agent": user_agent(version), "Accept": "application/json"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        max_redirects=5,
        trust_env=False,
    ) as http:
        yield http
