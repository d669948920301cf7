"""The life of a game, as a player meets it: it runs, it is seen, it is refused a second time, it is stopped, its time is kept."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Answer, Player

pytestmark = pytest.mark.integration

HANGING = r"""
#include <windows.h>
#include <stdio.h>
int main(int count, char **words)
{
    char name[64];
    snprintf(name, sizeof name, "runs-%s", count > 1 ? words[1] : "parent");
    if (count == 1) {
        char line[2048] = "hang.exe child";
        STARTUPINFOA how = { sizeof how };
        PROCESS_INFORMATION child;
        if (!CreateProcessA("hang.exe", line, NULL, NULL, FALSE, DETACHED_PROCESS, NULL, NULL, &how, &child))
            return 3;
    }
    fclose(fopen(name, "w"));
    for (;;)
        Sleep(1000);
}
"""


def wait_for(condition: Callable[[], Any], *, within_s: float = 120.0) -> Any:
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)
    return found


def own_game(player: Player, folder: Path, script: str) -> str:
    """A Linux program of the player's own, taken over; its key."""
    folder.mkdir()
    program = folder / "start.sh"
    program.write_text(script)
    program.chmod(0o755)
    return player.done("import", "Slow Tea", "--path", str(folder), "--exe", "start.sh", "--json").data["key"]


def of_the_game(folder: Path) -> list[int]:
    """Processes whose working folder is the game's."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(each / "cwd") == str(folder) and (each / "cmdline").read_bytes():
                found.append(int(each.name))
        except OSError:
            continue
    return found


@pytest.mark.timeout(300)
def test_a_hanging_windows_program_and_the_child_it_left_are_stopped(
    player: Player, valid: Callable[[Answer], dict[str, Any]], tmp_path: Path, need: Callable[[str], str]
) -> None:
    compiler, server = need("x86_64-w64-mingw32-gcc"), (need("wine"), need("wineserver"))[1]
    folder = tmp_path / "Hang"
    folder.mkdir()
    (tmp_path / "hang.c").write_text(HANGING)
    subprocess.run([compiler, tmp_path / "hang.c", "-o", folder / "hang.exe"], check=True)
    player.more["PATH"] = f"{player.environ['PATH']}:/usr/games"
    version = player.done("install-proton", "ge-latest", "--json").data["version"]
    key = player.done("import", "Hang", "--path", str(folder), "--exe", "hang.exe", "--json").data["key"]
    prefix = Path(player.done("launch", key, "--dry-run", "--json").data["prefix"])
    started = player.starts("launch", key, "--json")
    try:
        wait_for(lambda: (folder / "runs-parent").exists() and (folder / "runs-child").exists())
        (item,) = valid(player.done("ps", "--json"))["items"]
        assert (item["key"], item["title"], item["proton"]) == (key, "Hang", version)
        assert len(of_the_game(folder)) >= 2
        refused = player.integ("launch", key, "--json")
        assert (refused.code, refused.json["error"]) == (6, "BusyError")

        stopped = player.integ("stop", "hang", "--json")
        assert stopped.code == 0, stopped.err
        assert [each["key"] for each in valid(stopped)["items"]] == [key]
        assert "Hang: " in stopped.err, "what is done is told while it is done"
        assert wait_for(lambda: not of_the_game(folder))
        out, _ = started.communicate(timeout=60)
        assert f'"key":"{key}","exit_code":' in out
        assert valid(player.done("ps", "--json"))["items"] == []
        again = player.integ("stop", key, "--json")
        assert (again.code, again.json["error"]) == (3, "NotFoundError")
    finally:
        subprocess.run([server, "-k"], env={**player.environ, "WINEPREFIX": str(prefix / "pfx")}, check=False, capture_output=True)
        started.kill()
        started.communicate()


def test_a_killed_integ_costs_neither_the_game_nor_its_time(player: Player, tmp_path: Path) -> None:
    folder = tmp_path / "Tea"
    key = own_game(player, folder, '#!/bin/sh\ntouch "$0.runs"\nwhile [ ! -e "$0.end" ]; do sleep 0.05; done\nexit 4\n')
    started = player.starts("launch", key)
    wait_for((folder / "start.sh.runs").exists)
    wait_for(lambda: player.done("ps", "--json").data["items"])
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()  # its pipes are the game's too, which goes on
    (item,) = player.done("ps", "--json").data["items"]
    assert item["key"] == key, "the game goes on"
    assert key in player.done("ps").out
    time.sleep(1.2)
    (folder / "start.sh.end").touch()
    sessions = player.home / ".local/share/integ/games" / key.replace(":", "-") / "sessions.jsonl"
    wait_for(sessions.exists)
    assert '"exit_code": 4' in wait_for(sessions.read_text)
    assert player.done("ps", "--json").data["items"] == []
    started.communicate()


def test_ctrl_c_while_a_stop_waits_leaves_the_stop_to_the_watcher(player: Player, tmp_path: Path) -> None:
    folder = tmp_path / "Tea"
    script = '#!/bin/sh\ntrap "touch $0.heard" TERM\ntouch "$0.runs"\nwhile [ ! -e "$0.end" ]; do sleep 0.05; done\nexit 3\n'
    key = own_game(player, folder, script)
    started = player.starts("launch", key)
    wait_for((folder / "start.sh.runs").exists)
    wait_for(lambda: player.done("ps", "--json").data["items"])
    stopping = player.starts("stop", "--all")
    wait_for((folder / "start.sh.heard").exists)
    stopping.send_signal(signal.SIGINT)
    _, err = stopping.communicate(timeout=20)
    assert stopping.returncode == 130 and "integ ps" in err
    assert started.poll() is None
    (folder / "start.sh.end").touch()
    assert started.wait(timeout=20) == 3, "the game's own exit code"
    started.communicate()
    assert player.done("stop", "--all").out == "Nothing runs.\n"
    assert player.integ("stop").code == 2


def test_a_crash_is_told_with_the_games_last_words_and_on_the_desktop(player: Player, tmp_path: Path) -> None:
    notifier = tmp_path / "bin" / "notify-send"
    notifier.parent.mkdir()
    notifier.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$0.said"\n')
    notifier.chmod(0o755)
    player.more |= {"PATH": f"{notifier.parent}:{player.environ['PATH']}", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/bus"}
    key = own_game(player, tmp_path / "Tea", "#!/bin/sh\nseq 100\nprintf 'out of \\033[31mmilk\\n' >&2\nexit ${CODE:-3}\n")
    said = Path(f"{notifier}.said")
    crashed = player.integ("launch", key, "--json")
    assert (crashed.code, crashed.data["exit_code"]) == (3, 3)
    words = crashed.err.splitlines()
    at = next(at for at, line in enumerate(words) if "out of" in line)
    assert "\033" not in words[at] and words[at - 1].strip() == "100" and "# game" not in crashed.err
    assert "  50" not in words, "the last ones only"
    assert not said.exists(), "nobody listens on that bus"

    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(f"{tmp_path}/bus")
        bus.listen()
        assert player.integ("launch", key, "--json", CODE="139").code == 139
        assert said.read_text().splitlines()[-2] == "Slow Tea has crashed"
        said.unlink()
        assert player.integ("launch", key, "--json", CODE="0").err.count("out of") == 0
        assert not said.exists()
