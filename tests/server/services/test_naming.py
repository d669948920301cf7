from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.text import LONGEST_NAME, clean_name
from integ_server.services.naming import is_game_id, is_key, match_name, slug_of, sort_name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lantern Keep™", "LANTERN KEEP"),
        ("Ōkami HD", "Okami HD"),
        ("Tom & Jerry's Réunion®", "tom and jerrys reunion"),
        ("Half-Life 2: Episode One", "Half Life 2 - Episode One"),
        ("Straße", "STRASSE"),
        ("Quiet\u00a0Orbit ©", "Quiet Orbit"),
        ("Don’t Starve", "Don't Starve"),
    ],
)
def test_the_same_name_written_otherwise_matches(one: str, other: str) -> None:
    assert match_name(one) == match_name(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lantern Keep", "Lantern Keep: Definitive Edition"),
        ("Part II", "Part 2"),
        ("Part II", "Part III"),
        ("がんばれ", "かんばれ"),
        ("हिन्दी", "हनद"),
        ("Метро", "Метрo"),
    ],
)
def test_another_name_does_not_match(one: str, other: str) -> None:
    assert match_name(one) != match_name(other)


@given(st.text(max_size=60))
def test_a_matched_name_matches_itself(name: str) -> None:
    matched = match_name(name)
    assert match_name(matched) == matched
    assert match_name(f"  {name} ™ ") == matched


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_the_quick_way_for_plain_letters_agrees_with_the_long_one(name: str) -> None:
    # A letter beyond ASCII at the end takes the long way without changing what stands before it.
    assert match_name(f"{name} ж") == f"{match_name(name)} ж".strip()


@given(st.text())
def test_a_cleaned_name_is_one_short_line_that_can_be_stored_and_stays_as_it_is(name: str) -> None:
    cleaned = clean_name(name)
    assert cleaned == clean_name(cleaned)
    assert len(cleaned) <= LONGEST_NAME and "\0" not in cleaned and "\x1b" not in cleaned and "\n" not in cleaned
    cleaned.encode()


@given(st.text(max_size=200))
def test_a_slug_is_one_word_that_is_no_key_and_no_path(name: str) -> None:
    slug = slug_of(match_name(name))
    assert not set(slug) & set(":/\\ .\0\n") and len(slug) <= 80
    assert not slug.startswith("-") and not slug.endswith("-")


@pytest.mark.parametrize(
    ("name", "place"),
    [("The Witness", "witness"), ("A Hat in Time", "hat in time"), ("Theme Park", "theme park"), ("The", "the"), ("???", "???")],
)
def test_an_article_does_not_count_for_the_order(name: str, place: str) -> None:
    assert sort_name(name) == place


def test_ids_and_keys_are_plain_words() -> None:
    assert is_game_id("620") and is_game_id("1207658924") and is_game_id("a.b_c-d")
    assert not any(is_game_id(each) for each in ("", ".", "..", ".hidden", "a/b", "a:b", "a b", "a\n", "é", "x" * 65))
    assert is_key("steam:620") and not any(is_key(each) for each in ("620", "steam:", ":620", "steam:6:2", "steam:..", "steam:6\0"))
