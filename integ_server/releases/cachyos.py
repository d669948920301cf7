"""
Proton-CachyOS.

Tags are `cachyos-10.0-20250807-slr`, for the Steam Linux Runtime. Archives are `proton-<tag>-<machine>.tar.xz`, also for newer processors
(`x86_64_v3` needs AVX2); up to January 2025 one `proton-<tag>.tar.gz`.
"""

from __future__ import annotations

import re

from integ_server.releases.family import Family, Wanted, natural_order

_BUILD = re.compile(r"(?:proton-)?cachyos-(\d{1,3}\.\d{1,3})-(\d{8})((?:-[a-z0-9]{1,12}){0,3})", re.IGNORECASE | re.ASCII)
_SERIES = re.compile(r"(?:proton-)?cachyos-?(\d{1,3})(\.\d{1,3})?", re.IGNORECASE | re.ASCII)
_REGULAR = re.compile(r"cachyos-\d{1,3}\.\d{1,3}-\d{8}(?:-slr)?", re.ASCII)
_NEWEST = {"latest", "cachyos", "cachyos-latest", "proton-cachyos", "proton-cachyos-latest"}


def _parse(text: str) -> Wanted | None:
    if text.casefold() in _NEWEST:
        return Wanted(CACHYOS, newest_of="")
    if found := _BUILD.fullmatch(text):
        tag = f"cachyos-{found[1]}-{found[2]}{found[3].lower()}"
        return Wanted(CACHYOS, (tag,) if found[3] else (f"{tag}-slr", tag))
    if found := _SERIES.fullmatch(text):
        return Wanted(CACHYOS, newest_of=f"cachyos-{found[1]}{f'{found[2]}-' if found[2] else '.'}")
    return None


def _is_regular(tag: str) -> bool:
    return _REGULAR.fullmatch(tag) is not None


CACHYOS = Family("cachyos", "Proton-CachyOS", "CachyOS/proton-cachyos", ("proton-cachyos-",), _parse, _is_regular, natural_order)
