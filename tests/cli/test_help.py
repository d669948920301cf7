"""Every command explains itself, with an example that can be typed."""

from __future__ import annotations

import shlex

import pytest

from integ_cli.app import build_root, find_command
from integ_cli.command_table import COMMANDS, EXAMPLES, Entry, paths
from integ_runtime.cache.query import SORTS
from tests.cli.conftest import Integ

TABLE = list(paths())
ALL = [words for words, _ in TABLE]


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_examples(integ: Integ, path: list[str]) -> None:
    told = integ(*path, "--help")
    assert told.code == 0
    assert told.err == ""
    assert f"Usage: integ {' '.join(path)}" in told.out
    examples = told.out.partition("Examples:\n")[2].split("\n")
    assert examples[0].startswith("  $ ")


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_example_parses(path: list[str]) -> None:
    """Each is taken apart by the parser it is shown for, up to where the command would run."""
    found = find_command(path)
    examples = found.traits.examples if hasattr(found, "traits") else next(entry.examples for words, entry in TABLE if words == path)
    for example in examples:
        words = shlex.split(example.rpartition("| ")[2].partition(" < ")[0])
        assert words[0] == "integ"
        known = max((each for each in ALL if words[1 : len(each) + 1] == each), key=len)
        context = find_command(known).make_context(known[-1], words[len(known) + 1 :], resilient_parsing=False, obj=_Nobody())
        assert context.params is not None


class _Nobody:
    """Takes the common options' values."""


@pytest.mark.parametrize("path", [words for words, entry in TABLE if isinstance(entry, Entry)], ids=" ".join)
def test_every_command_takes_the_common_options(path: list[str]) -> None:
    names = {name for param in find_command(path).params for name in param.opts}
    assert {"--json", "--no-input", "-q", "--quiet", "-v", "--verbose"} <= names


@pytest.mark.parametrize("name", ["sync", "install", "uninstall", "install-proton"])
def test_long_commands_tell_events(name: str) -> None:
    assert "--events" in {option for param in find_command([name]).params for option in param.opts}


@pytest.mark.parametrize(
    "path", [["logout"], ["uninstall"], ["proton", "remove"], ["prefix", "remove"], ["prefix", "forget"]], ids=" ".join
)
def test_what_destroys_takes_yes(path: list[str]) -> None:
    assert "--yes" in {option for param in find_command(path).params for option in param.opts}


def test_no_command_takes_a_secret_as_a_word() -> None:
    options = {name for path in ALL if len(path) == 1 for param in find_command(path).params for name in getattr(param, "opts", ())}
    assert not {"--api-key", "--key", "--code", "--token", "--password", "--secret"} & options


def test_the_root_help_lists_every_command_once(integ: Integ) -> None:
    told = integ("--help").out
    for name, entry in COMMANDS.items():
        assert sum(line.split()[:1] == [name] and entry.help[:20] in line for line in told.splitlines()) == 1, name
    assert all(f"$ {example}" in told for example in EXAMPLES)


def test_the_table_tells_what_the_command_itself_tells() -> None:
    """The table's line and the function's own words are about the same thing: both name a function that is there."""
    for path in ALL:
        assert find_command(path).help


def test_the_sorts_in_the_help_are_those_there_are(integ: Integ) -> None:
    told = " ".join(integ("list", "--help").out.split())
    assert ", ".join(SORTS) in told


def test_without_a_terminal_integ_prints_its_help_and_exits_2(integ: Integ) -> None:
    told = integ()
    assert told.code == 2
    assert told.out.startswith("Usage: integ")
    assert build_root().list_commands(None) == list(COMMANDS)
