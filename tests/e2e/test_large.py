"""A library of 7,700 games: it syncs, and it lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integ_server.sandbox.app import create_sandbox
from integ_server.sandbox.serve import serve
from integ_server.sandbox.world import make_world
from tests.conftest_sandbox import RunningSandbox
from tests.e2e.conftest import Player, sign_in

pytestmark = pytest.mark.integration


@pytest.mark.timeout(400)
def test_seven_thousand_seven_hundred_games_sync_and_list(home: Path) -> None:
    made = create_sandbox(make_world("large"))
    with serve(made) as url:
        player = Player(home, url)
        sign_in(player, RunningSandbox(url, made))
        added = player.integ("sync", "--json", timeout_s=300).data["accounts"]
        assert {each["provider"]: each["added"] for each in added} == {"steam": 5000, "gog": 2700}
        assert all(each["added"] == each["changed"] == each["removed"] == 0 for each in player.done("sync", "--json").data["accounts"])
    listed: dict[str, Any] = player.done("list", "--by", "release", "--all", "--json").data
    assert listed["total"] == 7700
    keys = {each["releases"][0]["key"] for each in listed["items"]}
    assert len(keys) == 7700
    titles = player.done("list", "--all", "--json").data["items"]
    assert len({each["title_id"] for each in titles}) == len(titles) < 7700, "what is at both stores is one title"
    assert sum(len(each["releases"]) for each in titles) == 7700
