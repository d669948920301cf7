from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.proton.installed import InstalledBuild
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_server.contract.errors import (
    BuildNotFoundError,
    IntegrityError,
    UsageError,
    WouldLoseDataError,
)
from tests.runtime.proton.proton_home import fake_build, left_over, running_from, store_of
from tests.runtime.steam.steam_home import SteamHome


async def test_verify_tells_what_is_missing_changed_and_foreign(store: ProtonStore, tools: Path) -> None:
    await store.install("ge-9.1")
    build = tools / "GE-Proton9-1"
    (build / "protonfixes/__pycache__").mkdir()
    (build / "protonfixes/__pycache__/x.pyc").write_text("left by a run")
    assert (await store.verify("ge-9.1")).is_whole
    (build / "LICENSE").unlink()
    (build / "version").write_bytes((build / "version").read_bytes()[::-1])
    (build / "proton").chmod(0o644)
    (build / "user_settings.py").write_text("mine")
    found = await store.verify("ge-9.1")
    assert (found.missing, found.changed, found.foreign) == (("LICENSE",), ("proton", "version"), ("user_settings.py",))


async def test_verify_needs_what_was_written_down(store: ProtonStore, tools: Path) -> None:
    fake_build(tools, "GE-Proton9-2")
    with pytest.raises(IntegrityError):
        await store.verify("ge-9.2")
    (tools / "GE-Proton9-2/.integ-files.json").write_text('{"files": {"x": 7}}')
    with pytest.raises(IntegrityError):
        await store.verify("ge-9.2")
    with pytest.raises(BuildNotFoundError):
        await store.verify("ge-9.3")


async def test_the_build_of_a_game_goes_by_the_order_of_who_says_so(home: Path, tools: Path) -> None:
    store = store_of(home)
    with pytest.raises(BuildNotFoundError, match="no Proton version"):
        await store.build_for("steam:620")
    SteamHome(home / ".local/share/Steam").tool("GE-Proton7-1")
    assert (await store.build_for("steam:620")).source == "steam"
    for version in ("GE-Proton8-1", "GE-Proton8-26", "GE-Proton9-27", "GE-Proton10-1", "GE-Proton8-9"):
        fake_build(tools, version)

    async def chosen(**asked: str) -> str:
        return (await store.build_for("steam:620", **asked)).version

    assert await chosen() == "GE-Proton10-1"
    await store.use("ge-8.9")
    assert await chosen() == "GE-Proton8-9"
    assert os.readlink(tools / "latest") == "GE-Proton8-9"
    assert await chosen(required="ge-8.26") == "GE-Proton8-26"
    await store.use("ge-9", game="steam:620")
    assert await chosen(required="ge-8.26") == "GE-Proton9-27"
    assert await chosen(required="ge-8.26", asked="ge-8.1") == "GE-Proton8-1"
    assert await chosen(asked="GE-Proton7-1") == "GE-Proton7-1"
    assert (await store.build_for("steam:400")).version == "GE-Proton8-9"
    assert await store.choice_for("steam:620") == "GE-Proton9-27"
    await store.forget(game="steam:620")
    assert await chosen() == "GE-Proton8-9"
    for asked in ({"asked": "ge-10.9"}, {"required": "ge-10.9"}):
        with pytest.raises(BuildNotFoundError) as told:
            await store.build_for("steam:620", **asked)
        assert told.value.hint == "integ install-proton ge-10.9"


async def test_the_default_keeps_the_players_settings_and_comments(home: Path, tools: Path) -> None:
    fake_build(tools, "GE-Proton9-1")
    config = home / ".config/integ/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('# mine\nlog_level = "INFO"  # loud\n')
    await store_of(home).use("ge-9.1")
    assert '# mine\nlog_level = "INFO"  # loud\n' in config.read_text()
    assert read_settings({"HOME": str(home)}).default_proton == "GE-Proton9-1"
    shutil.rmtree(tools / "GE-Proton9-1")
    with pytest.raises(BuildNotFoundError, match="GE-Proton9-1 is not installed"):
        await store_of(home).build_for("steam:1")


async def test_a_version_that_is_not_installed_can_not_be_chosen(home: Path) -> None:
    with pytest.raises(BuildNotFoundError) as told:
        await store_of(home).use("ge-9.1", game="steam:620")
    assert told.value.hint == "integ install-proton ge-9.1"
    assert await store_of(home).choice_for("steam:620") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 7}', "[" * 9999])
async def test_a_damaged_choice_is_none(home: Path, content: str) -> None:
    store = store_of(home)
    file = home / ".local/share/integ/games/steam-620/proton.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert await store.choice_for("steam:620") is None


async def test_the_list_tells_default_users_and_sizes(home: Path, tools: Path) -> None:
    store = store_of(home)
    SteamHome(home / ".local/share/Steam").tool("GE-Proton7-1")
    fake_build(tools, "GE-Proton9-1")
    fake_build(tools, "GE-Proton9-2")
    await store.use("ge-9.1", game="gog:1207658924")
    await store.use("ge-9.1", game="steam:620")
    items = await store.list_items()
    assert [(item["version"], item["family"], item["default"], item["used_by"]) for item in items] == [
        ("GE-Proton9-2", "ge", True, []),
        ("GE-Proton9-1", "ge", False, ["gog:1207658924", "steam:620"]),
        ("GE-Proton7-1", "steam", False, []),
    ]
    assert all(item["size_bytes"] > 0 and Path(item["path"]).is_dir() for item in items)


async def test_a_build_that_a_game_is_set_to_stays_unless_forced(home: Path, tools: Path) -> None:
    store = store_of(home)
    path = fake_build(tools, "GE-Proton9-1")
    await store.use("ge-9.1")
    await store.use("ge-9.1", game="steam:620")
    with pytest.raises(WouldLoseDataError, match="steam:620"):
        await store.remove("ge-9.1")
    assert path.is_dir()
    (path / "files").chmod(0o555)
    assert (await store.remove("ge-9.1", force=True)).version == "GE-Proton9-1"
    assert not path.exists() and not (tools / "latest").is_symlink() and left_over(tools) == []


async def test_a_build_that_something_runs_from_stays(home: Path, tools: Path) -> None:
    store = store_of(home)
    path = fake_build(tools, "GE-Proton9-1")
    with running_from(path) as pid, pytest.raises(WouldLoseDataError, match=str(pid)):
        await store.remove("ge-9.1")
    await store.remove("ge-9.1")
    assert not path.exists()


async def test_of_two_who_remove_a_build_one_is_told_that_it_is_gone(home: Path, tools: Path) -> None:
    fake_build(tools, "GE-Proton9-1")
    both = await asyncio.gather(*(store_of(home).remove("ge-9.1") for _ in range(2)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in both) == ["BuildNotFoundError", "InstalledBuild"]
    assert left_over(tools) == []


async def test_steams_own_builds_are_not_removed(home: Path) -> None:
    tool = SteamHome(home / ".local/share/Steam").tool("GE-Proton7-1")
    with pytest.raises(UsageError):
        await store_of(home).remove("GE-Proton7-1")
    assert tool.is_dir()
    with pytest.raises(BuildNotFoundError):
        await store_of(home).remove("ge-9.1")


async def test_of_steams_builds_the_newest_numbered_one_comes_first(home: Path) -> None:
    steam = SteamHome(home / ".local/share/Steam")
    for app, name in (
        (1493710, "Proton - Experimental"),
        (2805730, "Proton 9.0"),
        (3658110, "Proton 10.0"),
        (1420170, "Proton 5.13"),
        (1580130, "Proton 6.3"),
    ):
        (steam.tool(name, base=steam.steamapps / "common") / "compatibilitytool.vdf").unlink()
        steam.app(app, name)
    builds: list[InstalledBuild] = await store_of(home).installed()
    assert [build.version for build in builds] == ["proton_10", "proton_9", "proton_63", "proton_513", "proton_experimental"]
    assert (await store_of(home).build_for(None, asked="proton_9")).path.name == "Proton 9.0"
    assert (await store_of(home).build_for(None, asked="Proton 9.0")).version == "proton_9"


async def test_on_a_disk_without_room_for_a_folder_a_build_can_be_removed_all_the_same(
    home: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fake_build(tools, "GE-Proton9-1")
    path.chmod(0o555)
    make = Path.mkdir

    def full(self: Path, *words: Any, **more: Any) -> None:
        if self.parent == tools:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        make(self, *words, **more)

    monkeypatch.setattr(Path, "mkdir", full)
    await store_of(home).remove("ge-9.1")
    assert not path.exists() and left_over(tools) == []
