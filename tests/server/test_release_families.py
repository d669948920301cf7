from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import BuildNotFoundError, UsageError
from integ_server.releases.families import (
    ARM,
    FAMILIES,
    X86,
    archive_stem,
    checksum_names,
    choose_archive,
    family_of,
    is_safe_name,
    natural_order,
    parse_version,
    this_arch,
    version_name,
)

GE = FAMILIES["ge"]
PUBLISHED = [
    *[f"GE-Proton{major}-{minor}" for major in (7, 8, 9, 10, 11) for minor in range(1, 35) if (major, minor) != (10, 5)],
    *["GE=Proton7-50", "GE-Proton7-51-diablo_4_beta", "7.3-GE-1", "7.3-GE-2", "6.21-GE-2", "7.0rc6-GE-1"],
]
numbers = st.integers(0, 999)


@given(
    major=numbers,
    minor=numbers,
    shape=st.sampled_from(["ge-{}.{}", "ge{}.{}", "ge-{}-{}", "ge{}-{}", "GE-Proton{}-{}", "proton-ge-{}-{}", "protonge{}.{}"]),
)
def test_every_spelling_of_a_version_names_the_same_one(major: int, minor: int, shape: str) -> None:
    typed = shape.format(major, minor)
    for spelling in (typed, typed.upper(), f"  {typed.lower()}\n"):
        assert parse_version(spelling).tags[0] == f"GE-Proton{major}-{minor}"


@pytest.mark.parametrize(
    ("typed", "tag"),
    [
        ("ge-8.26", "GE-Proton8-26"),
        ("GE-Proton8-26", "GE-Proton8-26"),
        ("ge-9", "GE-Proton9-34"),
        ("ge9", "GE-Proton9-34"),
        ("latest", "GE-Proton11-34"),
        ("ge", "GE-Proton11-34"),
        ("GE-LATEST", "GE-Proton11-34"),
        ("ge-7.3-1", "7.3-GE-1"),
        ("7.3-GE-1", "7.3-GE-1"),
        ("Proton-7.3-GE-1", "7.3-GE-1"),
        ("7.0rc6-GE-1", "7.0rc6-GE-1"),
        ("ge-6.21", "6.21-GE-2"),
        ("GE-Proton7-50", "GE=Proton7-50"),
        ("GE=Proton7-50", "GE=Proton7-50"),
        ("ge-proton7-51-DIABLO_4_beta", "GE-Proton7-51-diablo_4_beta"),
        ("GE-Proton11-6-x86_64", "GE-Proton11-6"),
        ("ge-7.3", "GE-Proton7-3"),
        ("ge-10.5", None),
        ("ge-12", None),
        ("GE-Proton9-99", None),
    ],
)
def test_what_players_type_is_found_among_what_is_published(typed: str, tag: str | None) -> None:
    published = list(PUBLISHED)
    random.Random(3).shuffle(published)
    assert parse_version(typed).choose(published) == tag


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "banana",
        "../../etc",
        "ge-",
        "ge-8.26.1",
        "8.26",
        "umu-9.0.1",
        "cachyos-10.0-2025",
        "9.0-3.2",
        "ge-٨.٢",
        "ge-99999",
        "GE-Proton8-26/../x",
        "latest/..",
    ],
)
def test_what_can_be_no_name_is_not_found(typed: str) -> None:
    with pytest.raises(BuildNotFoundError):
        parse_version(typed)


@given(st.text(max_size=40))
def test_no_text_makes_it_crash_or_leave_its_folder(typed: str) -> None:
    try:
        wanted = parse_version(typed)
    except (BuildNotFoundError, UsageError):
        return
    assert all(is_safe_name(tag) for tag in wanted.tags)


def test_another_machines_build_is_asked_for_behind_an_at() -> None:
    assert parse_version("ge-11.6@aarch64").arch == parse_version("ge-11.6@ARM64").arch == ARM
    assert parse_version("GE-Proton11-6-aarch64").arch == ARM
    assert parse_version("ge-11.6").arch is None
    with pytest.raises(UsageError):
        parse_version("ge-11.6@riscv")
    other = ARM if this_arch() == X86 else X86
    assert version_name("GE-Proton11-6", this_arch()) == "GE-Proton11-6"
    assert version_name("GE-Proton11-6", other) == f"GE-Proton11-6-{other}"


def test_an_unknown_family_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as told:
        parse_version("latest", family="banana")
    assert "ge" in told.value.hint


@given(st.lists(st.tuples(numbers, numbers), unique=True, min_size=2))
def test_versions_are_ordered_by_their_numbers(versions: list[tuple[int, int]]) -> None:
    names = sorted((f"GE-Proton{major}-{minor}" for major, minor in versions), key=GE.order)
    assert names == [f"GE-Proton{major}-{minor}" for major, minor in sorted(versions)]


@given(st.lists(st.text(max_size=12)))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    sorted(names, key=natural_order)


def test_the_old_scheme_is_older_than_the_new_one() -> None:
    assert sorted(["GE-Proton7-1", "7.3-GE-1", "GE=Proton7-50", "GE-Proton10-1"], key=GE.order) == [
        "7.3-GE-1",
        "GE-Proton7-1",
        "GE=Proton7-50",
        "GE-Proton10-1",
    ]


@pytest.mark.parametrize(
    ("names", "x86", "arm"),
    [
        (["GE-Proton9-1.tar.gz", "GE-Proton9-1.sha512sum"], "GE-Proton9-1.tar.gz", None),
        (["GE-Proton11-2-aarch64.tar.gz", "GE-Proton11-2.tar.gz"], "GE-Proton11-2.tar.gz", "GE-Proton11-2-aarch64.tar.gz"),
        (["GE-Proton11-6-aarch64.tar.gz", "GE-Proton11-6-x86_64.tar.gz"], "GE-Proton11-6-x86_64.tar.gz", "GE-Proton11-6-aarch64.tar.gz"),
        (["GE-Proton11-6-arm64.tar.xz", "GE-Proton11-6-amd64.tar.zst"], "GE-Proton11-6-amd64.tar.zst", "GE-Proton11-6-arm64.tar.xz"),
        (["GE-Proton11-6-x86_64_v3.tar.gz", "GE-Proton11-6-x86_64-async.tar.gz"], None, None),
        (["GE-Proton11-6-aarch64.tar.gz"], None, "GE-Proton11-6-aarch64.tar.gz"),
        (["Proton-7.3-GE-1.tar.gz"], "Proton-7.3-GE-1.tar.gz", None),
        (["wine-lutris-GE-Proton8-26-x86_64.tar.gz", "source.tar.gz", "GE-Proton8-26.zip", "../GE-Proton8-26.tar.gz"], None, None),
        ([], None, None),
    ],
)
def test_the_archive_for_a_machine_is_never_just_the_first(names: list[str], x86: str | None, arm: str | None) -> None:
    assert choose_archive(names, GE, X86) == x86
    assert choose_archive(names, GE, ARM) == arm


def test_the_checksum_is_named_after_the_archive_without_its_ending() -> None:
    assert checksum_names("GE-Proton11-6-x86_64.tar.gz")[0] == "GE-Proton11-6-x86_64.sha512sum"
    assert archive_stem("GE-Proton11-6-x86_64.tar.gz") == "GE-Proton11-6-x86_64"
    assert archive_stem("GE-Proton11-6.zip") is None


UMU, CACHYOS = FAMILIES["umu"], FAMILIES["cachyos"]
OTHERS = [
    *("ULWGL-Proton-8.0-5-3", "UMU-Proton-9.0-3", "UMU-Proton-9.0-3.2", "UMU-Proton-9.0-4e", "UMU-Proton-10.0-1"),
    *("cachyos-9.0-20250126-slr", "cachyos-10.0-20250714-slr", "cachyos-10.0-20250807-slr", "cachyos-10.0-20250807-native"),
]


@pytest.mark.parametrize(
    ("typed", "family", "tag"),
    [
        ("umu", "umu", "UMU-Proton-10.0-1"),
        ("umu-9", "umu", "UMU-Proton-9.0-4e"),
        ("UMU-9.0", "umu", "UMU-Proton-9.0-4e"),
        ("umu-9.0-3.2", "umu", "UMU-Proton-9.0-3.2"),
        ("UMU-Proton-9.0-4e", "umu", "UMU-Proton-9.0-4e"),
        ("umu-9.0-4E", "umu", "UMU-Proton-9.0-4e"),
        ("ulwgl-8.0", "umu", "ULWGL-Proton-8.0-5-3"),
        ("umu-8.0-5-3", "umu", "ULWGL-Proton-8.0-5-3"),
        ("umu-9.0-9", "umu", None),
        ("cachyos", "cachyos", "cachyos-10.0-20250807-slr"),
        ("proton-cachyos", "cachyos", "cachyos-10.0-20250807-slr"),
        ("cachyos-9", "cachyos", "cachyos-9.0-20250126-slr"),
        ("cachyos-10.0", "cachyos", "cachyos-10.0-20250807-slr"),
        ("cachyos-10.0-20250714", "cachyos", "cachyos-10.0-20250714-slr"),
        ("proton-cachyos-10.0-20250807-slr-x86_64", "cachyos", "cachyos-10.0-20250807-slr"),
        ("cachyos-10.0-20250807-native", "cachyos", "cachyos-10.0-20250807-native"),
        ("cachyos-11", "cachyos", None),
    ],
)
def test_the_family_follows_from_the_name(typed: str, family: str, tag: str | None) -> None:
    for wanted in (parse_version(typed), parse_version(typed, family=family)):
        assert (wanted.family.slug, wanted.choose(PUBLISHED + OTHERS)) == (family, tag)


def test_latest_is_ges_unless_another_family_is_named() -> None:
    assert parse_version("latest").family is GE
    assert parse_version("latest", family="umu").choose(OTHERS) == "UMU-Proton-10.0-1"
    with pytest.raises(BuildNotFoundError) as told:
        parse_version("umu-9.0-3.2", family="ge")
    assert told.value.hint == "integ proton available --family ge"


@pytest.mark.parametrize(
    ("typed", "arch"),
    [
        ("cachyos-10.0-20250807@x86_64_v3", "x86_64_v3"),
        ("cachyos@X86_64_V3", "x86_64_v3"),
        ("cachyos-10.0-20250807-slr-x86_64_v3", "x86_64_v3"),
        ("cachyos@arm64", ARM),
        ("cachyos", None),
    ],
)
def test_a_build_for_newer_processors_is_asked_for_by_name(typed: str, arch: str | None) -> None:
    assert parse_version(typed).arch == arch


def test_a_build_for_newer_processors_is_never_taken_unasked() -> None:
    stem = "proton-cachyos-10.0-20250807-slr"
    names = [f"{stem}-{machine}.tar.xz" for machine in ("arm64", "x86_64", "x86_64_v3", "x86_64_v4")]
    assert {arch: choose_archive(names, CACHYOS, arch) for arch in (X86, ARM, "x86_64_v3", "x86_64_v2")} == {
        X86: names[1],
        ARM: names[0],
        "x86_64_v3": names[2],
        "x86_64_v2": None,
    }
    assert choose_archive([names[2], names[3]], CACHYOS, X86) is None
    assert choose_archive([f"{stem}.tar.gz"], CACHYOS, X86) == f"{stem}.tar.gz"
    assert choose_archive([f"{stem}.tar.gz"], CACHYOS, "x86_64_v3") is None


def test_no_familys_version_is_taken_for_anothers() -> None:
    for tag in PUBLISHED + OTHERS:
        assert [family.slug for family in FAMILIES.values() if family.owns(tag)] == [family_of(tag).slug], tag
    assert family_of("cachyos-10.0-20250807-slr-x86_64_v3") is CACHYOS
    assert family_of("somebody's own") is GE


def test_wine_ge_which_has_the_tags_of_ge_proton_is_never_taken_for_it() -> None:
    """Their repositories are two, and were one's archives in the other's, they would not be chosen."""
    names = ["wine-lutris-GE-Proton8-26-x86_64.tar.xz", "wine-lutris-GE-Proton8-26-x86_64.sha512sum"]
    assert {slug for slug, family in FAMILIES.items() if choose_archive(names, family, X86, "GE-Proton8-26")} == {"wine-ge"}
    assert choose_archive(["GE-Proton8-26.tar.gz"], FAMILIES["wine-ge"], X86) is None
    assert len({family.repository for family in FAMILIES.values()}) == len(FAMILIES)


def test_umus_first_name_is_older_than_its_present_one() -> None:
    assert sorted(OTHERS[4::-1], key=UMU.order) == OTHERS[:5]
