"""The embedded backend's key: made once, kept for its owner alone."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from integ_runtime.paths import read_paths
from integ_runtime.secrets import key_place, load_or_make_key
from integ_server.contract.errors import AuthenticationError, IntegrityError


async def test_without_a_keyring_it_lies_in_a_file_for_its_owner_alone(home: Path) -> None:
    paths = read_paths()
    assert key_place(paths) is None
    made = await load_or_make_key(paths)
    assert made.where == "file"
    assert stat.S_IMODE((paths.data / "key.json").stat().st_mode) == 0o600
    assert await load_or_make_key(paths) == made
    assert made.text not in repr(made)


async def test_two_first_starts_agree_on_one_key(home: Path) -> None:
    first, second = await asyncio.gather(load_or_make_key(read_paths()), load_or_make_key(read_paths()))
    assert first == second


async def test_a_keyring_that_does_not_answer_is_told_and_no_second_key_is_made(home: Path) -> None:
    paths = read_paths()
    paths.data.mkdir(parents=True)
    note = json.dumps({"id": "abcd", "where": "secret-service"})
    (paths.data / "key.json").write_text(note)
    with pytest.raises(AuthenticationError, match="keyring"):
        await load_or_make_key(paths)
    assert (paths.data / "key.json").read_text() == note


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 7}', '{"id": "a", "where": "file"}', "\x00"])
async def test_a_damaged_key_file_is_told(home: Path, text: str) -> None:
    paths = read_paths()
    paths.data.mkdir(parents=True)
    (paths.data / "key.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"key\.json"):
        await load_or_make_key(paths)
