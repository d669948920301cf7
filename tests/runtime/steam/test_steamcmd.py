"""Installing by steamcmd: its words in their order, what it prints, and how each of its failures is told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from integ_runtime.progress import Progress
from integ_runtime.steam.steamcmd import Steamcmd, install_words
from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    StorageError,
    UsageError,
)
from tests.runtime.launch.stage import until
from tests.runtime.steam.steam_home import vdf, write

STEAMCMD = f"""#!{sys.executable} -IS
import json, os, sys, time
plan = json.load(open(__file__ + ".json"))
runs = open(__file__ + ".runs", "a+")
runs.write(json.dumps(sys.argv[1:]) + "\\n"); runs.flush(); runs.seek(0)
run = plan[min(len(runs.readlines()), len(plan)) - 1]
words = sys.argv[1:]
for line in run["says"]:
    sys.stdout.write(line + "\\r\\n"); sys.stdout.flush()
if run.get("manifest"):
    folder = os.path.join(words[words.index("+force_install_dir") + 1], "steamapps")
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "appmanifest_620.acf"), "w").write(run["manifest"])
time.sleep(run.get("sleeps", 0))
sys.exit(run.get("code", 0))
"""
GOOD = {
    "says": [
        "\x1b[0mLoading Steam API...OK",
        " Update state (0x5) verifying install, progress: 50.00 (5 / 10)",
        " Update state (0x61) downloading, progress: 12.34 (1234 / 10000)",
        " Update state (0x61) downloading, progress: 99.00 (9900 / 10000)",
        "Success! App '620' fully installed.",
    ],
    "manifest": vdf({"AppState": {"appid": 620, "StateFlags": 4, "buildid": "99", "SizeOnDisk": 10000}}),
}


def steamcmd(home: Path, *runs: dict[str, object]) -> Steamcmd:
    """The program in this home's PATH; its first run is the first of *runs*, and so on, the last one again and again."""
    write(home / "bin" / "steamcmd", STEAMCMD).chmod(0o755)
    write(home / "bin" / "steamcmd.json", json.dumps(runs))
    return Steamcmd({"PATH": f"{home}/bin", "HOME": str(home)})


def runs_of(home: Path) -> list[list[str]]:
    return [json.loads(line) for line in (home / "bin" / "steamcmd.runs").read_text().splitlines()]


def test_platform_and_folder_are_told_before_the_login_and_no_password_ever() -> None:
    words = install_words("620", Path("/games/Portal 2"), login="ana", platform="windows", branch="beta")
    assert " ".join(words) == (
        "+@ShutdownOnFailedCommand 1 +@NoPromptForPassword 1 +@sSteamCmdForcePlatformType windows"
        " +force_install_dir /games/Portal 2 +login ana +app_update 620 -beta beta +quit"
    )


@pytest.mark.parametrize(
    ("game", "login", "branch"),
    [("620;x", "ana", None), ("", "ana", None), ("620", "", None), ("620", "a b", None), ("620", "+quit", None), ("620", "ana", "-x y")],
)
def test_nothing_that_could_be_another_command_reaches_it(game: str, login: str, branch: str | None) -> None:
    with pytest.raises(UsageError):
        install_words(game, Path("/g"), login=login, platform="linux", branch=branch)


async def test_progress_is_told_as_it_is_printed_and_the_manifest_says_what_is_there(home: Path) -> None:
    told: list[Progress] = []
    done = await steamcmd(home, GOOD).install("620", home / "g", login="ana", platform="linux", report=told.append)
    assert (done.path, done.build, done.bytes_on_disk) == (home / "g", "99", 10000)
    assert [(each.stage, each.done_bytes, each.total_bytes) for each in told] == [
        ("verify", 5, 10),
        ("download", 1234, 10000),
        ("download", 9900, 10000),
    ]


async def test_a_run_that_updated_itself_is_done_once_more(home: Path) -> None:
    await steamcmd(home, {"says": ["Restarting steamcmd"], "code": 7}, GOOD).install("620", home / "g", login="ana", platform="linux")
    assert len(runs_of(home)) == 2
    with pytest.raises(ProviderError, match="ended with 7"):
        await steamcmd(home, {"says": [], "code": 7}).install("620", home / "h", login="ana", platform="linux")


@pytest.mark.parametrize(
    ("line", "code", "kind"),
    [
        ("Cached credentials not found.", 5, AuthenticationError),
        ("FAILED (Invalid Password)", 5, AuthenticationError),
        ("", 5, AuthenticationError),
        ("FAILED login with result code Rate Limit Exceeded", 5, RateLimitedError),
        ("ERROR! Failed to install app '620' (No subscription)", 8, PermissionDeniedError),
        ("ERROR! Failed to install app '620' (Invalid platform)", 8, UsageError),
        ("ERROR! Failed to install app '620' (Missing configuration)", 0, ProviderError),
        ("Error! App '620' state is 0x202 after update job.", 8, StorageError),
        ("Error! App '620' state is 0x606 after update job.", 8, StorageError),
        ("Error! App '620' state is 0x602 after update job.", 8, ProviderUnavailableError),
        ("Error! App '620' state is 0x6A6 after update job.", 8, IntegrityError),
        ("something else", 0, ProviderError),
    ],
)
async def test_each_failure_is_told_by_its_name_though_the_exit_code_says_nothing(
    home: Path, line: str, code: int, kind: type[IntegError]
) -> None:
    with pytest.raises(kind) as told:
        await steamcmd(home, {"says": [line], "code": code}).install("620", home / "g", login="ana", platform="linux")
    assert type(told.value) is kind
    assert told.value.hint


async def test_success_without_a_manifest_is_not_believed(home: Path) -> None:
    with pytest.raises(IntegrityError, match="left no manifest"):
        await steamcmd(home, {**GOOD, "manifest": None}).install("620", home / "g", login="ana", platform="linux")


async def test_whoever_stops_waiting_ends_it_too(home: Path) -> None:
    program = steamcmd(home, {"says": ["begun"], "sleeps": 600})
    running = asyncio.ensure_future(program.install("620", home / "g", login="ana", platform="linux"))
    await until(lambda: (home / "bin" / "steamcmd.runs").exists() and bool(runs_of(home)))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    mine = os.fsencode(home / "bin" / "steamcmd")
    left = [each for each in Path("/proc").glob("[0-9]*/cmdline") if _words(each).count(mine)]
    assert left == []


def _words(cmdline: Path) -> list[bytes]:
    try:
        return cmdline.read_bytes().split(b"\0")
    except OSError:
        return []


async def test_a_program_or_a_folder_that_can_t_be_used_is_told(home: Path) -> None:
    program = steamcmd(home, GOOD)
    write(home / "file", "in the way")
    with pytest.raises(StorageError, match="file"):
        await program.install("620", home / "file" / "Portal", login="ana", platform="linux")
    before = set(os.listdir("/proc/self/fd"))
    (home / "bin" / "steamcmd").write_text("#!/nowhere/sh\n")
    with pytest.raises(ProviderError, match="can't be started"):
        await program.install("620", home / "Portal", login="ana", platform="linux")
    with pytest.raises(ProviderError, match="can't be started"):
        program.sign_in("ana")
    assert set(os.listdir("/proc/self/fd")) <= before, "no terminal is left open"


def test_signing_in_is_left_to_the_program_itself(home: Path) -> None:
    steamcmd(home, {"says": []}).sign_in("ana")
    assert runs_of(home) == [["+login", "ana", "+quit"]]


def test_a_machine_without_it_is_told(home: Path, tmp_path: Path) -> None:
    if Path("/usr/games/steamcmd").exists():
        pytest.skip("it is on this machine")
    with pytest.raises(NotFoundError, match="not on this machine"):
        Steamcmd({"PATH": str(tmp_path)})
