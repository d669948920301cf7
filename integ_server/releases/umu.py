"""
UMU-Proton, by the makers of umu-launcher: Valve's Proton with what games outside of Steam need.

Tags are `UMU-Proton-9.0-3.2` or `UMU-Proton-9.0-4e`; before the project got its name they were `ULWGL-Proton-8.0-5-3`.
"""

from __future__ import annotations

import re

from integ_server.releases.family import Family, Wanted, natural_order

_BUILD = re.compile(
    r"(?:proton-)?(umu|ulwgl)-?(?:proton-?)?(\d{1,3}\.\d{1,3})-(\d{1,4}(?:[.-]\d{1,4}){0,2}[a-z]?)", re.IGNORECASE | re.ASCII
)
_SERIES = re.compile(r"(?:proton-)?(umu|ulwgl)-?(?:proton-?)?(\d{1,3})(\.\d{1,3})?", re.IGNORECASE | re.ASCII)
_REGULAR = re.compile(r"(?:UMU|ULWGL)-Proton-\d{1,3}\.\d{1,3}-\d{1,4}(?:[.-]\d{1,4}){0,2}[a-z]?", re.ASCII)
_NEWEST = {"latest", "umu", "umu-latest", "umu-proton", "umu-proton-latest", "proton-umu"}


def _parse(text: str) -> Wanted | None:
    if text.casefold() in _NEWEST:
        return Wanted(UMU, newest_of="")
    if found := _BUILD.fullmatch(text):
        other = {"UMU": "ULWGL", "ULWGL": "UMU"}[found[1].upper()]
        return Wanted(UMU, tuple(f"{name}-Proton-{found[2]}-{found[3].lower()}" for name in (found[1].upper(), other)))
    if found := _SERIES.fullmatch(text):
        return Wanted(UMU, newest_of=f"{found[1].upper()}-Proton-{found[2]}{f'{found[3]}-' if found[3] else '.'}")
    return None


def _is_regular(tag: str) -> bool:
    return _REGULAR.fullmatch(tag) is not None


def _order(tag: str) -> tuple[object, ...]:
    """The project's first name is older than its present one."""
    return tag[:3].casefold() == "umu", *natural_order(tag)


UMU = Family("umu", "UMU-Proton", "Open-Wine-Components/umu-proton", ("UMU-Proton-", "ULWGL-Proton-"), _parse, _is_regular, _order)
