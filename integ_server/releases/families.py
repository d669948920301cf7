"""What Proton versions are called: families, the names a player may type, their order, and which file of a release is for this machine."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from integ_server.contract.errors import BuildNotFoundError, UsageError

X86, ARM = "x86_64", "aarch64"
_ARCHES = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}
# "x86_64" is the beginning of "x86_64_v3": the longer names come first.
_ARCH_TOKEN = re.compile(r"(?:(?<=[-_.])|^)(x86_64_v[234]|x86_64|amd64|aarch64|arm64)(?=[-_.]|$)", re.IGNORECASE)
_VARIANT_TOKEN = re.compile(r"[-_.](async|wow64|staging|tkg|debug|debuginfo|dbg)(?=[-_.]|$)", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.tar\.(?:gz|xz|zst)$")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}")
_DIGITS = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a typed name asks for: one of `tags`, in that order, else the newest version whose name begins with `newest_of`."""

    family: str
    tags: tuple[str, ...] = ()
    newest_of: str | None = None
    """Empty for the newest of all; None when only `tags` will do."""
    arch: str | None = None
    """Another machine's builds, when asked for."""

    def choose(self, published: Iterable[str]) -> str | None:
        """The tag among *published* that is meant; None when there is none."""
        known = {tag.casefold(): tag for tag in published}
        for tag in self.tags:
            if tag.casefold() in known:
                return known[tag.casefold()]
        if self.newest_of is None:
            return None
        family, begin = FAMILIES[self.family], self.newest_of.casefold()
        fitting = [tag for tag in known.values() if tag.casefold().startswith(begin) and family.is_regular(tag)]
        return max(fitting, key=family.order, default=None)


@dataclass(frozen=True, slots=True)
class Family:
    """One project that publishes Proton builds; another one is another entry of `FAMILIES`."""

    slug: str
    title: str
    repository: str
    """On GitHub, `owner/name`. Names of versions are unique within it, not between projects."""
    asset_prefixes: tuple[str, ...]
    parse: Callable[[str], Wanted | None]
    """What a typed name asks for; None when it can't be a name of this family."""
    is_regular: Callable[[str], bool]
    """Whether a tag is an ordinary version, so that it may be taken as the newest."""
    order: Callable[[str], tuple[object, ...]]
    """The key that sorts tags from old to new."""


def natural_order(text: str) -> tuple[object, ...]:
    """A sort key by which `8-9` < `8-26` and `9-27` < `10-1`: runs of digits count as numbers."""
    parts = _DIGITS.split(text.casefold())
    return tuple((1, int(part), "") if part.isdigit() and part.isascii() else (0, 0, part) for part in parts if part)


def this_arch() -> str:
    """This machine's architecture as builds name it; the kernel's own word for one that no build is made for."""
    machine = platform.machine().lower()
    return _ARCHES.get(machine, machine)


def is_safe_name(name: str) -> bool:
    """Whether *name* can be a folder's name and nothing else; feeds and archives are asked this too."""
    return _SAFE_NAME.fullmatch(name) is not None


def get_family(slug: str) -> Family:
    """
    Raises:
        UsageError: Integ knows no such family.
    """
    try:
        return FAMILIES[slug.strip().casefold()]
    except KeyError:
        raise UsageError(f"no family of Proton builds is called {slug!r}", hint=f"known: {', '.join(sorted(FAMILIES))}") from None


def parse_version(text: str, *, family: str = "ge") -> Wanted:
    """
    What a player means by *text*: `latest`, `ge-8.26`, `ge9`, `GE-Proton8-26`, `7.3-GE-1`, `ge-11.6@aarch64`...

    Raises:
        BuildNotFoundError: It can't be the name of any build.
        UsageError: There is no such family or architecture.
    """
    name, at, machine = text.strip().partition("@")
    arch: str | None = None
    if at:
        arch = _ARCHES.get(machine.strip().casefold())
        if arch is None:
            raise UsageError(f"{machine.strip()!r} is no architecture", hint=f"{name}@{X86} or {name}@{ARM}")
    else:
        token = _ARCH_TOKEN.search(name)
        if token is not None and token.end() == len(name) and token.start() > 1 and token[1].casefold() in _ARCHES:
            name, arch = name[: token.start() - 1], _ARCHES[token[1].casefold()]  # the name of an archive's folder
    wanted = get_family(family).parse(name.strip())
    if wanted is None:
        raise BuildNotFoundError(f"{text.strip()!r} is no Proton version", hint="integ proton available")
    return replace(wanted, arch=arch)


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


def choose_archive(names: Iterable[str], family: Family, arch: str) -> str | None:
    """Which of a release's files is the build for *arch*; None when there is none. Never just "the first archive"."""
    exact, plain = [], []
    for name in names:
        stem = archive_stem(name)
        if stem is None or not stem.casefold().startswith(tuple(prefix.casefold() for prefix in family.asset_prefixes)):
            continue
        tokens = [token.casefold() for token in _ARCH_TOKEN.findall(stem)]
        if _VARIANT_TOKEN.search(stem) or any(token not in _ARCHES for token in tokens):
            continue  # a variant, which has to be asked for
        if not tokens:
            plain.append(name)
        elif all(_ARCHES[token] == arch for token in tokens):
            exact.append(name)
    if exact:
        return exact[0]
    return plain[0] if plain and arch == X86 else None


def checksum_names(archive: str) -> tuple[str, ...]:
    """The files that may hold the checksum of *archive*, the likeliest first."""
    stem = archive_stem(archive) or archive
    return f"{stem}.sha512sum", f"{stem}.sha256sum", f"{archive}.sha512sum"


_GE_NEW = re.compile(r"(?:proton-?)?ge[-=]?(?:proton-?)?(\d{1,4})[.-](\d{1,4})", re.IGNORECASE | re.ASCII)
_GE_SERIES = re.compile(r"(?:proton-?)?ge-?(?:proton-?)?(\d{1,4})", re.IGNORECASE | re.ASCII)
_GE_LEGACY = re.compile(r"(?:proton-)?(\d{1,2}\.\d{1,2}(?:rc\d{1,2})?)-ge-(\d{1,3})(-[a-z0-9_]{1,30})?", re.IGNORECASE | re.ASCII)
_GE_LEGACY_SHORT = re.compile(r"ge-?(\d{1,2}\.\d{1,2})-(\d{1,3})", re.IGNORECASE | re.ASCII)
_GE_ODD = re.compile(r"ge[-=]proton\d{1,4}-\d{1,4}[-_.a-z0-9]{0,60}", re.IGNORECASE | re.ASCII)
_GE_REGULAR = re.compile(r"GE-Proton\d{1,4}-\d{1,4}", re.ASCII)
_GE_LEGACY_REGULAR = re.compile(r"\d{1,2}\.\d{1,2}-GE-\d{1,3}", re.ASCII)
_GE_NEWEST = {"latest", "ge", "ge-latest", "proton-ge", "ge-proton", "proton-ge-latest", "ge-proton-latest"}


def _parse_ge(text: str) -> Wanted | None:
    if text.casefold() in _GE_NEWEST:
        return Wanted("ge", newest_of="GE-Proton")
    if found := _GE_NEW.fullmatch(text):
        major, minor = int(found[1]), int(found[2])
        tags = (f"GE-Proton{major}-{minor}",) if "=" not in text else (text, f"GE-Proton{major}-{minor}")
        legacy = f"{major}.{minor}-GE-" if "." in text else None  # the scheme before the eighth series
        return Wanted("ge", (*tags, f"GE=Proton{major}-{minor}"), newest_of=legacy)
    if found := _GE_SERIES.fullmatch(text):
        return Wanted("ge", newest_of=f"GE-Proton{int(found[1])}-")
    if found := _GE_LEGACY.fullmatch(text):
        return Wanted("ge", (f"{found[1].lower()}-GE-{int(found[2])}{found[3] or ''}",))
    if found := _GE_LEGACY_SHORT.fullmatch(text):
        return Wanted("ge", (f"{found[1]}-GE-{int(found[2])}",))
    return Wanted("ge", (text,)) if _GE_ODD.fullmatch(text) else None


def _is_regular_ge(tag: str) -> bool:
    return bool(_GE_REGULAR.fullmatch(tag) or _GE_LEGACY_REGULAR.fullmatch(tag))


def _ge_order(tag: str) -> tuple[object, ...]:
    """The old scheme, whose names begin with the number, is older than all of the new one."""
    return tag[:1].casefold() == "g", *natural_order(tag.replace("=", "-", 1))


FAMILIES = {
    "ge": Family(
        "ge", "GE-Proton", "GloriousEggroll/proton-ge-custom", ("GE-Proton", "GE=Proton", "Proton-"), _parse_ge, _is_regular_ge, _ge_order
    ),
}
