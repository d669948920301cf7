"""Where a game of each kind keeps its saves: Steam's and Integ's own, native and in a prefix, inside Flatpak and outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.paths import read_paths
from integ_runtime.saves.locate import Saves, Whereabouts
from integ_runtime.steam.library import SteamFiles
from integ_server.contract.errors import NotFoundError, UsageError
from tests.runtime.saves.samples import SAMPLE, write
from tests.runtime.steam.steam_home import SteamHome


def saves(home: Path, manifest: Path | None = None, **environ: str) -> Saves:
    known = {"HOME": str(home), **environ}
    paths = read_paths(known)
    steam = SteamFiles(home, known, system=home / "no-system")
    return Saves(paths, InstalledGames(paths), lambda: steam, manifest, environ=known, flatpak_info=home / "flatpak-info")


def there(found: Whereabouts) -> dict[str, str]:
    """What is there, by its rule."""
    return {place.rule: place.path for place in found.places if place.exists}


@pytest.fixture
def manifest(home: Path) -> Path:
    return write(home / "manifest.yaml", SAMPLE)


@pytest.fixture
def steam(home: Path) -> SteamHome:
    return SteamHome(home / ".local/share/Steam")


async def test_a_native_steam_games_are_in_its_folder_and_in_the_home(home: Path, steam: SteamHome, manifest: Path) -> None:
    folder = steam.app(999910, "SampleQuest")
    write(folder / "config.ini")
    write(home / ".local/share/SampleQuest/a.sav", "123")
    found = await saves(home, manifest).where("steam:999910", "Sample Quest")
    assert there(found) == {"<base>/config.ini": f"{folder}/config.ini", "<xdgData>/SampleQuest": f"{home}/.local/share/SampleQuest"}
    assert found.size_bytes == 4
    elsewhere = await saves(home, manifest, XDG_DATA_HOME=str(home / "data"), STEAM_DIR=str(steam.root)).where(
        "steam:999910", "Sample Quest"
    )
    assert "<xdgData>/SampleQuest" not in there(elsewhere)


async def test_a_game_that_steam_has_run_both_ways_is_looked_for_in_both(home: Path, steam: SteamHome, manifest: Path) -> None:
    steam.app(999910, "SampleQuest")
    pfx = steam.steamapps / "compatdata/999910/pfx"
    save = write(pfx / "drive_c/users/steamuser/Documents/My Games/SampleQuest/a.sav")
    write(home / ".local/share/SampleQuest/a.sav")
    found = await saves(home, manifest).where("steam:999910", "Sample Quest")
    assert set(there(found)) == {"<winDocuments>/My Games/SampleQuest/*.sav", "<xdgData>/SampleQuest"}
    steam.app(999910, "SampleQuest", UserConfig={"platform_override_source": "windows", "platform_override_dest": "linux"})
    found = await saves(home, manifest).where("steam:999910", "Sample Quest")
    assert there(found) == {"<winDocuments>/My Games/SampleQuest/*.sav": str(save)}
    missing = [place for place in found.places if not place.exists]
    assert {place.rule for place in missing} == {"<base>/config.ini", "HKEY_CURRENT_USER/Software/Sample/Quest"}
    assert all(place.kind is None and place.size_bytes == 0 for place in missing)


async def test_flatpaks_steam_has_a_home_of_its_own(home: Path, manifest: Path) -> None:
    inner = home / ".var/app/com.valvesoftware.Steam"
    SteamHome(inner / ".local/share/Steam").app(999910, "SampleQuest")
    write(inner / "data/SampleQuest/a.sav")
    write(home / ".local/share/SampleQuest/a.sav")
    found = await saves(home, manifest).where("steam:999910", "Sample Quest")
    assert there(found) == {"<xdgData>/SampleQuest": f"{inner}/data/SampleQuest"}


async def test_a_gog_game_is_known_by_its_title_where_nobody_knows_its_id(home: Path) -> None:
    manifest = write(home / "m.yaml", "Tea Time!: {files: {<base>/saves: {}, <xdgData>/Tea: {}}}\n")
    folder = home / "Games/Tea"
    write(folder / "game/saves/a.sav", "12")
    write(home / ".local/share/Tea/b.sav", "1")
    place = saves(home)
    place._installed.save(InstalledGame("gog:1", "Tea", folder, "linux", "integ"))
    found = await place.where("gog:1", "Tea: Time", manifest=manifest)
    assert (found.known_by, found.title) == ("title", "Tea Time!")
    assert there(found) == {"<base>/saves": f"{folder}/game/saves", "<xdgData>/Tea": f"{home}/.local/share/Tea"}
    (home / "flatpak-info").touch()
    inside = saves(home, manifest, XDG_DATA_HOME=str(home / ".var/app/integ/data"), HOST_XDG_DATA_HOME=str(home / ".local/share"))
    with pytest.raises(NotFoundError):
        await inside.where("gog:1", "Tea: Time")  # its record is where this one keeps none
    inside._installed = place._installed
    assert there(await inside.where("gog:1", "Tea: Time")) == there(found), "games run outside of Integ's Flatpak"


async def test_a_folder_counts_once_whatever_else_is_listed_in_it(home: Path) -> None:
    manifest = write(home / "m.yaml", "Tea: {files: {<base>/saves: {}, <base>/saves/*.sav: {}, '<base>/saves/a.sav': {}}}\n")
    write(home / "Games/Tea/saves/a.sav", "12")
    write(home / "Games/Tea/saves/b.txt", "345")
    place = saves(home, manifest)
    place._installed.save(InstalledGame("gog:1", "Tea", home / "Games/Tea", "linux", "integ"))
    found = await place.where("gog:1", "Tea")
    assert [(each.kind, each.size_bytes) for each in found.places] == [("folder", 5), ("file", 2)]
    assert found.size_bytes == 5


async def test_integs_own_files_and_keys_are_nobodys_saves(home: Path) -> None:
    rules = "<xdgData>/integ: {}, <xdgData>/integ/**: {}, <xdgConfig>/integ/*: {}, <home>/.ssh/*: {}, <home>/.gnupg: {}"
    rules += ", <xdgData>/keyrings/*: {}"
    manifest = write(home / "m.yaml", f"Tea: {{files: {{{rules}}}}}\n")
    for name in (".local/share/integ/integ.db", ".config/integ/config.toml", ".ssh/id", ".gnupg/key", ".local/share/keyrings/login"):
        write(home / name)
    place = saves(home, manifest)
    place._installed.save(InstalledGame("gog:1", "Tea", home / "Games/Tea", "linux", "integ"))
    found = await place.where("gog:1", "Tea")
    assert there(found) == {} and found.size_bytes == 0


async def test_what_is_not_installed_or_not_known_is_told(home: Path, steam: SteamHome, manifest: Path) -> None:
    for key in ("steam:5", "gog:5"):
        with pytest.raises(NotFoundError, match="not installed"):
            await saves(home, manifest).where(key, "x")
    steam.app(5, "Nobody")
    with pytest.raises(NotFoundError, match="does not know Nobody"):
        await saves(home, manifest).where("steam:5", "Nobody")
    with pytest.raises(UsageError, match="no manifest") as caught:
        await saves(home).where("steam:5", "Nobody")
    assert "integ config set save_manifest" in caught.value.hint
