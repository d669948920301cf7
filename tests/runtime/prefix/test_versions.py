"""Which build a prefix belongs to is read from whatever stands there, and its order is one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integ_runtime.prefix.versions import Used, family_of, is_step_back, last_build, version_text

NUMBERS = st.integers(1, 40)
GE = st.builds("GE-Proton{}-{}".format, NUMBERS, NUMBERS)
GE_LEGACY = st.builds("{}.{}-GE-{}".format, st.integers(4, 7), NUMBERS, NUMBERS)
UMU = st.builds("UMU-Proton-{}.0-{}e".format, NUMBERS, NUMBERS)
VALVE = st.builds("{}.0-{}".format, NUMBERS, st.integers(1, 400))
KNOWN = st.one_of(GE, GE_LEGACY, UMU, VALVE)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("GE-Proton9-27", "ge"),
        ("GE=Proton10-1", "ge"),
        ("7.3-GE-1", "ge"),
        ("Proton-6.21-GE-2", "ge"),
        ("UMU-Proton-9.0-3.2", "umu"),
        ("proton-cachyos-10.0-20250601-slr", "cachyos"),
        ("9.0-203", "steam"),
        ("experimental-10.0-20260101b", "steam"),
        ("proton_9", "steam"),
        ("Proton 8.0", "steam"),
        ("proton_experimental", "steam"),
        ("Luxtorpeda", ""),
        ("", ""),
    ],
)
def test_a_name_says_whose_build_it_is(text: str, family: str) -> None:
    assert family_of(text) == family


@given(st.lists(KNOWN, min_size=2, max_size=12))
def test_builds_of_one_family_have_one_order(texts: list[str]) -> None:
    """Of two, exactly one is a step back from the other unless they are the same; and it is transitive."""
    for family in {family_of(each) for each in texts}:
        builds = [Used(each, family) for each in dict.fromkeys(texts) if family_of(each) == family]
        for one in builds:
            assert not is_step_back(one, one)
            for other in builds:
                assert one == other or is_step_back(one, other) != is_step_back(other, one)
        ordered = sorted(builds, key=lambda each: sum(is_step_back(each, other) for other in builds))
        assert all(is_step_back(later, earlier) for earlier, later in pairwise(ordered))


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_the_order_is_that_of_the_numbers(major: int, minor: int, other_major: int, other_minor: int) -> None:
    back = (other_major, other_minor) < (major, minor)
    assert is_step_back(Used(f"GE-Proton{major}-{minor}", "ge"), Used(f"GE-Proton{other_major}-{other_minor}", "ge")) is back
    assert is_step_back(Used(f"{major}.0-{minor}", "steam"), Used(f"{other_major}.0-{other_minor}", "steam")) is back


@given(KNOWN, KNOWN)
def test_another_family_is_a_step_back_both_ways(one: str, other: str) -> None:
    if family_of(one) != family_of(other):
        assert is_step_back(Used(one, family_of(one)), Used(other, family_of(other)))
        assert is_step_back(Used(other, family_of(other)), Used(one, family_of(one)))


def test_the_old_names_of_ge_are_older_than_the_new_ones_wherever_the_build_lies() -> None:
    assert is_step_back(Used("GE-Proton8-1", "ge"), Used("7.55-GE-1", "ge"))
    assert not is_step_back(Used("GE-Proton8-1", "steam"), Used("GE-Proton8-2", "ge")), "Steam's folder holds GE's builds too"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=st.one_of(st.binary(max_size=600), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))))
def test_whatever_stands_in_the_version_file_is_a_line_or_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "version").write_bytes(content)
    text = version_text(tmp_path)
    assert text == text.strip()
    assert len(text) <= 200
    assert text.isprintable()
    found = last_build(tmp_path)
    assert found == (Used(text, family_of(text)) if text else None)


@given(text=KNOWN, end=st.sampled_from(["", "\n", "\r\n", "\nmore\n"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_known_version_is_read_as_it_is(tmp_path: Path, text: str, end: str) -> None:
    (tmp_path / "version").write_text(text + end)
    assert version_text(tmp_path) == text


@pytest.mark.parametrize(
    ("noted", "written", "used"),
    [
        ("GE-Proton9-1", "GE-Proton9-1", "GE-Proton9-1"),
        ("GE-Proton9-1", "GE-Proton10-1", "GE-Proton10-1"),
        ("GE-Proton9-1", "GE-Proton8-1", "GE-Proton9-1"),
        ("GE-Proton9-1", "9.0-203", "GE-Proton9-1"),
        ("proton_9", "9.0-203", "proton_9"),
        ("GE-Proton9-1", "", "GE-Proton9-1"),
        ("", "9.0-203", "9.0-203"),
        ("", "no build at all", "no build at all"),
    ],
)
def test_integ_s_note_counts_unless_proton_wrote_down_a_newer_one_of_that_family(
    tmp_path: Path, noted: str, written: str, used: str
) -> None:
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    if noted:
        (tmp_path / "prefix.json").write_text(json.dumps({"proton": noted, "family": family_of(noted)}))
    if written:
        (prefix / "version").write_text(f"{written}\n")
    found = last_build(prefix)
    assert found is not None
    assert found.version == used


def test_a_folder_or_a_missing_file_is_no_version(tmp_path: Path) -> None:
    assert version_text(tmp_path / "nothing") == ""
    (tmp_path / "version").mkdir()
    assert version_text(tmp_path) == ""
    assert last_build(tmp_path) is None
