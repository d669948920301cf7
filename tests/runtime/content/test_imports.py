"""Games that were on the disk before Integ: what starts them, and that nothing of them is changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.content.imports import find_start, local_key, split_arguments
from integ_runtime.content.installed import InstalledGame
from integ_server.contract.errors import IntegError, NotFoundError, UsageError, WouldLoseDataError
from tests.runtime.content.cdn import INFO, Shop
from tests.runtime.launch.stage import write_program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Windows game as GOG leaves it, with nothing in it but what is needed."""
    top = tmp_path / "My Game"
    (top / "Bin").mkdir(parents=True)
    (top / "Bin" / "Tea.exe").write_bytes(b"MZ")
    (top / "goggame-1.info").write_text("\ufeff" + json.dumps(INFO), "utf-8")
    return top


async def test_gog_s_own_description_is_found_and_nothing_is_changed(shop: Shop, folder: Path) -> None:
    before = shop.tree(folder)
    done = await shop.games.import_game("gog:1", "Tea", folder)
    assert done == {
        "key": "gog:1",
        "title": "Tea",
        "path": str(folder),
        "platform": "windows",
        "executable": str(folder / "Bin" / "Tea.exe"),
        "build": "b1",
    }
    assert shop.tree(folder) == before
    game = shop.installed.get("gog:1")
    assert (game.arguments, game.working_dir, game.source) == (("-w", "two words"), folder / "Bin", "imported")


async def test_a_linux_game_is_found_by_its_start_script(shop: Shop, folder: Path) -> None:
    write_program(folder / "start.sh", "#!/bin/sh\n")
    (folder / "gameinfo").write_text("Tea Time\n1.5\n\nen-US\n1\n\n70001\n")
    done = await shop.games.import_game("gog:1", "", folder)
    assert (done["platform"], done["executable"]) == ("linux", str(folder / "start.sh"))
    assert shop.installed.get("gog:1").version == "1.5"


async def test_a_named_program_counts_more_than_what_is_found(shop: Shop, folder: Path) -> None:
    write_program(folder / "other.sh", "#!/bin/sh\n")
    for exe in (Path("other.sh"), folder / "other.sh", Path("Bin/../other.sh")):
        done = await shop.games.import_game("gog:1", "Tea", folder, exe)
        assert (done["platform"], done["executable"]) == ("linux", str(folder / "other.sh"))
    done = await shop.games.import_game("gog:1", "Tea", folder, Path("Bin/Tea.exe"))
    assert done["platform"] == "windows"


async def test_a_program_that_no_store_knows_gets_a_key_of_its_own(shop: Shop, folder: Path) -> None:
    done = await shop.games.import_game("Tea Time: Über!", "Tea Time", folder, Path("Bin/Tea.exe"))
    assert done["key"] == "local:tea-time-uber"
    (fact,) = shop.installed.local_facts()
    assert (fact.key, fact.title, fact.installed) == ("local:tea-time-uber", "Tea Time", True)


async def test_odd_programs_are_refused_with_a_reason(shop: Shop, folder: Path, tmp_path: Path) -> None:
    (folder / "data.txt").write_text("no program")
    (folder / "script.sh").write_text("#!/bin/sh\n")
    (tmp_path / "outside.exe").touch()
    for exe, reason in {
        "data.txt": "no program",
        "script.sh": "not executable",
        "Bin": "no file",
        "../outside.exe": "not inside",
        str(tmp_path / "outside.exe"): "not inside",
        ".": "not inside",
    }.items():
        with pytest.raises(UsageError, match=reason):
            await shop.games.import_game("gog:1", "Tea", folder, Path(exe))
    with pytest.raises(NotFoundError):
        await shop.games.import_game("gog:1", "Tea", folder, Path("nothing.exe"))
    with pytest.raises(UsageError, match="no folder"):
        await shop.games.import_game("gog:1", "Tea", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError) as caught:
        await shop.games.import_game("gog:1", "Tea", tmp_path / "empty")
    assert "--exe" in caught.value.hint
    assert shop.installed.find("gog:1") is None


async def test_what_integ_installed_is_not_taken_over(shop: Shop, folder: Path) -> None:
    shop.installed.save(InstalledGame("gog:1", "Tea", folder.parent, "windows", "integ"))
    with pytest.raises(WouldLoseDataError):
        await shop.games.import_game("gog:1", "Tea", folder)
    await shop.games.import_game("gog:2", "Tea", folder, Path("Bin/Tea.exe"))
    with pytest.raises(WouldLoseDataError, match="taken over"):
        await shop.games.install("gog:2")


@pytest.mark.parametrize(
    "info",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        "{",
        json.dumps({"playTasks": None}),
        json.dumps({"playTasks": {"a": 1}}),
        json.dumps({"playTasks": [None, 1, "x", [], {"type": "FileTask"}]}),
        json.dumps({"playTasks": [{"path": "..\\..\\evil.exe"}, {"path": "C:\\evil.exe"}, {"path": 7}, {"path": "missing.exe"}]}),
        json.dumps({"playTasks": [{"path": "link.exe", "isPrimary": True}]}),
    ],
)
def test_a_damaged_description_is_as_good_as_none(tmp_path: Path, info: str) -> None:
    outside = tmp_path / "outside.exe"
    outside.touch()
    folder = tmp_path / "game"
    folder.mkdir()
    (folder / "link.exe").symlink_to(outside)
    (folder / "goggame-1.info").write_text(info)
    (folder / "goggame-2.info").write_bytes(b"\xff\xfe\x00")
    assert find_start(folder, "gog:1") is None


def test_the_game_s_own_description_comes_before_a_dlc_s(tmp_path: Path) -> None:
    for name in ("a.exe", "b.exe", "c.exe"):
        (tmp_path / name).touch()

    def describe(number: int, root: int, exe: str, **more: Any) -> None:
        body = {"gameId": str(number), "rootGameId": str(root), "playTasks": [{"type": "FileTask", "path": exe, **more}]}
        (tmp_path / f"goggame-{number}.info").write_text(json.dumps(body))

    describe(1, 3, "a.exe")
    describe(3, 3, "c.exe", isHidden=True, isPrimary=True)
    start = find_start(tmp_path, "gog:3")
    assert start
    assert start.executable.name == "c.exe"
    start = find_start(tmp_path, "gog:99")
    assert start
    assert start.executable.name == "c.exe"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  ", ()),
        ("-w  -h", ("-w", "-h")),
        ('-conf "..\\dos box\\x.conf" -c exit', ("-conf", "..\\dos box\\x.conf", "-c", "exit")),
        ('a"b c"d ""', ("ab cd", "")),
        ('say \\"hi\\"', ("say", '"hi"')),
        ('"open', ("open",)),
    ],
)
def test_arguments_are_taken_apart_as_windows_does(text: str, words: tuple[str, ...]) -> None:
    assert split_arguments(text) == words


@given(st.text())
def test_any_name_makes_a_key_or_a_clear_failure(name: str) -> None:
    from integ_runtime.content.installed import check_key

    try:
        assert check_key(local_key(name)).startswith("local:")
    except IntegError as error:
        assert isinstance(error, UsageError)
