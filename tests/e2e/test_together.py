"""Several processes at once on one home: no lock error, no lost write, one migration."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.e2e.conftest import Player, sign_in

pytestmark = pytest.mark.integration


def test_two_first_starts_on_an_empty_home(player: Player, sandbox: Any) -> None:
    started = [player.starts("accounts", "--json") for _ in range(3)]
    ended = [child.communicate(timeout=120) for child in started]
    assert [child.returncode for child in started] == [0, 0, 0], ended
    assert all("lock" not in err for _, err in ended)
    base = sqlite3.connect(player.home / ".local/share/integ/integ.db")
    assert base.execute("SELECT count(*) FROM alembic_version").fetchone()[0] == 1
    assert base.execute("SELECT count(*) FROM users").fetchone()[0] == 1
    base.close()
    backups = [each.name for each in (player.home / ".local/share/integ").iterdir() if "backup" in each.name]
    assert backups == [], "nothing was there to be backed up"


def test_syncs_and_lists_side_by_side(player: Player, sandbox: Any) -> None:
    sign_in(player, sandbox)
    started = [player.starts("sync", "--json") for _ in range(3)] + [player.starts("list", "--json") for _ in range(4)]
    ended = [child.communicate(timeout=120) for child in started]
    assert [child.returncode for child in started] == [0] * 7, ended
    listed = player.done("list", "--json").data["total"]
    assert listed > 5
    assert all(each["added"] == 0 for each in player.done("sync", "--json").data["accounts"])
    assert player.done("list", "--json").data["total"] == listed


def test_the_same_proton_twice_at_once_is_installed_once(player: Player, sandbox: Any) -> None:
    started = [player.starts("install-proton", "ge-latest", "--json") for _ in range(2)]
    ended = [child.communicate(timeout=120) for child in started]
    assert [child.returncode for child in started] == [0, 0], ended
    assert len(player.done("proton", "list", "--json").data["items"]) == 1
    archives = [each for each in sandbox.requests if str(each[2]).endswith(".tar.gz")]
    assert len(archives) == 1, "fetched once, the other one waited"


def test_interrupted_with_ctrl_c_it_ends_with_130_and_goes_on_later(player: Player, sandbox: Any) -> None:
    import signal
    import time

    sign_in(player, sandbox)
    sandbox.faults.on("feed.slow")
    child = player.starts("install-proton", "ge-latest")
    parts = player.home / ".cache/integ/proton"
    deadline = time.monotonic() + 60
    while not any(parts.rglob("*.part")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130, (out, err)
    assert "Traceback" not in err
    sandbox.faults.off("feed.slow")
    player.done("install-proton", "ge-latest")
