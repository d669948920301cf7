from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integ_runtime.downloads import fetch
from integ_runtime.progress import Progress
from integ_runtime.proton.store import ProtonStore
from integ_server.contract.errors import (
    BuildNotFoundError,
    IntegrityError,
    ProviderError,
    ProviderUnavailableError,
    StorageError,
    UsageError,
    WouldLoseDataError,
)
from integ_server.releases.families import ARM, X86, this_arch
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.proton.proton_home import left_over, store_of

ASSETS = "release-assets.githubusercontent.com"


async def test_the_newest_build_is_installed_and_latest_points_to_it(store: ProtonStore, tools: Path) -> None:
    heard: list[Progress] = []
    outcome = await store.install(report=heard.append)
    assert (outcome.version, outcome.family, outcome.path, outcome.already_installed) == (
        "GE-Proton11-6",
        "ge",
        tools / "GE-Proton11-6",
        False,
    )
    assert outcome.bytes_fetched > 0
    assert os.readlink(tools / "latest") == "GE-Proton11-6"
    assert left_over(tools) == []
    assert {"resolve", "download", "check"} <= {each.stage for each in heard}
    (build,) = await store.installed()
    assert (build.version, build.source, build.family) == ("GE-Proton11-6", "integ", "ge")
    assert (await store.verify("latest")).is_whole


async def test_an_installed_version_is_found_by_any_of_its_names_without_asking_anybody(
    store: ProtonStore, sandbox: RunningSandbox
) -> None:
    await store.install("ge-8.26")
    asked = len(sandbox.requests)
    for name in ("GE-Proton8-26", "ge8-26", "GE-8.26"):
        outcome = await store.install(name)
        assert outcome.already_installed and outcome.bytes_fetched == 0
    assert len(sandbox.requests) == asked


async def test_latest_asks_again_and_finds_it_there(store: ProtonStore) -> None:
    await store.install()
    assert (await store.install("ge-11")).already_installed


async def test_what_is_published_is_listed_with_what_is_here(store: ProtonStore) -> None:
    await store.install("ge-11.5")
    listed = await store.available(limit=3)
    assert [(build.version, build.installed) for build in listed] == [
        ("GE-Proton11-6", False),
        ("GE-Proton11-5", True),
        ("GE-Proton11-4", False),
    ]
    assert all(build.size_bytes > 0 and build.published_at for build in listed)
    with pytest.raises(UsageError):
        await store.available(family="banana")


@pytest.mark.parametrize("typed", ["GE-Proton99-1", "ge-10.5", "ge-12", "GE-Proton9-12", "banana", "../evil"])
async def test_a_version_that_is_not_published_is_not_found(store: ProtonStore, typed: str) -> None:
    with pytest.raises(BuildNotFoundError) as told:
        await store.install(typed)
    assert "integ proton available" in told.value.hint


async def test_a_release_that_is_still_being_built_is_passed_over_and_told(store: ProtonStore, sandbox: RunningSandbox) -> None:
    sandbox.faults.on("feed.newest_empty")
    heard: list[Progress] = []
    outcome = await store.install(report=heard.append)
    assert outcome.version == "GE-Proton11-5"
    assert any("GE-Proton11-6" in each.message for each in heard)


async def test_another_machines_build_lies_beside_and_is_named_so(store: ProtonStore, tools: Path) -> None:
    other = ARM if this_arch() == X86 else X86
    with pytest.raises(BuildNotFoundError):
        await store.install(f"ge-9.1@{ARM}")
    outcome = await store.install(f"ge-11.6@{other}")
    assert outcome.version == f"GE-Proton11-6-{other}"
    assert not (await store.install("ge-11.6")).already_installed
    assert (await store.install(f"ge-11.6@{other}")).already_installed


@pytest.mark.parametrize(
    "fault",
    [
        "wrong_checksum",
        "hostile_dotdot",
        "hostile_absolute",
        "hostile_symlink",
        "hostile_hardlink",
        "hostile_device",
        "two_tops",
        "no_manifest",
        "no_proton",
        "truncated_archive",
        "checksum_garbage",
    ],
)
async def test_what_is_not_right_leaves_nothing_at_all(
    store: ProtonStore, sandbox: RunningSandbox, tools: Path, home: Path, fault: str
) -> None:
    sandbox.faults.on(f"feed.{fault}")
    with pytest.raises(IntegrityError):
        await store.install("ge-9.1")
    assert not tools.exists() or {each.name for each in tools.iterdir()} == {".integ.lock"}
    assert not list(home.rglob("evil*"))
    sandbox.faults.off(f"feed.{fault}")
    assert (await store.install("ge-9.1")).version == "GE-Proton9-1"  # though the list of a moment ago is still kept


async def test_a_bomb_is_refused_before_it_fills_the_disk(store: ProtonStore, sandbox: RunningSandbox, tools: Path) -> None:
    sandbox.faults.on("feed.bomb")
    with pytest.raises(IntegrityError):
        await store.install("ge-9.1")
    assert left_over(tools) == []


async def test_the_archives_own_name_for_its_folder_does_not_matter(store: ProtonStore, sandbox: RunningSandbox, tools: Path) -> None:
    sandbox.faults.on("feed.wrong_top")
    await store.install("ge-9.1")
    assert (tools / "GE-Proton9-1/proton").is_file()


async def test_a_build_nobody_vouches_for_is_taken_only_when_told_to(store: ProtonStore, sandbox: RunningSandbox) -> None:
    sandbox.faults.on("feed.no_checksum")
    with pytest.raises(IntegrityError, match="checksum") as told:
        await store.install("ge-9.1")
    assert "--unverified" in told.value.hint
    assert (await store.install("ge-9.1", unverified=True)).version == "GE-Proton9-1"


async def test_a_cut_download_goes_on_where_it_stopped(store: ProtonStore, sandbox: RunningSandbox) -> None:
    sandbox.faults.on("feed.cut_body", times=1)
    await store.install("ge-9.1")
    ranges = [seen.headers.get("range") for seen in sandbox.requests if seen.host == ASSETS and "sha512" not in seen.path]
    assert any(each and each != "bytes=0-" for each in ranges)


async def test_a_download_that_always_breaks_off_keeps_what_came(
    store: ProtonStore, sandbox: RunningSandbox, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_pause_s", lambda failures, error: 0.0)
    sandbox.faults.on("feed.cut_body")
    sandbox.faults.on("feed.range_off")
    with pytest.raises(ProviderUnavailableError):
        await store.install("ge-9.1")
    (part,) = (tools / ".integ-download").glob("*.part")
    kept = part.stat().st_size
    assert kept > 0 and left_over(tools) == [".integ-download"]
    sandbox.faults.off("feed.cut_body")
    sandbox.faults.off("feed.range_off")
    outcome = await store.install("ge-9.1")
    size = next(build.size_bytes for build in await store.available(limit=500) if build.version == "GE-Proton9-1")
    assert outcome.bytes_fetched == size - kept
    assert left_over(tools) == []


async def test_an_asset_that_is_gone_is_a_provider_error(store: ProtonStore, sandbox: RunningSandbox, tools: Path) -> None:
    sandbox.faults.on("feed.asset_gone")
    with pytest.raises(ProviderError):
        await store.install("ge-9.1")


async def test_without_network_or_feed_it_is_told(home: Path) -> None:
    with pytest.raises(ProviderUnavailableError):
        await store_of(home).install()


async def test_a_folder_in_the_way_is_left_alone(store: ProtonStore, tools: Path) -> None:
    (tools / "GE-Proton9-1").mkdir(parents=True)
    (tools / "GE-Proton9-1/mine").write_text("precious")
    with pytest.raises(WouldLoseDataError):
        await store.install("ge-9.1")
    assert (tools / "GE-Proton9-1/mine").read_text() == "precious"


async def test_two_in_one_process_install_once(store: ProtonStore, sandbox: RunningSandbox) -> None:
    outcomes = await asyncio.gather(store.install("ge-9.1"), store.install("ge-9.1"))
    assert sorted(each.already_installed for each in outcomes) == [False, True]


RUN = """
import asyncio, os, sys
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
settings = read_settings()
store = ProtonStore(settings, SteamFiles(settings.paths.home, {}))
print("ready", flush=True)
sys.stdin.readline()
outcome = asyncio.run(store.install("ge-9.1", report=lambda p: print(p.stage, flush=True)))
print("already" if outcome.already_installed else "installed", flush=True)
"""


def start(home: Path, sandbox: RunningSandbox) -> subprocess.Popen[str]:
    environ = {**os.environ, "HOME": str(home), "INTEG_UPSTREAM_URL": sandbox.url, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen([sys.executable, "-c", RUN], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_install_one_version_once(home: Path, sandbox: RunningSandbox, tools: Path) -> None:
    both = [start(home, sandbox), start(home, sandbox)]
    for each in both:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    outputs = [each.communicate("go\n", timeout=60)[0].split() for each in both]
    assert sorted(output[-1] for output in outputs) == ["already", "installed"]
    assert [each.returncode for each in both] == [0, 0]
    assert left_over(tools) == []


def test_a_run_that_was_killed_leaves_no_build_and_the_next_one_goes_on(home: Path, sandbox: RunningSandbox, tools: Path) -> None:
    sandbox.faults.on("feed.stall")
    killed = start(home, sandbox)
    assert killed.stdin is not None and killed.stdout is not None
    killed.stdin.write("go\n")
    killed.stdin.flush()
    while killed.stdout.readline() != "download\n":
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    killed.stdin.close()
    killed.stdout.close()
    sandbox.faults.off("feed.stall")
    assert not (tools / "GE-Proton9-1").exists() and not (tools / "latest").exists()
    store = store_of(home, sandbox)
    kept = sum(part.stat().st_size for part in (tools / ".integ-download").glob("*.part"))
    assert kept > 0
    asyncio.run(store.install("ge-9.1"))
    assert left_over(tools) == []
    assert asyncio.run(store.verify("ge-9.1")).is_whole


async def test_cancelling_keeps_the_archive_and_no_half_build(store: ProtonStore, sandbox: RunningSandbox, tools: Path) -> None:
    sandbox.faults.on("feed.slow")
    coming = asyncio.Event()
    running = asyncio.create_task(store.install("ge-9.1", report=lambda progress: coming.set() if progress.stage == "download" else None))
    await coming.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_over(tools) == [".integ-download"]
    assert not (tools / "GE-Proton9-1").exists()
    sandbox.faults.off("feed.slow")
    await store.install("ge-9.1")
    assert left_over(tools) == []


async def test_what_killed_runs_left_is_cleaned_away_by_the_next(store: ProtonStore, tools: Path) -> None:
    (tools / ".integ-tmp-dead/files").mkdir(parents=True)
    (tools / ".integ-tmp-dead/files/x").write_text("half")
    (tools / ".integ-tmp-dead/files").chmod(0o555)
    await store.install("ge-9.1")
    assert left_over(tools) == []


async def test_half_an_archive_that_nobody_went_on_with_for_weeks_goes(store: ProtonStore, tools: Path) -> None:
    parts = tools / ".integ-download"
    parts.mkdir(parents=True)
    for name, days in (("old", 15), ("young", 13)):
        (parts / f"{name}.tar.gz.part").write_bytes(b"half")
        os.utime(parts / f"{name}.tar.gz.part", (time.time() - days * 86_400,) * 2)
    await store.install("ge-9.1")
    assert [each.name for each in parts.iterdir()] == ["young.tar.gz.part"]


async def test_a_full_disk_is_told_and_nothing_half_made_has_a_name(home: Path, sandbox: RunningSandbox) -> None:
    """On a real file system of 2 MB, in a mount namespace of its own."""
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    probe = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    if not unshare or not mount or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("CI has to allow mounts in a namespace")
        pytest.skip("this machine allows no mounts in a namespace")
    script = """
import asyncio, os
from integ_runtime.proton import install as installing
from integ_runtime.downloads import fetch
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
from integ_server.contract.errors import StorageError
settings = read_settings()
store = ProtonStore(settings, SteamFiles(settings.paths.home, {}))
for look_ahead in (True, False):
    if not look_ahead:  # as when something else fills the disk meanwhile
        installing.check_space = fetch.check_space = lambda folder, needed: None
    try:
        asyncio.run(store.install("ge-9.1"))
    except StorageError as error:
        print("needed" if "needed" in error.message else "full" if "is full" in error.message else error.message)
print(sorted(each.name for each in settings.paths.proton_dir.iterdir() if each.name not in {".integ.lock", ".integ-download"}))
"""
    cache = home / ".cache/integ/proton"
    cache.mkdir(parents=True)
    environ = {**os.environ, "INTEG_UPSTREAM_URL": sandbox.url, "PYTHONPATH": os.getcwd()}
    inside = f"mount -t tmpfs -o size=400k none {cache} && exec {sys.executable} -c '{script.replace(chr(39), chr(34))}'"
    command = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", inside]
    done = await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["needed", "full", "[]"], done.stderr


async def test_a_file_system_that_runs_no_programs_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from integ_runtime.proton import folder

    monkeypatch.setattr(folder, "_file_system_kind", lambda device: "vfat")
    with pytest.raises(StorageError, match="vfat"):
        folder.check_file_system(home)
