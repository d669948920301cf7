"""The main job in an empty home: sign in, sync, look, install Proton, install, launch; then without the outside."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Answer, Player, gog_code

pytestmark = pytest.mark.integration
Valid = Callable[[Answer], dict[str, Any]]


def test_from_sign_in_to_launch_and_on_with_the_outside_gone(player: Player, sandbox: Any, valid: Valid) -> None:
    world = sandbox.world
    steam = valid(player.done("login", "steam", "--api-key-stdin", "--steam-id", world.steam_id, "--json", given=world.steam_key))
    assert (steam["provider"], steam["account"]) == ("steam", world.steam_id)
    gog = valid(player.done("login", "gog", "--code-stdin", "--json", given=gog_code(sandbox.url)))
    assert gog["provider"] == "gog"

    accounts = valid(player.done("sync", "--json"))["accounts"]
    assert {each["provider"] for each in accounts} == {"steam", "gog"}
    assert all(each["added"] > 0 and each["error"] is None for each in accounts)
    again = valid(player.done("sync", "--json"))["accounts"]
    assert [(each["added"], each["changed"], each["removed"]) for each in again] == [(0, 0, 0), (0, 0, 0)]

    listed = valid(player.done("list", "--json"))
    assert listed["total"] == len(listed["items"]) > 5
    both = [item for item in listed["items"] if {"steam", "gog"} <= {each["provider"] for each in item["releases"]}]
    assert both, "a title that is at both stores is one row"

    game = native_game(world)
    key = f"gog:{game.id}"
    found = valid(player.done("search", game.title, "--json"))
    assert found["items"][0]["title"].startswith(game.title[:5])
    shown = valid(player.done("show", key, "--json"))
    assert "details" in shown

    build = valid(player.done("install-proton", "ge-latest", "--json"))
    assert build["already_installed"] is False
    assert valid(player.done("install-proton", build["version"], "--json"))["already_installed"] is True
    protons = valid(player.done("proton", "list", "--json"))["items"]
    assert [each["version"] for each in protons] == [build["version"]]

    valid(player.done("install", key, "--json"))
    played = player.done("launch", key)
    assert played.out.strip(), "a native game's output reaches the terminal"

    sandbox.stop()
    assert valid(player.done("list", "--json"))["total"] == listed["total"]
    assert valid(player.done("search", game.title, "--json"))["items"]
    valid(player.done("show", key, "--json"))
    player.done("launch", key)
    assert player.integ("sync", "--json").code == 5


def native_game(world: Any) -> Any:
    """The GOG product that installs and runs here for real."""
    return next(title.gog for title in world.titles if title.gog is not None and title.gog.content == "native-game")


def test_events_are_lines_of_json_that_end_with_the_document(signed_in: Player, valid: Valid) -> None:
    for words in (["sync", "--events"], ["install-proton", "ge-latest", "--events"]):
        lines = signed_in.done(*words).out.splitlines()
        events = [json.loads(line) for line in lines[:-1]]
        assert events
        assert {each["schema"] for each in events} == {"integ/event@1"}
        assert all({"event", "stage", "done_bytes", "total_bytes", "timestamp"} <= each.keys() for each in events)
        valid(Answer(0, lines[-1], ""))


def test_a_dry_run_prints_the_whole_plan_and_starts_nothing(signed_in: Player, sandbox: Any, valid: Valid) -> None:
    signed_in.done("sync")
    key = f"gog:{native_game(sandbox.world).id}"
    plan = valid(signed_in.done("install", key, "--dry-run", "--json"))
    assert plan["key"] == key
    assert plan["platform"] == "linux"
    assert not (signed_in.home / "Games").exists()
    signed_in.done("install", key)
    assert "~/Games/Lantern Keep" in signed_in.done("show", key).out, "people read their home as ~"
    launch = valid(signed_in.done("launch", key, "--dry-run", "--json", "--", "--auto"))
    assert launch["runner"] == "native"
    assert launch["argv"][-1] == "--auto"


def test_uninstall_leaves_what_the_player_made(signed_in: Player, sandbox: Any, valid: Valid) -> None:
    signed_in.done("sync")
    key = f"gog:{native_game(sandbox.world).id}"
    folder = valid(signed_in.done("install", key, "--json"))["path"]
    from pathlib import Path

    own = Path(folder) / "my notes.txt"
    own.write_text("the third lamp first")
    signed_in.done("uninstall", key, "--yes")
    assert own.read_text() == "the third lamp first"
    assert [each for each in Path(folder).rglob("*") if each.is_file()] == [own]
    assert valid(signed_in.done("list", "--installed", "--json"))["total"] == 0
    in_the_way = Path(folder) / "start.sh"
    in_the_way.write_text("mine now")
    signed_in.done("install", key)  # the game comes back to what it left
    assert own.read_text() == "the third lamp first"
    assert in_the_way.read_text() != "mine now"
    trashed = [each.read_text() for each in (signed_in.home / "Games" / ".integ-trash").rglob("start.sh")]
    assert trashed == ["mine now"]


def test_a_key_alone_is_enough_where_a_browser_says_whose_it_is(player: Player, sandbox: Any) -> None:
    waiting = player.starts("login", "steam", "--api-key-stdin", "--json", given=sandbox.world.steam_key)
    assert waiting.stderr is not None
    address = next(line.strip() for line in waiting.stderr if line.strip().startswith(sandbox.url))
    with urllib.request.urlopen(address, timeout=30) as page:
        assert page.status == 200
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert json.loads(out)["data"]["account"] == sandbox.world.steam_id
