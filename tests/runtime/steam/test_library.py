from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from integ_runtime.cache.records import LocalFact
from integ_runtime.steam.library import SteamFiles, SteamSnapshot
from integ_runtime.steam.tools import SteamTool, find_runtime, read_tool
from integ_server.contract.errors import IntegrityError
from tests.runtime.steam.steam_home import SteamHome, write, write_manifest

NATIVE = ".local/share/Steam"
FLATPAK = ".var/app/com.valvesoftware.Steam/.local/share/Steam"


def files(home: Path, **environ: str) -> SteamFiles:
    return SteamFiles(home, environ, system=home.parent / "system")


def facts_of(snapshot: SteamSnapshot, home: Path) -> dict[str, LocalFact]:
    return {fact.key: fact for fact in files(home).local_facts(snapshot)}


@pytest.mark.parametrize(
    ("flavour", "where"),
    [
        ("native", NATIVE),
        ("debian", ".steam/debian-installation"),
        ("old", ".steam/steam"),
        ("flatpak", FLATPAK),
        ("snap", "snap/steam/common/.local/share/Steam"),
        ("snap", ".snap/data/steam/common/.local/share/Steam"),
    ],
)
@pytest.mark.parametrize("steamapps", ["steamapps", "SteamApps"])
def test_every_flavour_is_found_where_it_lives(home: Path, flavour: str, where: str, steamapps: str) -> None:
    steam = SteamHome(home / where, steamapps=steamapps)
    steam.app(620, "Portal 2")
    (root,) = files(home).roots()
    assert (root.flavour, root.path, root.steamapps, root.has_client) == (flavour, home / where, home / where / steamapps, True)
    (game,) = files(home).snapshot().games
    assert (game.app_id, game.path) == (620, home / where / steamapps / "common" / "Portal 2")


def test_links_to_one_installation_are_one_root(home: Path) -> None:
    SteamHome(home / NATIVE)
    (home / ".steam").mkdir()
    (home / ".steam/steam").symlink_to(home / NATIVE)
    (home / ".steam/root").symlink_to(home / NATIVE)
    assert [root.flavour for root in files(home).roots()] == ["native"]


def test_flavours_live_side_by_side_and_the_players_own_comes_first(home: Path) -> None:
    for where in (NATIVE, FLATPAK, "elsewhere"):
        SteamHome(home / where)
    assert [root.flavour for root in files(home, STEAM_DIR=str(home / "elsewhere")).roots()] == ["override", "native", "flatpak"]


def test_a_link_in_a_circle_is_no_steam(home: Path) -> None:
    (home / ".local/share").mkdir(parents=True)
    (home / NATIVE).symlink_to(home / NATIVE)
    assert files(home).roots() == []
    assert files(home).snapshot().games == ()


@pytest.mark.parametrize("where", ["config", "steamapps"])
def test_libraries_are_read_from_either_list(home: Path, tmp_path: Path, where: str) -> None:
    steam = SteamHome(home / NATIVE)
    other = steam.library(tmp_path / "games" / "SteamLibrary")
    steam.name_libraries(other, where=where)
    steam.app(730, "Second", into=other / "steamapps")
    (game,) = files(home).snapshot().games
    assert game.library == other and not game.offline


def test_the_old_list_of_libraries_does_not_name_the_root(home: Path, tmp_path: Path) -> None:
    steam = SteamHome(home / NATIVE)
    other = steam.library(tmp_path / "Games", steamapps="SteamApps")
    write(steam.steamapps / "libraryfolders.vdf", {"LibraryFolders": {"TimeNextStatsReport": "1", "ContentStatsID": "-5", "1": str(other)}})
    steam.app(1, "In the root")
    steam.app(2, "Beside it", into=other / "SteamApps")
    assert [game.app_id for game in files(home).snapshot().games] == [1, 2]


def test_the_oldest_list_stands_in_the_config(home: Path, tmp_path: Path) -> None:
    steam = SteamHome(home / NATIVE)
    other = steam.library(tmp_path / "Games")
    steam_section = {"BaseInstallFolder_1": str(other)}
    write(steam.root / "config/config.vdf", {"InstallConfigStore": {"Software": {"Valve": {"Steam": steam_section}}}})
    steam.app(2, "There", into=other / "steamapps")
    assert [game.app_id for game in files(home).snapshot().games] == [2]


def test_games_on_a_drive_that_is_not_there_stay_as_offline(home: Path, tmp_path: Path) -> None:
    steam = SteamHome(home / NATIVE)
    drive = steam.library(tmp_path / "drive")
    steam.name_libraries(drive, apps={70001: 5})
    steam.app(70001, "Far away", into=drive / "steamapps")
    there = files(home).snapshot()
    assert not there.games[0].offline
    drive.rename(tmp_path / "unplugged")
    gone = files(home).snapshot()
    (game,) = gone.games
    assert game.offline and game.installed and game.path is None
    fact = facts_of(gone, home)["steam:70001"]
    assert fact.installed and fact.install_path is None
    assert not gone.warnings


def test_flatpaks_steam_names_folders_as_it_sees_them(home: Path) -> None:
    steam = SteamHome(home / FLATPAK)
    inside = SteamHome(home / ".var/app/com.valvesoftware.Steam/Games")
    steam.name_libraries(home / NATIVE, home / "Games")
    inside.app(5, "Inside")
    steam.app(6, "Root")
    snapshot = files(home).snapshot()
    assert {library.path for library in snapshot.libraries} == {home / FLATPAK, inside.root}
    assert [game.app_id for game in snapshot.games] == [5, 6]


@pytest.mark.parametrize(
    ("flags", "installed", "update"),
    [
        *[(4, True, False), (6, True, True), (68, True, False), (518, True, True)],
        *[(0, False, False), (514, False, False), (1026, False, False), (1034, False, False), (-4, False, False)],
        *[(36, False, False), (132, False, False), (2052, False, False)],
    ],
)
def test_state_flags_are_read_bit_by_bit(home: Path, flags: int, installed: bool, update: bool) -> None:
    SteamHome(home / NATIVE).app(10, "Game", flags=flags, BytesToDownload=200, BytesDownloaded=50)
    (game,) = files(home).snapshot().games
    assert (game.installed, game.update_available) == (installed, update)
    assert game.progress == (0.25 if flags > 0 and flags & 2 else None)


def test_tools_are_no_games(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    steam.app(228980, "Steamworks Common Redistributables")
    write_manifest(steam.app(999001, "Some new runtime"), command="/_v2-entry-point --verb=%verb% --", layer="container-runtime")
    steam.app(620, "Portal 2")
    snapshot = files(home).snapshot()
    assert [game.app_id for game in snapshot.games] == [620]
    assert [tool.app_id for tool in snapshot.tools] == [999001]


def test_rubbish_is_warned_of_and_the_rest_is_read(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    steam.app(1, "Whole")
    write(steam.steamapps / "appmanifest_2.acf", "")
    write(steam.steamapps / "appmanifest_3.acf", '"AppState"\n{\n\t"appid"\t\t"3"\n')
    write(steam.steamapps / "appmanifest_4.acf.tmp", '"AppState" { "appid" "4" "StateFlags" "4" }')
    write(steam.steamapps / "appmanifest_5.acf", b"\0" * 512)
    write(steam.steamapps / "appmanifest_0.acf", '"AppState" { "name" "no id" }')
    os.mkfifo(steam.steamapps / "appmanifest_6.acf")
    write(steam.root / "config/libraryfolders.vdf", '"libraryfolders" {')
    write(steam.root / "config/loginusers.vdf", "{{{{")
    snapshot = files(home).snapshot()
    assert [game.app_id for game in snapshot.games] == [1]
    for name in ("_2.acf", "_3.acf", "_5.acf", "_0.acf", "_6.acf", "libraryfolders.vdf", "loginusers.vdf"):
        assert len([warning for warning in snapshot.warnings if name in warning]) == 1, name


@pytest.mark.parametrize("folder", ["../../../etc", "/etc", "..", ".", ""])
def test_an_install_folder_that_leads_elsewhere_is_not_believed(home: Path, folder: str) -> None:
    SteamHome(home / NATIVE).app(9, "Odd", folder=folder)
    (game,) = files(home).snapshot().games
    assert game.path is None


def test_old_manifests_spell_keys_otherwise(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    old = {"appID": "42", "StateFlags": "4", "installdir": "old", "lastupdated": "1600000000", "UserConfig": {"name": "Old one"}}
    write(steam.steamapps / "appmanifest_42.acf", {"appstate": old})
    (game,) = files(home).snapshot().games
    assert (game.name, game.updated_at) == ("Old one", 1_600_000_000)


def test_a_forced_windows_build_is_one(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    steam.app(7, "Forced", UserConfig={"platform_override_dest": "linux", "platform_override_source": "windows"})
    assert facts_of(files(home).snapshot(), home)["steam:7"].platforms == ("windows",)


def test_play_time_is_that_of_the_active_user_at_its_full_path(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    steam.app(620, "Portal 2")
    steam.users(u11={"MostRecent": "0", "Timestamp": "9"}, u22={"mostrecent": "1", "Timestamp": "5"})
    steam.played(11, {620: {"Playtime": "5000", "LastPlayed": "1700000000"}})
    steam.played(
        22, {620: {"Playtime": "90", "LastPlayed": "1650000000"}, 400: {"Playtime": "30", "LastPlayed": "86400"}}, valve="valve", key="Apps"
    )
    snapshot = files(home).snapshot()
    assert [user.most_recent for user in snapshot.users] == [True, False]
    facts = facts_of(snapshot, home)
    assert (facts["steam:620"].playtime_min, facts["steam:620"].last_played_at) == (90, "2022-04-15T05:20:00Z")
    assert facts["steam:400"] == LocalFact("steam:400", playtime_min=30)


def test_without_a_most_recent_user_the_newest_counts(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    steam.users(u11={"Timestamp": "9"}, u22={"Timestamp": "5"})
    steam.played(11, {1: {"Playtime": "11"}})
    steam.played(22, {1: {"Playtime": "22"}})
    assert files(home).snapshot().play[1].playtime_min == 11


def test_without_a_list_of_users_the_newest_settings_count(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    os.utime(steam.played(11, {1: {"Playtime": "11"}}), (1000, 1000))
    os.utime(steam.played(22, {1: {"Playtime": "22"}}), (2000, 2000))
    for name in ("0", "anonymous", "ac"):
        (steam.root / "userdata" / name).mkdir()
    snapshot = files(home).snapshot()
    assert snapshot.play[1].playtime_min == 22
    assert [user.steam_id for user in snapshot.users] == ["76561197960265750", "76561197960265739"]


def test_the_chosen_tool_of_a_game_is_told(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    steam.app(620, "Portal 2")
    mapping = {
        "0": {"name": "proton_experimental", "config": "", "Priority": "75"},
        "620": {"name": "GE-Proton10-34", "Priority": "250"},
        "7": {"name": "", "Priority": "250"},
    }
    tree = {"InstallConfigStore": {"Software": {"valve": {"steam": {"CompatToolMapping": mapping}}}}}
    write(steam.root / "config/config.vdf", tree)
    with (steam.root / "config/config.vdf").open("ab") as file:
        file.write(b'"more" { "controller" "\xff\xfe" }')
    snapshot = files(home).snapshot()
    assert snapshot.default_tool == "proton_experimental"
    assert snapshot.games[0].tool == "GE-Proton10-34"


def test_names_that_are_no_utf8_reach_the_cache_as_text(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    write(steam.steamapps / "appmanifest_8.acf", b'"AppState" { "appid" "8" "name" "Bad \xff name" "StateFlags" "4" "installdir" "x\xff" }')
    fact = facts_of(files(home).snapshot(), home)["steam:8"]
    assert fact.title == "Bad ? name"
    fact.install_path.encode("utf-8")  # type: ignore[union-attr]


def test_the_fingerprint_moves_when_something_does_and_only_then(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    steam.app(1, "One")
    steam_files = files(home)
    seen = [steam_files.fingerprint(), steam_files.fingerprint()]
    assert seen[0] == seen[1]
    steam.app(1, "One", flags=6, BytesToDownload=123)
    seen.append(steam_files.fingerprint())
    steam.app(2, "Two")
    seen.append(steam_files.fingerprint())
    steam.played(11, {1: {"Playtime": "1"}})
    seen.append(steam_files.fingerprint())
    steam.tool("GE-Proton9-1")
    seen.append(steam_files.fingerprint())
    assert len(set(seen)) == 5


def test_tools_are_found_in_every_place_and_the_players_own_wins(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    system = home.parent / "system/usr/share/steam/compatibilitytools.d"
    steam.tool("GE-Proton9-5", base=system)
    extra = home.parent / "extra"
    steam.tool("Extra-Proton", base=extra)
    steam.tool("GE-Proton9-5")
    steam.tool("folder-name", name="Internal-Name", requires="4183110")
    steam.tool(".half-made")
    alone = steam.tool("alone", base=home / "tools")
    (alone / "compatibilitytool.vdf").unlink()
    listing = {"compatibilitytools": {"compat_tools": {"Alone": {"install_path": str(alone), "display_name": "All alone"}}}}
    write(steam.root / "compatibilitytools.d/alone.vdf", listing)
    sniper = steam.app(1628350, "Steam Linux Runtime 3.0 (sniper)", folder="SteamLinuxRuntime_sniper")
    write_manifest(sniper, command="/_v2-entry-point --verb=%verb% --", layer="container-runtime")
    write(sniper / "_v2-entry-point", "#!/bin/sh\n").chmod(0o755)
    valve = steam.tool("Proton 9.0", base=steam.steamapps / "common")
    (valve / "compatibilitytool.vdf").unlink()
    steam.app(2805730, "Proton 9.0")
    tools = files(home, STEAM_EXTRA_COMPAT_TOOLS_PATHS=f"relative:{extra}:").tools()
    by_name: dict[str, SteamTool] = {}
    for tool in tools:
        by_name.setdefault(tool.name, tool)
    assert set(by_name) == {"GE-Proton9-5", "Extra-Proton", "Internal-Name", "Alone", "steamlinuxruntime_sniper", "proton_9"}
    assert by_name["GE-Proton9-5"].root == steam.root
    assert by_name["Internal-Name"].require_tool_appid == "4183110"
    assert by_name["Alone"].title == "All alone"
    assert by_name["proton_9"].is_proton and not by_name["proton_9"].is_runtime
    runtime = find_runtime(tools, "1628350")
    assert runtime is not None and runtime.is_runtime
    assert runtime.command("run") == (f"{sniper}/_v2-entry-point", "--verb=run", "--")
    assert find_runtime(tools, "4183110") is None


def test_a_tool_of_the_first_form_is_started_with_the_verb_that_waits(home: Path) -> None:
    place = home / "Proton 3.16"
    write(
        place / "toolmanifest.vdf",
        {"manifest": {"commandline": "/proton run", "commandline_waitforexitandrun": "/proton waitforexitandrun"}},
    )
    tool = read_tool(place)
    assert tool is not None
    assert tool.command("waitforexitandrun") == (f"{place}/proton", "waitforexitandrun")


@pytest.mark.parametrize("command", ["", "proton %verb%", "/../../bin/sh %verb%", "'"])
def test_a_tool_whose_command_is_not_its_own_is_refused(home: Path, command: str) -> None:
    steam = SteamHome(home / NATIVE)
    write_manifest(steam.tool("Odd"), command=command)
    (tool,) = files(home).tools()
    with pytest.raises(IntegrityError):
        tool.command("run")


def test_a_damaged_tool_is_warned_of(home: Path) -> None:
    steam = SteamHome(home / NATIVE)
    write(steam.tool("Broken") / "toolmanifest.vdf", '"manifest" {')
    steam.tool("Whole")
    snapshot = files(home).snapshot()
    assert [tool.name for tool in snapshot.tools] == ["Whole"]
    assert len(snapshot.warnings) == 1


def test_nothing_at_all_is_an_empty_snapshot(home: Path) -> None:
    snapshot = files(home).snapshot()
    assert (snapshot.roots, snapshot.games, snapshot.tools, snapshot.warnings) == ((), (), (), ())
    shutil.rmtree(home)
    assert files(home).fingerprint() == files(home).fingerprint()
