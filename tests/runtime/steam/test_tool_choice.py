"""Choosing what Steam runs an app with: what is written, what stays, and when it is refused."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from integ_runtime.content.installed import InstalledGames
from integ_runtime.paths import read_paths
from integ_runtime.steam import changes
from integ_runtime.steam.editor import SteamEditor
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.vdf import read_vdf
from integ_server.contract.errors import (
    AmbiguousError,
    BusyError,
    IntegrityError,
    NotFoundError,
    StorageError,
    UsageError,
    WouldLoseDataError,
)
from tests.runtime.steam.steam_home import SteamHome, running_client, write, write_manifest

MAPPING = ("InstallConfigStore", "Software", "Valve", "Steam", "CompatToolMapping")


def editor(home: Path, **environ: str) -> SteamEditor:
    paths = read_paths({"HOME": str(home)})
    return SteamEditor(paths, SteamFiles(home, environ, home / "system"), InstalledGames(paths), environ)


@pytest.fixture
def steam(home: Path) -> SteamHome:
    """A Steam with a game, a default tool, and a tool whose folder is called otherwise."""
    made = SteamHome(home / ".local/share/Steam")
    made.app(620, "Portal 2")
    made.tool("folder-of-ge", name="GE-Proton10-34")
    made.config({"0": {"name": "proton_9", "config": "", "Priority": "75"}})
    return made


def config(steam: SteamHome) -> Path:
    return steam.root / "config" / "config.vdf"


async def test_a_choice_has_the_internal_name_and_not_the_directory_and_the_priority_250(home: Path, steam: SteamHome) -> None:
    for named in ("folder-of-ge", "ge-proton10-34"):
        done = await editor(home).use_tool(named, key="steam:620")
        assert (done.tool, done.changed) == ("GE-Proton10-34", named == "folder-of-ge"), "the second time it is so already"
    written = read_vdf(config(steam)).section(*MAPPING, "620").as_dict()
    assert written == {"name": "GE-Proton10-34", "config": "", "priority": "250"}
    assert SteamFiles(home, {}).snapshot().games[0].tool == "GE-Proton10-34"


async def test_the_default_for_all_has_its_own_key_and_a_lower_priority(home: Path, steam: SteamHome) -> None:
    done = await editor(home).use_tool("GE-Proton10-34")
    assert done.key is None
    assert read_vdf(config(steam)).section(*MAPPING, "0").as_dict() == {"name": "GE-Proton10-34", "config": "", "Priority": "75"}


async def test_every_other_byte_of_the_file_stays_and_taking_the_choice_back_leaves_no_trace(home: Path, steam: SteamHome) -> None:
    before = config(steam).read_bytes()
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    after = config(steam).read_bytes()
    assert b"\xff\xfe\x80" in after
    assert len(after.splitlines()) == len(before.splitlines()) + 6
    assert (await editor(home).use_tool(None, key="steam:620")).changed
    assert config(steam).read_bytes() == before
    assert not (await editor(home).use_tool(None, key="steam:620")).changed


@pytest.mark.parametrize("valve", ["valve", "VALVE"])
async def test_the_mapping_is_found_whatever_the_case_of_its_keys(home: Path, steam: SteamHome, valve: str) -> None:
    steam.config({"620": {"NAME": "old", "config": "x", "Priority": "85"}}, valve=valve, mapping="compattoolmapping")
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    assert read_vdf(config(steam)).section(*MAPPING, "620").as_dict() == {"NAME": "GE-Proton10-34", "config": "", "Priority": "250"}
    assert config(steam).read_bytes().lower().count(b"compattoolmapping") == 1


async def test_writes_refuse_while_steam_runs(home: Path, steam: SteamHome) -> None:
    before = config(steam).read_bytes()
    with running_client(steam.root):
        for work in (editor(home).use_tool("GE-Proton10-34", key="steam:620"), editor(home).use_tool(None)):
            with pytest.raises(BusyError, match="Steam is running") as refused:
                await work
            assert refused.value.hint == "steam -shutdown"
    assert sorted(each.name for each in config(steam).parent.iterdir()) == ["config.vdf"]
    assert config(steam).read_bytes() == before
    with running_client(home.parent / "somebody else's"):
        assert (await editor(home).use_tool("GE-Proton10-34", key="steam:620")).changed


async def test_what_is_written_once_steam_has_ended_is_what_it_reads_and_writes_from_then_on(home: Path, steam: SteamHome) -> None:
    """A client writes its files out at its end, whatever stands in them by then: a change made meanwhile would be lost."""
    with running_client(steam.root, config(steam)), pytest.raises(BusyError):
        await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    with running_client(steam.root, config(steam)):
        assert (await editor(home).tools())[0].used_by == ("steam:620",)
    assert read_vdf(config(steam)).text(*MAPPING, "620", "name") == "GE-Proton10-34"


@pytest.mark.parametrize(
    "environ",
    [
        {"XDG_CURRENT_DESKTOP": "gamescope"},
        {"XDG_SESSION_DESKTOP": "gamescope"},
        {"GAMESCOPE_WAYLAND_DISPLAY": "gamescope-0"},
        {"SteamOS": "1", "SteamGamepadUI": "1"},
    ],
    ids=lambda environ: next(iter(environ)),
)
async def test_in_gaming_mode_nobody_is_told_to_end_steam_there(home: Path, steam: SteamHome, environ: dict[str, str]) -> None:
    with running_client(steam.root), pytest.raises(BusyError) as refused:
        await editor(home, **environ).use_tool(None)
    assert "desktop mode" in refused.value.hint


async def test_a_client_that_cannot_be_seen_is_known_by_its_pipe(home: Path, steam: SteamHome) -> None:
    pipe = home / ".steam" / "steam.pipe"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    assert (await editor(home).use_tool("GE-Proton10-34")).changed, "nobody reads it"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(BusyError):
        await editor(home).use_tool(None)
    os.close(reader)


async def test_a_client_that_starts_in_the_last_moment_is_noticed(home: Path, steam: SteamHome, monkeypatch: pytest.MonkeyPatch) -> None:
    before = config(steam).read_bytes()
    answers = iter([False, True])
    monkeypatch.setattr(changes, "holds_its_files", lambda *where: next(answers))
    with pytest.raises(BusyError):
        await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    assert config(steam).read_bytes() == before
    assert not list(config(steam).parent.glob(".*.tmp"))


async def test_a_file_that_somebody_else_writes_meanwhile_is_left_to_them(
    home: Path, steam: SteamHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = changes._put

    def slow(file: Path, *args: object, **options: object) -> None:
        if file.name == "config.vdf":
            config(steam).write_bytes(b'"InstallConfigStore" { }')
        put(file, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(changes, "_put", slow)
    with pytest.raises(BusyError, match="somebody else"):
        await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    assert config(steam).read_bytes() == b'"InstallConfigStore" { }'


async def test_the_last_change_comes_back_and_then_the_one_before(home: Path, steam: SteamHome) -> None:
    states = [config(steam).read_bytes()]
    for words in ({"tool": "GE-Proton10-34", "key": "steam:620"}, {"tool": None, "key": "steam:620"}, {"tool": "GE-Proton10-34"}):
        await editor(home).use_tool(**words)  # type: ignore[arg-type]
        states.append(config(steam).read_bytes())
    while len(states) > 1:
        assert config(steam).read_bytes() == states.pop()
        await editor(home).undo()
    assert config(steam).read_bytes() == states[0]
    with pytest.raises(NotFoundError, match="nothing"):
        await editor(home).undo()


async def test_after_steam_wrote_the_file_again_only_the_choice_comes_back(home: Path, steam: SteamHome) -> None:
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    file = config(steam)
    file.write_bytes(file.read_bytes().replace(b'"AutoUpdateWindowEnabled"\t\t"0"', b'"AutoUpdateWindowEnabled"\t\t"1"'))
    await editor(home).undo()
    found = read_vdf(file)
    assert found.find(*MAPPING, "620") is None
    assert found.text(*MAPPING[:-1], "AutoUpdateWindowEnabled") == "1", "what Steam wrote since stays"


async def test_a_choice_that_the_player_changed_since_is_kept_unless_forced(home: Path, steam: SteamHome) -> None:
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    config(steam).write_bytes(config(steam).read_bytes().replace(b"GE-Proton10-34", b"proton_8"))
    with pytest.raises(WouldLoseDataError) as refused:
        await editor(home).undo()
    assert refused.value.hint.startswith("integ steam undo --force; the back-up is ")
    assert read_vdf(config(steam)).text(*MAPPING, "620", "name") == "proton_8"
    await editor(home).undo(force=True)
    assert read_vdf(config(steam)).find(*MAPPING, "620") is None


async def test_a_file_that_is_damaged_or_gone_since_is_told_and_force_finds_a_way(home: Path, steam: SteamHome) -> None:
    before = config(steam).read_bytes()
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    config(steam).write_bytes(b'"InstallConfigStore"\n{')
    with pytest.raises(IntegrityError) as damaged:
        await editor(home).undo()
    assert damaged.value.hint == "integ steam undo --force puts the back-up in its place"
    await editor(home).undo(force=True)
    assert config(steam).read_bytes() == before
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    config(steam).unlink()
    with pytest.raises(NotFoundError, match="not there any more"):
        await editor(home).undo()
    await editor(home).undo(force=True)
    assert not config(steam).exists()
    with pytest.raises(NotFoundError, match="has changed nothing"):
        await editor(home).undo()


async def test_valves_own_tools_have_the_names_of_their_app_ids(home: Path, steam: SteamHome) -> None:
    for app_id, folder in ((1493710, "Proton - Experimental"), (9999990, "Proton Newest")):
        place = steam.app(app_id, folder)
        write(place / "proton", "#!/bin/sh\n").chmod(0o755)
        write_manifest(place)
    assert (await editor(home).use_tool("Proton - Experimental", key="steam:620")).tool == "proton_experimental"
    with pytest.raises(IntegrityError, match="under which name Steam knows Proton Newest"):
        await editor(home).use_tool("Proton Newest", key="steam:620")


async def test_few_back_ups_are_kept_and_the_newest_is_the_file_as_it_was(home: Path, steam: SteamHome) -> None:
    for at in range(6):
        before = config(steam).read_bytes()
        await editor(home).use_tool(None if at % 2 else "GE-Proton10-34", key="steam:620")
    kept = sorted(each for each in config(steam).parent.iterdir() if each != config(steam))
    assert len(kept) == changes.BACKUPS_KEPT
    assert kept[-1].read_bytes() == before


async def test_mode_and_a_link_to_the_file_stay(home: Path, steam: SteamHome, tmp_path: Path) -> None:
    real = config(steam).rename(tmp_path / "config.vdf")
    real.chmod(0o640)
    config(steam).symlink_to(real)
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    assert config(steam).is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert b"GE-Proton10-34" in real.read_bytes()


async def test_a_full_disk_leaves_the_file_as_it_was(home: Path, steam: SteamHome, monkeypatch: pytest.MonkeyPatch) -> None:
    before = config(steam).read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(changes.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    monkeypatch.undo()
    assert config(steam).read_bytes() == before
    assert [each.name for each in config(steam).parent.iterdir()] == ["config.vdf"]


@pytest.mark.parametrize("damage", [b"", b'"InstallConfigStore"\n{\n', b'"InstallConfigStore" { "Software" "text" }', b"\0" * 99])
async def test_a_damaged_file_is_told_and_not_touched(home: Path, steam: SteamHome, damage: bytes) -> None:
    config(steam).write_bytes(damage)
    with pytest.raises(IntegrityError, match=r"config\.vdf"):
        await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    assert config(steam).read_bytes() == damage


async def test_what_makes_no_sense_is_told(home: Path, steam: SteamHome) -> None:
    steam.tool("one", name="A").joinpath("compatibilitytool.vdf")
    for folder, name in (("twin-1", "B1"), ("twin-2", "B2")):
        place = steam.tool(folder, name=name)
        listing = place / "compatibilitytool.vdf"
        write(listing, listing.read_bytes().replace(folder.encode(), b"Twin"))
    with pytest.raises(NotFoundError, match="nope is no compatibility tool"):
        await editor(home).use_tool("nope", key="steam:620")
    with pytest.raises(AmbiguousError):
        await editor(home).use_tool("Twin", key="steam:620")
    with pytest.raises(UsageError, match="gog:1 is not a game of Steam's"):
        await editor(home).use_tool("A", key="gog:1")
    with pytest.raises(NotFoundError, match="no flatpak Steam"):
        await editor(home).use_tool("A", steam="flatpak")
    config(steam).unlink()
    with pytest.raises(NotFoundError, match="not started here yet"):
        await editor(home).use_tool("A", key="steam:620")


@pytest.mark.parametrize("below", [".var/app/com.valvesoftware.Steam/.local/share/Steam", "snap/steam/common/.local/share/Steam"])
async def test_the_steam_that_has_the_game_is_the_one_that_is_written(home: Path, steam: SteamHome, below: str) -> None:
    other = SteamHome(home / below)
    other.app(70001, "Lantern Keep")
    other.tool("GE-Proton10-34")
    other.config({})
    native = config(steam).read_bytes()
    done = await editor(home).use_tool("GE-Proton10-34", key="steam:70001")
    assert done.steam in {"flatpak", "snap"}
    assert read_vdf(config(other)).text(*MAPPING, "70001", "name") == "GE-Proton10-34"
    assert config(steam).read_bytes() == native
    with running_client(home / ".local/share/Steam"), pytest.raises(BusyError) as refused:
        await editor(home).use_tool(None, key="steam:70001")
    assert refused.value.hint.startswith(("flatpak run", "snap run"))


async def test_the_list_tells_which_game_uses_which_tool(home: Path, steam: SteamHome) -> None:
    await editor(home).use_tool("GE-Proton10-34", key="steam:620")
    await editor(home).use_tool("GE-Proton10-34")
    rows = await editor(home).tools()
    assert [(row.name, row.steam, row.default, row.used_by) for row in rows] == [("GE-Proton10-34", "native", True, ("steam:620",))]


async def test_two_at_once_take_turns(home: Path, steam: SteamHome) -> None:
    steam.app(70002, "Other")
    failed: list[BaseException] = []

    def choose(key: str) -> None:
        import asyncio

        try:
            asyncio.run(editor(home).use_tool("GE-Proton10-34", key=key))
        except BaseException as error:
            failed.append(error)

    both = [threading.Thread(target=choose, args=(key,)) for key in ("steam:620", "steam:70002")]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert failed == []
    assert {key for key, _ in read_vdf(config(steam)).section(*MAPPING).sections()} == {"0", "620", "70002"}
