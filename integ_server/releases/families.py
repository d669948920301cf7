"""Which families of Proton builds there are, and which of them a typed name means."""

from __future__ import annotations

from dataclasses import replace

from integ_server.contract.errors import BuildNotFoundError, UsageError
from integ_server.releases.archives import (
    ARCHES,
    ARM,
    NEWER_X86,
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
from integ_server.releases.family import Family, Wanted, natural_order
from integ_server.releases.ge import GE
from integ_server.releases.umu import UMU

FAMILIES = {family.slug: family for family in (GE, UMU, CACHYOS)}
"""In the order in which one of them is taken where nobody has chosen."""


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
    What a player means by *text*: `latest`, `ge-8.26`, `ge9`, `GE-Proton8-26`, `7.3-GE-1`, `umu`, `cachyos-10.0@x86_64_v3`...

    The name says which family it is of; `latest` alone is the first one's, unless *family* says otherwise.

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
    wanted = next((found for each in among if (found := each.parse(name.strip())) is not None), None)
    if wanted is None and family is not None:
        kind = get_family(family)
        raise BuildNotFoundError(f"{text.strip()!r} is no version of {kind.title}", hint=f"integ proton available --family {kind.slug}")
    if wanted is None:
        raise BuildNotFoundError(f"{text.strip()!r} is no Proton version", hint="integ proton available")
    return replace(wanted, arch=arch)


def family_of(version: str) -> Family:
    """The family that a build called *version* is of; the first one for a name that is nobody's."""
    name, _ = split_arch(version)
    return next((each for each in FAMILIES.values() if each.owns(name)), GE)


__all__ = [
    "ARCHES",
    "ARM",
    "FAMILIES",
    "NEWER_X86",
    "X86",
    "Family",
    "Wanted",
    "archive_stem",
    "catalogue_name",
    "checksum_names",
    "choose_archive",
    "family_of",
    "get_family",
    "is_safe_name",
    "machine_of",
    "natural_order",
    "parse_version",
    "split_arch",
    "this_arch",
    "version_name",
]
