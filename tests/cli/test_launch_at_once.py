"""`integ launch` without a parser does what it does with one: the same words are read, and the same is told."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from integ_cli import __main__ as program
from integ_cli import app, launching
from integ_cli.launch_words import LaunchWords, read_words
from integ_cli.output import Output
from tests.cli.conftest import Answer, Integ
from tests.runtime.launch.stage import RECORDER, Stage, make_stage, write_program

WORDS = [
    *("steam:620", "tea time", "x", "", "-", "--", "--", "launch", "Lantern Keep", "a=b", "日本", "caf\udce9"),
    *("--proton", "--proton=", "--proton=ge-9.27", "ge-9.27", "--wrapper", "--wrapper=front -x 'two words'", "mangohud"),
    *("--env", "--env=A=1", "B=", "B=c=d", "--env=", "--task", "--task=settings", "--task="),
    *("--dry-run", "--json", "--no-input", "--quiet", "-q", "--verbose", "-v", "-vv", "-qv", "-vq"),
    *("--help", "-h", "--yes", "-y", "--events", "--version", "--dry", "--jso", "--json=1", "--dry-run=yes", "--nope", "-x", "-windowed"),
]
PLAIN = [
    *("--json", "-q", "--quiet", "-v", "--verbose", "--no-input", "--dry-run", "--proton ge-9.27", "--proton=latest", "--task=editor"),
    *("--task settings", "--env A=1", "--env=B=c=d", "--env wrong", "--wrapper front", "--wrapper=mangohud"),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[LaunchWords, Output]]:
    """What a launch is asked for, in place of launching."""
    seen: list[tuple[LaunchWords, Output]] = []

    def note(out: Output, words: LaunchWords, watcher: object = None) -> int:
        seen.append((words, out))
        return 0

    monkeypatch.setattr(launching, "launch", note)
    return seen


def command_lines() -> list[list[str]]:
    """Four thousand of them, half of them such as a player would type."""
    luck = Random(620)
    odd = [["launch", *luck.choices(WORDS, k=luck.randrange(6))] for _ in range(2000)]
    plain = []
    for _ in range(2000):
        words = [word for each in luck.choices(PLAIN, k=luck.randrange(5)) for word in each.split(" ")]
        words.insert(luck.choice([0, len(words)]), luck.choice(["steam:620", "tea time"]))
        plain.append(["launch", *words, *luck.choice([[], [], ["--"], ["--", "-w", ""], ["--", "--json", "--", "two words"]])])
    return odd + plain


def test_what_is_read_without_a_parser_is_what_typer_reads(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    read, left = 0, 0
    for argv in command_lines():
        asked.clear()
        words = read_words(argv)
        code = app.run(argv)
        capsys.readouterr()
        if words is None:
            left += 1
            continue
        read += 1
        assert code == 0 and len(asked) == 1, argv
        typed, out = asked[0]
        typed = typed._replace(as_json=out.as_json, no_input=out.no_input, quiet=out.quiet, verbose=out.verbose)
        assert tuple(typed) == tuple(words), argv
    assert read >= 2000 and left >= 1500


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["x", "-h"],
        ["x", "y"],
        ["x", "--nope"],
        ["x", "--proton"],
        ["x", "--proton", "--json"],
        ["x", "--json=1"],
        ["", "--json"],
        ["--", "x"],
        ["x", "-qv"],
    ],
    ids=" ".join,
)
def test_what_is_not_plain_is_left_to_the_parser(words: list[str]) -> None:
    asked = read_words(["launch", *words])
    assert asked is None or (words[0] == "--" and asked.game == "x")


def test_only_launch_comes_by_here(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integ_cli.app.run", lambda argv: 77)
    assert program._main(["launch", "x", "--dry-run"]) == 0 and len(asked) == 1
    for argv in (["launch", "--help"], ["launch"], ["--json", "launch", "x"], ["list"], []):
        assert program._main(argv) == 77
    assert len(asked) == 1


@pytest.fixture
def stage(home: Path) -> Stage:
    stage = make_stage(home)
    stage.game("#!/bin/sh\necho out\necho err >&2\nexit ${EXIT_WITH:-0}\n")
    windows = stage.game("MZ", key="gog:2", name="play.exe", platform="windows")
    stage.installed.set_state(stage.game(RECORDER, key="gog:3"), "installing")
    write_program(windows.path / "front", RECORDER)
    return stage


def plain(answer: Answer) -> tuple[int, str, str]:
    """*answer* without what differs from one second to the next."""
    out = re.sub(r'"timestamp":"[^"]+"', "", answer.out)
    out = re.sub(r'"seconds":[0-9.]+|\d{8}T\d{6}Z(-\d+)?\.log', "", out)
    err = re.sub(r"ran for [0-9.]+ s|after [0-9.]+ s|\d{8}T\d{6}Z(-\d+)?\.log", "", answer.err)
    return answer.code, out, err


@pytest.mark.parametrize(
    "words",
    [
        ["gog:1", "--json"],
        ["gog:1", "--json", "--env", "EXIT_WITH=7"],
        ["gog:1", "--env", "EXIT_WITH=7", "--quiet"],
        ["gog:1", "--dry-run", "--env", "A=1", "--", "-w", "two words"],
        ["gog:1", "--dry-run", "--json", "--wrapper", "env X=1"],
        ["gog:1", "--wrapper", "not-there"],
        ["gog:1", "--wrapper", "mangohud", "--dry-run"],
        ["gog:1", "--env", "WINEPREFIX=/x", "--dry-run"],
        ["gog:1", "--env", "wrong", "--json"],
        ["gog:1", "--task", "nothing"],
        ["gog:2"],
        ["gog:2", "--json", "--proton", "ge-9.27"],
        ["gog:3", "--json"],
        ["Tea", "--json"],
        ["Tea"],
        ["nothing of the kind", "--json"],
        ["steam:620"],
        ["../x", "--no-input"],
    ],
    ids=" ".join,
)
def test_both_ways_tell_the_same_and_end_with_the_same_code(stage: Stage, process: Integ, words: list[str]) -> None:
    assert read_words(["launch", *words]) is not None
    process("list")  # what this machine knows is in the library before either looks
    assert plain(process("launch", *words)) == plain(process("--no-input", "launch", *words))
