"""The writer by itself: tables, figures, events, what is safe to print."""

from __future__ import annotations

import json
import os
import sys

import pytest

from integ_cli.layout import cropped, duration, playtime, safe, safe_lines, size, table, width
from integ_cli.output import Output
from integ_runtime.progress import Progress
from integ_server.contract.errors import IntegError, UsageError, WouldLoseDataError
from tests.cli.conftest import check_document


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two lines"),
        ("\x1b]0;owned\x07", "]0;owned"),
        ("\x9b31mred", "31mred"),
        ("abc\u202efdp.exe", "abcfdp.exe"),
        ("\u2066hidden\u2069", "hidden"),
        ("del\x7f\x00", "del"),
        ("灯台 é", "灯台 é"),
    ],
)
def test_a_line_is_made_safe(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_lines_stay_lines() -> None:
    assert safe_lines("a\nb\rc\x1b[2J") == "a\nb c[2J"


def test_wide_letters_fill_two_columns() -> None:
    assert (width("灯台"), width("e\u0301"), width("abc")) == (4, 1, 3)
    assert cropped("灯台守の夜", 6) == "灯台…"
    told = table(("A", "B"), [("灯台", "x"), ("abcd", "y")]).splitlines()
    assert [line.index(letter) for line, letter in zip(told[1:], "xy", strict=True)] == [4, 6]


def test_a_table_fits_its_columns_and_keeps_figures_to_the_right() -> None:
    told = table(("NAME", ">N"), [("a" * 100, 7), ("b", 4000)], columns=40).splitlines()
    assert max(len(line) for line in told) == 40
    assert told[1].endswith("     7")
    assert told[2].endswith("  4000")
    assert table(("NAME",), []) == ""


@pytest.mark.parametrize(
    ("count", "shown"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (1 << 60, "1048576 TiB")]
)
def test_sizes(count: int | None, shown: str) -> None:
    assert size(count) == shown


def test_times() -> None:
    assert [playtime(0), playtime(59), playtime(90), playtime(60_000)] == ["-", "59 min", "1.5 h", "1000 h"]
    assert [duration(0.44), duration(59), duration(61), duration(3700)] == ["0.4 s", "59 s", "1 min 1 s", "1 h 1 min"]


def test_events_are_lines_and_a_flood_of_them_is_thinned(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.as_json = out.events = True
    with out.progress() as report:
        report(Progress("plan"))
        for done in range(10_001):
            report(Progress("download", done_bytes=done, total_bytes=10_000))
        report(Progress("matching", done=3, total=9))
        report(Progress("reading", message="a notice"))
        report(Progress("reading", done=1, about="gog"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        check_document(line)
    assert [line["event"] for line in lines if line["stage"] == "plan"] == ["stage"]
    downloads = [line for line in lines if line["stage"] == "download"]
    assert len(downloads) < 100
    assert (downloads[0]["done_bytes"], downloads[-1]["done_bytes"]) == (0, 10_000)
    assert [(line["done"], line["total"]) for line in lines if line["stage"] == "matching"] == [(3, 9)]
    assert [line["message"] for line in lines if line["event"] == "log"] == ["a notice"]
    assert [line["done"] for line in lines if line.get("about") == "gog"] == [1]


def test_progress_is_silent_off_a_terminal_but_for_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    with out.progress() as report:
        report(Progress("download", done_bytes=1, total_bytes=2048))
    assert capsys.readouterr() == ("", "")
    out.verbose = 1
    with out.progress() as report:
        report(Progress("download", done_bytes=1, total_bytes=2048))
        report(Progress("download", done_bytes=2, total_bytes=2048))
    assert capsys.readouterr() == ("", "download (2.0 KiB)\n")


def test_what_is_waited_for_is_told_off_a_terminal_too_but_not_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    waiting = Progress("waiting", about="steam", message="steam waits: Steam did not answer; asked again at 12:30:05", waits=True)
    with out.progress() as report:
        report(waiting)
    assert capsys.readouterr() == ("", "steam waits: Steam did not answer; asked again at 12:30:05\n")
    out.quiet = True
    with out.progress() as report:
        report(waiting)
    assert capsys.readouterr() == ("", "")


def test_quiet_keeps_notes_back_but_no_failures(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.quiet = True
    out.note("by the way")
    out.failure(IntegError("it broke", hint="mend it"))
    assert capsys.readouterr().err == "error: it broke\nhint: mend it\n"


def test_a_failure_s_words_are_made_safe(capsys: pytest.CaptureFixture[str]) -> None:
    Output().failure(UsageError("no \x1b[31mgame\n is called so", hint="h\x07", data={"candidates": [{"key": "a\x07", "title": "b\x1b"}]}))
    assert capsys.readouterr().err == "error: no [31mgame  is called so\n  a  b\nhint: h\n"


def test_nobody_to_ask_is_a_refusal_unless_yes(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.no_input = True
    with pytest.raises(WouldLoseDataError):
        out.confirm("Really?")
    out.yes = True
    out.confirm("Really?")
    assert capsys.readouterr().out == ""


def test_paths_have_a_json_form_and_a_bug_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    from pathlib import Path

    out = Output()
    out.as_json = True
    out.result("config-path", {"path": Path("/a"), "exists": False})
    assert check_document(json.loads(capsys.readouterr().out)) == {"path": "/a", "exists": False}
    with pytest.raises(TypeError):
        out.result("config-path", {"path": object()})


def test_a_narrow_terminal_loses_what_may_go_before_a_title_or_what_is_to_be_typed() -> None:
    headers, row = ("TITLE", "?STORE", "?>PLAYED", "!GAME"), ("The Lighthouse at the End of the Tide", "gog", "12.6 h", "gog:1900000101")
    assert table(headers, [row], columns=80) == table(headers, [row])
    assert table(headers, [row]).splitlines()[0].split() == ["TITLE", "STORE", "PLAYED", "GAME"]
    narrow = table(headers, [row], columns=40).splitlines()
    assert all(width(line) <= 40 for line in narrow)
    assert narrow[0].split() == ["TITLE", "GAME"]
    assert narrow[1].startswith("The Lighthouse at the E")
    assert narrow[1].endswith("  gog:1900000101")
    tiny = table(headers, [row], columns=20).splitlines()
    assert all(width(line) <= 20 for line in tiny)


def test_events_that_nobody_reads_disturb_no_work_and_the_result_still_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    pipe = os.fdopen(write, "w")
    monkeypatch.setattr(sys, "stdout", pipe)
    out = Output()
    out.as_json = out.events = True
    with out.progress() as report:
        for done in range(3):
            report(Progress("download", done, 3))
    with pytest.raises(BrokenPipeError):
        out.result("install", {})
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, write)
    os.close(nowhere)
    pipe.close()
