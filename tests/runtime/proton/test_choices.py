"""Which version a game runs with, of what this machine, other devices and the player for all of them decided."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.cache.store import LibraryCache
from integ_runtime.paths import read_paths
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
from integ_server.contract.errors import BuildNotFoundError, WouldLoseDataError
from integ_server.contract.types import Changes, ReleaseRecord, TitleRecord, UserPreferences
from tests.runtime.proton.proton_home import fake_build

KEY = "gog:1"


class Device:
    """A machine of the player's; `clock` is what time it is there."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = "2026-11-01T10:00:00Z"
        self.told: list[tuple[str, str | None]] = []
        self.is_heard = True
        self.home = home
        self.library = LibraryCache(read_paths({"HOME": str(home)}).cache_db)
        for module in ("integ_runtime.proton.choices", "integ_runtime.cache.told"):
            monkeypatch.setattr(f"{module}.utc_now_text", lambda: self.clock)
        for version in ("GE-Proton9-1", "GE-Proton9-2", "GE-Proton10-1"):
            fake_build(home / ".cache/integ/proton", version)

    @property
    def store(self) -> ProtonStore:
        settings = read_settings({"HOME": str(self.home)})
        return ProtonStore(settings, SteamFiles(self.home, {}, system=self.home / "no-system"), None, self.library, self._tell)

    async def _tell(self, key: str, version: str | None) -> bool:
        self.told.append((key, version))
        return self.is_heard

    async def hears(self, version: str | None, **more: Any) -> None:
        """The backend tells that the game is set to *version*."""
        release = ReleaseRecord(key=KEY, provider="gog", provider_game_id="1", title_id="t", title="T", proton=version)
        revision = await self.library.revision() + 1
        await self.library.apply(Changes(revision=revision, titles=[TitleRecord(id="t", title="T")], releases=[release], **more))

    async def runs_with(self, **asked: str) -> str:
        return (await self.store.build_for(KEY, **asked)).version


@pytest.fixture
def device(home: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(home, monkeypatch)


async def test_the_most_recent_decision_counts_wherever_it_was_made(device: Device) -> None:
    assert await device.runs_with() == "GE-Proton10-1"
    await device.hears("GE-Proton9-1")
    assert await device.runs_with(required="GE-Proton9-2") == "GE-Proton9-1"
    assert await device.runs_with(asked="ge-9.2") == "GE-Proton9-2"
    device.clock = "2026-11-02T10:00:00Z"
    await device.store.use("ge-9.2", game=KEY)
    assert (await device.runs_with(), device.told) == ("GE-Proton9-2", [(KEY, "GE-Proton9-2")])
    device.clock = "2026-11-03T10:00:00Z"
    await device.hears("GE-Proton9-2")
    assert await device.runs_with() == "GE-Proton9-2"
    device.clock = "2026-11-04T10:00:00Z"
    await device.hears("GE-Proton9-1")
    assert await device.runs_with() == "GE-Proton9-1", "made on another device since"
    device.clock = "2026-11-05T10:00:00Z"
    await device.hears(None)
    assert await device.runs_with() == "GE-Proton10-1", "and taken back there"
    device.clock = "2026-11-06T10:00:00Z"
    await device.hears("GE-Proton9-1")
    device.clock = "2026-11-07T10:00:00Z"
    assert await device.store.forget(game=KEY) is False
    assert (await device.runs_with(), device.told[-1]) == ("GE-Proton10-1", (KEY, None))


async def test_a_choice_that_the_backend_never_heard_of_stays_valid_here(device: Device) -> None:
    device.is_heard = False
    assert (await device.store.use("ge-9.1", game=KEY)).queued is True
    await device.hears(None)
    assert await device.runs_with() == "GE-Proton9-1"


async def test_a_choice_from_before_moments_were_written_down_is_as_old_as_its_file(device: Device) -> None:
    file = device.home / ".local/share/integ/games/gog-1/proton.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"version": "GE-Proton9-1"}))
    assert await device.runs_with() == "GE-Proton9-1"
    await device.hears("GE-Proton9-2")
    assert await device.runs_with() == "GE-Proton9-1"
    os.utime(file, (0, 0))
    assert await device.runs_with() == "GE-Proton9-2"


async def test_one_chosen_elsewhere_that_is_not_here_is_named_with_the_command_that_brings_it(device: Device) -> None:
    await device.hears("GE-Proton9-27")
    with pytest.raises(BuildNotFoundError, match="GE-Proton9-27 is not installed") as told:
        await device.runs_with()
    assert told.value.hint == "integ install-proton GE-Proton9-27"
    device.clock = "2026-11-02T10:00:00Z"
    await device.hears("Proton - Experimental")
    with pytest.raises(BuildNotFoundError) as told:
        await device.runs_with()
    assert told.value.hint.startswith("install it in Steam")


async def test_the_players_default_counts_on_devices_that_set_none(device: Device) -> None:
    await device.hears(None, preferences=UserPreferences(default_proton="ge-9.1"))
    assert await device.runs_with() == "GE-Proton9-1"
    assert await device.runs_with(required="GE-Proton10-1") == "GE-Proton10-1"
    assert [item["version"] for item in await device.store.list_items() if item["default"]] == ["GE-Proton9-1"]
    await device.store.use("ge-9.2")
    assert await device.runs_with() == "GE-Proton9-2"
    assert device.told == [], "a machine's default is its own"
    await device.hears(None, preferences=UserPreferences(default_proton="ge-9.27"))
    (device.home / ".config/integ/config.toml").unlink()
    with pytest.raises(BuildNotFoundError) as told:
        await device.runs_with()
    assert told.value.hint == "integ install-proton ge-9.27"


async def test_a_build_that_was_chosen_on_another_device_stays_unless_forced(device: Device) -> None:
    await device.hears("ge-9.1")
    assert {item["version"]: item["used_by"] for item in await device.store.list_items()}["GE-Proton9-1"] == [KEY]
    with pytest.raises(WouldLoseDataError, match=KEY):
        await device.store.remove("GE-Proton9-1")
    await device.store.remove("GE-Proton9-1", force=True)
