"""Binary KeyValues: what is read writes back as the same bytes, and rubbish is told by name."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.steam.vdf import MAX_DEPTH
from integ_runtime.steam.vdf_binary import (
    INT32,
    INT64,
    MAP,
    STRING,
    UINT64,
    BinaryEntry,
    BinaryFile,
    BinaryMap,
    parse_binary,
    parse_entry,
    write_binary,
    write_entry,
)
from integ_server.contract.errors import IntegrityError

EMPTY = bytes.fromhex("00 73 68 6f 72 74 63 75 74 73 00 08 08")

texts = st.binary(max_size=10).map(lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
plain = st.one_of(
    st.builds(BinaryEntry, st.just(STRING), texts, texts),
    st.builds(BinaryEntry, st.just(INT32), texts, st.integers(-(2**31), 2**31 - 1)),
    st.builds(BinaryEntry, st.just(UINT64), texts, st.integers(0, 2**64 - 1)),
    st.builds(BinaryEntry, st.just(INT64), texts, st.integers(-(2**63), 2**63 - 1)),
    st.builds(BinaryEntry, st.sampled_from([3, 4, 6]), texts, st.binary(min_size=4, max_size=4)),
    st.builds(BinaryEntry, st.just(5), texts, st.just("Čaj".encode("utf-16-le") + b"\0\0")),
)
maps = st.recursive(
    st.builds(BinaryMap, st.lists(plain, max_size=4), st.sampled_from([8, 11])),
    lambda below: st.builds(
        BinaryMap,
        st.lists(plain | st.builds(BinaryEntry, st.just(MAP), texts, below), max_size=4),
        st.sampled_from([8, 11]),
    ),
    max_leaves=12,
)


@given(st.builds(BinaryFile, maps, st.binary(max_size=5)))
def test_what_is_written_is_read_back_the_same(file: BinaryFile) -> None:
    assert parse_binary(write_binary(file)) == file


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from([b"\0", b"\1a\0b\0", b"\2n\0\1\2\3\4", b"\x08", b"\x05w\0a\0\0\0"])).map(b"".join)
)
def test_no_bytes_make_it_crash_and_those_it_reads_come_back(content: bytes) -> None:
    with suppress(IntegrityError):
        assert write_binary(parse_binary(content)) == content


@given(maps, st.data())
def test_a_file_cut_short_is_told(root: BinaryMap, data: st.DataObject) -> None:
    whole = write_binary(BinaryFile(root))
    with pytest.raises(IntegrityError, match="is damaged at byte"):
        parse_binary(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_an_empty_list_of_shortcuts_is_read() -> None:
    found = parse_binary(EMPTY).root.map("SHORTCUTS")
    assert found is not None
    assert list(found.maps()) == []
    assert write_binary(parse_binary(EMPTY)) == EMPTY


def test_a_number_is_signed_and_looked_up_whatever_the_case_of_its_key() -> None:
    found = parse_entry(b"\x02AppID\x00\x63\xe6\x0e\xc3")
    assert found.value == -1022433693
    assert BinaryMap([found]).number("appid") == -1022433693
    assert write_entry(found) == b"\x02AppID\x00\x63\xe6\x0e\xc3"


def test_of_a_key_that_comes_twice_the_last_counts_and_both_stay() -> None:
    content = b"\x01a\0one\0\x01A\0two\0\x08"
    assert parse_binary(content).root.text("a") == "two"
    assert write_binary(parse_binary(content)) == content


def test_nesting_is_bounded() -> None:
    parse_binary(b"\0a\0" * MAX_DEPTH + b"\x08" * (MAX_DEPTH + 1))
    with pytest.raises(IntegrityError, match="nested too deep"):
        parse_binary(b"\0a\0" * 100_000)


@pytest.mark.parametrize(("content", "why"), [(b"", "too early"), (b"\x09a\0", "no kind of value 9"), (b"\x01a\0b", "no end")])
def test_damage_is_told_with_the_file_and_the_place(content: bytes, why: str) -> None:
    with pytest.raises(IntegrityError, match=rf"shortcuts\.vdf is damaged at byte \d: .*{why}"):
        parse_binary(content, where="shortcuts.vdf")


def test_what_would_damage_the_file_is_not_written() -> None:
    for entry in (BinaryEntry(STRING, "a", "b\0c"), BinaryEntry(INT32, "a", 2**31)):
        with pytest.raises(ValueError, match=r"NUL|does not fit"):
            write_entry(entry)
