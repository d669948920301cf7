"""Every family from its feed to the disk, by the names and packings that its publisher really uses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import get_args

import pytest

from integ_cli.commands import proton as proton_commands
from integ_runtime.proton import processor
from integ_runtime.proton.processor import can_run
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
from integ_server.contract.errors import BuildNotFoundError, IntegrityError, UsageError
from integ_server.releases.families import ARM, FAMILIES, X86, this_arch
from integ_tui.screens import proton as proton_screen
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.downloads.loopback import Outside
from tests.runtime.proton.proton_home import fake_build, left_over, store_of
from tests.runtime.steam.steam_home import SteamHome

pc = pytest.mark.skipif(this_arch() != X86, reason="these builds are for PCs")


@pc
@pytest.mark.parametrize(
    ("typed", "version", "family", "archive"),
    [
        ("umu", "UMU-Proton-9.0-4e", "umu", "UMU-Proton-9.0-4e.tar.gz"),
        ("umu-9.0-3.2", "UMU-Proton-9.0-3.2", "umu", "UMU-Proton-9.0-3.2.tar.gz"),
        ("umu-8.0-5-3", "ULWGL-Proton-8.0-5-3", "umu", "ULWGL-Proton-8.0-5-3.tar.gz"),
        ("cachyos", "cachyos-10.0-20250807-slr", "cachyos", "proton-cachyos-10.0-20250807-slr-x86_64.tar.xz"),
        (
            "cachyos-10.0-20250807@x86_64_v3",
            "cachyos-10.0-20250807-slr-x86_64_v3",
            "cachyos",
            "proton-cachyos-10.0-20250807-slr-x86_64_v3.tar.xz",
        ),
        ("cachyos-9.0-20250126", "cachyos-9.0-20250126-slr", "cachyos", "proton-cachyos-9.0-20250126-slr.tar.gz"),
    ],
)
async def test_a_build_of_each_family_is_installed_by_its_name_alone(
    store: ProtonStore, tools: Path, typed: str, version: str, family: str, archive: str
) -> None:
    done = await store.install(typed)
    assert (done.version, done.family, done.path) == (version, family, tools / version)
    record = json.loads((tools / version / ".integ-build.json").read_text())
    assert (record["archive"], record["family"]) == (archive, family)
    assert record["checksum"].startswith("sha512:")
    assert (await store.verify(typed)).is_whole and left_over(tools) == []
    assert (await store.build_for(None, asked=typed)).version == version
    assert (await store.install(typed)).already_installed


def test_every_family_can_be_named_on_the_command_line_and_shown_in_the_browser() -> None:
    assert list(get_args(proton_commands.Family)) == list(proton_screen.FAMILIES) == list(FAMILIES)


async def test_the_name_of_the_archive_does_not_say_how_it_is_packed(store: ProtonStore, sandbox: RunningSandbox) -> None:
    sandbox.faults.on("feed.zstd_inside")
    for typed in ("ge-9.1", "cachyos-10.0-20250807"):  # a .tar.gz and a .tar.xz, by their names
        await store.install(typed)
        assert (await store.verify(typed)).is_whole


async def test_the_folder_is_named_after_the_tag_not_after_the_archives_top(store: ProtonStore, tools: Path) -> None:
    await store.install(f"ge-11.6@{X86}")
    record = json.loads(next(tools.glob("GE-Proton11-6*/.integ-build.json")).read_text())
    assert (record["tag"], record["top"]) == ("GE-Proton11-6", "GE-Proton11-6-x86_64")


@pc
async def test_eleven_one_to_three_have_no_machine_in_their_name_and_later_ones_have(store: ProtonStore, tools: Path) -> None:
    for typed, archive in (("ge-11.3", "GE-Proton11-3.tar.gz"), ("ge-11.4", "GE-Proton11-4-x86_64.tar.gz")):
        done = await store.install(typed)
        assert json.loads((done.path / ".integ-build.json").read_text())["archive"] == archive


@pc
async def test_the_checksum_is_read_from_the_file_beside_the_archive(store: ProtonStore, sandbox: RunningSandbox) -> None:
    await store.install("ge-11.6")
    asked = [seen.path for seen in sandbox.requests if seen.host == "github.com"]
    assert [path.rpartition("/")[2] for path in asked] == ["GE-Proton11-6-x86_64.sha512sum", "GE-Proton11-6-x86_64.tar.gz"]


@pc
async def test_what_is_listed_for_a_pc_holds_no_arm_and_no_newer_build(store: ProtonStore) -> None:
    listed = await store.available(family="cachyos")
    assert [each.version for each in listed] == ["cachyos-10.0-20250807-slr", "cachyos-10.0-20250714-slr", "cachyos-9.0-20250126-slr"]
    assert {each.family for each in listed} == {"cachyos"}
    with pytest.raises(BuildNotFoundError) as told:
        await store.install("umu-9.0-3.2@aarch64")
    assert "aarch64" in told.value.message and told.value.hint == "integ proton available --family umu"


async def test_a_version_of_another_family_is_none_of_the_named_one(store: ProtonStore) -> None:
    with pytest.raises(BuildNotFoundError, match="GE-Proton"):
        await store.install("umu-9.0-3.2", family="ge")


async def test_the_newest_of_the_first_family_is_the_default_and_never_an_arm_build(home: Path, tools: Path) -> None:
    store = store_of(home)
    other = ARM if this_arch() == X86 else X86
    foreign = fake_build(tools, f"GE-Proton99-1-{other}")
    (foreign / ".integ-build.json").write_text(json.dumps({"family": "ge", "tag": "GE-Proton99-1", "arch": other}))
    assert await store.default() is None
    for version in ("UMU-Proton-9.0-4e", "cachyos-10.0-20250807-slr"):
        fake_build(tools, version)
    default = await store.default()
    assert default is not None and (default.version, default.family) == ("UMU-Proton-9.0-4e", "umu")
    for version in ("GE-Proton9-27", "GE-Proton10-1"):
        fake_build(tools, version)
    default = await store.default()
    assert default is not None and default.version == "GE-Proton10-1"
    assert [build.version for build in await store.installed()] == [
        "GE-Proton10-1",
        "GE-Proton9-27",
        "UMU-Proton-9.0-4e",
        "cachyos-10.0-20250807-slr",
        f"GE-Proton99-1-{other}",
    ]


async def test_a_spent_quota_serves_the_kept_list_and_says_so(store: ProtonStore, sandbox: RunningSandbox, home: Path) -> None:
    listed = await store.available(family="umu")
    assert store.notice == ""
    sandbox.faults.on("feed.rate_limited")
    assert await store.available(family="umu", refresh=True) == listed
    assert "GitHub asks for a pause" in store.notice and "less than an hour old" in store.notice


@pc
@pytest.mark.parametrize("machine", [b"\xb7\x00", b"\xf3\x00"])
async def test_a_wine_of_another_machine_in_a_build_for_pcs_is_refused(tools: Path, machine: bytes) -> None:
    from integ_runtime.proton.installed import check_build

    build = fake_build(tools, "GE-Proton9-1")
    (build / "files/bin").mkdir()
    wine = build / "files/bin/wine"
    wine.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\x00" + bytes(44))
    check_build(build)
    check_build(build, arch="x86_64_v3")
    wine.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + machine + bytes(44))
    with pytest.raises(IntegrityError, match="not for x86_64"):
        check_build(build)


async def test_latest_points_to_what_was_installed_last_of_whatever_family(store: ProtonStore, tools: Path) -> None:
    await store.install("ge-9.1")
    await store.install("umu")
    assert os.readlink(tools / "latest") == "UMU-Proton-9.0-4e"


FLAGS = (
    "fpu cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
    "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "avx512f avx512bw avx512cd avx512dq avx512vl",
)


@pc
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_processor_runs_the_builds_for_those_before_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    monkeypatch.undo()
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {' '.join(FLAGS[:level])}\nbugs\t: spectre_v1\n\nprocessor\t: 1\n")
    found = {arch for arch in (X86, "x86_64_v2", "x86_64_v3", "x86_64_v4", ARM) if can_run(arch, cpuinfo)}
    assert found == {X86, *("x86_64_v2", "x86_64_v3", "x86_64_v4")[:level]}
    assert not can_run("x86_64_v2", tmp_path / "nothing")


@pc
async def test_a_build_that_this_processor_can_not_run_is_refused_and_never_the_default(
    store: ProtonStore, tools: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.install("cachyos@x86_64_v3")
    default = await store.default()
    assert default is not None and default.arch == "x86_64_v3"
    monkeypatch.setattr(processor, "_flags", lambda cpuinfo: frozenset({"sse2"}))
    assert await store.default() is None
    sandbox.requests.clear()
    with pytest.raises(UsageError, match="processor") as told:
        await store.install("cachyos-10.0-20250714@x86_64_v3")
    assert told.value.hint == "integ install-proton cachyos-10.0-20250714"
    assert list(sandbox.requests) == []


@pc
async def test_an_arm_build_is_never_taken_on_a_pc_though_it_is_all_there_is(home: Path, tools: Path) -> None:
    address = "https://github.com/GloriousEggroll/proton-ge-custom/releases/download/GE-Proton11-6"
    names = ["GE-Proton11-6-aarch64.sha512sum", "GE-Proton11-6-aarch64.tar.gz"]
    assets = [{"id": at, "name": name, "size": 9, "browser_download_url": f"{address}/{name}"} for at, name in enumerate(names)]
    with Outside().running() as outside:
        path = "/api.github.com/repos/GloriousEggroll/proton-ge-custom/releases?per_page=100"
        outside.files[path] = json.dumps([{"tag_name": "GE-Proton11-6", "assets": assets}]).encode()
        store = ProtonStore(read_settings({"HOME": str(home)})._replace(upstream_url=outside.url), SteamFiles(home, {}))
        for typed in ("latest", "ge-11.6", "ge-11"):
            with pytest.raises(BuildNotFoundError, match="GE-Proton11-6 has no build for x86_64"):
                await store.install(typed)
        assert await store.available() == []
        assert not [asked for asked in outside.asked if "aarch64" in asked.path]
    assert not tools.exists()


async def test_a_build_whose_name_says_another_machine_is_never_the_default_though_nothing_is_written_down(home: Path, tools: Path) -> None:
    other = ARM if this_arch() == X86 else X86
    SteamHome(home / ".local/share/Steam").tool(f"GE-Proton11-5-{other}", name="GE-Proton11-5")
    fake_build(tools, f"GE-Proton11-6-{other}")
    store = store_of(home)
    assert await store.default() is None
    with pytest.raises(BuildNotFoundError):
        await store.build_for("steam:620", required="ge-11.6")
    assert (await store.build_for("steam:620", asked=f"GE-Proton11-6-{other}")).version == f"GE-Proton11-6-{other}"
    fake_build(tools, "GE-Proton9-1")
    assert (await store.build_for("steam:620")).version == "GE-Proton9-1"


async def test_a_folder_that_is_named_after_its_archive_is_found_by_its_tag(home: Path, tools: Path) -> None:
    fake_build(tools, f"GE-Proton11-6-{this_arch()}")
    store = store_of(home)
    assert (await store.build_for(None, asked="ge-11.6")).path.name == f"GE-Proton11-6-{this_arch()}"
    default = await store.default()
    assert default is not None and (default.tag, default.family) == ("GE-Proton11-6", "ge")
