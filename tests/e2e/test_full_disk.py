"""A disk that is full: exit 8 with a hint, nothing half-written, and all well again once there is room."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Player, sign_in

pytestmark = pytest.mark.integration


def on_small_disk(player: Player, folder: Path, size: str, script: str) -> str:
    """
    Run the shell *script* where *folder* is a disk of *size* of its own, holding what it held; answers what it printed.

    `integ` in it is the real command; `fill` and `make_room` do what they say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    here, kept = shlex.quote(str(folder)), shlex.quote(f"{folder}.kept")
    whole = f"""
        set -u
        integ() {{ {shlex.quote(sys.executable)} -m integ_cli "$@"; }}
        fill() {{ cat /dev/zero >{here}/filler 2>/dev/null; true; }}
        make_room() {{ rm -f {here}/filler; }}
        cp -a {here} {kept} && mount -t tmpfs -o size={size} small {here} && cp -a {kept}/. {here}/ || exit 99
        {script}
    """
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", "--mount", *user, "sh", "-c", whole], env=player.environ, capture_output=True, text=True, check=False, timeout=170
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        reason = f"no disk of its own can be mounted here: {done.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def test_a_build_that_does_not_fit_is_not_begun(player: Player, sandbox: Any) -> None:
    said = on_small_disk(
        player,
        player.home / ".cache",
        "600k",
        """
        integ install-proton ge-latest; echo "code $?"
        find ~/.cache/integ/proton -name '.integ-tmp*' -o -name '*.part'
        integ proton list --json
        """,
    )
    assert "code 8" in said, said
    assert "hint: " in said
    assert ".integ-tmp" not in said
    assert ".part" not in said
    assert '"items":[]' in said


def test_a_sync_on_a_full_disk_leaves_the_library_as_it_was_and_goes_on_later(player: Player, sandbox: Any) -> None:
    sign_in(player, sandbox)
    said = on_small_disk(
        player,
        player.home / ".local" / "share" / "integ",
        "3m",
        """
        integ sync steam >/dev/null; echo "before $?"
        integ list --json | md5sum
        fill
        integ sync gog; echo "full $?"
        integ list --json | md5sum
        make_room
        integ sync gog; echo "after $?"
        integ list --store gog --json
        """,
    )
    assert "before 0" in said, said
    assert "full 8" in said, said
    assert "after 0" in said, said
    sums = [line for line in said.splitlines() if line.endswith("  -")]
    assert len(sums) == 2
    assert '"total":0' not in said.splitlines()[-1]


def test_a_game_that_does_not_fit_is_not_there_by_half(player: Player, sandbox: Any) -> None:
    sign_in(player, sandbox)
    player.done("sync")
    said = on_small_disk(
        player,
        player.home / "Games",
        "700k",
        """
        integ install gog:1900000101; echo "code $?"
        integ list --installed --json
        find ~/Games -type f
        """,
    )
    assert "code 8" in said, said
    assert '"total":0' in said
    assert "Lantern" not in said.splitlines()[-1], "no file of the game is left"
