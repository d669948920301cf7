"""`integ prefix`: every document against its schema, what people read, what is asked before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integ_cli.completion import offered
from integ_runtime.launch.run import play_lock
from integ_runtime.prefix.versions import Used, write_note
from tests.cli.conftest import Answer, Integ
from tests.cli.terminal import on_a_terminal
from tests.runtime.launch.stage import make_proton, make_stage, write_program

Valid = Callable[[Answer], dict[str, Any]]
KEY = "gog:1200000001"


@pytest.fixture
def folder(home: Path, library: Path) -> Path:
    """The folder of a game in the library that has a prefix."""
    game_dir = home / ".local/share/integ/games" / KEY.replace(":", "-")
    drive = game_dir / "prefix" / "pfx" / "drive_c"
    drive.mkdir(parents=True)
    (drive / "save.txt").write_text("first")
    (game_dir / "prefix" / "version").write_text("GE-Proton10-1\n")
    write_note(game_dir, Used("GE-Proton10-1", "ge"))
    return game_dir


def test_a_prefix_from_its_first_snapshot_to_its_end(integ: Integ, valid: Valid, folder: Path) -> None:
    assert integ("prefix", "snapshots", KEY).err == f"No snapshot yet: integ prefix snapshot {KEY}\n"
    taken = valid(integ("prefix", "snapshot", KEY, "--note", "before the mods", "--json"))
    save = folder / "prefix" / "pfx" / "drive_c" / "save.txt"
    save.write_text("second")
    known = valid(integ("prefix", "info", KEY, "--json"))
    assert (known["path"], known["exists"], known["running"]) == (f"{folder}/prefix", True, [])
    assert (known["proton"], known["family"], known["version_text"]) == ("GE-Proton10-1", "ge", "GE-Proton10-1")
    assert [each["id"] for each in known["snapshots"]] == [taken["id"]]
    restored = valid(integ("prefix", "restore", KEY, "--json"))
    assert restored["restored"]["id"] == taken["id"]
    assert save.read_text() == "first"
    listed = valid(integ("prefix", "snapshots", KEY, "--json"))["items"]
    assert [(each["reason"], each["note"]) for each in listed] == [
        ("asked", "before the mods"),
        ("restore", f"before {taken['id']} was restored"),
    ]
    assert valid(integ("prefix", "restore", KEY, restored["kept"]["id"], "--json"))["kept"] is not None
    assert save.read_text() == "second"
    refused = integ("prefix", "forget", KEY, taken["id"], "--json")
    assert (refused.code, refused.json["error"]) == (10, "WouldLoseDataError")
    assert "before the mods" in refused.err
    assert valid(integ("prefix", "forget", KEY, taken["id"], "--yes", "--json"))["id"] == taken["id"]
    assert valid(integ("prefix", "remove", KEY, "--yes", "--json"))["purged"] is False
    assert valid(integ("prefix", "info", KEY, "--json"))["exists"] is False
    assert valid(integ("prefix", "restore", KEY, "--json"))["kept"] is None
    assert valid(integ("prefix", "remove", KEY, "--purge", "--yes", "--json"))["bytes_freed"] > 0
    assert valid(integ("prefix", "snapshots", KEY, "--json"))["items"] == []


def test_people_read_sentences_and_a_table(integ: Integ, folder: Path) -> None:
    told = integ("prefix", "snapshot", KEY, "--note", "loud\x1b[31m note")
    assert told.code == 0
    snapshot_id = told.out.split()[0]
    shown = integ("prefix", "info", KEY).out
    assert "GE-Proton10-1 (ge)" in shown
    assert "Runs in it:" in shown and "nothing" in shown
    assert f"{folder}/prefix" in shown
    assert snapshot_id in shown and "loud[31m note" in shown
    told = integ("prefix", "restore", KEY)
    assert told.out.startswith(f"The prefix of Lantern Keep (GOG) is as it was in {snapshot_id}. What was there before is ")
    listed = integ("prefix", "snapshots", KEY)
    assert "before" in listed.out
    assert listed.err.startswith("2 snapshots, ") and listed.err.endswith(f" or less; one goes by: integ prefix forget {KEY} SNAPSHOT\n")
    assert integ("prefix", "info", KEY).err == listed.err


def test_progress_is_told_as_events(integ: Integ, folder: Path) -> None:
    import json

    lines = [json.loads(line) for line in integ("prefix", "snapshot", KEY, "--events").out.splitlines()]
    assert lines[0]["event"] == "progress" and lines[0]["stage"] == "copy"
    assert lines[-1]["schema"] == "integ/prefix-snapshot@1"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["info", "nothing"], 3),
        (["info", "steam:70001"], 2),
        (["snapshot", "steam:70001"], 2),
        (["restore", KEY], 3),
        (["restore", KEY, "20200101T000000Z"], 3),
        (["forget", KEY, "20200101T000000Z", "--yes"], 3),
        (["forget", KEY, "20200101T000000Z"], 3),
        (["remove", KEY], 10),
        (["snapshot", "gog:1200000003"], 3),
        (["remove", "gog:1200000003", "--yes"], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_every_failure_is_a_document_with_a_hint(integ: Integ, valid: Valid, folder: Path, words: list[str], code: int) -> None:
    told = integ("prefix", *words, "--json")
    assert told.code == code, told.err
    valid(told)
    assert told.err.startswith("error: ") and "hint: " in told.err


def test_while_the_game_runs_it_is_busy(integ: Integ, valid: Valid, folder: Path) -> None:
    with play_lock(folder):
        for words in (["snapshot", KEY], ["restore", KEY], ["remove", KEY, "--yes"]):
            told = integ("prefix", *words, "--json")
            assert (told.code, told.json["error"]) == (6, "BusyError")
        assert integ("prefix", "info", KEY).code == 0


def test_a_tab_offers_a_game_and_then_its_snapshots(integ: Integ, folder: Path) -> None:
    taken = [integ("prefix", "snapshot", KEY).out.split()[0] for _ in range(2)]
    assert [value for value, _ in offered(["prefix", "restore"], "gog:12")][:1] == [KEY]
    assert [value for value, _ in offered(["prefix", "restore", KEY], "")] == taken[::-1]
    assert [value for value, _ in offered(["prefix", "forget", "--yes", KEY], "2")] == taken[::-1]
    assert offered(["prefix", "restore", KEY, taken[0]], "") == []
    assert offered(["prefix", "restore", "nothing"], "") == []


PROTON = """#!/bin/sh
shift
mkdir -p "$STEAM_COMPAT_DATA_PATH/pfx/drive_c"
case "$1" in
wineboot) touch "$STEAM_COMPAT_DATA_PATH/pfx/system.reg";;
code) echo "out of the program"; exit "$2";;
wait) trap 'exit 9' INT TERM; [ -n "$2" ] && echo $$ > "$2"; echo ready; while :; do sleep 0.05; done;;
esac
"""


@pytest.fixture
def windows_game(home: Path, library: Path) -> Path:
    """The folder of an installed Windows game, and a Proton version on this machine."""
    stage = make_stage(home)
    stage.game("MZ", key=KEY, name="play.exe", platform="windows")
    make_proton(home / ".cache/integ/proton/GE-Proton9-27", needs=None, script=PROTON)
    return stage.installed.folder(KEY)


def test_a_linux_game_is_told_to_have_no_prefix_rather_than_how_to_make_one(integ: Integ, home: Path, library: Path) -> None:
    make_stage(home).game("#!/bin/sh", key=KEY, name="play.sh")
    for words in (["open"], ["restore"], ["snapshot"], ["remove", "--yes"]):
        told = integ("prefix", words[0], KEY, *words[1:])
        assert (told.code, told.err.splitlines()[-1]) == (3, f"hint: integ launch {KEY}")
    refused = integ("prefix", "create", KEY)
    assert (refused.code, len(refused.err.splitlines())) == (2, 2), "nothing is said to be under way"


def test_a_prefix_is_made_opened_and_run_in(integ: Integ, valid: Valid, windows_game: Path) -> None:
    missing = integ("prefix", "open", KEY)
    assert (missing.code, missing.err) == (3, f"error: {KEY} has no prefix\nhint: integ prefix create {KEY}\n")
    made = valid(integ("prefix", "create", KEY, "--json"))
    assert (made["created"], made["proton"], made["path"]) == (True, "GE-Proton9-27", f"{windows_game}/prefix")
    again = integ("prefix", "create", KEY, "--proton", "ge-9.27")
    assert "up to date" in again.out and again.err.startswith("GE-Proton9-27 makes the prefix of ")
    opened = valid(integ("prefix", "open", KEY, "--json"))
    assert (opened["path"], opened["opened"]) == (f"{windows_game}/prefix/pfx/drive_c", False)
    assert integ("prefix", "open", KEY).out == f"{opened['path']}\n"
    ran = integ("prefix", "run", KEY, "--json", "--", "code", "7")
    assert (ran.code, valid(ran)["exit_code"], ran.json["data"]["verb"]) == (7, 7, "run")
    assert "out of the program" in Path(ran.json["data"]["log_path"]).read_text()
    assert integ("prefix", "run", KEY, "--json", "code", "0").code == 0


def test_the_program_s_output_is_ours_and_its_code_too(windows_game: Path, process: Integ) -> None:
    ran = process("prefix", "run", KEY, "code", "6")
    assert (ran.code, ran.out) == (6, "out of the program\n")
    assert "exited with 6" in ran.err


def test_winetricks_verbs_are_checked_and_what_applies_them_has_to_be_there(
    integ: Integ, valid: Valid, windows_game: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
    told = integ("prefix", "winetricks", KEY, "--json", "--", "--force")
    assert (told.code, told.json["error"]) == (2, "UsageError")
    write_program(
        home / "bin" / "winetricks", '#!/bin/sh\nshift; for each in "$@"; do echo "$each" >> "$WINEPREFIX/winetricks.log"; done\n'
    )
    for name in ("wine", "wineserver"):
        write_program(home / ".cache/integ/proton/GE-Proton9-27/files/bin" / name, "#!/bin/sh\n")
    done = valid(integ("prefix", "winetricks", KEY, "d3dx9", "--json"))
    assert (done["by"], done["applied"], done["already"]) == ("winetricks", ["d3dx9"], [])
    assert integ("prefix", "winetricks", KEY, "d3dx9").out == "d3dx9: applied already.\n"
    (home / "bin" / "winetricks").unlink()
    told = integ("prefix", "winetricks", KEY, "vcrun2022", "--json")
    assert (told.code, told.json["error"]) == (127, "ProgramMissingError")
    valid(told)


def test_an_older_build_is_told_of_by_the_dry_run_and_asks_nothing_when_it_starts(integ: Integ, windows_game: Path, home: Path) -> None:
    assert integ("prefix", "create", KEY).code == 0
    make_proton(home / ".cache/integ/proton/GE-Proton8-1", version="GE-Proton8-1", needs=None, script=PROTON)
    told = integ("launch", KEY, "--proton", "GE-Proton8-1", "--dry-run")
    assert told.err.startswith(
        "warning: GE-Proton9-27 has used this prefix, and GE-Proton8-1 is older or of another family: a snapshot is kept"
    )
    assert integ("prefix", "snapshots", KEY).out == "", "a dry run takes none"
    played = integ("launch", KEY, "--proton", "GE-Proton8-1", "--no-input", "--json")
    assert played.code == 0
    assert "warning: GE-Proton9-27 has used this prefix" in played.err
    assert "before an older build" in integ("prefix", "snapshots", KEY).out
    assert "GE-Proton8-1 (ge)" in integ("prefix", "info", KEY).out
    assert "warning" not in integ("launch", KEY, "--proton", "GE-Proton8-1", "--dry-run").err


def test_one_ctrl_c_ends_the_program(windows_game: Path) -> None:
    with on_a_terminal("prefix", "run", KEY, "wait") as terminal:
        terminal.until("ready")
        terminal.interrupt()
        assert terminal.end() == 9
    assert "exited with 9" in terminal.shown


def test_a_program_outlives_an_integ_that_is_killed_and_keeps_the_prefix_to_itself(integ: Integ, windows_game: Path, home: Path) -> None:
    words = [sys.executable, "-m", "integ_cli", "prefix", "run", KEY, "wait", f"{home}/pid"]
    started = subprocess.Popen(words, env={"HOME": str(home), "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    pid = int((home / "pid").read_text())
    started.kill()
    started.wait()
    try:
        assert Path(f"/proc/{pid}").exists()
        assert integ("prefix", "snapshot", KEY).code == 6
        assert integ("launch", KEY).code == 6
    finally:
        os.kill(pid, signal.SIGTERM)
        started.stdout.close()
    while integ("prefix", "snapshot", KEY).code == 6:
        os.sched_yield()
    assert integ("prefix", "snapshots", KEY).out != ""


def test_on_a_desktop_s_terminal_open_shows_the_folder(windows_game: Path, home: Path) -> None:
    drive = windows_game / "prefix" / "pfx" / "drive_c"
    drive.mkdir(parents=True)
    write_program(home / "bin" / "xdg-open", f'#!/bin/sh\necho "$1" > {home}/shown.tmp && mv {home}/shown.tmp {home}/shown\n')
    path = f"{home}/bin:/usr/bin:/bin"
    with on_a_terminal("prefix", "open", KEY, PATH=path, DISPLAY=":0", SSH_TTY="/dev/pts/0") as terminal:
        assert terminal.end() == 0
    assert str(drive) in terminal.shown.replace("\r\n", "")
    assert not (home / "shown").exists()
    with on_a_terminal("prefix", "open", KEY, PATH=path, DISPLAY=":0") as terminal:
        assert terminal.end() == 0
    while not (home / "shown").exists():
        os.sched_yield()
    assert (home / "shown").read_text() == f"{drive}\n"
