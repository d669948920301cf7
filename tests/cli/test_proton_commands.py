"""Proton versions as a player meets them: which there are, what comes and goes, and what is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integ_server.releases.families import X86, this_arch
from tests.cli.conftest import Answer, Integ
from tests.cli.terminal import on_a_terminal
from tests.conftest_backends import BackendKind
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.proton.proton_home import fake_build
from tests.runtime.steam.steam_home import SteamHome

Valid = Callable[[Answer], dict[str, Any]]


def test_the_name_alone_says_whose_build_is_meant(integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid) -> None:
    done = valid(integ("install-proton", "umu", "--json"))
    assert (done["version"], done["family"]) == ("UMU-Proton-9.0-4e", "umu")
    wrong = integ("install-proton", "umu-9.0-3.2", "--family", "ge", "--json")
    assert wrong.code == 3
    valid(wrong)


@pytest.mark.skipif(this_arch() != X86, reason="these builds are for PCs")
def test_plain_wine_is_installed_and_planned_like_any_version_and_kept_out_of_steam(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid, home: Path
) -> None:
    listed = valid(integ("proton", "available", "--family", "kron4ek", "--variant", "staging", "--limit", "1", "--json"))
    assert [each["version"] for each in listed["items"]] == ["wine-11.7-staging"]
    assert "staging-tkg-wow64" in integ("proton", "available", "--family", "kron4ek").err, "what else there is, is told"
    assert integ("proton", "available", "--family", "umu").err == ""
    wrong = integ("proton", "available", "--variant", "staging", "--json")
    assert (wrong.code, wrong.json["error"]) == (2, "UsageError")
    valid(wrong)
    SteamHome(home / ".local/share/Steam")
    refused = integ("install-proton", "kron4ek-11.7", "--to", "steam")
    assert refused.code == 2
    assert refused.err.startswith("error: Kron4ek Wine is plain Wine, which Steam can't run")
    assert "hint: integ install-proton kron4ek-11.7 --family kron4ek, for games that Integ starts" in refused.err

    done = valid(integ("install-proton", "kron4ek-11.7", "--json"))
    assert (done["version"], done["family"]) == ("wine-11.7", "kron4ek")
    game = home / "Tea" / "tea.exe"
    game.parent.mkdir()
    game.write_text("MZ")
    key = valid(integ("import", "Tea", "--path", str(game.parent), "--exe", "tea.exe", "--json"))["key"]
    valid(integ("proton", "use", "wine-11.7", "--game", key, "--json"))
    plan = valid(integ("launch", key, "--dry-run", "--json"))
    assert plan["argv"] == [f"{done['path']}/bin/wine", str(game)]
    assert (plan["runner"], plan["proton"]) == ("wine", "wine-11.7")
    assert plan["env"]["WINEPREFIX"] == f"{plan['prefix']}/pfx"
    (item,) = [each for each in valid(integ("proton", "list", "--json"))["items"] if each["family"] == "kron4ek"]
    assert item["used_by"] == [key]
    assert valid(integ("proton", "verify", "wine-11.7", "--json"))["changed"] == []
    kept = integ("proton", "remove", "wine-11.7", "--yes", "--json")
    assert kept.code == 10
    assert integ("proton", "use", "--off", "--game", key).code == 0
    valid(integ("proton", "remove", "wine-11.7", "--yes", "--json"))
    gone = integ("launch", key, "--proton", "wine-11.7")
    assert gone.err.startswith("error: wine-11.7 is not installed\nhint: integ install-proton wine-11.7")


def test_an_old_list_is_shown_with_a_word_about_it(integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid) -> None:
    listed = valid(integ("proton", "available", "--family", "umu", "--json"))
    sandbox.faults.on("feed.rate_limited")
    again = integ("proton", "available", "--family", "umu", "--refresh", "--json")
    assert (again.code, valid(again)) == (0, listed)
    assert again.err.startswith("warning: GitHub asks for a pause")


def test_an_update_tells_what_came_and_then_that_nothing_is_new(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid
) -> None:
    nothing = integ("proton", "update")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "No Proton version of Integ's yet: integ install-proton\n")
    for version in ("ge-9.1", "umu"):
        assert integ("install-proton", version).code == 0
    assert integ("proton", "use", "ge-9.1").code == 0
    came = {each["family"]: each for each in valid(integ("proton", "update", "--json"))["items"]}
    assert (came["ge"]["before"], came["ge"]["version"], came["ge"]["default_moved"]) == ("GE-Proton9-1", "GE-Proton11-6", True)
    assert (came["umu"]["updated"], came["umu"]["version"]) == (False, "UMU-Proton-9.0-4e")
    again = integ("proton", "update")
    assert again.code == 0
    assert again.out == "GE-Proton11-6 is the newest already.\nUMU-Proton-9.0-4e is the newest already.\n"
    missing = integ("proton", "update", "cachyos", "--json")
    assert (missing.code, missing.json["hint"]) == (3, "integ install-proton cachyos")
    valid(missing)


def test_pruning_shows_first_and_removes_after_a_yes(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid
) -> None:
    assert integ("proton", "prune").err == "Every Proton version that Integ installed is used.\n"
    for version in ("ge-9.1", "ge-9.2", "ge-9.3"):
        assert integ("install-proton", version).code == 0
    shown = integ("proton", "prune", "--keep", "2")
    assert shown.out.count("GE-Proton") == 2  # one row: its name and its path
    assert shown.err == "Nothing was removed: integ proton prune --yes --keep 2\n"
    listed = valid(integ("proton", "prune", "--json"))
    assert ([each["version"] for each in listed["items"]], listed["removed"]) == (["GE-Proton9-2", "GE-Proton9-1"], False)
    gone = valid(integ("proton", "prune", "--yes", "--keep", "2", "--json"))
    assert ([each["version"] for each in gone["items"]], gone["removed"]) == (["GE-Proton9-1"], True)
    assert gone["size_bytes"] > 0
    left = [each["version"] for each in valid(integ("proton", "list", "--json"))["items"]]
    assert left == ["GE-Proton9-3", "GE-Proton9-2"]


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, {"GE-Proton9-2"}), ("n", 10, {"GE-Proton9-1", "GE-Proton9-2"})])
def test_on_a_terminal_pruning_shows_what_would_go_and_asks(home: Path, answer: str, code: int, left: set[str]) -> None:
    tools = home / ".cache/integ/proton"
    for number in (1, 2):
        fake_build(tools, f"GE-Proton9-{number}")
    with on_a_terminal("proton", "prune") as terminal:
        shown = terminal.until("Remove 1 of the installed Proton versions? [y/N] ")
        terminal.type(f"{answer}\n")
        assert terminal.end() == code
    assert "GE-Proton9-1" in shown and "GE-Proton9-2" not in shown
    assert {each.name for each in tools.iterdir() if not each.name.startswith(".")} == left


def test_a_build_for_steam_is_installed_listed_and_removed(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid, home: Path
) -> None:
    missing = integ("install-proton", "ge-9.1", "--to", "steam", "--json")
    assert (missing.code, missing.json["error"]) == (3, "NotFoundError")
    valid(missing)
    steam = SteamHome(home / ".local/share/Steam")
    SteamHome(home / "snap/steam/common/.local/share/Steam")
    done = integ("install-proton", "ge-9.1", "--to", "steam", "--json")
    assert valid(done)["path"] == str(steam.root / "compatibilitytools.d/GE-Proton9-1")
    several, restart = done.err.splitlines()
    assert several.startswith(f"Of 2 Steams that in {steam.root} was taken: --steam")
    assert restart == "Steam shows it after a restart."
    again = integ("install-proton", "ge-9.1", "--to", "steam", "--steam", "native")
    assert "was there already" in again.out and again.err == ""
    as_before = integ("install-proton", "ge-9.1", "--to", "steam", "--steam-root", str(steam.root))
    assert "was there already" in as_before.out and as_before.err == ""
    assert "--steam-root" not in integ("install-proton", "--help").out
    listed = valid(integ("proton", "list", "--json"))["items"]
    assert [(each["version"], each["family"]) for each in listed] == [("GE-Proton9-1", "ge")]
    assert valid(integ("proton", "remove", "ge-9.1", "--from", "steam", "--yes", "--json")) == {"version": "GE-Proton9-1"}
    assert valid(integ("proton", "list", "--json"))["items"] == []


def test_which_steam_is_asked_only_for_steam(integ: Integ, home: Path) -> None:
    told = integ("install-proton", "--steam", "snap")
    assert told.code == 2
    assert told.err.splitlines()[-1] == "hint: integ install-proton latest --to steam --steam snap"


def test_a_newer_release_that_has_no_build_yet_is_told(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid
) -> None:
    sandbox.faults.on("feed.newest_empty")
    done = integ("install-proton", "--json")
    assert valid(done)["version"] == "GE-Proton11-5"
    assert done.err == "warning: GE-Proton11-6 has no build for this machine yet; GE-Proton11-5 is taken\n"
    assert integ("proton", "update").err == done.err


def test_an_update_by_an_old_list_says_that_it_is_old(integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind) -> None:
    assert integ("install-proton", "ge-latest").err == ""
    sandbox.faults.on("feed.rate_limited")
    told = integ("proton", "update")
    assert (told.code, told.out) == (0, "GE-Proton11-6 is the newest already.\n")
    assert told.err.startswith("warning: GitHub asks for a pause")


@pytest.mark.parametrize(("named", "version"), [("umu-9.0-3.2", "UMU-Proton-9.0-3.2"), ("kron4ek-staging-11.7", "wine-11.7-staging")])
def test_a_declared_version_needs_no_family_and_comes_back_in_an_export(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid, tmp_path: Path, named: str, version: str
) -> None:
    declared, exported = tmp_path / "state.json", tmp_path / "exported.json"
    declared.write_text(json.dumps({"proton": {"versions": [named]}}))
    assert integ("apply", str(declared)).code == 0
    assert [each["version"] for each in valid(integ("proton", "list", "--json"))["items"]] == [version]
    assert valid(integ("apply", str(declared), "--json"))["changes"] == []
    assert integ("export", str(exported)).code == 0
    assert valid(integ("apply", str(exported), "--json"))["changes"] == []
    assert version in exported.read_text()
