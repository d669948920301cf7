"""
Every command's document, good and bad, against its checked-in schema: one player, one sandbox, the real backend in this process, and
for some of them a served one too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from integ_cli.command_table import Entry, paths
from integ_server.sandbox.gog_auth import CLIENT_ID, REDIRECT
from tests.cli.conftest import SCHEMAS, Answer, Integ, check_document
from tests.conftest_backends import BackendKind, on_both_kinds, sign_in_at_steam
from tests.conftest_sandbox import RunningSandbox

Valid = Callable[[Answer], dict[str, Any]]


def gog_landing(sandbox: RunningSandbox) -> str:
    """The address that GOG's sign-in page ends on."""
    asked = {"client_id": CLIENT_ID, "redirect_uri": REDIRECT, "response_type": "code", "layout": "client2"}
    return httpx.get(sandbox.at("https://auth.gog.com/auth"), params=asked).headers["Location"]


@pytest.fixture
def outside(sandbox: RunningSandbox, backend_kind: BackendKind) -> RunningSandbox:
    return sandbox


@pytest.fixture
def signed_in(integ: Integ, outside: RunningSandbox, backend_kind: BackendKind) -> RunningSandbox:
    world = outside.world
    if backend_kind.is_served:
        sign_in_at_steam(outside)
    else:
        assert integ("login", "steam", "--steam-id", world.steam_id, "--api-key-stdin", given=world.steam_key).code == 0
    assert integ("login", "gog", "--code-stdin", given=gog_landing(outside)).code == 0
    assert integ("sync").code == 0
    return outside


def schema_name(words: list[str]) -> str:
    return "-".join(words)


def test_there_is_a_schema_for_every_command_that_prints_one() -> None:
    wanted = {"-".join(words) for words, entry in paths() if isinstance(entry, Entry)} - {"tui"} | {"error", "event"}
    assert {each.name.removesuffix("@1.schema.json") for each in SCHEMAS.iterdir()} == wanted


@pytest.mark.parametrize("file", sorted(SCHEMAS.glob("*.json")), ids=lambda file: file.name)
def test_every_schema_is_one(file: Path) -> None:
    schema = json.loads(file.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert file.name == f"{schema['$id'].removeprefix('integ/')}.schema.json"
    assert schema["properties"]["schema"]["const"] == schema["$id"]


def test_signing_in_syncing_and_reading(integ: Integ, outside: RunningSandbox, valid: Valid) -> None:
    world = outside.world
    told = integ("login", "steam", "--steam-id", world.steam_id, "--api-key-stdin", "--json", given=world.steam_key)
    assert valid(told) == {"provider": "steam", "account": world.steam_id, "display_name": world.persona}
    assert valid(integ("login", "gog", "--code-stdin", "--json", given=gog_landing(outside)))["provider"] == "gog"
    assert {each["provider"] for each in valid(integ("sync", "--json"))["accounts"]} == {"steam", "gog"}
    assert {each["state"] for each in valid(integ("accounts", "--json"))["items"]} == {"ok"}
    status = valid(integ("status", "--json"))
    assert (status["backend"], status["upstream_url"]) == ("embedded", outside.url)
    listed = valid(integ("list", "--json"))
    assert listed["total"] == len(listed["items"]) > 0
    by_release = valid(integ("list", "--by", "release", "--json", "--limit", "3"))
    assert all(len(item["releases"]) == 1 for item in by_release["items"])
    assert by_release["total"] >= listed["total"]
    title = listed["items"][0]
    assert valid(integ("search", title["title"], "--json"))["items"][0]["title_id"] == title["title_id"]
    assert valid(integ("show", title["title_id"], "--json"))["releases"] == title["releases"]
    gone = valid(integ("logout", "gog", "--yes", "--json"))["items"]
    assert [each["provider"] for each in gone] == ["gog"]
    assert valid(integ("list", "--store", "gog", "--json"))["total"] == 0


@on_both_kinds
def test_achievements_come_from_each_store_and_from_the_copy_without_a_network(
    integ: Integ, signed_in: RunningSandbox, valid: Valid
) -> None:
    game = next(app for app in signed_in.world.owned_steam if app.achievements > 0)
    key = f"steam:{game.appid}"
    releases = valid(integ("achievements", key, "--json"))["releases"]
    assert [(each["key"], each["total"]) for each in releases] == [(key, game.achievements)]
    shown = integ("achievements", key).out
    assert f"of {game.achievements} unlocked" in shown and "hidden" in shown and "✓" in shown
    signed_in.stop()
    assert valid(integ("achievements", key, "--json"))["releases"] == releases, "asked for within the hour: as it was"
    assert valid(integ("achievements", key, "--again", "--json"))["releases"] == releases
    assert integ("achievements", "no such game").code == 3


@on_both_kinds
def test_people_read_the_same_in_tables(integ: Integ, signed_in: RunningSandbox) -> None:
    for words, told in [
        (["accounts"], "signed in"),
        (["status"], f"Outside: everything goes to {signed_in.url}"),
        (["list"], "TITLE"),
        (["sync"], "STORE"),
        (["proton", "available"], "GE-Proton"),
        (["doctor"], "requests"),
    ]:
        answer = integ(*words)
        assert answer.code == 0, answer.err
        assert told in answer.out or words == ["doctor"]
        assert answer.err == "" or words == ["doctor"]


def test_proton_versions(integ: Integ, outside: RunningSandbox, valid: Valid) -> None:
    assert integ("proton", "list").err == "No Proton version yet: integ install-proton\n"
    offered = valid(integ("proton", "available", "--json", "--limit", "2"))["items"]
    assert [each["installed"] for each in offered] == [False, False]
    version = valid(integ("install-proton", "--json"))["version"]
    assert valid(integ("install-proton", version, "--json"))["already_installed"] is True
    assert [(each["version"], each["default"]) for each in valid(integ("proton", "list", "--json"))["items"]] == [(version, True)]
    assert valid(integ("proton", "use", version, "--json")) == {"version": version, "key": None, "queued": False}
    whole = valid(integ("proton", "verify", version, "--json"))
    assert whole == {"missing": [], "changed": [], "foreign": []}
    (Path(valid(integ("proton", "list", "--json"))["items"][0]["path"]) / "proton").write_text("changed")
    differs = integ("proton", "verify", version, "--json")
    assert (differs.code, valid(differs)["changed"]) == (7, ["proton"])
    assert integ("proton", "remove", version).code == 10
    assert valid(integ("proton", "remove", version, "--yes", "--json")) == {"version": version}
    missing = integ("proton", "use", version, "--json")
    assert missing.code == 3
    valid(missing)


@on_both_kinds
def test_a_game_from_plan_to_removal(integ: Integ, signed_in: RunningSandbox, valid: Valid, tmp_path: Path, home: Path) -> None:
    key = f"gog:{signed_in.world.with_content('native-game').id}"
    plan = valid(integ("install", key, "--dry-run", "--json"))
    assert plan["key"] == key
    assert not Path(plan["path"]).exists()
    lines = integ("install", key, "--events").out.splitlines()
    for line in lines[:-1]:
        check_document(json.loads(line))
    assert check_document(json.loads(lines[-1]))["path"] == plan["path"]
    argv = valid(integ("launch", key, "--dry-run", "--env", "DXVK_HUD=fps", "--json", "--", "--auto"))
    assert (argv["argv"][-1], argv["env"]["DXVK_HUD"]) == ("--auto", "fps")
    played = integ("launch", key, "--json")
    data = valid(played)
    assert (played.code, data["key"], data["exit_code"]) == (0, key, 0)
    assert Path(data["log_path"]).is_file()
    assert [item["installed"] for item in valid(integ("list", "--installed", "--json"))["items"]] == [True]
    refused = integ("uninstall", key, "--no-input", "--json")
    assert (refused.code, refused.json["error"]) == (10, "WouldLoseDataError")
    assert valid(integ("uninstall", key, "--yes", "--json"))["key"] == key
    assert valid(integ("list", "--installed", "--json"))["total"] == 0
    (home / ".local/share/integ/games" / key.replace(":", "-") / "saves").mkdir(parents=True)
    assert valid(integ("uninstall", key, "--purge", "--yes", "--json"))["purged"] is True
    assert integ("uninstall", key, "--purge", "--yes").code == 3
    program = tmp_path / "own" / "start.sh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    taken = valid(integ("import", "My Own Thing", "--path", str(program.parent), "--exe", "start.sh", "--json"))
    assert valid(integ("show", taken["key"], "--json"))["title"] == "My Own Thing"
    assert integ("launch", taken["key"]).code == 9
    assert valid(integ("ps", "--json")) == valid(integ("stop", "--all", "--json")) == {"items": []}
    valid(integ("stop", taken["key"], "--json"))
    kept = valid(integ("options", taken["key"], "--env", "A=b c", "--after", "true", "--args", "-w", "--json"))
    assert (kept["env"], kept["after"], kept["arguments"]) == ({"A": "b c"}, "true", "-w")
    told = integ("options", taken["key"]).out
    assert "'A=b c'" in told and "after" in told and "wrappers" not in told
    assert valid(integ("options", taken["key"], "--env", "", "--json"))["env"] == {}
    assert valid(integ("launch", taken["key"], "--json"))["after_code"] == 0
    assert integ("options", taken["key"], "--off", "--args", "x").code == 2
    assert valid(integ("options", taken["key"], "--off", "--json"))["after"] == ""
    told = integ("launch", taken["key"], "--dry-run", "--env", "WINEPREFIX=/elsewhere", "--wrapper", "mangohud")
    assert (told.code, "/elsewhere" in told.out) == (0, False)
    assert "warning: WINEPREFIX is set by Integ and can't be changed\n" in told.err


def test_settings(integ: Integ, valid: Valid, home: Path) -> None:
    assert valid(integ("config", "path", "--json")) == {"path": f"{home}/.config/integ/config.toml", "exists": False}
    assert valid(integ("config", "set", "bandwidth_limit", "4M", "--json"))["value"] == 4 << 20
    assert valid(integ("config", "get", "bandwidth-limit", "--json"))["source"] == "config.toml"
    told = integ("config", "set", "backend_url", "https://ana:hunter2@integ.example", "--json")
    assert (told.code, "hunter2" in told.out + integ("config", "list").out) == (0, False)
    known = {each["name"]: each for each in valid(integ("config", "list", "--json"))["items"]}
    assert known["bandwidth_limit"]["value"] == 4 << 20


def test_the_doctor(integ: Integ, outside: RunningSandbox, valid: Valid) -> None:
    checks = {each["name"]: each for each in valid(integ("doctor", "--json"))["checks"]}
    assert checks["upstream"]["state"] == "warn"
    assert outside.url in checks["upstream"]["found"]
    assert checks["proton"]["mend"] == "integ install-proton"
    assert checks["backend"]["mend"] == "integ login"


def test_a_sync_in_the_background_outlives_the_command(integ: Integ, process: Integ, outside: RunningSandbox, valid: Valid) -> None:
    world = outside.world
    assert integ("login", "steam", "--steam-id", world.steam_id, "--api-key-stdin", given=world.steam_key).code == 0
    pid = valid(process("sync", "--no-wait", "--json", INTEG_UPSTREAM_URL=outside.url))["background_pid"]
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        os.sched_yield()
    assert valid(integ("list", "--json"))["total"] > 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["login", "steam", "--api-key-stdin", "--steam-id", "1"], 2),
        (["login", "nowhere", "--api-key-stdin"], 2),
        (["login"], 2),
        (["login", "gog"], 2),
        (["login", "gog", "--api-key-stdin"], 2),
        (["logout", "steam"], 10),
        (["show", "nothing"], 3),
        (["install", "nothing"], 3),
        (["uninstall", "nothing", "--yes"], 3),
        (["launch", "nothing"], 3),
        (["import", "gog:1", "--path", "/nonexistent"], 3),
        (["import", "own", "--path", "/nonexistent"], 2),
        (["install-proton", "ge-77.1"], 3),
        (["proton", "use", "ge-77.1"], 3),
        (["proton", "remove", "ge-77.1", "--yes"], 3),
        (["proton", "verify", "ge-77.1"], 3),
        (["config", "get", "nothing"], 2),
        (["config", "set", "nothing", "x"], 2),
        (["config", "set", "runner", "magic"], 2),
        (["tui"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_every_failure_is_a_document_too(integ: Integ, outside: RunningSandbox, valid: Valid, words: list[str], code: int) -> None:
    told = integ(*words, "--json", given="x" * 32 if words[1:2] == ["nowhere"] or "gog" in words else "")
    assert told.code == code, told.err
    valid(told)
    assert told.err.startswith("error: ")


@on_both_kinds
def test_one_of_two_stores_failing_is_exit_9_with_each_part(integ: Integ, signed_in: RunningSandbox, valid: Valid) -> None:
    signed_in.faults.on("steam.wrong_key")
    told = integ("sync", "--json")
    assert told.code == 9
    parts = {each["provider"]: each["error"] for each in valid(told)["accounts"]}
    assert parts["gog"] is None
    assert parts["steam"]["error"]
    assert any(line.startswith("  gog") for line in told.err.splitlines())
