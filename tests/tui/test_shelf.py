"""Searching and sorting the library in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from integ_tui.shelf import SORTS, TABS, Entry, Shelf, entries_of, fold
from tests.tui.fakes_tui import release, some_titles, title_row


def titles_of(entries: list[Entry]) -> list[str]:
    return [entry.title_id for entry in entries]


def a_shelf() -> Shelf:
    return Shelf(entries_of(some_titles()))


def test_a_tab_holds_what_its_name_says_and_counts_it() -> None:
    shelf = a_shelf()
    assert shelf.counts == {"all": 9, "steam": 6, "gog": 5, "installed": 3}
    assert titles_of(shelf.view("installed")) == ["clockwork-harbour", "foxglove", "moss"]


def test_case_accents_and_signs_make_no_difference_to_the_filter() -> None:
    shelf = a_shelf()
    assert titles_of(shelf.view(text="ELAN vital")) == ["elan"]
    assert titles_of(shelf.view(text="orbits")) == ["orbit"]
    assert titles_of(shelf.view(text="空の")) == ["kuu"]


def test_every_word_has_to_be_there_in_any_order() -> None:
    shelf = a_shelf()
    assert titles_of(shelf.view(text="harbour clock")) == ["clockwork-harbour"]
    assert titles_of(shelf.view(text="harbour moss")) == []


def test_titles_that_begin_with_the_text_come_first() -> None:
    rows = [title_row(slug, title, release(f"gog:{n}", title)) for n, (slug, title) in enumerate([("a", "A Moss Tale"), ("m", "Moss")])]
    assert titles_of(Shelf(entries_of(rows)).view(text="moss")) == ["m", "a"]


def test_play_time_and_last_played_put_the_most_first() -> None:
    shelf = a_shelf()
    assert titles_of(shelf.view(sort="playtime"))[:3] == ["elan", "clockwork-harbour", "kuu"]
    assert titles_of(shelf.view(sort="last_played"))[:2] == ["foxglove", "clockwork-harbour"]


def test_an_order_turned_round_is_the_same_titles_backwards() -> None:
    shelf = a_shelf()
    for sort in SORTS:
        assert shelf.view(sort=sort.name, backwards=True) == shelf.view(sort=sort.name)[::-1]


@given(st.lists(st.text(alphabet="abé '-x1", max_size=4), max_size=8), st.sampled_from([tab.name for tab in TABS]))
def test_typing_on_narrows_to_what_the_whole_text_finds(keys: list[str], tab: str) -> None:
    typed, shelf = "", a_shelf()
    for key in keys:
        typed += key
        assert shelf.view(tab, typed) == a_shelf().view(tab, typed)


@given(st.text())
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_no_title_brings_anything_unprintable_to_the_screen(text: str) -> None:
    [entry] = entries_of([title_row("x", text, release("gog:1", text))])
    assert entry.title.isprintable()
