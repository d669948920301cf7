"""Which families of Proton builds there are, and which of them a typed name means."""

from __future__ import annotations

from integ_server.contract.errors import BuildNotFoundError, UsageError
from integ_server.releases.archives import (
    ARCHES,
    ARM,
    NEWER_X86,
    SUM_LISTS,
    X86,
    archive_stem,
    catalogue_name,
    checksum_names,
    choose_archive,
    find_arch,
    is_safe_name,
    machine_of,
    split_arch,
    this_arch,
    version_name,
)
from integ_server.releases.cachyos import CACHYOS
from integ_server.releases.family import Family, Kind, Wanted, natural_order
from integ_server.releases.ge import GE
from integ_server.releases.kron4ek import KRON4EK
from integ_server.releases.umu import UMU
from integ_server.releases.wine_ge import WINE_GE

FAMILIES = {family.slug: family for family in (GE, UMU, CACHYOS, WINE_GE, KRON4EK)}
"""In the order in which one of them is taken where nobody has chosen; plain Wine comes after every Proton."""


def get_family(slug: str) -> Family:
    """
    Raises:
        UsageError: Integ knows no such family.
    """
    try:
        return FAMILIES[slug.strip().casefold()]
    except KeyError:
        raise UsageError(f"no family of Proton builds is called {slug!r}", hint=f"known: {', '.join(sorted(FAMILIES))}") from None


def parse_version(text: str, *, family: str | None = None) -> Wanted:
    """
    What a player means by *text*: `latest`, `ge-8.26`, `ge9`, `GE-Proton8-26`, `7.3-GE-1`, `umu`, `cachyos-10.0@x86_64_v3`, `wine-11.7`...

    The name says which family it is of; `latest` alone is the first one's, unless *family* says otherwise: then the number is enough too.

    Raises:
        BuildNotFoundError: It can't be the name of any build, or of none of *family*.
        UsageError: There is no such family or architecture.
    """
    among = FAMILIES.values() if family is None else (get_family(family),)
    name, at, machine = text.strip().partition("@")
    if at:
        arch = find_arch(machine)
        if arch is None:
            raise UsageError(f"{machine.strip()!r} is no architecture", hint=f"{name}@{X86} or {name}@{ARM}")
    else:
        name, arch = split_arch(name)
    spellings = (name.strip(),) if family is None else (name.strip(), f"{get_family(family).slug}-{name.strip()}")
    wanted = next((found for each in among for spelling in spellings if (found := each.parse(spelling)) is not None), None)
    if wanted is None and family is not None:
        kind = get_family(family)
        raise BuildNotFoundError(f"{text.strip()!r} is no version of {kind.title}", hint=f"integ proton available --family {kind.slug}")
    if wanted is None:
        raise BuildNotFoundError(f"{text.strip()!r} is no Proton version", hint="integ proton available")
    return wanted._replace(arch=arch)


def kind_of(family: str) -> Kind:
    """How builds of the family called *family* are called; of Steam's own and of nobody's they are Protons."""
    return FAMILIES[family].kind if family in FAMILIES else "proton"


def family_of(version: str) -> Family:
    """The family that a build called *version* is of; the first one for a name that is nobody's."""
    name, _ = split_arch(version)
    return next((each for each in FAMILIES.values() if each.owns(name)), GE)


__all__ = [
    "ARCHES",
    "ARM",
    "FAMILIES",
    "NEWER_X86",
    "SUM_LISTS",
    "X86",
    "Family",
    "Kind",
    "Wanted",
    "archive_stem",
    "catalogue_name",
    "checksum_names",
    "choose_archive",
    "family_of",
    "get_family",
    "is_safe_name",
    "kind_of",
    "machine_of",
    "natural_order",
    "parse_version",
    "split_arch",
    "this_arch",
    "version_name",
]
