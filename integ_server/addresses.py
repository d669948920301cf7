"""Addresses of the outside: which ones may be asked, and where they really go when INTEG_UPSTREAM_URL is set."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from integ_server.contract.errors import ProviderError

_UNWANTED = re.compile(r"[\x00-\x20\x7f\\]")


def rewritten(url: str, upstream_url: str | None) -> str:
    """
    `https://HOST/PATH?QUERY` as `{upstream_url}/HOST/PATH?QUERY`, for requests and for addresses shown to a browser.

    Anything that is not https (`steam://`, a loopback page of our own), or already goes there, is left alone.
    """
    if not upstream_url or url[:8].lower() != "https://":
        return url
    base = upstream_url.rstrip("/")
    if url == base or url.startswith(base + "/"):
        return url
    rest = url[8:]
    cut = next((at for at, letter in enumerate(rest) if letter in "/?#"), len(rest))
    host, tail = rest[:cut].rpartition("@")[2].lower(), rest[cut:]
    if not host:
        return url
    return f"{base}/{host}{_without_dots(tail if tail.startswith('/') else '/' + tail)}"


def original(url: str, upstream_url: str | None) -> str:
    """Undo `rewritten`: a redirect of the upstream may already point at itself."""
    base = (upstream_url or "").rstrip("/")
    if not base or not url.startswith(base + "/"):
        return url
    return "https://" + url[len(base) + 1 :]


def check_outside(url: str) -> str:
    """
    *url*, when a request may go there: https, to a name of the public internet. Payloads and redirects are checked by this too.

    Raises:
        ProviderError: It is anything else. The message names no more of it than its host.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise ProviderError("an address that can't be read was refused") from error
    if parts.scheme != "https" or _UNWANTED.search(url) or not host or parts.username is not None or port == 0:
        raise ProviderError(f"an address that is not plain https was refused ({parts.scheme or 'no scheme'}, host {host or 'missing'})")
    if "." not in host or host.endswith((".localhost", ".local", ".internal")) or _is_ip(host):
        raise ProviderError(f"an address outside the public internet was refused (host {host})")
    return url


def host_of(url: str) -> str:
    """The host in small letters; empty when there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # 0x7f.1, 127.1 and 2130706433 are addresses for some resolvers; no top-level domain is a number
        return bool(re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)", host.rpartition(".")[2]))
    return True


def _without_dots(tail: str) -> str:
    """Resolve `.` and `..` in the path, so that no path leaves its host's part of the upstream."""
    cut = next((at for at, letter in enumerate(tail) if letter in "?#"), len(tail))
    path, rest = tail[:cut], tail[cut:]
    kept: list[str] = []
    segments = path.split("/")[1:]
    for at, segment in enumerate(segments):
        plain = segment.lower().replace("%2e", ".")
        if plain not in {".", ".."}:
            kept.append(segment)
            continue
        if plain == ".." and kept:
            kept.pop()
        if at == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept) + rest
