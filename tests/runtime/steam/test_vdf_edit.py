"""Changing one key of a file that Steam wrote: what nobody asked to change is there byte for byte."""

from __future__ import annotations

import difflib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.steam.vdf import MAX_DEPTH, Section, parse_vdf
from integ_runtime.steam.vdf_edit import remove, set_section, set_text
from integ_server.contract.errors import IntegrityError
from tests.runtime.steam.steam_home import vdf
from tests.runtime.steam.test_vdf import folded, keys, trees

CONFIG = b"""// made by hand {
"InstallConfigStore"
{
\t"Software"
\t{
\t\t"valve"
\t\t{
\t\t\t"Steam"
\t\t\t{
\t\t\t\t"controller"\t\t"\xff\xfe \\"x\\""   // odd
\t\t\t\t"COMPATToolMapping"
\t\t\t\t{
\t\t\t\t\t"0"\t\t// the default
\t\t\t\t\t{
\t\t\t\t\t\t"name"\t\t"proton_9"
\t\t\t\t\t\t"config"\t\t""
\t\t\t\t\t\t"Priority"\t\t"75"
\t\t\t\t\t}
\t\t\t\t}
\t\t\t\t"zlast"\t\t"C:\\\\Steam"
\t\t\t}
\t\t}
\t}
}
"""
MAPPING = ("InstallConfigStore", "Software", "Valve", "Steam", "CompatToolMapping")


def lines_between(before: bytes, after: bytes) -> tuple[list[str], list[str]]:
    """Lines that went, and lines that came."""
    told = list(difflib.ndiff(before.decode("latin-1").splitlines(True), after.decode("latin-1").splitlines(True)))
    return [each[2:] for each in told if each.startswith("- ")], [each[2:] for each in told if each.startswith("+ ")]


def test_one_text_changes_and_every_other_byte_stays() -> None:
    after = set_text(CONFIG, [*MAPPING, "0", "NAME"], "GE-Proton10-34")
    assert after == CONFIG.replace(b'"proton_9"', b'"GE-Proton10-34"')


def test_a_new_section_stands_where_its_siblings_do() -> None:
    after = set_section(CONFIG, [*MAPPING, "620"], {"name": "a\\b", "config": "", "priority": "250"})
    gone, came = lines_between(CONFIG, after)
    assert gone == []
    assert "".join(came) == (
        '\t\t\t\t\t"620"\n\t\t\t\t\t{\n'
        '\t\t\t\t\t\t"name"\t\t"a\\\\b"\n\t\t\t\t\t\t"config"\t\t""\n\t\t\t\t\t\t"priority"\t\t"250"\n'
        "\t\t\t\t\t}\n"
    )
    assert remove(after, [*MAPPING, "620"]) == CONFIG


def test_lines_that_end_like_those_of_windows_get_neighbours_that_do() -> None:
    windows = CONFIG.replace(b"\n", b"\r\n")
    after = set_section(windows, [*MAPPING, "620"], {"name": "x", "priority": "250"})
    assert after.count(b"\n") == after.count(b"\r\n") > windows.count(b"\r\n")
    assert remove(after, [*MAPPING, "620"]) == windows


def test_what_is_missing_of_the_way_is_made() -> None:
    after = set_text(b'"InstallConfigStore"\n{\n}\n', [*MAPPING, "0", "name"], "x")
    assert parse_vdf(after.decode()).text(*MAPPING, "0", "name") == "x"
    assert parse_vdf(set_text(b'"other"  "1"', ["a", "b"], "x").decode()).as_dict() == {"other": "1", "a": {"b": "x"}}


def test_a_file_on_one_line_stays_on_it() -> None:
    assert set_text(b'"a" { "b" "c" } // end', ["a", "d"], "e") == b'"a" { "b" "c"  "d" "e" } // end'.replace(b'"d" "e"', b'"d"\t\t"e"')


def test_of_a_key_that_comes_twice_the_one_that_counts_changes_and_both_go() -> None:
    twice = b'"a" { "x" "1" } "A" { "X" "2" "y" "3" }'
    assert set_text(twice, ["a", "x"], "9") == b'"a" { "x" "1" } "A" { "X" "9" "y" "3" }'
    assert parse_vdf(remove(twice, ["a", "x"]).decode()).as_dict() == {"a": {"y": "3"}}


def test_what_is_meant_for_another_system_is_left_alone() -> None:
    text = b'"a" { "x" "1" [$WIN32] "x" "2" [$LINUX] "s" [$WIN32] { "x" "3" } }'
    assert set_text(text, ["a", "x"], "9") == text.replace(b'"2"', b'"9"')
    assert b'"s" [$WIN32] { "x" "3" }' in set_text(text, ["a", "s", "x"], "4")


@pytest.mark.parametrize("path", [["a", "b", "c"], ["a"]])
def test_a_text_is_not_turned_into_a_section_nor_the_other_way_round(path: list[str]) -> None:
    with pytest.raises(IntegrityError, match=r"config\.vdf holds a"):
        set_text(b'"a" { "b" "1" }', path, "x", where="config.vdf")


@pytest.mark.parametrize("text", [b'"a"', b'"a" "b" }', b"{", b'"a" { "b" }', b'"a" "b', b'"a"{' * (MAX_DEPTH + 2)])
def test_a_damaged_file_is_not_changed_but_told(text: bytes) -> None:
    with pytest.raises(IntegrityError):
        set_text(text, ["z"], "1")


def test_a_text_that_would_end_the_file_early_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        set_text(b'"a" "b"', ["a"], "x\0y")


def changed(tree: dict[str, Any], path: list[str], value: str) -> None:
    """*tree* with *value* at *path*, as a player would think of it."""
    for key in path[:-1]:
        found = next((each for each in tree if each.casefold() == key.casefold()), key)
        tree = tree.setdefault(found, {})
    tree[next((each for each in tree if each.casefold() == path[-1].casefold()), path[-1])] = value


@given(
    trees.filter(bool).filter(folded), st.lists(keys, min_size=1, max_size=4), st.text(st.characters(exclude_characters="\0"), max_size=20)
)
def test_whatever_is_written_is_read_back_and_the_rest_is_as_it_was(tree: dict[str, Any], path: list[str], value: str) -> None:
    before = (vdf(tree) + "\n").encode()
    try:
        after = set_text(before, path, value)
    except IntegrityError as refused:
        assert "should be" in refused.message
        return
    old = parse_vdf(before.decode()).find(*path)
    changed(tree, path, value)
    assert parse_vdf(after.decode()).as_dict() == tree
    if isinstance(old, str):
        assert set_text(after, path, old) == before


@given(trees.filter(bool).filter(folded), st.lists(keys, min_size=2, max_size=3))
def test_taking_out_what_was_put_in_leaves_the_same_bytes(tree: dict[str, Any], names: list[str]) -> None:
    before = (vdf({"root": {**tree, "z": {"y": "1"}}}) + "\n").encode()
    path = ["root", "z", *names]
    if names[0].casefold() == "y":
        return
    assert remove(set_text(before, path, "v"), path[:3]) == before


@given(st.binary(max_size=200) | st.text('"{}[]\\/ \n\tab$!', max_size=80).map(str.encode), st.sampled_from([["a"], ["a", "b"]]))
def test_no_bytes_make_it_crash_and_no_good_file_gets_worse(content: bytes, path: list[str]) -> None:
    with suppress(IntegrityError):
        after = set_text(content, path, "v")
        assert parse_vdf(after.decode("utf-8", "surrogateescape")).find(*path) == "v"
    with suppress(IntegrityError):
        found = parse_vdf((remove(content, path) or b"x y").decode("utf-8", "surrogateescape"))
        assert isinstance(found, Section) and found.find(*path) is None
