"""The releases of the sandbox's GitHub: 130 of GE-Proton over all its eras of naming, a few of other families, plain Wine too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

from integ_server.sandbox.proton_archive import ArchiveName

_NEWEST_AT = 1_787_908_211
"""2026-08-28T09:10:11Z, the day of GE-Proton11-6."""
_DIGESTS_SINCE = _NEWEST_AT - 65 * 86_400
"""GitHub gives digests for what was uploaded since some day; here that is the era of 11."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of a release: an archive, or the checksum of one."""

    id: int
    name: str
    archive: ArchiveName
    """What it holds, or what it is the checksum of."""
    is_checksum: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    id: int
    tag: str
    published_at: int
    """Unix seconds."""
    assets: tuple[Asset, ...]
    """By name, as GitHub sorts them: aarch64 comes before the file without any architecture."""
    draft: bool = False
    prerelease: bool = False

    @property
    def published_text(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.published_at))

    @property
    def has_digests(self) -> bool:
        return self.published_at >= _DIGESTS_SINCE


@dataclass(frozen=True, slots=True)
class Repository:
    id: int
    owner: str
    name: str
    releases: tuple[Release, ...]
    """Newest first, drafts included."""


@lru_cache(maxsize=1)
def repositories() -> dict[str, Repository]:
    """By `owner/name`, lower case."""
    found = (
        Repository(110_000_001, "GloriousEggroll", "proton-ge-custom", _ge()),
        Repository(110_000_002, "Open-Wine-Components", "umu-proton", _umu()),
        Repository(110_000_003, "CachyOS", "proton-cachyos", _cachyos()),
        Repository(110_000_004, "GloriousEggroll", "wine-ge-custom", _wine_ge()),
        Repository(110_000_005, "Kron4ek", "Wine-Builds", _kron4ek()),
    )
    return {f"{one.owner}/{one.name}".lower(): one for one in found}


def _ge() -> tuple[Release, ...]:
    """Three tags of the old scheme, the odd ones of era 7, no 10-5, a release that never got its files, a pre-release, a draft."""
    tags = ["7.0rc6-GE-1", "6.21-GE-2", "7.3-GE-1"]
    tags += [{50: "GE=Proton7-50", 51: "GE-Proton7-51-diablo_4_beta"}.get(number, f"GE-Proton7-{number}") for number in range(29, 56)]
    tags += [f"GE-Proton8-{number}" for number in range(1, 33)]
    tags += [f"GE-Proton9-{number}" for number in range(1, 28)]
    tags += [f"GE-Proton10-{number}" for number in range(1, 35) if number != 5]
    tags += [f"GE-Proton11-{number}" for number in range(1, 9)]
    newest = tags.index("GE-Proton11-6")
    releases = []
    for index, tag in enumerate(tags):
        published_at = _NEWEST_AT - 12 * 86_400 * (newest - index)
        release_id = 91_000_000 + index
        assets = () if tag == "GE-Proton9-12" else _assets(release_id, _ge_stems(tag), tag, published_at)
        draft, prerelease = tag == "GE-Proton11-8", tag == "GE-Proton11-7"
        releases.append(Release(release_id, tag, published_at, assets, draft=draft, prerelease=prerelease))
    return tuple(reversed(releases))


def _ge_stems(tag: str) -> tuple[str, ...]:
    """The archives of a tag without their `.tar.gz`; each is also the top folder inside."""
    if not tag.startswith("GE"):
        return (f"Proton-{tag}",)
    if not tag.startswith("GE-Proton11-"):
        return (tag,)
    return (f"{tag}-aarch64", tag) if int(tag.rpartition("-")[2]) < 4 else (f"{tag}-aarch64", f"{tag}-x86_64")


def _umu() -> tuple[Release, ...]:
    tags = ("ULWGL-Proton-8.0-5-3", "UMU-Proton-9.0-3", "UMU-Proton-9.0-3.2", "UMU-Proton-9.0-4e")
    made = [Release(92_000_000 + at, tag, day, _assets(92_000_000 + at, (tag,), tag, day)) for at, tag, day in _dated(tags)]
    return tuple(reversed(made))


def _cachyos() -> tuple[Release, ...]:
    """Up to January 2025 one .tar.gz for every machine of its kind, since then a .tar.xz for each."""
    tags = ("cachyos-9.0-20250126-slr", "cachyos-10.0-20250714-slr", "cachyos-10.0-20250807-slr")
    made = []
    for at, tag, day in _dated(tags):
        is_old = tag.startswith("cachyos-9.")
        stems = (f"proton-{tag}",) if is_old else tuple(f"proton-{tag}-{machine}" for machine in ("arm64", "x86_64", "x86_64_v3"))
        made.append(Release(93_000_000 + at, tag, day, _assets(93_000_000 + at, stems, tag, day, packing="gz" if is_old else "xz")))
    return tuple(reversed(made))


def _wine_ge() -> tuple[Release, ...]:
    """Archived years ago, before there were digests; some of its tags are GE-Proton's too, for another thing."""
    tags = ("6.21-GE-1", "GE-Proton7-43", "GE-Proton8-25", "GE-Proton8-26", "GE-Proton8-27-LoL")
    made = []
    for at, tag, day in _dated(tags):
        day -= 900 * 86_400
        top = f"lutris-{tag}-x86_64" if tag.startswith("GE-") else f"lutris-ge-{tag.replace('-GE', '')}-x86_64"
        assets = _assets(94_000_000 + at, (f"wine-{top}",), tag, day, packing="xz", wine_top=top)
        made.append(Release(94_000_000 + at, tag, day, assets))
    return tuple(reversed(made))


def _kron4ek() -> tuple[Release, ...]:
    """Several builds of each release, and no file with a checksum: the feed's digest is all there is, and old ones have not even that."""
    made = []
    for at, tag, day in _dated(("10.0-rc2", "10.0", "proton-10.0-4", "11.6", "11.7")):
        patches = ("",) if tag.startswith("proton-") else ("", "-staging", "-staging-tkg")
        stems = [f"wine-{tag}{each}-{machine}" for each in patches for machine in ("amd64", "amd64-wow64")]
        assets = _assets(95_000_000 + at, (*stems, f"wine-{tag}-x86"), tag, day, packing="xz", wine_top="", checksums=False)
        made.append(Release(95_000_000 + at, tag, day, assets))
    return tuple(reversed(made))


def _dated(tags: tuple[str, ...]) -> list[tuple[int, str, int]]:
    return [(at, tag, _NEWEST_AT - 20 * 86_400 * (len(tags) - at)) for at, tag in enumerate(tags)]


def _assets(
    release_id: int,
    stems: tuple[str, ...],
    tag: str,
    made_at: int,
    *,
    packing: str = "gz",
    wine_top: str | None = None,
    checksums: bool = True,
) -> tuple[Asset, ...]:
    """*wine_top* is given for plain Wine: its top folder, empty for one that is called like its archive."""
    named = []
    for stem in stems:
        if wine_top is not None:
            archive = ArchiveName(tag, wine_top or stem, made_at, packing, kind="wine", stem=stem)
        else:
            archive = ArchiveName(tag if stem == tag or tag.startswith("GE-") else stem, stem, made_at, packing)
        named += [(f"{stem}.sha512sum", archive, True)] if checksums else []
        named += [(f"{stem}.tar.{packing}", archive, False)]
    named.sort(key=lambda entry: entry[0])
    return tuple(Asset(10 * release_id + at, name, archive, is_checksum) for at, (name, archive, is_checksum) in enumerate(named))
