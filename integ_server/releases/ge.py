"""
GE-Proton, by GloriousEggroll.

Two schemes of naming: `7.3-GE-1` up to February 2022, `GE-Proton8-26` since. Its archived Wine builds have the same tags in a repository of
their own; see `wine_ge.py`.
"""

from __future__ import annotations

import re

from integ_server.releases.family import Family, Wanted, natural_order

_NEW = re.compile(r"(?:proton-?)?ge[-=]?(?:proton-?)?(\d{1,4})[.-](\d{1,4})", re.IGNORECASE | re.ASCII)
_SERIES = re.compile(r"(?:proton-?)?ge-?(?:proton-?)?(\d{1,4})", re.IGNORECASE | re.ASCII)
_LEGACY = re.compile(r"(?:proton-)?(\d{1,2}\.\d{1,2}(?:rc\d{1,2})?)-ge-(\d{1,3})(-[a-z0-9_]{1,30})?", re.IGNORECASE | re.ASCII)
_LEGACY_SHORT = re.compile(r"ge-?(\d{1,2}\.\d{1,2})-(\d{1,3})", re.IGNORECASE | re.ASCII)
_ODD = re.compile(r"ge[-=]proton\d{1,4}-\d{1,4}[-_.a-z0-9]{0,60}", re.IGNORECASE | re.ASCII)
_REGULAR = re.compile(r"GE-Proton\d{1,4}-\d{1,4}", re.ASCII)
_LEGACY_REGULAR = re.compile(r"\d{1,2}\.\d{1,2}-GE-\d{1,3}", re.ASCII)
_NEWEST = {"latest", "ge", "ge-latest", "proton-ge", "ge-proton", "proton-ge-latest", "ge-proton-latest"}


def _parse(text: str) -> Wanted | None:
    if text.casefold() in _NEWEST:
        return Wanted(GE, newest_of="GE-Proton")
    if found := _NEW.fullmatch(text):
        major, minor = int(found[1]), int(found[2])
        tags = (f"GE-Proton{major}-{minor}",) if "=" not in text else (text, f"GE-Proton{major}-{minor}")
        legacy = f"{major}.{minor}-GE-" if "." in text else None  # the scheme before the eighth series
        return Wanted(GE, (*tags, f"GE=Proton{major}-{minor}"), newest_of=legacy)
    if found := _SERIES.fullmatch(text):
        return Wanted(GE, newest_of=f"GE-Proton{int(found[1])}-")
    if found := _LEGACY.fullmatch(text):
        return Wanted(GE, (f"{found[1].lower()}-GE-{int(found[2])}{found[3] or ''}",))
    if found := _LEGACY_SHORT.fullmatch(text):
        return Wanted(GE, (f"{found[1]}-GE-{int(found[2])}",))
    return Wanted(GE, (text,)) if _ODD.fullmatch(text) else None


def _is_regular(tag: str) -> bool:
    return bool(_REGULAR.fullmatch(tag) or _LEGACY_REGULAR.fullmatch(tag))


def _order(tag: str) -> tuple[object, ...]:
    """The old scheme, whose names begin with the number, is older than all of the new one."""
    return tag[:1].casefold() == "g", *natural_order(tag.replace("=", "-", 1))


GE = Family("ge", "GE-Proton", "GloriousEggroll/proton-ge-custom", ("GE-Proton", "GE=Proton", "Proton-"), _parse, _is_regular, _order)
