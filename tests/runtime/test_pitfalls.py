"""What goes wrong for players of other launchers, where no test of one part alone says that it does not here."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integ_runtime.errors import LaunchError
from integ_runtime.launch.calling import BuildTool
from integ_runtime.launch.environment import clean
from integ_runtime.launch.machine import Machine
from integ_runtime.launch.plan import plan_windows
from integ_runtime.launch.umu_record import UMU_RUNTIMES
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.tools import read_tool
from integ_server.contract.errors import IntegrityError
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.launch.test_plan import GAME, HOME, PREFIX, UMU, build, machine, windows
from tests.runtime.proton.proton_home import fake_build
from tests.runtime.steam.steam_home import SteamHome, write_manifest


async def test_a_build_is_unpacked_where_it_will_stay_and_never_in_tmp(
    home: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder for temporary files is often memory, and smaller than a build."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    config = read_settings({"HOME": str(home)})._replace(upstream_url=sandbox.url)
    done = await ProtonStore(config, SteamFiles(home, {}, system=home)).install("ge-9.1")
    assert Path(done.path).is_relative_to(home)


async def test_a_build_whose_files_are_read_only_can_be_removed_and_installed_again(
    home: Path, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    config = read_settings({"HOME": str(home)})._replace(upstream_url=sandbox.url)
    store = ProtonStore(config, SteamFiles(home, {}, system=home))
    path = Path((await store.install("ge-9.1")).path)
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            if not (Path(folder) / name).is_symlink():
                (Path(folder) / name).chmod(0o444)
        Path(folder).chmod(0o555)
    await store.remove("ge-9.1")
    assert not path.exists()
    assert not (await store.install("ge-9.1")).already_installed


async def test_a_proton_of_the_whole_system_is_found_by_its_name_and_given_by_its_path(home: Path) -> None:
    """umu looks for names in the player's own folder only, so a name is never what it gets."""
    system = home / "system"
    place = SteamHome(home / ".local/share/Steam").tool("GE-Proton9-20", base=system / "usr/share/steam/compatibilitytools.d")
    store = ProtonStore(read_settings({"HOME": str(home)}), SteamFiles(home, {}, system=system))
    found = await store.build_for(None, asked="ge-9.20")
    assert found.path == place
    tool = read_tool(found.path)
    assert tool is not None
    plan = plan_windows(GAME, BuildTool(found.version, tool), machine(**UMU), prefix=PREFIX)
    assert plan.env["PROTONPATH"] == str(place) and Path(plan.env["PROTONPATH"]).is_absolute()


def test_umus_wineprefix_and_protons_data_path_are_the_folder_above_pfx() -> None:
    by_umu = windows(on=machine(**UMU)).env["WINEPREFIX"]
    bare = windows(needs=None).env["STEAM_COMPAT_DATA_PATH"]
    assert by_umu == bare == str(PREFIX) and PREFIX.name != "pfx"


@pytest.mark.parametrize("needs", sorted(UMU_RUNTIMES))
def test_the_runtime_is_the_one_that_require_tool_appid_names_whatever_the_builds_version(needs: str) -> None:
    with pytest.raises(LaunchError) as caught:
        windows(needs=needs, on=machine())
    assert needs in str(caught.value) and caught.value.hint.startswith(f"steam steam://install/{needs}")


def test_a_runtime_that_nobody_knows_is_named_and_not_guessed() -> None:
    with pytest.raises(LaunchError, match=r"needs the Steam runtime 9999999, .*unknown to Integ"):
        windows(needs="9999999", on=machine(umu_run=Path("/usr/bin/umu-run"), umu_runtimes=frozenset(UMU_RUNTIMES)))


def test_an_app_id_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    write_manifest(tmp_path, requires="01628350")
    tool = read_tool(tmp_path)
    assert tool is not None and tool.require_tool_appid == "01628350"


def test_an_older_wine_under_steam_does_not_see_its_controllers_twice() -> None:
    outer = Machine(environ={"PATH": "/usr/bin", "SteamVirtualGamepadInfo": "/run/pads"}, home=HOME, uid=1000)
    assert plan_windows(GAME, build(None), outer, prefix=PREFIX).environ["SteamVirtualGamepadInfo"] == ""


def test_without_a_steam_no_variable_of_it_is_missing_and_without_an_id_fixes_are_not_guessed_from_the_path() -> None:
    env = windows(needs=None, on=machine()).env
    assert env["STEAM_COMPAT_CLIENT_INSTALL_PATH"] == "", "Proton ends with a KeyError when it is not there at all"
    assert (env["SteamAppId"], env["SteamGameId"], env["STEAM_COMPAT_APP_ID"]) == ("0", "0", "0")


def test_a_foreign_python_reaches_neither_umu_nor_proton() -> None:
    spoilt = {"PYTHONPATH": "/x", "PYTHONHOME": "/x", "VIRTUAL_ENV": "/venv", "PATH": "/venv/bin:/usr/bin", "CONDA_PREFIX": "/c"}
    assert clean(spoilt) == {"PATH": "/usr/bin"}


_WORDS = [
    '"manifest"',
    "{",
    "}",
    '"commandline"',
    '"/proton %verb%"',
    '"/../x"',
    '"require_tool_appid"',
    '"1628350"',
    '"',
    "\\",
    "//",
    "\0",
    "é",
]
_TOKENS = st.sampled_from(_WORDS)


@given(st.one_of(st.binary(max_size=200), st.lists(_TOKENS, max_size=24).map(lambda parts: " ".join(parts).encode())))
@settings(max_examples=300)
def test_no_toolmanifest_makes_it_crash_or_names_a_program_outside_of_its_build(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    place = tmp_path_factory.mktemp("tool")
    (place / "toolmanifest.vdf").write_bytes(content)
    try:
        tool = read_tool(place)
        assert tool is not None
        program = Path(tool.command("run")[0])
    except IntegrityError:
        return
    assert Path(os.path.normpath(program)).is_relative_to(place)
    json.dumps(tool.require_tool_appid)


async def test_a_build_under_two_names_is_one(home: Path) -> None:
    """A link beside the folder, as some set one to keep Steam's choice when they update."""
    tools = home / ".cache/integ/proton"
    fake_build(tools, "GE-Proton9-1")
    (tools / "latest").symlink_to("GE-Proton9-1")
    store = ProtonStore(read_settings({"HOME": str(home)}), SteamFiles(home, {}, system=home))
    assert [each.version for each in await store.installed()] == ["GE-Proton9-1"]
