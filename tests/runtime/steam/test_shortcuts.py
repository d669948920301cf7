"""Shortcuts to Integ's games in Steam's library: their ids, their fields, and what the player made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.paths import read_paths
from integ_runtime.steam import shortcuts
from integ_runtime.steam.editor import SteamEditor
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.shortcuts import launch_id, read_shortcuts, shortcut_id, signed
from integ_runtime.steam.vdf_binary import INT32, MAP, STRING, BinaryEntry, BinaryFile, BinaryMap, parse_binary, write_binary
from integ_server.contract.errors import BusyError, IntegrityError, NotFoundError, UsageError, WouldLoseDataError
from tests.runtime.steam.steam_home import FIRST_STEAM_ID, SteamHome, running_client, write

KEY = "gog:1207658924"


@pytest.fixture
def steam(home: Path) -> SteamHome:
    """A Steam with two users, of whom the second signed in last, and a game of Integ's."""
    made = SteamHome(home / ".local/share/Steam")
    made.users(u11={"PersonaName": "Ana", "Timestamp": "5"}, u22={"PersonaName": "Ben", "MostRecent": "1", "Timestamp": "9"})
    game = home / "Games" / "Lantern Keep"
    write(game / "support" / "icon.png", b"icon")
    InstalledGames(read_paths({"HOME": str(home)})).save(InstalledGame(KEY, "Lantern Keep", game, "linux", "integ"))
    write(home / "bin" / "integ", "#!/bin/sh\n").chmod(0o755)
    return made


def editor(home: Path, **environ: str) -> SteamEditor:
    paths = read_paths({"HOME": str(home)})
    known = {"PATH": str(home / "bin"), **environ}
    return SteamEditor(paths, SteamFiles(home, known, home / "system"), InstalledGames(paths), known)


def file_of(steam: SteamHome, account: int = 22) -> Path:
    return steam.root / "userdata" / str(account) / "config" / "shortcuts.vdf"


def entries(file: Path) -> list[BinaryEntry]:
    found = parse_binary(file.read_bytes()).root.map("shortcuts")
    assert found is not None
    return found.entries


def entry(file: Path, at: int = 0) -> BinaryMap:
    value = entries(file)[at].value
    assert isinstance(value, BinaryMap)
    return value


def foreign(name: str, *, app_id: int | None = None, **texts: str) -> BinaryMap:
    """A shortcut as an old or a foreign program writes it."""
    fields = [BinaryEntry(STRING, "appname", name), BinaryEntry(STRING, "exe", '"/usr/bin/x"')]
    fields += [BinaryEntry(STRING, key, value) for key, value in texts.items()] + [BinaryEntry(9 - 3, "OddColour", b"\1\2\3\4")]
    return BinaryMap(fields if app_id is None else [BinaryEntry(INT32, "AppID", app_id), *fields])


def write_list(file: Path, *found: BinaryMap) -> bytes:
    listed = BinaryMap([BinaryEntry(MAP, str(at), each) for at, each in enumerate(found)])
    write(file, write_binary(BinaryFile(BinaryMap([BinaryEntry(MAP, "shortcuts", listed)]))))
    return file.read_bytes()


def test_an_id_is_computed_from_the_stored_command_and_the_name_quotes_included() -> None:
    exe, name = '"/opt/integ/bin/integ-run"', "Integ Demo"
    assert shortcut_id(exe, name) == 3272533603
    assert shortcut_id(exe.strip('"'), name) == 4050649199
    assert shortcut_id('"/home/ana/Games/Čarobni Grad/start.sh"', "Čarobni Grad") == 2376673222
    assert signed(3272533603) == -1022433693
    assert launch_id(3272533603) == 14055424799979601920
    assert launch_id(2376673222) == 10207733761802502144


async def test_the_file_has_signed_appids_and_the_grid_unsigned_ones(home: Path, steam: SteamHome) -> None:
    steam_art = steam.root / "appcache" / "librarycache"
    write(steam_art / "70001" / "library_600x900.jpg", b"portrait")
    write(steam_art / "70001" / "abc" / "library_hero.jpg", b"hero")
    write(steam_art / "70001_logo.png", b"logo")
    done = await editor(home).add_shortcut(KEY, steam_twins=["steam:1", "steam:70001"])
    assert done.app_id == shortcut_id(f'"{home}/bin/integ"', "Lantern Keep") >= 2**31
    assert entry(file_of(steam)).number("appid") == done.app_id - 2**32 < 0
    grid = {each.name: each.read_bytes() for each in (file_of(steam).parent / "grid").iterdir()}
    assert grid == {f"{done.app_id}p.jpg": b"portrait", f"{done.app_id}_hero.jpg": b"hero", f"{done.app_id}_logo.png": b"logo"}


async def test_a_new_shortcut_starts_the_game_through_integ(home: Path, steam: SteamHome) -> None:
    assert (await editor(home).add_shortcut(KEY)).user == str(FIRST_STEAM_ID + 22), "who signed in last"
    made = entry(file_of(steam))
    assert (made.text("AppName"), made.text("Exe")) == ("Lantern Keep", f'"{home}/bin/integ"')
    assert made.text("LaunchOptions") == f"launch {KEY}"
    assert made.text("StartDir") == f'"{home}/Games/Lantern Keep/"'
    assert made.text("icon") == f"{home}/Games/Lantern Keep/support/icon.png"
    assert [each.key for each in made.entries] == [
        *("appid", "AppName", "Exe", "StartDir", "icon", "ShortcutPath", "LaunchOptions", "IsHidden", "AllowDesktopConfig"),
        *("AllowOverlay", "OpenVR", "Devkit", "DevkitGameID", "DevkitOverrideAppID", "LastPlayTime", "FlatpakAppID", "sortas", "tags"),
    ]
    assert file_of(steam).read_bytes().startswith(b"\0shortcuts\0\0000\0\2appid\0")
    assert file_of(steam).read_bytes().endswith(b"\x010\0Integ\0\x08\x08\x08\x08")


async def test_adding_twice_changes_nothing(home: Path, steam: SteamHome) -> None:
    first = await editor(home).add_shortcut(KEY)
    before = file_of(steam).read_bytes()
    again = await editor(home).add_shortcut(KEY)
    assert (first.changed, again.changed, again.app_id) == (True, False, first.app_id)
    assert file_of(steam).read_bytes() == before


async def test_a_shortcut_that_the_player_edited_keeps_the_players_fields(home: Path, steam: SteamHome) -> None:
    await editor(home).add_shortcut(KEY)
    content = parse_binary(file_of(steam).read_bytes())
    made = next(content.root.map("shortcuts").maps())  # type: ignore[union-attr]
    for key, value in {"AppName": "Mine", "Exe": '"/home/ana/wrap"', "LaunchOptions": f"FOO=1 %command% launch {KEY} -- -w"}.items():
        found = made.find(key)
        assert found is not None
        found.value = value
    found = made.find("appid")
    assert found is not None
    found.value = -7
    file_of(steam).write_bytes(write_binary(content))
    before = file_of(steam).read_bytes()
    again = await editor(home).add_shortcut(KEY)
    assert not again.changed
    assert again.app_id == 2**32 - 7, "the id that Steam or the player gave it, read back from the file"
    assert file_of(steam).read_bytes() == before
    assert (await editor(home).shortcuts())[1][0].key == KEY


async def test_the_shortcuts_of_others_stay_as_they_are_and_numbers_have_no_gap(home: Path, steam: SteamHome) -> None:
    ours = foreign("Ours", app_id=-5, LaunchOptions=f"launch {KEY}")
    write_list(file_of(steam), foreign("One"), ours, foreign("Two", app_id=-9, LaunchOptions="launch day"))
    await editor(home).remove_shortcut(KEY)
    assert [(each.key, each.value) for each in entries(file_of(steam))] == [("0", foreign("One")), ("1", entry(file_of(steam), 1))]
    assert entry(file_of(steam), 1) == foreign("Two", app_id=-9, LaunchOptions="launch day")
    done = await editor(home).add_shortcut(KEY)
    assert [each.key for each in entries(file_of(steam))] == ["0", "1", "2"]
    listed = (await editor(home).shortcuts())[1]
    assert [each.app_id for each in listed] == [shortcut_id('"/usr/bin/x"', "One"), 2**32 - 9, done.app_id]
    assert [each.key for each in listed] == [None, None, KEY]


async def test_two_games_of_one_name_have_two_ids(home: Path, steam: SteamHome) -> None:
    installed = InstalledGames(read_paths({"HOME": str(home)}))
    installed.save(installed.get(KEY)._replace(key="gog:2"))
    ids = {(await editor(home).add_shortcut(key)).app_id for key in (KEY, "gog:2")}
    assert len(ids) == 2
    assert min(ids) >= 2**31
    assert {each.app_id for each in (await editor(home).shortcuts())[1]} == ids


@pytest.mark.parametrize("named", ["11", str(FIRST_STEAM_ID + 11), "ana"])
async def test_another_user_is_named_by_number_or_name(home: Path, steam: SteamHome, named: str) -> None:
    await editor(home).add_shortcut(KEY, user=named)
    assert file_of(steam, 11).exists()
    assert not file_of(steam).exists()
    with pytest.raises(NotFoundError, match="no Steam user here is called Eve"):
        await editor(home).add_shortcut(KEY, user="Eve")


async def test_removing_takes_the_images_that_are_copies_and_leaves_the_players_own(home: Path, steam: SteamHome) -> None:
    for name in ("library_600x900.jpg", "library_hero.jpg"):
        write(steam.root / "appcache" / "librarycache" / "5" / name, name)
    done = await editor(home).add_shortcut(KEY, steam_twins=["steam:5"])
    grid = file_of(steam).parent / "grid"
    write(grid / f"{done.app_id}_hero.jpg", b"drawn by hand")
    await editor(home).remove_shortcut(KEY, steam_twins=["steam:5"])
    assert [each.name for each in grid.iterdir()] == [f"{done.app_id}_hero.jpg"]
    await editor(home).undo()
    assert (grid / f"{done.app_id}p.jpg").read_bytes() == b"library_600x900.jpg"
    assert [each.key for each in (await editor(home).shortcuts())[1]] == [KEY]
    with pytest.raises(NotFoundError, match="has no shortcut"):
        await editor(home).remove_shortcut("gog:404")


async def test_an_image_of_the_players_is_never_written_over(home: Path, steam: SteamHome) -> None:
    write(steam.root / "appcache" / "librarycache" / "5" / "library_600x900.jpg", b"Steam's")
    app_id = shortcut_id(f'"{home}/bin/integ"', "Lantern Keep")
    own = file_of(steam).parent / "grid" / f"{app_id}p.png"
    write(own, b"mine")
    await editor(home).add_shortcut(KEY, steam_twins=["steam:5"])
    assert [each.name for each in own.parent.iterdir()] == [own.name]


async def test_undo_leaves_no_file_where_there_was_none_and_takes_the_images_too(home: Path, steam: SteamHome) -> None:
    write(steam.root / "appcache" / "librarycache" / "5" / "logo.png", b"logo")
    await editor(home).add_shortcut(KEY, steam_twins=["steam:5"])
    await editor(home).undo()
    assert not file_of(steam).exists()
    assert list((file_of(steam).parent / "grid").iterdir()) == []


async def test_undo_after_steam_rewrote_the_list_takes_out_that_one_entry(home: Path, steam: SteamHome) -> None:
    done = await editor(home).add_shortcut(KEY)
    ours = entry(file_of(steam))
    counted = ours.find("LastPlayTime")
    assert counted is not None
    counted.value = 1_793_000_000
    write_list(file_of(steam), foreign("New"), ours)
    await editor(home).undo()
    assert [each.name for each in read_shortcuts(file_of(steam).read_bytes(), where="x")] == ["New"]
    again = await editor(home).add_shortcut(KEY)
    assert again.app_id == done.app_id
    listed = parse_binary(file_of(steam).read_bytes())
    list(listed.root.map("shortcuts").maps())[1].find("AppName").value = "Mine"  # type: ignore[union-attr]
    file_of(steam).write_bytes(write_binary(listed))
    with pytest.raises(WouldLoseDataError):
        await editor(home).undo()


async def test_writes_refuse_while_steam_runs_and_reading_does_not(home: Path, steam: SteamHome) -> None:
    with running_client(steam.root):
        with pytest.raises(BusyError):
            await editor(home).add_shortcut(KEY)
        assert (await editor(home).shortcuts())[1] == []
    assert not file_of(steam).exists()


@pytest.mark.parametrize("damage", [b"", b"\0shortcuts\0\0", b"\0other\0\x08\x08", b"\x01shortcuts\0text\0\x08", b"PK\3\4"])
async def test_a_damaged_list_is_told_and_not_touched(home: Path, steam: SteamHome, damage: bytes) -> None:
    write(file_of(steam), damage)
    with pytest.raises(IntegrityError, match=r"shortcuts\.vdf"):
        await editor(home).add_shortcut(KEY)
    assert file_of(steam).read_bytes() == damage


async def test_flatpaks_reach_out_of_their_sandboxes(home: Path, steam: SteamHome) -> None:
    other = SteamHome(home / ".var/app/com.valvesoftware.Steam/.local/share/Steam")
    other.users(u33={"PersonaName": "Ana", "MostRecent": "1"})
    done = await editor(home).add_shortcut(KEY, steam="flatpak")
    made = entry(file_of(other, 33))
    assert done.needs_permission
    assert made.text("Exe") == '"/usr/bin/flatpak-spawn"'
    assert made.text("LaunchOptions") == f"--host {home}/bin/integ launch {KEY}"
    inside = editor(home, FLATPAK_ID="io.integ.Integ")
    await inside.add_shortcut(KEY)
    made = entry(file_of(steam))
    assert (made.text("Exe"), made.text("LaunchOptions")) == ('"/usr/bin/flatpak"', f"run io.integ.Integ launch {KEY}")


async def test_what_makes_no_sense_is_told(home: Path, steam: SteamHome) -> None:
    with pytest.raises(UsageError, match="in Steam's library already"):
        await editor(home).add_shortcut("steam:620")
    with pytest.raises(NotFoundError, match="not installed"):
        await editor(home).add_shortcut("gog:404")
    (steam.root / "config" / "loginusers.vdf").unlink()
    with pytest.raises(NotFoundError, match="nobody has signed in"):
        await editor(home).add_shortcut(KEY)
    steam.steamapps.rmdir()
    with pytest.raises(NotFoundError, match="not found"):
        await editor(home).add_shortcut(KEY)


def test_nothing_here_writes_a_field_that_is_not_signed() -> None:
    assert [signed(each) for each in (0, 1, 2**31 - 1, 2**31, 2**32 - 1)] == [0, 1, 2**31 - 1, -(2**31), -1]
    assert shortcuts.shortcut_id("", "") == 2**31
