from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integ_runtime.steam.vdf import MAX_DEPTH, parse_vdf, read_vdf
from integ_server.contract.errors import IntegrityError
from tests.runtime.steam.steam_home import vdf

keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
trees = st.recursive(
    st.dictionaries(keys, st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=30), max_size=5),
    lambda below: st.dictionaries(keys, st.one_of(below, st.text('abc \\"n{}/[$', max_size=10)), max_size=5),
    max_leaves=25,
)


def folded(tree: dict[str, Any]) -> bool:
    """Whether no two keys differ by their case alone, at any depth."""
    names = [key.casefold() for key in tree]
    return len(names) == len(set(names)) and all(folded(each) for each in tree.values() if isinstance(each, dict))


@given(trees.filter(bool).filter(folded))
def test_what_steam_would_write_is_read_back(tree: dict[str, Any]) -> None:
    assert parse_vdf(vdf(tree)).as_dict() == tree


@given(st.text(max_size=200) | st.text('"{}[]\\/ \n\tab$!', max_size=80))
@example('"a" [$WIN32] { "b" "c" } "d" "e"')
def test_no_text_makes_it_crash(text: str) -> None:
    with suppress(IntegrityError):
        parse_vdf(text)


@given(trees.filter(bool), st.data())
def test_a_file_cut_short_is_damaged_or_a_shorter_file(tree: dict[str, Any], data: st.DataObject) -> None:
    whole = vdf({"root": tree})
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))].rstrip()
    with pytest.raises(IntegrityError):
        parse_vdf(cut)


def test_keys_are_found_whatever_their_case() -> None:
    content = parse_vdf('"AppState" { "appID" "620" "StateFlags" "4" }')
    assert content.text("appstate", "APPID") == "620"
    assert content.number("AppState", "stateflags") == 4
    assert [key for key, _ in content.section("appstate").items()] == ["appID", "StateFlags"]


def test_a_section_that_comes_twice_is_one_and_the_last_text_counts() -> None:
    content = parse_vdf('"a" { "x" "1" "y" { "p" "1" } } "A" { "X" "2" "Y" { "q" "2" } }')
    assert content.as_dict() == {"a": {"x": "2", "y": {"p": "1", "q": "2"}}}


def test_hand_written_files_may_have_comments_bare_words_and_conditions() -> None:
    text = """
    // a comment "with quotes" {
    compatibilitytools // another
    {
      install_path .   display_name "For Linux" [$LINUX]   display_name "For Windows" [$WIN32]
      only [$WIN32] { gone yes }
      here [!$WIN32||$OSX] { kept yes }
      path /opt/x//not-a-comment-inside? no
    }
    """
    found = parse_vdf(text.replace("//not-a-comment-inside? no", ""))
    tools = found.section("compatibilitytools")
    assert tools.text("install_path") == "."
    assert tools.text("display_name") == "For Linux"
    assert "only" not in tools and tools.text("here", "kept") == "yes"
    assert tools.text("path") == "/opt/x"


def test_escapes_are_undone_and_unknown_ones_stay() -> None:
    assert parse_vdf(r'"a" "C:\\Games\\x \"q\" \n \Q"').text("a") == 'C:\\Games\\x "q" \n \\Q'


def test_nesting_is_bounded() -> None:
    parse_vdf('"a"{' * MAX_DEPTH + "}" * MAX_DEPTH)
    with pytest.raises(IntegrityError, match="nested too deep"):
        parse_vdf('"a"{' * 100_000)


@pytest.mark.parametrize("text", ["", "\0" * 4096, '"a"', '"a" "b" }', "{", '"a" { "b" }', '"a" "b', "  // only a comment"])
def test_damage_is_told(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_vdf(text)


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("-1", -1), ("", 0), ("x", 0), ("٣", 0), ("9" * 500, 0), ("1.5", 0)])
def test_a_number_is_whole_and_bounded(text: str, number: int) -> None:
    assert parse_vdf(f'"a" "{text}"').number("a") == number


def test_bytes_that_are_no_utf8_do_not_hide_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "config.vdf"
    file.write_bytes(b'"root" { "controller" "\xff\xfe\x80" "name" "\xc4\x8caj" }')
    assert read_vdf(file).text("root", "name") == "Čaj"


def test_the_message_names_the_file_and_the_line(tmp_path: Path) -> None:
    file = tmp_path / "appmanifest_1.acf"
    file.write_text('"AppState"\n{\n"appid" "1"\n')
    with pytest.raises(IntegrityError, match=r"appmanifest_1\.acf is damaged in line 4: it ends too early"):
        read_vdf(file)


def test_a_pipe_or_a_folder_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.vdf")
    for path in (tmp_path / "pipe.vdf", tmp_path):
        with pytest.raises(IntegrityError):
            read_vdf(path)
    with pytest.raises(FileNotFoundError):
        read_vdf(tmp_path / "none.vdf")
