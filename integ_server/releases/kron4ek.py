"""
Kron4ek's Wine builds: plain Wine, several of each release.

Tags are `11.7`, `11.0-rc3` or `proton-10.0-4`. An archive is `wine-<tag>[-staging[-tkg]]-amd64[-wow64].tar.xz`, or `…-x86.tar.xz` for 32
bits alone. Here each is a version of its own, called like its archive without the machine: `wine-11.7`, `wine-11.7-staging-tkg-wow64`,
`wine-proton-10.0-4`. Whoever names no variant gets the one without.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from integ_server.releases.family import Family, Wanted, natural_order

_MACHINE = "x86_64"
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,2}", re.ASCII)
_TAG = re.compile(r"(?:proton-\d{1,3}\.\d{1,3}-\d{1,3}[a-z]?|\d{1,3}\.\d{1,3}(?:\.\d{1,3})?(?:-rc\d{1,3})?)", re.ASCII)
_STEP = re.compile(r"rc\d{1,3}|\d{1,3}[a-z]?", re.ASCII)
_WORDS = ("proton", "staging", "tkg", "wow64", "x86")
_PATCHES = ("", "staging", "staging-tkg")
_WIDTHS = ("", "wow64", "x86")
VARIANTS = tuple("-".join(word for word in (patches, width) if word) for patches in _PATCHES for width in _WIDTHS)
_PROTON_VARIANTS = tuple("-".join(word for word in ("proton", width) if word) for width in _WIDTHS)


class _Name(NamedTuple):
    number: str
    """`11.7`, `11`; empty when none is named."""
    step: str
    """`rc3`, or what stands behind the number of a Proton: `4`."""
    variant: str

    @property
    def tag(self) -> str:
        """The publisher's, when the number is whole."""
        begin = "proton-" if self.variant.startswith("proton") else ""
        return begin + "-".join(part for part in (self.number, self.step) if part)

    @property
    def version(self) -> str:
        return "-".join(part for part in ("wine", self.tag, self.variant.removeprefix("proton").lstrip("-")) if part)


def _read(text: str) -> _Name | None:
    """The parts of a typed name, whose words may stand before the number or behind it; the machine's name says nothing new."""
    first, *rest = text.casefold().split("-")
    if first not in {"wine", "kron4ek"}:
        return None
    number = step = ""
    words: set[str] = set()
    for part in rest:
        if part == "amd64":
            continue
        if part in _WORDS and part not in words:
            words.add(part)
        elif not number and _NUMBER.fullmatch(part):
            number = part
        elif number and not step and _STEP.fullmatch(part):
            step = part
        elif part != "latest" or number:
            return None
    variant = "-".join(word for word in _WORDS if word in words)
    is_proton = "proton" in words
    known = _PROTON_VARIANTS if is_proton else VARIANTS
    if variant not in known or (step and step.startswith("rc") == is_proton):
        return None
    return _Name(number, step, variant)


def _parse(text: str) -> Wanted | None:
    name = _read("wine" if text.casefold() == "latest" else text)
    if name is None:
        return None
    if _TAG.fullmatch(name.tag):
        return Wanted(KRON4EK, (name.version,), variant=name.variant)
    if name.step:
        return None
    begin = "wine-proton-" if name.variant.startswith("proton") else "wine-"
    end = "" if not name.number else "-" if "." in name.number else "."
    return Wanted(KRON4EK, newest_of=f"{begin}{name.number}{end}", variant=name.variant)


def _names_of(tag: str) -> tuple[str, ...]:
    if _TAG.fullmatch(tag) is None:
        return ()
    variants = _PROTON_VARIANTS if tag.startswith("proton-") else VARIANTS
    return tuple("-".join(word for word in ("wine", tag, variant.removeprefix("proton").lstrip("-")) if word) for variant in variants)


def _stem_of(version: str, arch: str) -> str | None:
    """The archive is named exactly: of seven in a release that begin alike only one is meant."""
    name = _read(version)
    if name is None or arch != _MACHINE:
        return None
    words = name.variant.split("-")
    patches = "".join(f"-{word}" for word in words if word in {"staging", "tkg"})
    machine = "x86" if "x86" in words else "amd64-wow64" if "wow64" in words else "amd64"
    return f"wine-{name.tag}{patches}-{machine}"


def _variant_of(version: str) -> str:
    name = _read(version)
    return name.variant if name is not None else ""


def _is_regular(version: str) -> bool:
    """Candidates for a release are none; a variant is one for those who ask for it."""
    name = _read(version)
    return name is not None and _TAG.fullmatch(name.tag) is not None and not name.step.startswith("rc")


def _order(version: str) -> tuple[object, ...]:
    """By number: Valve's Wine counts by itself and comes first, candidates before their release, a variant after the build without."""
    name = _read(version)
    if name is None or not name.number:
        return natural_order(version)
    numbers = [*name.number.split("."), "0", "0"][:3]
    proton, rank = name.variant.startswith("proton"), (*VARIANTS, *_PROTON_VARIANTS).index(name.variant)
    step = name.step.removeprefix("rc") if name.step else "999"
    return natural_order(".".join(["0" if proton else "1", *numbers, step, str(rank)]))


KRON4EK = Family(
    "kron4ek",
    "Kron4ek Wine",
    "Kron4ek/Wine-Builds",
    ("wine-",),
    _parse,
    _is_regular,
    _order,
    kind="wine",
    names_of=_names_of,
    stem_of=_stem_of,
    variant_of=_variant_of,
    variants=(*VARIANTS[1:], *_PROTON_VARIANTS),
)
