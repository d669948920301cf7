"""Which file of a release is the build for a machine, and what that build is called."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from integ_server.releases.family import Family

X86, ARM = "x86_64", "aarch64"
NEWER_X86 = ("x86_64_v2", "x86_64_v3", "x86_64_v4")
"""Builds that use what newer processors can do, and run on no others: taken only when asked for."""
ARCHES = (X86, ARM, *NEWER_X86)
_NAMES = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM, **{each: each for each in NEWER_X86}}
# "x86_64" is the beginning of "x86_64_v3": the longer names come first.
_ARCH_TOKEN = re.compile(r"(?:(?<=[-_.])|^)(x86_64_v[234]|x86_64|amd64|aarch64|arm64)(?=[-_.]|$)", re.IGNORECASE)
_VARIANT_TOKEN = re.compile(r"[-_.](async|wow64|staging|tkg|debug|debuginfo|dbg)(?=[-_.]|$)", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.tar\.(?:gz|xz|zst)$")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}")


def this_arch() -> str:
    """This machine's architecture as builds name it; the kernel's own word for one that no build is made for."""
    machine = os.uname().machine.lower()
    return _NAMES.get(machine, machine)


def find_arch(word: str) -> str | None:
    """The architecture that *word* names; None when it names none that builds are made for."""
    return _NAMES.get(word.strip().casefold())


def machine_of(arch: str) -> str:
    """The kind of machine that builds for *arch* run on."""
    return X86 if arch in NEWER_X86 else arch


def split_arch(name: str) -> tuple[str, str | None]:
    """*name* without the architecture at its end, and that one: the name of an archive's folder has it."""
    tokens = list(_ARCH_TOKEN.finditer(name))
    last = tokens[-1] if tokens else None
    if last is None or last.end() != len(name) or last.start() < 2:
        return name, None
    return name[: last.start() - 1], _NAMES[last[1].casefold()]


def is_safe_name(name: str) -> bool:
    """Whether *name* can be a folder's name and nothing else; feeds and archives are asked this too."""
    return _SAFE_NAME.fullmatch(name) is not None


def version_name(tag: str, arch: str) -> str:
    """What the build of *tag* for *arch* is called here, and its folder; the machine is named when it is not this one."""
    return tag if arch == this_arch() else f"{tag}-{arch}"


def catalogue_name(tag: str, arch: str) -> str:
    """What a backend, which serves machines of every kind, calls the build of *tag* for *arch*."""
    return tag if arch == X86 else f"{tag}-{arch}"


def archive_stem(asset: str) -> str | None:
    """*asset* without `.tar.*`; None when it is no archive that Integ reads."""
    found = _ARCHIVE.search(asset)
    return asset[: found.start()] if found and is_safe_name(asset) else None


def choose_archive(names: Iterable[str], family: Family, arch: str, tag: str = "") -> str | None:
    """Which of a release's files is the build *tag* for *arch*; None when there is none. Never just "the first archive"."""
    if family.stem_of is not None:
        wanted = family.stem_of(tag, arch)
        return next((name for name in names if wanted is not None and archive_stem(name) == wanted), None)
    exact, plain = [], []
    prefixes = tuple(prefix.casefold() for prefix in family.asset_prefixes)
    for name in names:
        stem = archive_stem(name)
        if stem is None or not stem.casefold().startswith(prefixes) or _VARIANT_TOKEN.search(stem):
            continue
        arches = {_NAMES[token.casefold()] for token in _ARCH_TOKEN.findall(stem)}
        if not arches:
            plain.append(name)
        elif arches == {arch}:
            exact.append(name)
    if exact:
        return exact[0]
    return plain[0] if plain and arch == X86 else None


SUM_LISTS = ("sha512sums.txt", "sha256sums.txt", "SHA256SUMS")
"""Files with the checksums of all archives of a release; the feed's own word on one comes before them."""


def checksum_names(archive: str) -> tuple[str, ...]:
    """The files that may hold the checksum of *archive*, the likeliest first."""
    stem = archive_stem(archive) or archive
    return f"{stem}.sha512sum", f"{stem}.sha256sum", f"{archive}.sha512sum"
