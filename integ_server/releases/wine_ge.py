"""
Wine-GE, by GloriousEggroll: plain Wine with the patches of GE-Proton, no longer made.

Its tags are those of GE-Proton (`GE-Proton8-26`), in a repository of its own. So that neither is taken for the other, a version is called
`Wine-<tag>` here. Archives are `wine-lutris-<tag>-x86_64.tar.xz`; those for League of Legends have `-LoL` in their tags, and are a variant.
"""

from __future__ import annotations

import re

from integ_server.releases.family import Family, Wanted, natural_order

_BEGIN = r"(?:wine-|lutris-|wine-lutris-)ge-?(?:ge-)?(?:proton-?)?"
_NEW = re.compile(_BEGIN + r"(\d{1,4})[.-](\d{1,4})(-lol)?", re.IGNORECASE | re.ASCII)
_SERIES = re.compile(_BEGIN + r"(\d{1,4})", re.IGNORECASE | re.ASCII)
_LEGACY = re.compile(r"wine-(?:ge-)?(\d{1,2}\.\d{1,2}(?:rc\d{1,2})?)-ge-(\d{1,3})(-lol)?", re.IGNORECASE | re.ASCII)
_REGULAR = re.compile(r"Wine-GE-Proton\d{1,4}-\d{1,4}(-LoL)?", re.ASCII)
_LOL = "lol"
_NEWEST = {"latest", "wine-ge", "wine-ge-latest", "wine-ge-proton", "lutris-ge"}


def _parse(text: str) -> Wanted | None:
    if text.casefold() in _NEWEST:
        return Wanted(WINE_GE, newest_of="Wine-GE-Proton")
    if text.casefold() == "wine-ge-lol":
        return Wanted(WINE_GE, newest_of="Wine-GE-Proton", variant=_LOL)
    if found := _NEW.fullmatch(text):
        return _one(f"Wine-GE-Proton{int(found[1])}-{int(found[2])}", is_lol=bool(found[3]))
    if found := _SERIES.fullmatch(text):
        return Wanted(WINE_GE, newest_of=f"Wine-GE-Proton{int(found[1])}-")
    if found := _LEGACY.fullmatch(text):
        return _one(f"Wine-{found[1].lower()}-GE-{int(found[2])}", is_lol=bool(found[3]))
    return None


def _one(name: str, *, is_lol: bool) -> Wanted:
    return Wanted(WINE_GE, (f"{name}-LoL",), variant=_LOL) if is_lol else Wanted(WINE_GE, (name,))


def _variant_of(version: str) -> str:
    return _LOL if version.casefold().endswith("-lol") else ""


def _is_regular(version: str) -> bool:
    return _REGULAR.fullmatch(version) is not None


def _order(version: str) -> tuple[object, ...]:
    """The old scheme, in which the number comes before the GE, is older than all of the new one."""
    return version[5:7].casefold() == "ge", *natural_order(version)


WINE_GE = Family(
    "wine-ge",
    "Wine-GE",
    "GloriousEggroll/wine-ge-custom",
    ("wine-lutris-GE-",),
    _parse,
    _is_regular,
    _order,
    kind="wine",
    names_of=lambda tag: (f"Wine-{tag}",),
    variant_of=_variant_of,
    variants=(_LOL,),
)
