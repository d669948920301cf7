"""What goes wrong outside: each a line with a hint and its exit code, and the library stays as it was."""

from __future__ import annotations

import re
from typing import Any

import pytest

from integ_server.sandbox.gog_ground import Knobs
from tests.e2e.conftest import Player, gog_code, sign_in

pytestmark = pytest.mark.integration


def refused(player: Player, code: int, *words: str, given: str | None = None) -> dict[str, Any]:
    """Fail with *code*: one line and a hint for people, one document for scripts."""
    told = player.integ(*words, given=given)
    assert told.code == code, f"{told.code}: {told.out}{told.err}"
    # what a sync waits for is told while it waits, before there is any failure
    lines = [line for line in told.err.splitlines() if line and not re.match(r"(steam|gog) waits: .*; asked again at [\d:]{8}$", line)]
    assert lines[0].startswith("error: ")
    assert any(line.startswith("hint: ") for line in lines), told.err
    return {"lines": lines}


def test_a_wrong_key_is_refused(player: Player, sandbox: Any) -> None:
    refused(player, 4, "login", "steam", "--api-key-stdin", "--steam-id", sandbox.world.steam_id, given="0" * 32)
    assert player.done("accounts", "--json").data["items"] == []


def test_an_expired_code_is_refused(player: Player, sandbox: Any) -> None:
    sandbox.faults.on("gog.expired_code")
    refused(player, 4, "login", "gog", "--code-stdin", given=gog_code(sandbox.url))


def test_a_code_works_once(player: Player, sandbox: Any) -> None:
    code = gog_code(sandbox.url)
    player.done("login", "gog", "--code-stdin", given=code)
    refused(player, 4, "login", "gog", "--code-stdin", given=code)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("steam.private_profile", 4),
        ("steam.wrong_key", 4),
        ("steam.rate_limited", 5),
        ("steam.down", 5),
        ("steam.html", 5),
        ("steam.cut_body", 5),
        ("steam.half_list", 5),
    ],
)
def test_a_store_in_trouble_never_empties_the_library(signed_in: Player, sandbox: Any, fault: str, code: int) -> None:
    signed_in.done("sync")
    before = signed_in.done("list", "--json", "--all").data
    sandbox.faults.on(fault)
    refused(signed_in, code, "sync", "steam")
    assert signed_in.integ("sync", "steam", "--json").json["status"] == "error"
    assert signed_in.done("list", "--json", "--all").data == before


@pytest.mark.parametrize(("fault", "code"), [("gog.down", 5), ("gog.html", 5), ("gog.half_list", 5), ("gog.no_owned_key", 5)])
def test_gog_in_trouble_never_empties_the_library(signed_in: Player, sandbox: Any, fault: str, code: int) -> None:
    signed_in.done("sync")
    before = signed_in.done("list", "--json", "--all").data
    sandbox.faults.on(fault)
    refused(signed_in, code, "sync", "gog")
    assert signed_in.done("list", "--json", "--all").data == before


def test_a_sign_in_that_is_over_is_told_as_such_and_the_library_stays(player: Player, sandbox: Any) -> None:
    sandbox.sandbox.state.part(Knobs).token_ttl_s = 1  # no token lives until the next command
    sign_in(player, sandbox)
    player.done("sync")
    before = player.done("list", "--json", "--all").data
    sandbox.faults.on("gog.signed_out")
    refused(player, 4, "sync", "gog")
    states = {each["provider"]: each["state"] for each in player.done("accounts", "--json").data["items"]}
    assert states == {"steam": "ok", "gog": "signed_out"}
    assert player.done("list", "--json", "--all").data == before


def test_one_of_two_stores_failing_is_partly_done(signed_in: Player, sandbox: Any) -> None:
    sandbox.faults.on("steam.down")
    told = signed_in.integ("sync", "--json")
    assert told.code == 9
    parts = {each["provider"]: each["error"] for each in told.json["data"]["accounts"]}
    assert parts["gog"] is None
    assert parts["steam"]["error"] == "ProviderUnavailableError"
    assert signed_in.done("list", "--store", "gog", "--json").data["total"] > 0


def test_no_network_is_told_with_what_to_do(signed_in: Player, sandbox: Any) -> None:
    sandbox.stop()
    refused(signed_in, 5, "sync", "steam")
    refused(signed_in, 5, "install-proton", "ge-latest")


def test_an_unknown_game_and_an_ambiguous_one(signed_in: Player) -> None:
    signed_in.done("sync")
    refused(signed_in, 3, "show", "no such game at all")
    told = signed_in.integ("show", "e", "--json")
    assert told.code == 6
    assert len(told.json["data"]["candidates"]) > 1


def test_an_unknown_proton_version(player: Player) -> None:
    refused(player, 3, "install-proton", "ge-77.1")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("feed.wrong_checksum", 7),
        ("feed.no_checksum", 7),
        ("feed.hostile_dotdot", 7),
        ("feed.hostile_absolute", 7),
        ("feed.hostile_symlink", 7),
        ("feed.hostile_hardlink", 7),
        ("feed.hostile_device", 7),
        ("feed.bomb", 7),
        ("feed.two_tops", 7),
        ("feed.no_manifest", 7),
        ("feed.down", 5),
        ("feed.html", 5),
        ("feed.rate_limited", 5),
    ],
)
def test_a_bad_build_leaves_nothing_behind(player: Player, sandbox: Any, fault: str, code: int) -> None:
    sandbox.faults.on(fault)
    refused(player, code, "install-proton", "ge-latest")
    assert player.done("proton", "list", "--json").data["items"] == []
    proton = player.home / ".cache" / "integ" / "proton"
    left = [each.name for each in proton.iterdir() if each.is_dir() and each.name != ".integ-download"] if proton.exists() else []
    assert left == [], "no half-unpacked folder"
    assert list(proton.rglob("*.part")) == [], "nothing is kept of an archive that was refused"
    outside = list(player.home.rglob("*evil*"))
    assert outside == []
    sandbox.faults.off(fault)
    player.done("install-proton", "ge-latest")


def test_a_damaged_vdf_file_is_a_warning_and_the_rest_shows(player: Player) -> None:
    steam = player.home / ".local" / "share" / "Steam"
    apps = steam / "steamapps"
    (apps / "common" / "Lantern").mkdir(parents=True)
    (steam / "config").mkdir()
    (apps / "libraryfolders.vdf").write_text('"libraryfolders"\n{\n\t"0"\n\t{\n\t\t"path"\t\t"' + str(steam) + '"\n\t}\n}\n')
    manifest = '"AppState"\n{{\n\t"appid"\t\t"{}"\n\t"name"\t\t"{}"\n\t"StateFlags"\t\t"4"\n\t"installdir"\t\t"Lantern"\n}}\n'
    (apps / "appmanifest_70001.acf").write_text(manifest.format(70001, "Lantern Keep"))
    (apps / "appmanifest_70002.acf").write_bytes(b'"AppState" { "appid" "700')
    listed = player.done("list", "--json").data["items"]
    assert [each["releases"][0]["key"] for each in listed] == ["steam:70001"]
    checks = player.integ("doctor", "--json").data["checks"]
    assert any("70002" in str(each) for each in checks), "doctor names the damaged file"


def test_questions_that_cannot_be_asked_are_refused(signed_in: Player) -> None:
    told = signed_in.integ("logout", "steam", "--no-input")
    assert told.code == 10
    assert signed_in.done("accounts", "--json").data["items"][-1]["state"] == "ok"


def test_a_key_without_its_owner_waits_for_no_browser_when_nobody_may_be_asked(player: Player, sandbox: Any) -> None:
    told = player.integ("login", "steam", "--api-key-stdin", "--no-input", given=sandbox.world.steam_key, timeout_s=60)
    assert told.code == 2
    assert "--steam-id" in told.err


def test_secrets_never_show(player: Player, sandbox: Any) -> None:
    world = sandbox.world
    code = gog_code(sandbox.url)
    said = []
    for words, given in [
        (["-v", "login", "steam", "--api-key-stdin", "--steam-id", world.steam_id], world.steam_key),
        (["login", "gog", "--code-stdin"], code),
        (["sync", "--json"], None),
        (["status", "--json"], None),
        (["config", "list", "--json"], None),
    ]:
        answer = player.integ(*words, given=given, INTEG_LOG_LEVEL="DEBUG")
        said.append(answer.out + answer.err)
    written = [each.read_bytes() for each in player.home.rglob("*") if each.is_file()]
    secret = code.split("code=")[1].split("&")[0]
    for text in (world.steam_key, secret):
        assert not any(text in each for each in said)
        assert not any(text.encode() in each for each in written)
