"""Builds of plain Wine from their feeds to the disk and off it again, beside those of Proton."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from integ_runtime.proton.installed import check_build, read_build
from integ_runtime.proton.store import ProtonStore
from integ_runtime.proton.upkeep import Upkeep
from integ_runtime.settings import read_settings
from integ_server.contract.errors import BuildNotFoundError, IntegrityError, UsageError, WouldLoseDataError
from integ_server.releases.families import X86, this_arch
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.proton.proton_home import fake_build, left_over
from tests.runtime.steam.steam_home import SteamHome

pytestmark = pytest.mark.skipif(this_arch() != X86, reason="these builds are for PCs")


def fake_wine(tools: Path, version: str, *, programs: tuple[str, ...] = ("wine", "wineserver")) -> Path:
    """Enough of a build of plain Wine to be one."""
    path = tools / version
    (path / "lib" / "wine").mkdir(parents=True)
    (path / "bin").mkdir()
    for name in programs:
        (path / "bin" / name).write_text("#!/bin/sh\nread line\n")
        (path / "bin" / name).chmod(0o755)
    return path


def record_of(path: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((path / ".integ-build.json").read_text())
    return record


@pytest.mark.parametrize(
    ("typed", "version", "family", "archive", "algorithm"),
    [
        ("wine-11.7", "wine-11.7", "kron4ek", "wine-11.7-amd64.tar.xz", "sha256"),
        ("kron4ek", "wine-11.7", "kron4ek", "wine-11.7-amd64.tar.xz", "sha256"),
        ("kron4ek-staging-11.6", "wine-11.6-staging", "kron4ek", "wine-11.6-staging-amd64.tar.xz", "sha256"),
        ("wine-staging-tkg-wow64", "wine-11.7-staging-tkg-wow64", "kron4ek", "wine-11.7-staging-tkg-amd64-wow64.tar.xz", "sha256"),
        ("wine-11.7-x86", "wine-11.7-x86", "kron4ek", "wine-11.7-x86.tar.xz", "sha256"),
        ("wine-proton", "wine-proton-10.0-4", "kron4ek", "wine-proton-10.0-4-amd64.tar.xz", "sha256"),
        ("wine-ge", "Wine-GE-Proton8-26", "wine-ge", "wine-lutris-GE-Proton8-26-x86_64.tar.xz", "sha512"),
        ("wine-ge-7.43", "Wine-GE-Proton7-43", "wine-ge", "wine-lutris-GE-Proton7-43-x86_64.tar.xz", "sha512"),
    ],
)
async def test_plain_wine_is_installed_by_its_name_alone(
    store: ProtonStore, tools: Path, typed: str, version: str, family: str, archive: str, algorithm: str
) -> None:
    done = await store.install(typed)
    assert (done.version, done.family, done.path) == (version, family, tools / version)
    record = record_of(done.path)
    assert (record["archive"], record["family"], record["tag"]) == (archive, family, version)
    assert str(record["checksum"]).startswith(f"{algorithm}:")
    assert os.access(done.path / "bin" / "wine", os.X_OK) and not (done.path / "proton").exists()
    assert (await store.verify(typed)).is_whole and left_over(tools) == []
    build = await store.build_for(None, asked=typed)
    assert (build.version, build.kind, build.require_tool_appid) == (version, "wine", None)
    assert (await store.install(typed)).already_installed


async def test_a_build_without_any_checksum_is_refused_unless_the_player_takes_it(store: ProtonStore, tools: Path) -> None:
    with pytest.raises(IntegrityError, match=r"nobody publishes a checksum of wine-10\.0") as told:
        await store.install("wine-10.0")
    assert told.value.hint.startswith("integ install-proton wine-10.0 --unverified")
    assert not (tools / "wine-10.0").exists()
    done = await store.install("wine-10.0", unverified=True)
    assert record_of(done.path)["checksum"] is None


async def test_a_digest_that_does_not_fit_leaves_nothing(store: ProtonStore, sandbox: RunningSandbox, tools: Path) -> None:
    sandbox.faults.on("feed.wrong_checksum")
    with pytest.raises(IntegrityError):
        await store.install("wine-11.7")
    assert read_build(tools / "wine-11.7") is None and left_over(tools) == []


@pytest.mark.parametrize(("fault", "lacks"), [("feed.no_proton", "bin/wine"), ("feed.no_manifest", "bin/wineserver")])
async def test_an_archive_that_lacks_what_wine_needs_is_refused(
    store: ProtonStore, sandbox: RunningSandbox, tools: Path, fault: str, lacks: str
) -> None:
    sandbox.faults.on(fault)
    with pytest.raises(IntegrityError, match=f"no build of Wine: it lacks .*{lacks}"):
        await store.install("wine-11.7")
    assert left_over(tools) == []


async def test_plain_wine_is_a_build_in_its_own_families_alone(tools: Path) -> None:
    wine = fake_wine(tools, "wine-11.7")
    check_build(wine, kind="wine")
    with pytest.raises(IntegrityError, match="no Proton build: it lacks an executable proton"):
        check_build(wine)
    renamed = wine.rename(tools / "GE-Proton9-27")
    assert read_build(renamed) is None, "a Proton without its script is none"
    proton = fake_build(tools, "GE-Proton9-1")
    with pytest.raises(IntegrityError, match="no build of Wine"):
        check_build(proton, kind="wine")


async def test_a_wine_of_another_machine_is_refused(tools: Path) -> None:
    build = fake_wine(tools, "wine-11.7")
    (build / "bin/wine").write_bytes(b"\x7fELF\x01\x01\x01" + bytes(11) + b"\x03\x00" + bytes(44))
    check_build(build, kind="wine")
    (build / "bin/wine").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xb7\x00" + bytes(44))
    with pytest.raises(IntegrityError, match="not for x86_64"):
        check_build(build, kind="wine")


async def test_the_same_tag_in_both_of_ges_repositories_is_two_builds(store: ProtonStore, tools: Path, home: Path) -> None:
    for typed in ("wine-ge-8.26", "ge-8.26"):
        await store.install(typed)
    assert {build.version: (build.family, build.kind) for build in await store.installed()} == {
        "GE-Proton8-26": ("ge", "proton"),
        "Wine-GE-Proton8-26": ("wine-ge", "wine"),
    }
    assert (tools / "GE-Proton8-26" / "proton").is_file() and not (tools / "Wine-GE-Proton8-26" / "proton").exists()
    kept = {file.name.rpartition("-")[0] for file in (home / ".cache/integ/releases").iterdir()}
    assert kept == {"ge", "wine-ge"}
    assert (await store.build_for(None, asked="GE-Proton8-26")).family == "ge"
    assert {each.version: each.installed for each in await store.available(family="wine-ge")}["Wine-GE-Proton8-26"]
    assert not any(each.family != "ge" for each in await store.available())
    await store.remove("wine-ge-8.26")
    assert (await store.verify("ge-8.26")).is_whole


async def test_what_is_listed_has_one_line_for_each_release_and_variants_only_when_asked_for(store: ProtonStore) -> None:
    listed = await store.available(family="kron4ek")
    assert [each.version for each in listed] == ["wine-11.7", "wine-11.6", "wine-10.0", "wine-10.0-rc2"]
    staging = await store.available(family="kron4ek", variant="staging-wow64")
    assert [each.version for each in staging][:2] == ["wine-11.7-staging-wow64", "wine-11.6-staging-wow64"]
    assert [each.version for each in await store.available(family="kron4ek", variant="proton")] == ["wine-proton-10.0-4"]
    for family in ("kron4ek", "ge"):
        with pytest.raises(UsageError, match="no variant 'fast'"):
            await store.available(family=family, variant="fast")


async def test_a_proton_is_the_default_before_plain_wine_and_plain_wine_before_nothing(store: ProtonStore, home: Path, tools: Path) -> None:
    fake_wine(tools, "wine-11.7")
    default = await store.default()
    assert default is not None and default.version == "wine-11.7"
    SteamHome(home / ".local/share/Steam").tool("GE-Proton9-1")
    default = await store.default()
    assert default is not None and (default.version, default.source) == ("GE-Proton9-1", "steam")
    await store.use("kron4ek-11.7")
    default = await store.default()
    assert default is not None and default.version == "wine-11.7"
    await store.use("wine-11.7", game="gog:1")
    assert (await store.build_for("gog:1")).kind == "wine"
    with pytest.raises(WouldLoseDataError, match="gog:1"):
        await store.remove("wine-11.7")


async def test_plain_wine_is_not_put_into_steam_and_nobody_is_asked(store: ProtonStore, home: Path, sandbox: RunningSandbox) -> None:
    steam = SteamHome(home / ".local/share/Steam")
    for typed, family, title in (
        ("wine-11.7", "kron4ek", "Kron4ek Wine"),
        ("wine-ge", "wine-ge", "Wine-GE"),
        ("latest", "kron4ek", "Kron4ek Wine"),
    ):
        with pytest.raises(UsageError, match=f"{title} is plain Wine, which Steam can't run") as told:
            await store.install_into_steam(typed, family=family)
        assert told.value.hint.startswith(f"integ install-proton {typed} --family {family}")
    assert list(sandbox.requests) == [] and not (steam.root / "compatibilitytools.d").exists()


async def test_each_variant_is_kept_up_to_date_by_itself(store: ProtonStore, home: Path, tools: Path) -> None:
    for version in ("wine-11.6", "wine-11.6-staging", "wine-proton-10.0-2", "wine-10.0-rc2", "Wine-GE-Proton8-25"):
        fake_wine(tools, version)
    upkeep = Upkeep(read_settings({"HOME": str(home)}), store)
    told = {(each.family, each.before, each.version) for each in (await upkeep.update()).items}
    assert told == {
        ("kron4ek", "wine-11.6", "wine-11.7"),
        ("kron4ek", "wine-11.6-staging", "wine-11.7-staging"),
        ("kron4ek", "wine-proton-10.0-2", "wine-proton-10.0-4"),
        ("wine-ge", "Wine-GE-Proton8-25", "Wine-GE-Proton8-26"),
    }
    (item,) = (await upkeep.update("wine-staging")).items
    assert (item.version, item.updated) == ("wine-11.7-staging", False)
    with pytest.raises(BuildNotFoundError):
        await upkeep.update("wine-staging-tkg")
    await store.use("wine-11.7")
    gone = {build.version for build in await upkeep.prune()}
    assert gone == {"wine-11.6", "wine-11.6-staging", "wine-11.7-staging", "wine-proton-10.0-2", "wine-proton-10.0-4", "wine-10.0-rc2"} | {
        "Wine-GE-Proton8-25",
        "Wine-GE-Proton8-26",
    }
    assert [build.version for build in await store.installed()] == ["wine-11.7"]


async def test_what_was_changed_in_a_build_is_found(store: ProtonStore) -> None:
    path = (await store.install("wine-ge")).path
    (path / "bin" / "wineserver").write_text("#!/bin/sh\n")
    (path / "lib64" / "libvkd3d.so.1").unlink()
    (path / "bin" / "more").touch()
    found = await store.verify("wine-ge")
    assert (found.missing, found.changed, found.foreign) == (("lib64/libvkd3d.so.1",), ("bin/wineserver",), ("bin/more",))


async def test_room_is_asked_for_as_tight_an_archive_needs_it(
    store: ProtonStore, sandbox: RunningSandbox, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """96 MB of a real one become 852 MB."""
    asked: list[int] = []
    monkeypatch.setattr("integ_runtime.proton.install.check_space", lambda folder, needed: asked.append(needed))
    (newest, *_) = await store.available(family="kron4ek")
    await store.install("wine-11.7")
    assert asked == [11 * newest.size_bytes]
