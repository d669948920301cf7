from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from integ_server.sandbox.app import create_sandbox
from integ_server.sandbox.faults import KNOWN
from integ_server.sandbox.serve import serve
from integ_server.sandbox.world import make_world
from tests.conftest_sandbox import RunningSandbox

OWNED = "api.steampowered.com/IPlayerService/GetOwnedGames/v1"


def test_it_answers_as_soon_as_it_is_there_on_loopback_alone_and_is_gone_afterwards() -> None:
    with serve(create_sandbox(make_world())) as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/_sandbox/faults").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/_sandbox/faults")
    assert not [thread for thread in threading.enumerate() if thread.name == "integ-sandbox"]


def test_a_port_that_is_taken_is_told_and_a_free_one_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), serve(create_sandbox(make_world()), port):
            pass
    with serve(create_sandbox(make_world()), port) as url:
        assert url.endswith(f":{port}")


def test_it_stops_although_somebody_still_waits_for_an_answer(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("feed.stall")
    root = sandbox.at("https://api.github.com/repos/GloriousEggroll/proton-ge-custom/releases/latest")
    with httpx.Client() as http:
        asset = next(one for one in http.get(root).json()["assets"] if one["name"].endswith(".tar.gz"))
        there = http.get(sandbox.at(asset["browser_download_url"])).headers["location"]
        with http.stream("GET", sandbox.at(there)) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            sandbox.stop()
            with pytest.raises(httpx.TransportError):
                for _ in pieces:
                    pass
    assert not [thread for thread in threading.enumerate() if thread.name == "integ-sandbox"]


def test_it_logs_nothing_not_even_its_own_breaking_off(
    sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    sandbox.faults.on("steam.cut_body")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{sandbox.url}/{OWNED}", params={"key": sandbox.world.steam_key, "steamid": sandbox.world.steam_id})
    sandbox.stop()
    assert [record for record in caplog.records if not record.name.startswith("httpx")] == []
    assert capfd.readouterr() == ("", "")


def test_other_servers_of_the_process_are_still_heard(sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("uvicorn.error").warning("the real backend says something")
    assert "the real backend says something" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_prints_one_line_and_ends_cleanly_when_told_to(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "integ_server.sandbox", "--fault", "steam.down", "--fault", "feed.slow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        assert httpx.get(f"{url}/_sandbox/faults").json()["on"] == ["feed.slow", "steam.down"]
        assert httpx.get(f"{url}/{OWNED}").status_code == 503
        program.send_signal(number)
        out, err = program.communicate(timeout=20)
    assert (program.returncode, out, err) == (0, "", "")


def test_the_program_lists_every_fault_with_its_meaning_and_refuses_others() -> None:
    command = [sys.executable, "-m", "integ_server.sandbox"]
    told = subprocess.run([*command, "--list-faults"], capture_output=True, text=True, check=True)
    assert {line.split()[0]: line.split(maxsplit=1)[1] for line in told.stdout.splitlines()} == KNOWN
    assert {"gog.down", "steam.down", "feed.down"} <= KNOWN.keys()
    wrong = subprocess.run([*command, "--fault", "steam.dwon"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "steam.dwon" in wrong.stderr


def test_a_running_sandbox_changes_nothing_in_the_environment() -> None:
    before = dict(os.environ)
    with serve(create_sandbox(make_world())):
        assert dict(os.environ) == before
