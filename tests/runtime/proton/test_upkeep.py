"""Bringing the installed families up to date, and finding what nothing uses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from integ_runtime.proton.store import ProtonStore
from integ_runtime.proton.upkeep import Upkeep
from integ_runtime.settings import read_settings
from integ_server.contract.errors import BuildNotFoundError, PartialError, ProviderUnavailableError
from integ_server.releases.families import FAMILIES
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.proton.proton_home import fake_build, left_over, running_from
from tests.runtime.steam.steam_home import SteamHome

NEWEST, UMU, CACHYOS = "GE-Proton11-6", "UMU-Proton-9.0-4e", "cachyos-10.0-20250807-slr"


@pytest.fixture
def upkeep(home: Path, store: ProtonStore) -> Upkeep:
    return Upkeep(read_settings({"HOME": str(home)}), store)


def default_of(home: Path) -> str:
    return read_settings({"HOME": str(home)}).default_proton


async def test_the_newest_of_each_family_in_use_is_installed(upkeep: Upkeep, store: ProtonStore, tools: Path) -> None:
    for version in ("GE-Proton9-1", "GE-Proton8-26", "UMU-Proton-9.0-3"):
        fake_build(tools, version)
    done = await upkeep.update()
    told = {(each.family, each.before, each.version, each.updated) for each in done.items}
    assert told == {("ge", "GE-Proton9-1", NEWEST, True), ("umu", "UMU-Proton-9.0-3", UMU, True)}
    assert all(each.bytes_fetched > 0 for each in done.items) and done.failures == []
    assert {build.version for build in await store.installed()} == {"GE-Proton9-1", "GE-Proton8-26", "UMU-Proton-9.0-3", NEWEST, UMU}
    assert (await store.verify(NEWEST)).is_whole and left_over(tools) == []


async def test_what_is_the_newest_already_stays_as_it_is(upkeep: Upkeep, store: ProtonStore, sandbox: RunningSandbox) -> None:
    await store.install("umu")
    sandbox.requests.clear()
    (item,) = (await upkeep.update()).items
    assert (item.updated, item.version, item.bytes_fetched) == (False, UMU, 0)
    assert {seen.host for seen in sandbox.requests} == {"api.github.com"}


async def test_nothing_installed_is_nothing_to_do(upkeep: Upkeep, sandbox: RunningSandbox) -> None:
    assert (await upkeep.update()).items == []
    assert list(sandbox.requests) == []


async def test_a_default_that_was_the_newest_moves_on_and_latest_with_it(
    upkeep: Upkeep, store: ProtonStore, home: Path, tools: Path
) -> None:
    fake_build(tools, "GE-Proton9-1")
    await store.use("GE-Proton9-1")
    (item,) = (await upkeep.update()).items
    assert item.default_moved and default_of(home) == NEWEST
    assert os.readlink(tools / "latest") == NEWEST


async def test_a_default_that_was_an_older_one_stays_and_latest_too(upkeep: Upkeep, store: ProtonStore, home: Path, tools: Path) -> None:
    for version in ("GE-Proton9-1", "GE-Proton8-26"):
        fake_build(tools, version)
    await store.use("ge-8.26")
    await store.use("ge-9.1", game="steam:620")
    (item,) = (await upkeep.update()).items
    assert item.updated and not item.default_moved and default_of(home) == "GE-Proton8-26"
    assert os.readlink(tools / "latest") == "GE-Proton8-26"
    assert await store.choice_for("steam:620") == "GE-Proton9-1"


@pytest.mark.parametrize("killed", ["before the build came", "before the default moved"])
async def test_a_move_of_the_default_that_was_cut_short_is_made_up_for(
    upkeep: Upkeep, store: ProtonStore, home: Path, tools: Path, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    class Killed(BaseException):
        pass

    async def die(*_: object, **__: object) -> None:
        raise Killed

    fake_build(tools, "GE-Proton9-1")
    await store.use("ge-9.1")
    with monkeypatch.context() as until_then:
        until_then.setattr(*((store.published, "install", die) if killed == "before the build came" else (store, "set_default", die)))
        with pytest.raises(Killed):
            await upkeep.update()
    assert default_of(home) == "GE-Proton9-1"
    await upkeep.update()
    assert (default_of(home), os.readlink(tools / "latest")) == (NEWEST, NEWEST)
    assert left_over(tools) == []
    await store.use("ge-9.1")
    await upkeep.update()
    assert default_of(home) == "GE-Proton9-1", "it moves once"


async def test_two_lines_of_one_family_ask_for_its_list_once(upkeep: Upkeep, store: ProtonStore, sandbox: RunningSandbox) -> None:
    for version in ("cachyos", "cachyos@x86_64_v3"):
        await store.install(version)
    sandbox.requests.clear()
    assert len((await upkeep.update()).items) == 2
    assert len([seen for seen in sandbox.requests if seen.host == "api.github.com"]) == 1


async def test_a_default_that_the_environment_has_the_say_of_is_not_written(
    upkeep: Upkeep, home: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_build(tools, "GE-Proton9-1")
    monkeypatch.setenv("INTEG_DEFAULT_PROTON", "GE-Proton9-1")
    (item,) = (await upkeep.update()).items
    assert item.updated and not item.default_moved and default_of(home) == ""


@pytest.mark.parametrize("chosen", ["latest", "ge-9"])
async def test_a_default_that_names_no_one_build_moves_by_itself(
    upkeep: Upkeep, home: Path, tools: Path, store: ProtonStore, chosen: str
) -> None:
    fake_build(tools, "GE-Proton9-1")
    await store.set_default(chosen)
    (item,) = (await upkeep.update()).items
    assert item.updated and not item.default_moved and default_of(home) == chosen


@pytest.mark.parametrize(
    ("asked", "version"), [("ge-9", "GE-Proton9-27"), ("ge", NEWEST), ("GE-Proton8-26", NEWEST), ("ge-9.1", NEWEST), ("umu", UMU)]
)
async def test_one_family_or_series_is_brought_up_to_date_alone(upkeep: Upkeep, tools: Path, asked: str, version: str) -> None:
    for each in ("GE-Proton9-1", "GE-Proton8-26", "UMU-Proton-9.0-3"):
        fake_build(tools, each)
    (item,) = (await upkeep.update(asked)).items
    assert item.version == version
    assert {each.name for each in tools.iterdir() if each.is_dir() and not each.is_symlink() and not each.name.startswith(".")} == {
        "GE-Proton9-1",
        "GE-Proton8-26",
        "UMU-Proton-9.0-3",
        version,
    }


@pytest.mark.parametrize("asked", ["umu", "cachyos", "ge-10", "GE-Proton9-2"])
async def test_what_is_not_installed_is_not_brought_up_to_date(upkeep: Upkeep, tools: Path, asked: str) -> None:
    fake_build(tools, "GE-Proton9-1")
    with pytest.raises(BuildNotFoundError) as told:
        await upkeep.update(asked)
    assert told.value.hint == f"integ install-proton {asked}"


async def test_a_build_for_newer_processors_is_followed_by_one_of_its_kind(upkeep: Upkeep, store: ProtonStore) -> None:
    await store.install("cachyos-10.0-20250714@x86_64_v3")
    (item,) = (await upkeep.update()).items
    assert (item.arch, item.version) == ("x86_64_v3", f"{CACHYOS}-x86_64_v3")


async def test_a_release_without_files_is_passed_over_and_told(upkeep: Upkeep, tools: Path, sandbox: RunningSandbox) -> None:
    fake_build(tools, "GE-Proton9-1")
    sandbox.faults.on("feed.newest_empty")
    done = await upkeep.update()
    assert [item.version for item in done.items] == ["GE-Proton11-5"]
    assert done.remarks == ["GE-Proton11-6 has no build for this machine yet; GE-Proton11-5 is taken"]


async def test_one_family_that_fails_does_not_keep_the_others_back(
    upkeep: Upkeep, tools: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("GE-Proton9-1", "UMU-Proton-9.0-3"):
        fake_build(tools, each)
    monkeypatch.setitem(FAMILIES, "ge", FAMILIES["ge"]._replace(repository="nobody/nothing"))
    monkeypatch.setattr("integ_server.releases.ge.GE", FAMILIES["ge"])
    done = await upkeep.update()
    assert [(each.family, each.updated, bool(each.error)) for each in done.items] == [("ge", False, True), ("umu", True, False)]
    with pytest.raises(PartialError) as told:
        done.check()
    assert told.value.data is not None and len(told.value.data["items"]) == 2
    sandbox.stop()
    for file in (tools.parent / "releases").glob("*"):
        file.unlink()
    with pytest.raises(ProviderUnavailableError):
        (await upkeep.update()).check()


async def unused(upkeep: Upkeep, keep: int = 0) -> list[str]:
    return [each.version for each in await upkeep.unused(keep=keep)]


async def test_what_is_needed_is_never_among_the_unused(upkeep: Upkeep, store: ProtonStore, home: Path, tools: Path) -> None:
    SteamHome(home / ".local/share/Steam").tool("GE-Proton7-1")
    for number in range(1, 8):
        fake_build(tools, f"GE-Proton9-{number}")
    await store.use("ge-9.2")  # the default
    await store.use("ge-9.3", game="steam:620")
    prefix = home / ".local/share/integ/games/gog-1/prefix.json"
    prefix.parent.mkdir(parents=True)
    prefix.write_text(json.dumps({"proton": "GE-Proton9-4", "family": "ge"}))
    (tools / "latest").unlink()
    (tools / "latest").symlink_to("GE-Proton9-5")
    with running_from(tools / "GE-Proton9-6"):
        assert await unused(upkeep) == ["GE-Proton9-7", "GE-Proton9-1"]
        assert await unused(upkeep, keep=1) == ["GE-Proton9-1"]
    assert await unused(upkeep) == ["GE-Proton9-7", "GE-Proton9-6", "GE-Proton9-1"]


async def test_a_choice_by_another_name_is_a_use_too(upkeep: Upkeep, store: ProtonStore, tools: Path) -> None:
    for number in (1, 2):
        fake_build(tools, f"GE-Proton9-{number}")
    await store.choose("steam:620", "ge-9.1")
    assert await unused(upkeep) == []


async def test_the_newest_few_are_kept_of_each_family(upkeep: Upkeep, tools: Path) -> None:
    for version in ("GE-Proton9-1", "GE-Proton9-2", "GE-Proton10-1", "UMU-Proton-9.0-3", "UMU-Proton-9.0-3.2", UMU):
        fake_build(tools, version)
    assert await unused(upkeep, keep=2) == ["GE-Proton9-1", "UMU-Proton-9.0-3"]
    assert await unused(upkeep) == ["GE-Proton9-2", "GE-Proton9-1", UMU, "UMU-Proton-9.0-3.2", "UMU-Proton-9.0-3"]


async def test_pruning_removes_what_was_agreed_to_and_is_still_unused(upkeep: Upkeep, store: ProtonStore, tools: Path) -> None:
    for number in range(1, 6):
        fake_build(tools, f"GE-Proton9-{number}")
    await store.choose("steam:620", "GE-Proton9-2")  # meanwhile
    gone = await upkeep.prune(only=[tools / f"GE-Proton9-{number}" for number in (1, 2, 3)])
    assert [each.version for each in gone] == ["GE-Proton9-3", "GE-Proton9-1"]
    assert all(each.size_bytes for each in gone)
    assert {build.version for build in await store.installed()} == {"GE-Proton9-2", "GE-Proton9-4", "GE-Proton9-5"}
    assert left_over(tools) == []


async def test_what_integ_put_into_steam_is_pruned_unless_steam_is_set_to_it(upkeep: Upkeep, store: ProtonStore, home: Path) -> None:
    steam, snap = SteamHome(home / ".local/share/Steam"), SteamHome(home / "snap/steam/common/.local/share/Steam")
    for version in ("ge-9.1", "ge-9.2", "ge-9.3"):
        await store.install_into_steam(version, steam="native")
    await store.install_into_steam("ge-9.1", steam="snap")
    there, in_snap = (each.root / "compatibilitytools.d" for each in (steam, snap))
    steam.tool("GE-Proton7-1")  # somebody else's
    steam.config({"620": {"name": "GE-Proton9-1"}, "0": {"name": "GE-Proton9-2"}})
    await store.use("ge-7.1")
    assert [each.path for each in await upkeep.unused()] == [there / "GE-Proton9-3", in_snap / "GE-Proton9-1"]
    assert await upkeep.unused(keep=1) == []
    gone = await upkeep.prune()
    assert [each.path for each in gone] == [there / "GE-Proton9-3", in_snap / "GE-Proton9-1"]
    assert {each.name for each in there.iterdir() if not each.name.startswith(".")} == {"GE-Proton7-1", "GE-Proton9-1", "GE-Proton9-2"}
    assert left_over(in_snap) == [] and not (in_snap / "GE-Proton9-1").exists()


async def test_a_choice_in_integ_keeps_its_own_build_and_not_one_of_that_name_in_steam(
    upkeep: Upkeep, store: ProtonStore, home: Path, tools: Path
) -> None:
    steam = SteamHome(home / ".local/share/Steam")
    await store.install_into_steam("ge-9.1")
    fake_build(tools, "GE-Proton9-1")
    await store.use("ge-9.1", game="gog:1")
    assert [each.path for each in await upkeep.unused()] == [steam.root / "compatibilitytools.d/GE-Proton9-1"]


@pytest.mark.parametrize("note", ["[" * 9999, '["GE-Proton9-1", []]', "7", '{"a": 1, "b": 2}'])
async def test_a_damaged_note_of_a_move_is_thrown_away(upkeep: Upkeep, store: ProtonStore, home: Path, tools: Path, note: str) -> None:
    fake_build(tools, "GE-Proton9-1")
    await store.use("ge-9.1")
    (tools / ".integ-update.json").write_text(note)
    await upkeep.update("ge")
    assert left_over(tools) == [] and default_of(home) == NEWEST


async def test_a_damaged_prefix_record_is_no_use(upkeep: Upkeep, home: Path, tools: Path) -> None:
    for number in (1, 2):
        fake_build(tools, f"GE-Proton9-{number}")
    for name, content in (("gog-1", "{"), ("gog-2", "[]"), ("gog-3", "[" * 9999)):
        record = home / ".local/share/integ/games" / name / "prefix.json"
        record.parent.mkdir(parents=True)
        record.write_text(content)
    assert await unused(upkeep) == ["GE-Proton9-1"]
