"""The commands on Steam's own files, as a player and a script meet them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from integ_cli.completion import offered
from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.paths import read_paths
from tests.cli.conftest import Integ, check_document
from tests.cli.terminal import on_a_terminal
from tests.runtime.steam.fake_client import end, fake_client, states_of_a_download
from tests.runtime.steam.steam_home import SteamHome, running_client, write
from tests.runtime.steam.test_steamcmd import GOOD, STEAMCMD

KEY = "gog:1207658924"


@pytest.fixture
def steam(home: Path, monkeypatch: pytest.MonkeyPatch) -> SteamHome:
    """A Steam with a game, a tool and a user, and a game of Integ's."""
    made = SteamHome(home / ".local/share/Steam")
    made.app(620, "Portal 2")
    made.tool("ge-folder", name="GE-Proton10-34")
    made.config({})
    made.users(u22={"PersonaName": "Ben", "MostRecent": "1"})
    InstalledGames(read_paths()).save(InstalledGame(KEY, "Lantern Keep", home / "Games" / "Lantern Keep", "linux", "integ"))
    write(home / "bin" / "integ", "#!/bin/sh\n").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    return made


def test_choosing_a_tool_and_taking_it_back(integ: Integ, steam: SteamHome) -> None:
    told = integ("steam", "tools", "use", "ge-folder", "steam:620")
    assert (told.code, told.out) == (0, "Steam runs Portal 2 with GE-Proton10-34.\n")
    data = check_document(integ("steam", "tools", "use", "GE-Proton10-34", "Portal 2", "--json").json)
    assert (data["tool"], data["key"], data["changed"]) == ("GE-Proton10-34", "steam:620", False)
    listed = check_document(integ("steam", "tools", "list", "--json").json)["items"]
    assert [(each["name"], each["used_by"]) for each in listed] == [("GE-Proton10-34", ["steam:620"])]
    assert "steam:620" in integ("steam", "tools", "list").out
    assert check_document(integ("show", "steam:620", "--json").json)["releases"][0]["proton"] == "GE-Proton10-34"
    undone = check_document(integ("steam", "undo", "--json").json)
    assert (undone["kind"], undone["app_id"], undone["what"]) == ("tool", 620, "Portal 2: GE-Proton10-34")
    assert check_document(integ("show", "steam:620", "--json").json)["releases"][0]["proton"] is None
    assert integ("steam", "tools", "use", "GE-Proton10-34").out.startswith("Steam runs every game without a choice")
    assert integ("steam", "tools", "use", "--off").out.startswith("Steam decides")
    assert integ("steam", "tools", "use", "--off").out == "Steam already decides what every game without a choice of its own runs with.\n"


def test_shortcuts_come_and_go(integ: Integ, steam: SteamHome) -> None:
    assert integ("steam", "shortcuts", "list").err == "No shortcut yet: integ steam shortcuts add GAME\n"
    added = check_document(integ("steam", "shortcuts", "add", "Lantern Keep", "--json").json)
    assert (added["key"], added["changed"], added["needs_permission"]) == (KEY, True, False)
    assert integ("steam", "shortcuts", "add", KEY).out == "Lantern Keep is in Steam's library already.\n"
    listed = check_document(integ("steam", "shortcuts", "list", "--user", "ben", "--json").json)
    assert [(each["app_id"], each["key"], each["name"]) for each in listed["items"]] == [(added["app_id"], KEY, "Lantern Keep")]
    assert KEY in integ("steam", "shortcuts", "list").out
    removed = check_document(integ("steam", "shortcuts", "remove", KEY, "--json").json)
    assert removed["app_id"] == added["app_id"]
    assert integ("steam", "undo").out == "Taken back: Lantern Keep: no shortcut.\n"
    InstalledGames(read_paths()).remove(KEY)
    assert integ("steam", "shortcuts", "remove", KEY).code == 0, "a shortcut whose game is gone can go too"


def test_uninstalling_a_game_tells_of_the_shortcut_that_it_leaves(integ: Integ, steam: SteamHome, home: Path) -> None:
    (home / "Games" / "Lantern Keep").mkdir(parents=True)
    assert integ("steam", "shortcuts", "add", KEY).code == 0
    told = integ("uninstall", KEY, "--yes")
    assert told.code == 0, told.err
    assert f"Its shortcut in Steam stays: integ steam shortcuts remove {KEY}" in told.err
    assert integ("steam", "shortcuts", "remove", KEY).code == 0


def test_names_that_are_no_text_or_drive_terminals_are_shown_harmlessly_and_written_as_they_are(integ: Integ, steam: SteamHome) -> None:
    content = b"\0shortcuts\0\x000\0\x01AppName\0Od\xffd\x1b[31m\0\x01exe\0/x\xfe\0\x08\x08\x08"
    file = write(steam.root / "userdata/22/config/shortcuts.vdf", content)
    steam.tool("bad\udcff-tool", name="bad\udcff")
    told = integ("steam", "shortcuts", "list")
    assert (told.code, "\x1b" in told.out) == (0, False)
    assert check_document(integ("steam", "shortcuts", "list", "--json").json)["items"][0]["name"].startswith("Od")
    assert {"bad?"} & {each["name"] for each in check_document(integ("steam", "tools", "list", "--json").json)["items"]}
    assert integ("steam", "tools", "use", "bad\udcff-tool", "steam:620").code == 0
    assert b'"name"\t\t"bad\xff"' in (steam.root / "config/config.vdf").read_bytes()
    assert integ("steam", "shortcuts", "add", KEY).code == 0
    assert file.read_bytes().startswith(content[:-2])


def test_while_steam_runs_every_write_ends_with_6_and_says_how_to_end_it(integ: Integ, steam: SteamHome) -> None:
    writes = [["tools", "use", "GE-Proton10-34", "steam:620"], ["tools", "use", "--off"], ["shortcuts", "add", KEY]]
    assert integ("steam", "shortcuts", "add", KEY).code == 0
    files = [steam.root / "config/config.vdf", steam.root / "userdata/22/config/shortcuts.vdf"]
    before = [file.read_bytes() for file in files]
    with running_client(steam.root):
        for words in [*writes, ["shortcuts", "remove", KEY], ["undo"]]:
            told = integ("steam", *words)
            assert told.code == 6, words
            assert told.err == "error: Steam is running: it would write over what is changed now\nhint: steam -shutdown\n"
        assert check_document(integ("steam", "undo", "--json").json) == {}
        assert integ("steam", "tools", "list").code == integ("steam", "shortcuts", "list").code == 0
    assert [file.read_bytes() for file in files] == before


def test_a_game_of_steams_is_installed_by_its_client_and_watched(integ: Integ, steam: SteamHome, library: Path, home: Path) -> None:
    program = fake_client(steam, home / "bin", pause_s=0.6, install=states_of_a_download(70002, "Other"), uninstall=[None])
    lines = [json.loads(line) for line in integ("install", "steam:70002", "--events").out.splitlines()]
    for line in lines:
        check_document(line)
    done = lines[-1]["data"]
    assert (done["state"], done["build"], done["bytes_on_disk"]) == ("installed", "77", 3000)
    assert done["path"] == str(steam.steamapps / "common" / "Other")
    assert any(line.get("total_bytes") == 1000 for line in lines), "how far it is was told"
    assert check_document(integ("show", "steam:70002", "--json").json)["installed"] is True
    assert "is installed in" in integ("install", "steam:70002").out
    gone = check_document(integ("uninstall", "steam:70002", "--yes", "--json").json)
    assert (gone["state"], gone["handed_to"]) == ("gone", "steam://uninstall/70002")
    end(program)
    assert integ("uninstall", "steam:70002", "--yes").code == 3
    asked_only = check_document(integ("install", "steam:70002", "--no-wait", "--json").json)
    assert (asked_only["state"], asked_only["path"]) == ("asked", None)


def test_show_tells_what_steam_does_with_a_game_this_moment(integ: Integ, steam: SteamHome) -> None:
    steam.app(70003, "Slow", flags=1026, BytesToDownload=4 << 20, BytesDownloaded=1 << 20)
    steam.app(620, "Portal 2", flags=6)
    assert check_document(integ("show", "steam:620", "--json").json)["steam"] == {
        "state": "update waiting",
        "running": False,
        "done_bytes": None,
        "total_bytes": None,
    }
    assert "Steam:     update waiting\n" in integ("show", "steam:620").out
    steam.app(620, "Portal 2", flags=6 | 256, BytesToDownload=4 << 20, BytesDownloaded=1 << 20)
    assert "Steam:     updating, 1.0 MiB of 4.0 MiB\n" in integ("show", "steam:620").out
    assert check_document(integ("show", KEY, "--json").json)["steam"] is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["tools", "use"], 2),
        (["tools", "use", "--off", "steam:620", "more"], 2),
        (["tools", "use", "nope", "steam:620"], 3),
        (["tools", "use", "GE-Proton10-34", "steam:404"], 3),
        (["tools", "use", "GE-Proton10-34", KEY], 2),
        (["tools", "use", "GE-Proton10-34", "--steam", "snap"], 3),
        (["shortcuts", "add", "steam:620"], 2),
        (["shortcuts", "add", "nothing"], 3),
        (["shortcuts", "remove", KEY], 3),
        (["shortcuts", "remove", "nothing"], 3),
        (["shortcuts", "list", "--user", "eve"], 3),
        (["undo"], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_makes_no_sense_is_a_line_a_hint_and_a_document(integ: Integ, steam: SteamHome, words: list[str], code: int) -> None:
    told = integ("steam", *words, "--json")
    assert told.code == code, told.err
    check_document(told.json)
    assert told.err.startswith("error: ")
    assert "\nhint: " in told.err


def test_without_any_steam_it_is_told(integ: Integ) -> None:
    assert integ("steam", "tools", "list").err.startswith("Steam has no compatibility tool here")
    told = integ("steam", "shortcuts", "list")
    assert (told.code, told.err.splitlines()[0]) == (3, "error: Steam was not found on this machine")


def test_the_shell_offers_the_tools_and_where_they_are(steam: SteamHome) -> None:
    assert [value for value, _ in offered(["steam"], "")] == ["tools", "shortcuts", "undo"]
    assert [value for value, _ in offered(["steam", "shortcuts"], "")] == ["list", "add", "remove"]
    assert offered(["steam", "tools", "use"], "GE") == [("GE-Proton10-34", "ge-folder")]
    assert [value for value, _ in offered(["steam", "tools", "use", "--steam"], "f")] == ["flatpak"]
    assert "--user" in [value for value, _ in offered(["steam", "shortcuts", "add"], "--u")]


def test_steamcmd_installs_without_the_client_and_says_how_to_take_the_game_over(
    integ: Integ, steam: SteamHome, library: Path, home: Path
) -> None:
    write(home / "bin" / "steamcmd", STEAMCMD).chmod(0o755)
    good = {**GOOD, "says": [line.replace("620", "70002") for line in GOOD["says"]]}
    write(home / "bin" / "steamcmd.json", json.dumps([good]))
    program = home / "bin" / "steamcmd"
    program.write_text(program.read_text().replace("appmanifest_620", "appmanifest_70002"))
    words = ["install", "steam:70002", "--steamcmd"]
    done = check_document(integ(*words, "--login", "ana", "--platform", "windows", "--dir", str(home / "G"), "--json").json)
    assert (done["build"], done["state"], Path(done["path"]).parent) == ("99", "installed", home / "G")
    ran = json.loads((home / "bin" / "steamcmd.runs").read_text())
    assert ran[ran.index("+@sSteamCmdForcePlatformType") + 1] == "windows"
    assert "Next: integ import" in integ(*words, "--login", "ana", "--dir", str(home / "G")).out
    assert (integ(*words).code, integ(*words, "--dry-run").code, integ("install", "steam:70002", "--login", "ana").code) == (2, 2, 2)
    assert integ("install", KEY, "--steamcmd", "--login", "ana").code == 2
    write(home / "bin" / "steamcmd.json", json.dumps([{"says": ["Cached credentials not found."], "code": 5}]))
    refused = integ(*words, "--login", "ana", "--dir", str(home / "H"), "--json")
    assert (refused.code, check_document(refused.json)) == (4, {})
    assert refused.json["hint"] == "steamcmd +login ana +quit"


def test_on_a_terminal_steamcmd_asks_for_the_password_itself(steam: SteamHome, library: Path, home: Path) -> None:
    program = write(home / "bin" / "steamcmd", STEAMCMD.replace("appmanifest_620", "appmanifest_70002"))
    program.chmod(0o755)
    good = {**GOOD, "says": [line.replace("620", "70002") for line in GOOD["says"]]}
    refused = {"says": ["Cached credentials not found."], "code": 5}
    write(home / "bin" / "steamcmd.json", json.dumps([refused, {"says": ["password: asked by steamcmd"]}, good]))
    with on_a_terminal("install", "steam:70002", "--steamcmd") as terminal:
        terminal.until("Steam account's name: ")
        terminal.type("ana\n")
        terminal.until("it asks for the password now.")
        terminal.until("password: asked by steamcmd")
        assert terminal.end() == 0
    assert "Next: integ import" in terminal.shown
    runs = [json.loads(line) for line in (home / "bin" / "steamcmd.runs").read_text().splitlines()]
    assert [("+app_update" in words, words[words.index("+login") + 1]) for words in runs] == [(True, "ana"), (False, "ana"), (True, "ana")]
