"""Install records, the ledger and names: whatever stands on the disk, reading it does no harm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.content.ledger import Entry, Ledger
from integ_runtime.content.names import check_links, safe_folder_name, spelt_as_on_disk, unix_parts, windows_parts
from integ_runtime.content.sums import crc_sum, link_sum, matches, md5_sum, size_in
from integ_runtime.paths import read_paths
from integ_server.contract.errors import IntegrityError, StorageError, UsageError
from tests.runtime.content.cdn import md5

GAME = InstalledGame(
    "gog:1",
    "Tea \udce9 日本",
    Path("/games/caf\udce9"),
    "windows",
    "integ",
    executable=Path("/games/caf\udce9/tea.exe"),
    arguments=("-w", ""),
    dlc=("2",),
    library_root=Path("/games"),
    size_bytes=5,
)


RIGHT = {"schema": "integ/installed@1", "key": "gog:1", "path": "/x", "platform": "linux", "source": "integ", "state": "installed"}
WRONG: list[dict[str, object]] = [
    {"path": "relative"},
    {"path": 1},
    {"key": "../x"},
    {"state": "odd"},
    {"platform": "amiga"},
    {"arguments": "x"},
    {"executable": "x"},
]


@pytest.fixture
def installed(home: Path) -> InstalledGames:
    return InstalledGames(read_paths({"HOME": str(home)}))


def test_a_record_comes_back_as_it_was_even_with_names_that_are_no_text(installed: InstalledGames) -> None:
    installed.save(GAME)
    assert installed.find("gog:1") == GAME
    assert installed.all() == [GAME]
    assert not [each for each in installed.folder("gog:1").iterdir() if each.name != "install.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"schema": "integ/installed@2"}',
        '{"schema": "integ/installed@1"}',
        "\xff",
        *(json.dumps(RIGHT | wrong) for wrong in WRONG),
    ],
)
def test_a_damaged_record_is_told_and_hides_no_other(installed: InstalledGames, text: str) -> None:
    installed.save(GAME._replace(key="gog:2"))
    file = installed.folder("gog:1") / "install.json"
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    assert [game.key for game in installed.all()] == ["gog:2"]
    assert [damaged.file for damaged in installed.damaged()] == [file]
    assert [fact.key for fact in installed.local_facts()] == ["gog:2"]
    with pytest.raises(IntegrityError, match="can't be read"):
        installed.get("gog:1")


def test_the_fingerprint_follows_what_the_library_is_told(installed: InstalledGames) -> None:
    seen = [installed.fingerprint()]
    installed.save(GAME)
    seen.append(installed.fingerprint())
    (installed.folder("gog:1") / "sessions.jsonl").write_text('{"seconds": 120, "ended_at": "2026-11-24T10:00:00Z"}\n')
    seen.append(installed.fingerprint())
    assert len(set(seen)) == 3
    assert installed.fingerprint() == seen[-1]
    (fact,) = installed.local_facts()
    assert (fact.playtime_min, fact.last_played_at) == (2, "2026-11-24T10:00:00Z")
    installed.remove("gog:1")
    (fact,) = installed.local_facts()
    assert (fact.installed, fact.playtime_min) == (False, 2), "the play record outlives the install"


def test_a_record_that_can_not_be_written_is_a_storage_failure(installed: InstalledGames, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError):
        installed.save(GAME)
    assert installed.find("gog:1") is None


@pytest.mark.parametrize("key", ["", "gog", "gog:", ":1", "GOG:1", "gog:../..", "gog:a/b", "gog:1\n", "gog:\0", "gog:" + "1" * 200])
def test_only_keys_name_folders(installed: InstalledGames, key: str) -> None:
    with pytest.raises(UsageError):
        installed.folder(key)


def test_the_ledger_knows_what_is_wanted_and_what_is_there(tmp_path: Path) -> None:
    old, new, link = (
        Entry("game", ("a", "old"), "file", "md5:1/x"),
        Entry("game", ("new",), "file", "md5:2/y"),
        Entry("game", ("l",), "link", "link:a"),
    )
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.plan([old, link])
        ledger.put(replace(old, has=old.wanted, ctime_ns=5))
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert {entry.parts: entry.done for entry in ledger.entries()} == {("a", "old"): True, ("l",): False}
        ledger.plan([new])
        entries = {entry.parts: (entry.wanted, entry.has) for entry in ledger.entries()}
        assert entries == {("a", "old"): ("", "md5:1/x"), ("new",): ("md5:2/y", "")}, "never written and no longer wanted: forgotten"
        ledger.plan([replace(old, wanted="md5:3/z")])
        assert [(entry.wanted, entry.has) for entry in ledger.entries() if entry.parts == ("a", "old")] == [("md5:3/z", "md5:1/x")]
        ledger.forget(ledger.entries())
        assert ledger.entries() == []


def test_a_ledger_of_another_version_is_not_touched(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "ledger.db") as base:
        base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(IntegrityError, match="another version"):
        Ledger(tmp_path / "ledger.db")


def test_sums_tell_what_a_file_holds(tmp_path: Path) -> None:
    import zlib

    file = tmp_path / "file"
    file.write_bytes(b"onetwo!")
    right = md5_sum([(3, md5(b"one")), (4, md5(b"two!"))])
    assert size_in(right) == 7
    assert matches(file, right)
    assert matches(file, "", "md5:1/x", right)
    assert matches(file, crc_sum([(7, zlib.crc32(b"onetwo!"))]))
    assert not matches(file, md5_sum([(4, md5(b"onet")), (3, md5(b"two"))]))
    assert not matches(file, md5_sum([(3, md5(b"one"))]))
    assert not matches(file, "", link_sum("x"))
    assert not matches(tmp_path / "nothing", right)
    assert not matches(tmp_path, right)
    link = tmp_path / "link"
    link.symlink_to("file")
    assert matches(link, link_sum("file"))
    assert not matches(link, right), "a link is never followed"
    (tmp_path / "empty").touch()
    assert matches(tmp_path / "empty", md5_sum([]))


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(["..", ".", "a", "C:", "", "B"]), max_size=8).map("\\".join)))
def test_no_name_leads_out_of_its_folder(path: str) -> None:
    for reader in (windows_parts, unix_parts):
        try:
            parts = reader(path)
        except IntegrityError:
            continue
        assert parts
        assert not {"", ".", ".."} & set(parts)
        assert not any("/" in name or "\0" in name for name in parts)
        assert Path("/games/tea", *parts).is_relative_to("/games/tea")


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c/d", "e"]), st.lists(st.sampled_from(["..", "a", "b", "c", "d", "x", "."]), max_size=4).map("/".join)
    )
)
def test_no_accepted_set_of_links_leads_out_on_a_real_disk(tmp_path_factory: pytest.TempPathFactory, links: dict[str, str]) -> None:
    told = {tuple(path.split("/")): target for path, target in links.items()}
    try:
        check_links(told, [])
    except IntegrityError:
        return
    root = tmp_path_factory.mktemp("links") / "deep" / "root"
    (root / "c").mkdir(parents=True)
    for path, target in links.items():
        (root / path).symlink_to(target)
    for path in links:
        assert (root / path).resolve(strict=False).is_relative_to(root)


@given(st.text(max_size=300))
def test_any_title_names_a_folder(title: str) -> None:
    name = safe_folder_name(title, "fall back")
    assert name
    assert name not in {".", ".."}
    assert not name.startswith(".")
    assert len(name.encode()) <= 120
    assert not set(name) & set('/\\:*?"<>|\0\n')


def test_paths_that_windows_takes_for_one_are_one_and_the_disk_s_spelling_counts(tmp_path: Path) -> None:
    (tmp_path / "DATA").mkdir()
    paths = [("data", "A.txt"), ("Data", "a.TXT"), ("dat\u0130",), ("other", "x"), ("Other", "y")]
    spelt = spelt_as_on_disk(tmp_path, paths)
    assert spelt == {
        ("data", "A.txt"): ("DATA", "A.txt"),
        ("Data", "a.TXT"): ("DATA", "A.txt"),
        ("dat\u0130",): ("dat\u0130",),
        ("other", "x"): ("other", "x"),
        ("Other", "y"): ("other", "y"),
    }
