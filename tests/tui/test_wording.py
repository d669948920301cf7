"""Words and widths of what the screen shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from integ_tui.wording import ago, clean, clean_lines, fit, fit_right, moment, playtime, size
from tests.tui.fakes_tui import NOW


@given(st.text(), st.integers(0, 60))
def test_a_fitted_text_has_exactly_its_width(text: str, width: int) -> None:
    assert cell_len(fit(clean(text), width)) == width
    assert cell_len(fit_right(clean(text), width)) == width


def test_escapes_and_direction_marks_do_not_reach_the_terminal() -> None:
    assert clean("a\x1b[31mb\u202ec\x07\u200bd\r\ne") == "a[31mbcd  e"
    assert clean_lines("one\ttab\x1b]0;x\x07\ntwo") == "one tab]0;x\ntwo"


@pytest.mark.parametrize(
    ("minutes", "words"), [(0, ""), (59, "59 min"), (60, "1.0 h"), (95, "1.6 h"), (5999, "100.0 h"), (72_300, "1,205 h")]
)
def test_play_time_in_words(minutes: int, words: str) -> None:
    assert playtime(minutes) == words


@given(st.integers(0, 5_999_940))
def test_play_time_fits_its_column(minutes: int) -> None:
    assert len(playtime(minutes)) <= 8


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (timedelta(hours=-3), "today"),
        (timedelta(hours=2), "today"),
        (timedelta(days=1), "yesterday"),
        (timedelta(days=30), "30 days ago"),
        (timedelta(days=31), "2026-10-22"),
    ],
)
def test_how_long_ago_in_words(back: timedelta, words: str) -> None:
    assert ago(NOW - back, NOW) == words
    assert len(words) <= 11


def test_a_moment_that_cannot_be_read_is_none() -> None:
    assert moment("yesterday") is None
    assert moment(None) is None
    assert moment("2026-11-22T10:00:00Z") == datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1_500_000, "1.5 MB"),
        (1_420_000_000, "1.4 GB"),
        (2e15, "2000.0 TB"),
    ],
)
def test_sizes_in_words(count: int | None, words: str) -> None:
    assert size(count) == words
