"""The families of plain Wine: what their builds are called, by players and by their publishers."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import BuildNotFoundError
from integ_server.releases.families import ARM, FAMILIES, X86, choose_archive, family_of, is_safe_name, kind_of, parse_version
from integ_server.releases.feed import Feed, FeedPage, Release, feed_of, parse_checksum

KRON4EK, WINE_GE, GE = FAMILIES["kron4ek"], FAMILIES["wine-ge"], FAMILIES["ge"]
TAGS = ["9.0", "10.0-rc2", "10.0", "11.0-rc3", "11.6", "11.7", "proton-9.0-4", "proton-10.0-2", "proton-10.0-4"]
NAMES = [name for tag in TAGS for name in KRON4EK.names_of(tag)]
GE_TAGS = ["GE-Proton7-43", "GE-Proton8-9", "GE-Proton8-26", "GE-Proton8-27-LoL", "7.0-GE-1-LoL", "6.21-GE-2"]


@pytest.mark.parametrize(
    ("typed", "version"),
    [
        ("wine-11.7", "wine-11.7"),
        ("kron4ek-11.7", "wine-11.7"),
        ("Kron4ek-Staging-11.7", "wine-11.7-staging"),
        ("wine-11.7-staging", "wine-11.7-staging"),
        ("wine-staging-tkg-11.7", "wine-11.7-staging-tkg"),
        ("wine-11.7-amd64", "wine-11.7"),
        ("wine-11.7-amd64-wow64", "wine-11.7-wow64"),
        ("wine-11.7-staging-tkg-amd64-wow64", "wine-11.7-staging-tkg-wow64"),
        ("wine-11.7-x86", "wine-11.7-x86"),
        ("wine-10.0-rc2", "wine-10.0-rc2"),
        ("wine-proton-10.0-4", "wine-proton-10.0-4"),
        ("kron4ek-proton-10.0-4-wow64", "wine-proton-10.0-4-wow64"),
        ("wine", "wine-11.7"),
        ("kron4ek", "wine-11.7"),
        ("wine-latest", "wine-11.7"),
        ("wine-10", "wine-10.0"),
        ("wine-staging", "wine-11.7-staging"),
        ("kron4ek-staging-tkg-wow64", "wine-11.7-staging-tkg-wow64"),
        ("wine-staging-9", "wine-9.0-staging"),
        ("wine-proton", "wine-proton-10.0-4"),
        ("wine-proton-9", "wine-proton-9.0-4"),
        ("wine-proton-10.0", "wine-proton-10.0-4"),
        ("wine-12", None),
        ("wine-11.9", None),
    ],
)
def test_what_players_type_for_kron4eks_builds_is_found(typed: str, version: str | None) -> None:
    published = list(NAMES)
    random.Random(7).shuffle(published)
    wanted = parse_version(typed)
    assert (wanted.family, wanted.choose(published)) == (KRON4EK, version)
    assert parse_version(typed, family="kron4ek").choose(published) == version


@pytest.mark.parametrize(
    ("typed", "version"),
    [
        ("wine-ge-8.26", "Wine-GE-Proton8-26"),
        ("wine-ge-8-26", "Wine-GE-Proton8-26"),
        ("Wine-GE-Proton8-26", "Wine-GE-Proton8-26"),
        ("lutris-GE-Proton8-26-x86_64", "Wine-GE-Proton8-26"),
        ("wine-lutris-GE-Proton8-26-x86_64", "Wine-GE-Proton8-26"),
        ("wine-ge", "Wine-GE-Proton8-26"),
        ("wine-ge-latest", "Wine-GE-Proton8-26"),
        ("wine-ge-7", "Wine-GE-Proton7-43"),
        ("wine-ge-8-27-lol", "Wine-GE-Proton8-27-LoL"),
        ("wine-ge-lol", "Wine-GE-Proton8-27-LoL"),
        ("Wine-7.0-GE-1-LoL", "Wine-7.0-GE-1-LoL"),
        ("wine-ge-9", None),
    ],
)
def test_what_players_type_for_wine_ge_is_found(typed: str, version: str | None) -> None:
    published = [name for tag in GE_TAGS for name in WINE_GE.names_of(tag)]
    random.Random(7).shuffle(published)
    wanted = parse_version(typed)
    assert (wanted.family, wanted.choose(published)) == (WINE_GE, version)


@pytest.mark.parametrize(
    "typed", ["wine-", "wine-tkg", "wine-11.7-staging-staging", "wine-11.7-fast", "wine-rc1", "wine-11.7/..", "wine-ge-", "wine-٩"]
)
def test_what_can_be_no_name_of_wine_is_not_found(typed: str) -> None:
    with pytest.raises(BuildNotFoundError):
        parse_version(typed)


def test_with_its_family_named_the_number_or_the_publishers_own_tag_is_enough() -> None:
    assert parse_version("11.7", family="kron4ek").tags == ("wine-11.7",)
    assert parse_version("staging", family="kron4ek").choose(NAMES) == "wine-11.7-staging"
    assert parse_version("GE-Proton8-26", family="wine-ge").tags == ("Wine-GE-Proton8-26",)
    assert parse_version("GE-Proton8-26").family is GE
    assert parse_version("9.27", family="ge").tags[0] == "GE-Proton9-27"
    with pytest.raises(BuildNotFoundError):
        parse_version("wine-11.7", family="wine-ge")


def test_every_name_is_one_familys_alone_and_can_be_a_folder() -> None:
    for name in NAMES + [name for tag in GE_TAGS for name in WINE_GE.names_of(tag)]:
        assert [family.slug for family in FAMILIES.values() if family.owns(name)] == [family_of(name).slug], name
        assert is_safe_name(name) and kind_of(family_of(name).slug) == "wine"
    assert len(set(NAMES)) == len(NAMES)


@given(st.text(alphabet="wine-kron4ek.proton0123456789rcstagingtkgwow64x86/", max_size=40))
def test_no_text_makes_it_crash_or_leave_its_folder(text: str) -> None:
    try:
        wanted = parse_version(f"wine-{text}")
    except BuildNotFoundError:
        return
    assert all(is_safe_name(tag) for tag in wanted.tags)


def test_versions_are_ordered_by_their_numbers_and_candidates_come_before_their_release() -> None:
    ordered = sorted([name for name in NAMES if not KRON4EK.variant_of(name)], key=KRON4EK.order)
    assert ordered == ["wine-9.0", "wine-10.0-rc2", "wine-10.0", "wine-11.0-rc3", "wine-11.6", "wine-11.7"]
    assert KRON4EK.order("wine-proton-10.0-4") < KRON4EK.order("wine-9.0"), "Valve's Wine counts by itself"
    names = [name for tag in GE_TAGS for name in WINE_GE.names_of(tag)]
    assert sorted(names, key=WINE_GE.order)[:3] == ["Wine-6.21-GE-2", "Wine-7.0-GE-1-LoL", "Wine-GE-Proton7-43"]


def test_each_archive_is_chosen_by_its_whole_name_and_a_variant_never_unasked() -> None:
    machines = ("amd64", "amd64-wow64", "x86")
    names = [f"wine-11.7{patches}-{machine}.tar.xz" for patches in ("", "-staging", "-staging-tkg") for machine in machines]
    random.Random(2).shuffle(names)
    chosen = {name: choose_archive(names, KRON4EK, X86, name) for name in KRON4EK.names_of("11.7")}
    assert chosen["wine-11.7"] == "wine-11.7-amd64.tar.xz"
    assert chosen["wine-11.7-x86"] == "wine-11.7-x86.tar.xz"
    assert chosen["wine-11.7-staging-tkg-wow64"] == "wine-11.7-staging-tkg-amd64-wow64.tar.xz"
    assert sorted(map(str, chosen.values())) == sorted(names), "each of them, once"
    assert choose_archive([each for each in names if each != "wine-11.7-amd64.tar.xz"], KRON4EK, X86, "wine-11.7") is None
    assert choose_archive(names, KRON4EK, ARM, "wine-11.7") is None
    assert choose_archive(["wine-proton-10.0-4-amd64.tar.xz"], KRON4EK, X86, "wine-proton-10.0-4") == "wine-proton-10.0-4-amd64.tar.xz"


def release(tag: str, repository: str, *names: str, digest: str | None = None) -> Release:
    address = f"https://github.com/{repository}/releases/download/{tag}"
    assets: list[dict[str, Any]] = [
        {"id": at, "name": name, "size": 9, "digest": digest, "browser_download_url": f"{address}/{name}"} for at, name in enumerate(names)
    ]
    return Release.model_validate_json(json.dumps({"tag_name": tag, "assets": assets}))


def test_without_a_file_of_checksums_the_feeds_digest_is_taken_and_it_comes_before_a_list() -> None:
    digest = f"sha256:{'a5' * 32}"
    names = ("sha256sums.txt", "wine-11.7-amd64.tar.xz", "wine-11.7-staging-amd64.tar.xz")
    (plain, staging) = Feed((release("11.7", KRON4EK.repository, *names, digest=digest),)).archives(KRON4EK, X86).values()
    assert {plain.tag, staging.tag} == {"wine-11.7", "wine-11.7-staging"}
    assert (plain.checksum_url, str(plain.digest)) == (None, digest)
    (listed, _) = Feed((release("11.7", KRON4EK.repository, *names),)).archives(KRON4EK, X86).values()
    assert listed.digest is None and (listed.checksum_url or "").endswith("/sha256sums.txt")
    lines = f"{'b1' * 32}  wine-11.7-staging-amd64.tar.xz\n{'c2' * 32} *wine-11.7-amd64.tar.xz\n"
    assert parse_checksum(lines.encode(), "wine-11.7-amd64.tar.xz").hexdigest == "c2" * 32


def test_the_same_tag_in_both_of_ges_repositories_is_two_versions() -> None:
    proton = feed_of([FeedPage(url="", releases=[release("GE-Proton8-26", GE.repository, "GE-Proton8-26.tar.gz")])])
    wine = feed_of([FeedPage(url="", releases=[release("GE-Proton8-26", WINE_GE.repository, "wine-lutris-GE-Proton8-26-x86_64.tar.xz")])])
    one, other = proton.archives(GE, X86)["GE-Proton8-26"], wine.archives(WINE_GE, X86)["Wine-GE-Proton8-26"]
    assert one.identity != other.identity and one.url != other.url
    assert wine.archives(GE, X86) == proton.archives(WINE_GE, X86) == {}, "whichever repository it came from"
    assert wine.tags(WINE_GE) == ["Wine-GE-Proton8-26"]
