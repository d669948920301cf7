"""ludusavi's own record of a game's backups: read as it means it, written so that it reads it, and nothing in it leads astray."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.saves.ludusavi_backup import (
    Backup,
    BackupMapping,
    Registry,
    SavedFile,
    files_of,
    folder_name,
    read_mapping,
    write_mapping,
)
from integ_server.contract.errors import IntegrityError

ONE, TWO = "0123456789" * 4, "89abcdef" * 5
DOCUMENTS = "/home/ann/Games/q/drive_c/users/steamuser/Documents"
SAMPLE = f"""\
name: Sample Quest
drives: {{drive-0: "", drive-C: "C:"}}
backups:
  - name: backup-20260102T030405Z.zip
    when: "2026-01-02T03:04:05Z"
    os: linux
    locked: false            # optional; also comment, semantics (Wine directories)
    semantics: {{wine: [/home/ann/Games/q], depth: 2, sure: true, ratio: 0.5, nobody: null}}
    files:
      "{DOCUMENTS}/q.sav": {{hash: {ONE}, size: 4096}}
      "{DOCUMENTS}/old.sav": {{hash: {TWO}, size: 7}}
    registry: {{hash: null}}
    children:
      - name: backup-20260103T030405Z-diff.zip
        when: 2026-01-03T03:04:05.123456Z
        comment: "before: the end"
        files: {{"{DOCUMENTS}/old.sav": null, "{DOCUMENTS}/q.sav": {{hash: {TWO}, size: 4100}}}}
        registry: null
"""


def test_the_sample_means_what_it_says() -> None:
    mapping = read_mapping(SAMPLE)
    assert (mapping.title, mapping.drives) == ("Sample Quest", {"drive-0": "", "drive-C": "C:"})
    (full,) = mapping.backups
    assert (full.name, full.when, full.os, full.locked, full.is_zip) == (
        "backup-20260102T030405Z.zip",
        "2026-01-02T03:04:05Z",
        "linux",
        False,
        True,
    )
    assert full.registry == Registry(None)
    (diff,) = full.children
    assert (diff.when, diff.comment, diff.registry, diff.is_diff) == ("2026-01-03T03:04:05.123456Z", "before: the end", None, True)
    assert files_of(full) == {
        f"{DOCUMENTS}/q.sav": (SavedFile(ONE, 4096), full),
        f"{DOCUMENTS}/old.sav": (SavedFile(TWO, 7), full),
    }
    assert files_of(full, diff) == {f"{DOCUMENTS}/q.sav": (SavedFile(TWO, 4100), diff)}, "old.sav was removed since the full one"


def test_it_is_written_as_it_was_read_with_what_nobody_here_knows() -> None:
    mapping = read_mapping(SAMPLE)
    written = write_mapping(mapping)
    assert read_mapping(written) == mapping
    again = yaml.safe_load(written)["backups"][0]
    assert again["semantics"] == {"wine": ["/home/ann/Games/q"], "depth": 2, "sure": True, "ratio": 0.5, "nobody": None}
    assert again["children"][0]["files"][f"{DOCUMENTS}/old.sav"] is None
    assert again["registry"] == {"hash": None} and again["children"][0]["registry"] is None


def test_a_simple_backup_lies_beside_its_mapping() -> None:
    text = 'name: "2048"\ndrives: {drive-0: ""}\nbackups: [{name: ., when: "2026-01-02T03:04:05Z", files: '
    text += f"{{/home/ann/x: {{hash: {ONE}, size: 1}}}}}}]\n"
    mapping = read_mapping(text)
    assert mapping.title == "2048"
    assert (mapping.backups[0].name, mapping.backups[0].is_zip, mapping.backups[0].children) == (".", False, ())
    assert mapping.stored_at("/home/ann/x") == "drive-0/home/ann/x"


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("/home/ann/a b.sav", "drive-0/home/ann/a b.sav"),
        ("C:/Users/ann/x.sav", "drive-C/Users/ann/x.sav"),
        ("C:\\Users\\ann\\x.sav", "drive-C/Users/ann/x.sav"),
    ],
)
def test_a_file_is_found_by_way_of_its_drive(path: str, stored: str) -> None:
    assert read_mapping(SAMPLE).stored_at(path) == stored


@pytest.mark.parametrize(
    "path", ["/home/../../etc/passwd", "/home/./x", "/", "", "x", "D:/x", "C:/..", "/a//b", "/a\0b", "C:\\..\\x", "//server/x"]
)
def test_a_path_that_could_lead_out_of_the_backup_has_no_place_in_it(path: str) -> None:
    with pytest.raises(IntegrityError):
        read_mapping(SAMPLE).stored_at(path)


def test_folders_of_drives_that_collide_are_counted() -> None:
    mapping = BackupMapping("x", {}).with_drive("").with_drive("C:").with_drive("C").with_drive("C?").with_drive("C:")
    assert mapping.drives == {"drive-0": "", "drive-C": "C:", "drive-C-2": "C", "drive-C_": "C?"}
    assert mapping.stored_at("/x") == "drive-0/x"


@pytest.mark.parametrize(
    ("title", "folder"),
    [
        ("Sample Quest", "Sample Quest"),
        ("Quest: The 2nd/3rd?", "Quest_ The 2nd_3rd_"),
        (".hidden.", "_hidden_"),
        ("..", "ludusavi-renamed-Li4="),
        ("???", "ludusavi-renamed-Pz8_"),
        ("", "ludusavi-renamed-"),
        ("日本", "日本"),
    ],
)
def test_a_title_becomes_the_folder_that_ludusavi_would_make(title: str, folder: str) -> None:
    assert folder_name(title) == folder


@given(st.text())
def test_no_title_becomes_a_path_that_leads_anywhere(title: str) -> None:
    made = folder_name(title)
    assert made not in {"", ".", ".."} and not set(made) & set('/\\:*?"<>|\0')


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: backup-20260102T030405Z.zip", "name: ../../evil"),
        ("name: backup-20260103T030405Z-diff.zip", "name: /evil"),
        ("drive-0:", "../x:"),
        ("drive-0:", "..:"),
        (f"hash: {ONE}, size: 4096", f"hash: {ONE}, size: -1"),
        (f"hash: {ONE}, size: 4096", "hash: abc, size: 1"),
        ("locked: false", "locked: maybe"),
        ("name: Sample Quest", "title: Sample Quest"),
        ("registry: {hash: null}", "registry: [1]"),
        ("name: Sample Quest", "name: &a Sample Quest\nother: *a"),
        (f'"{DOCUMENTS}/q.sav": {{hash: {ONE}, size: 4096}}', f'"{DOCUMENTS}/q.sav": null'),
    ],
)
def test_what_is_no_mapping_or_leads_elsewhere_is_refused_in_one_line(old: str, new: str) -> None:
    assert old in SAMPLE
    with pytest.raises(IntegrityError) as caught:
        read_mapping(SAMPLE.replace(old, new))
    assert "\n" not in caught.value.message


@given(st.text())
def test_whatever_the_text_is_there_is_a_mapping_or_one_of_our_errors(text: str) -> None:
    try:
        read_mapping(text)
    except IntegrityError as error:
        assert error.message.startswith("this is no mapping.yaml")


_NAMES = st.text(string.ascii_letters + "0123456789-_ é日~", min_size=1, max_size=12)
_FILES = st.builds(SavedFile, st.text("0123456789abcdef", min_size=40, max_size=40), st.integers(0, 2**40))
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
_REGISTRY = st.builds(Registry, st.none() | st.just(ONE))
_DIFFS = st.builds(
    Backup,
    name=_NAMES,
    when=st.just("2026-01-03T03:04:05Z"),
    files=st.dictionaries(_PATHS, st.none() | _FILES, max_size=4),
    registry=st.none() | _REGISTRY,
    is_diff=st.just(True),
    os=st.sampled_from(["", "linux", "windows"]),
    comment=st.text(),
    locked=st.booleans(),
    more=st.dictionaries(st.sampled_from(["semantics", "x"]), st.none() | st.booleans() | st.integers(-9, 10**15) | st.text(), max_size=2),
)
_FULLS = st.builds(
    lambda diff, files, registry, children: replace(diff, files=files, registry=registry, is_diff=False, children=tuple(children)),
    _DIFFS,
    st.dictionaries(_PATHS, _FILES, max_size=4),
    _REGISTRY,
    st.lists(_DIFFS, max_size=3),
)
_MAPPINGS = st.builds(
    BackupMapping,
    title=st.text(min_size=1),
    drives=st.dictionaries(_NAMES, st.sampled_from(["", "C:", "D:"]), max_size=3),
    backups=st.lists(_FULLS, max_size=3).map(tuple),
)


@given(_MAPPINGS)
def test_every_mapping_that_is_written_is_read_again(mapping: BackupMapping) -> None:
    assert read_mapping(write_mapping(mapping)) == mapping
