"""The proxy that the environment names for an address, and whom TLS trusts; for httpx and urllib3 alike."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from integ_server.contract.errors import UsageError

if TYPE_CHECKING:
    import ssl

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def proxy_for(address: str) -> str | None:
    """
    The proxy for *address*, where requests really go, by HTTPS_PROXY, ALL_PROXY and NO_PROXY; never one for this machine.

    Its user and password reach the proxy alone: https goes through CONNECT, and plain http is only spoken on loopback.

    Raises:
        UsageError: It is of a kind that Integ does not speak.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    if host in _LOOPBACK or parts.scheme != "https":
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise UsageError(
            "HTTPS_PROXY or ALL_PROXY names a proxy that Integ does not speak", hint="set HTTPS_PROXY to an http:// or https:// address"
        )
    return proxy


def tls_for(upstream_url: str | None) -> ssl.SSLContext:
    """
    The system's certificates, so that a company's own authority counts; certifi's where the system has none.

    When everything goes to a plain loopback address none are read, which saves their 20 ms; a TLS connection would then be refused.
    """
    import ssl

    if upstream_url and urlsplit(upstream_url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    found = ssl.get_default_verify_paths()
    if found.cafile is None and found.capath is None:
        import certifi

        context.load_verify_locations(certifi.where())
    return context
