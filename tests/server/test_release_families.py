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
        "umu-9.0",
        "wine-ge-8-26",
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
