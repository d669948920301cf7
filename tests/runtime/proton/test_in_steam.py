"""Builds in Steam's own folder of compatibility tools: installed like any other, and removed only where Integ put them."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from integ_runtime.proton import folder
from integ_runtime.proton.store import ProtonStore
from integ_runtime.steam.library import SteamFiles
from integ_server.contract.errors import AmbiguousError, BuildNotFoundError, IntegrityError, NotFoundError, UsageError, WouldLoseDataError
from integ_server.releases.families import X86, this_arch
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.proton.proton_home import fake_build, left_over, running_from
from tests.runtime.steam.steam_home import SteamHome, write

ROOTS = {
    "native": ".local/share/Steam",
    "flatpak": ".var/app/com.valvesoftware.Steam/.local/share/Steam",
    "snap": "snap/steam/common/.local/share/Steam",
}


@pytest.fixture
def steam(home: Path) -> SteamHome:
    return SteamHome(home / ROOTS["native"])


def folder_of(steam: SteamHome) -> Path:
    return steam.root / "compatibilitytools.d"


@pytest.mark.parametrize("flavour", ROOTS)
async def test_a_build_comes_into_the_folder_of_whichever_steam_there_is(store: ProtonStore, home: Path, tools: Path, flavour: str) -> None:
    steam = SteamHome(home / ROOTS[flavour])
    done = (await store.install_into_steam("ge-9.1")).outcome
    assert (done.version, done.family, done.path) == ("GE-Proton9-1", "ge", folder_of(steam) / "GE-Proton9-1")
    assert left_over(folder_of(steam)) == [] and not tools.exists()
    assert {each.name for each in folder_of(steam).iterdir() if not each.name.startswith(".")} == {"GE-Proton9-1"}
    (tool,) = SteamFiles(home, {}, system=home / "no-system").tools()
    assert (tool.name, tool.path, tool.is_proton) == ("GE-Proton9-1", done.path, True)
    (item,) = await store.list_items()
    assert (item["version"], item["family"], item["path"]) == ("GE-Proton9-1", "ge", str(done.path))
    assert (await store.verify("GE-Proton9-1")).is_whole


async def test_steam_sees_nothing_of_a_build_that_is_not_whole_yet(
    store: ProtonStore, steam: SteamHome, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what lies directly in the folders below its own, hidden ones too."""
    seen: list[tuple[str, list[Path]]] = []

    def look(stage: str) -> None:
        tools = folder_of(steam)
        seen.append((stage, [*tools.glob("*/compatibilitytool.vdf"), *tools.glob(".*/compatibilitytool.vdf")]))

    await store.install_into_steam("ge-9.1", report=lambda progress: look(progress.stage))
    assert [found for stage, found in seen if stage == "check"] == [[]]
    monkeypatch.setattr(folder, "remove_tree", lambda tree: look("removing"))
    await store.remove("ge-9.1")
    assert seen[-1] == ("removing", [])


async def test_without_steam_it_is_told_what_to_do(store: ProtonStore, sandbox: RunningSandbox) -> None:
    with pytest.raises(NotFoundError, match="Steam was not found") as told:
        await store.install_into_steam()
    assert "STEAM_DIR" in told.value.hint
    assert list(sandbox.requests) == []


async def test_of_several_steams_the_first_is_taken_with_a_word_and_another_when_named(store: ProtonStore, home: Path) -> None:
    homes = {flavour: SteamHome(home / below) for flavour, below in ROOTS.items()}
    first = await store.install_into_steam("ge-9.1")
    assert first.outcome.path.is_relative_to(homes["native"].root)
    assert "Of 3 Steams" in first.notice and first.notice.endswith("--steam names another.")
    for asked, flavour in (("flatpak", "flatpak"), (str(homes["snap"].root), "snap")):
        done = await store.install_into_steam("ge-9.1", steam=asked)
        assert done.outcome.path == folder_of(homes[flavour]) / "GE-Proton9-1" and not done.outcome.already_installed
        assert done.notice == ""
    with pytest.raises(UsageError) as told:
        await store.install_into_steam("ge-9.1", steam=str(home))
    assert str(homes["snap"].root) in told.value.hint


async def test_what_steam_knows_by_that_name_already_is_not_installed_twice(
    store: ProtonStore, steam: SteamHome, sandbox: RunningSandbox
) -> None:
    by_hand = steam.tool("GE-Proton9-1")
    done = (await store.install_into_steam("ge-9.1")).outcome
    assert (done.already_installed, done.path) == (True, by_hand)
    assert list(sandbox.requests) == []
    assert (await store.install_into_steam("ge-9.2")).outcome.already_installed is False
    assert (await store.install_into_steam("ge-9.2")).outcome.already_installed is True


@pytest.mark.skipif(this_arch() != X86, reason="this build is for PCs")
async def test_a_tool_that_is_called_like_its_archive_is_found_by_that_name_too(store: ProtonStore, steam: SteamHome) -> None:
    done = (await store.install_into_steam("cachyos")).outcome
    assert done.path.name == "cachyos-10.0-20250807-slr"
    listed = {item["version"]: item["family"] for item in await store.list_items()}
    assert listed == {"proton-cachyos-10.0-20250807-slr-x86_64": "cachyos"}
    again = (await store.install_into_steam("cachyos-10.0-20250807")).outcome
    assert again.already_installed and again.path == done.path
    await store.remove("proton-cachyos-10.0-20250807-slr-x86_64")
    assert not done.path.exists()


@pytest.mark.parametrize("fault", ["wrong_checksum", "hostile_symlink", "no_manifest", "truncated_archive"])
async def test_what_is_not_right_leaves_nothing_in_steams_folder(
    store: ProtonStore, steam: SteamHome, sandbox: RunningSandbox, fault: str
) -> None:
    sandbox.faults.on(f"feed.{fault}")
    with pytest.raises(IntegrityError):
        await store.install_into_steam("ge-9.1")
    assert {each.name for each in folder_of(steam).iterdir()} == {".integ.lock"}


async def test_a_build_that_integ_put_there_is_removed_by_it(store: ProtonStore, steam: SteamHome, tools: Path) -> None:
    fake_build(tools, "GE-Proton8-26")
    done = (await store.install_into_steam("ge-9.1")).outcome
    gone = await store.remove("ge-9.1")
    assert (gone.version, gone.source) == ("GE-Proton9-1", "steam")
    assert not done.path.exists() and left_over(folder_of(steam)) == []
    assert (tools / "GE-Proton8-26").is_dir()


async def test_where_both_have_one_name_integs_own_goes_unless_steams_is_meant(store: ProtonStore, steam: SteamHome, tools: Path) -> None:
    fake_build(tools, "GE-Proton9-1")
    there = (await store.install_into_steam("ge-9.1")).outcome.path
    await store.use("ge-9.1", game="gog:1")  # which runs with Integ's own
    assert (await store.remove("ge-9.1", source="steam")).path == there
    assert (tools / "GE-Proton9-1").is_dir() and not there.exists()
    with pytest.raises(BuildNotFoundError):
        await store.remove("ge-9.1", source="steam")
    with pytest.raises(WouldLoseDataError):
        await store.remove("ge-9.1")


async def test_where_two_steams_have_one_name_its_folder_says_which_goes(store: ProtonStore, home: Path) -> None:
    steams = {flavour: SteamHome(home / ROOTS[flavour]) for flavour in ("native", "snap")}
    for flavour in steams:
        await store.install_into_steam("ge-9.1", steam=flavour)
    native, snap = (home / ROOTS[flavour] / "compatibilitytools.d/GE-Proton9-1" for flavour in ("native", "snap"))
    with pytest.raises(AmbiguousError) as told:
        await store.remove("ge-9.1")
    assert str(snap) in told.value.message and told.value.hint == f"integ proton remove {native}"
    assert (await store.remove(str(snap))).path == snap
    assert native.is_dir() and not snap.exists()
    assert (await store.remove("ge-9.1", source="steam")).path == native
    await store.install_into_steam("ge-9.1", steam="snap")
    steams["native"].tool("GE-Proton9-1")
    assert (await store.remove("ge-9.1")).path == snap, "the only one of that name that is Integ's"
    with pytest.raises(UsageError, match="belongs to Steam"):
        await store.remove("ge-9.1")


@pytest.mark.parametrize("kind", ["by hand", "a copy of Integ's own"])
async def test_what_others_put_there_is_never_removed(store: ProtonStore, steam: SteamHome, tools: Path, kind: str) -> None:
    if kind == "by hand":
        there = steam.tool("GE-Proton9-1")
    else:
        await store.install("ge-9.1")
        there = folder_of(steam) / "GE-Proton9-1"
        shutil.copytree(tools / "GE-Proton9-1", there, symlinks=True)
        await store.remove("ge-9.1")
    with pytest.raises(UsageError, match="belongs to Steam"):
        await store.remove("ge-9.1", force=True)
    assert (there / "proton").is_file()


@pytest.mark.parametrize(("app", "told"), [("620", "steam:620"), ("0", "all games without a choice")])
async def test_what_steam_is_set_to_stays_unless_forced(store: ProtonStore, steam: SteamHome, app: str, told: str) -> None:
    done = (await store.install_into_steam("ge-9.1")).outcome
    chosen = {app: {"name": "GE-Proton9-1", "config": "", "priority": "250"}}
    mapping = {"InstallConfigStore": {"Software": {"Valve": {"Steam": {"CompatToolMapping": chosen}}}}}
    write(steam.root / "config/config.vdf", mapping)
    with pytest.raises(WouldLoseDataError, match=told):
        await store.remove("ge-9.1")
    assert (done.path / "proton").is_file()
    await store.remove("ge-9.1", force=True)
    assert not done.path.exists()


async def test_who_uses_a_build_is_told_by_steam_for_its_own_folder_and_by_integ_for_the_one_that_it_means(
    store: ProtonStore, steam: SteamHome, tools: Path
) -> None:
    await store.install_into_steam("ge-9.1")
    fake_build(tools, "GE-Proton9-1")
    steam.config({"620": {"name": "GE-Proton9-1"}, "0": {"name": "GE-Proton9-1"}})
    await store.use("ge-9.1", game="gog:1")
    used = {item["path"]: item["used_by"] for item in await store.list_items()}
    assert used == {str(tools / "GE-Proton9-1"): ["gog:1"], str(folder_of(steam) / "GE-Proton9-1"): ["steam:620"]}


async def test_what_runs_from_steams_folder_stays(store: ProtonStore, steam: SteamHome) -> None:
    done = (await store.install_into_steam("ge-9.1")).outcome
    with running_from(done.path) as pid, pytest.raises(WouldLoseDataError, match=str(pid)):
        await store.remove("ge-9.1")


async def test_two_at_once_install_it_once(store: ProtonStore, steam: SteamHome) -> None:
    outcomes = await asyncio.gather(store.install_into_steam("ge-9.1"), store.install_into_steam("ge-9.1"))
    assert sorted(each.outcome.already_installed for each in outcomes) == [False, True]
    assert left_over(folder_of(steam)) == []


async def test_the_record_says_that_it_is_integs_and_steams(store: ProtonStore, steam: SteamHome) -> None:
    done = (await store.install_into_steam("ge-11.6@x86_64")).outcome
    record = json.loads((done.path / ".integ-build.json").read_text())
    assert (record["place"], record["tag"], record["arch"]) == ("steam", "GE-Proton11-6", "x86_64")
