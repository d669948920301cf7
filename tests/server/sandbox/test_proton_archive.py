from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from integ_server.sandbox.faults import KNOWN
from integ_server.sandbox.proton_archive import BOMB_BYTES, VARIANTS, ArchiveName, archive, archive_size, sha256, sha512
from tests.conftest_sandbox import RunningSandbox

NAME = ArchiveName("GE-Proton11-6", "GE-Proton11-6-x86_64", 1_784_900_000)


SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def of(variant: str) -> ArchiveName:
    return ArchiveName(NAME.build, NAME.top, NAME.made_at, NAME.packing, variant)


def members(variant: str = "") -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive(of(variant)))) as tar:
        return tar.getmembers()


def test_the_same_name_has_the_same_bytes_and_another_other_ones_of_the_same_size() -> None:
    other = ArchiveName("GE-Proton7-51-diablo_4_beta", "GE-Proton7-51-diablo_4_beta", 1_600_000_000)
    before = archive(NAME)
    archive.cache_clear()
    assert archive(NAME) == before != archive(other)
    assert len(before) == len(archive(other)) == archive_size(other)
    assert sha512(NAME) == hashlib.sha512(before).hexdigest() and sha256(NAME) == hashlib.sha256(before).hexdigest()


def test_the_gzip_is_whole_and_its_own_check_sum_fits() -> None:
    tar = gzip.decompress(archive(NAME))
    assert len(tar) % 512 == 0 and len(archive(NAME)) < len(tar) * 3 // 4


def test_the_build_has_the_shape_of_ge_proton() -> None:
    found = {member.name.removeprefix(f"{NAME.top}/"): member for member in members()}
    assert len(found) > 250
    for name in ("proton", "files/bin/wine"):
        assert found[name].mode & 0o111 and found[name].isfile()
    assert {"toolmanifest.vdf", "compatibilitytool.vdf", "version", "user_settings.sample.py"} <= found.keys()
    assert found["files/share/wine/nls/locale.nls"].mode == 0o444
    links = [member for member in found.values() if member.issym()]
    assert len(links) > 50
    for link in links:
        inside = os.path.normpath(os.path.join(os.path.dirname(link.name), link.linkname))
        assert inside.removeprefix(f"{NAME.top}/") in found
    assert not any(member.islnk() or member.isdev() for member in found.values())


def test_the_manifest_asks_for_no_runtime_and_the_build_names_itself() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(NAME))) as tar:

        def text(name: str) -> str:
            file = tar.extractfile(f"{NAME.top}/{name}")
            assert file is not None
            return file.read().decode()

        assert '"commandline" "/proton %verb%"' in text("toolmanifest.vdf") and "require_tool_appid" not in text("toolmanifest.vdf")
        assert text("version") == "1784900000 GE-Proton11-6\n"
        assert '"GE-Proton11-6"' in text("compatibilitytool.vdf") and '"to_oslist" "linux"' in text("compatibilitytool.vdf")


@pytest.mark.skipif(not SAFELY, reason="this Python's tarfile has no filters yet (3.11.4 does)")
def test_the_honest_archive_unpacks_with_pythons_safe_filter_and_every_hostile_one_is_refused(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(NAME))) as tar:
        tar.extractall(tmp_path / "honest", filter="data")
    assert os.access(tmp_path / "honest" / NAME.top / "proton", os.X_OK)
    for variant in ("hostile_dotdot", "hostile_absolute", "hostile_symlink", "hostile_hardlink", "hostile_device"):
        into = tmp_path / "inside" / variant / "here"
        into.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(archive(of(variant)))) as tar, pytest.raises(tarfile.FilterError):
            for member in tar:
                if member.name.startswith(f"{NAME.top}/files/lib/"):
                    continue
                if variant == "hostile_dotdot" and ".." in member.name:
                    member.name = f"{member.name.removeprefix(NAME.top)[1:]}"
                if variant == "hostile_absolute" and member.name.startswith("/"):
                    member.name = f"../{member.name}"  # the filter would only strip the slash
                tar.extract(member, into, filter="data")


def test_each_hostile_archive_holds_what_its_fault_says() -> None:
    assert any("/../" in member.name for member in members("hostile_dotdot"))
    assert any(member.name.startswith("/") for member in members("hostile_absolute"))
    through = members("hostile_symlink")
    assert through[-2].issym() and through[-2].linkname == "../../.." and through[-1].name.startswith(f"{through[-2].name}/")
    assert any(member.islnk() and "etc/passwd" in member.linkname for member in members("hostile_hardlink"))
    assert any(member.ischr() for member in members("hostile_device"))
    assert len({member.name.partition("/")[0] for member in members("two_tops")}) == 2
    assert {member.name.partition("/")[0] for member in members("wrong_top")} == {f"Other-{NAME.top}"}
    assert f"{NAME.top}/toolmanifest.vdf" not in [member.name for member in members("no_manifest")]
    assert f"{NAME.top}/proton" not in [member.name for member in members("no_proton")]
    with pytest.raises((EOFError, tarfile.ReadError)):
        members("truncated_archive")


def test_the_bomb_is_small_and_says_that_it_is_larger_than_any_build() -> None:
    assert len(archive(of("bomb"))) < 20_000_000 and BOMB_BYTES > 8 << 30
    with tarfile.open(fileobj=io.BytesIO(archive(of("bomb"))), mode="r|gz") as tar:
        large = next(member for member in tar if member.size > 1 << 30)
        assert large.size == BOMB_BYTES
        file = tar.extractfile(large)
        assert file is not None and file.read(1 << 20) == bytes(1 << 20)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
async def test_each_bent_archive_is_published_with_a_size_and_a_checksum_that_fit(sandbox: RunningSandbox, variant: str) -> None:
    assert f"feed.{variant}" in KNOWN
    sandbox.faults.on(f"feed.{variant}")
    root = "https://api.github.com/repos/GloriousEggroll/proton-ge-custom/releases"
    async with httpx.AsyncClient() as http:

        async def body(asset: dict[str, str]) -> bytes:
            there = await http.get(sandbox.at(asset["browser_download_url"]))
            return (await http.get(sandbox.at(there.headers["location"]))).content

        assets = {one["name"]: one for one in (await http.get(sandbox.at(f"{root}/latest"))).json()["assets"]}
        packed = await body(assets["GE-Proton11-6-x86_64.tar.gz"])
        line = (await body(assets["GE-Proton11-6-x86_64.sha512sum"])).decode()
    assert packed == archive(ArchiveName("GE-Proton11-6", "GE-Proton11-6-x86_64", 1_787_908_211, "gz", variant))
    assert len(packed) == assets["GE-Proton11-6-x86_64.tar.gz"]["size"]
    assert line.split() == [hashlib.sha512(packed).hexdigest(), "GE-Proton11-6-x86_64.tar.gz"]


# --- its proton ----------------------------------------------------------------------------------------------------


@pytest.fixture
def build(tmp_path: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(archive(NAME))) as tar:
        tar.extractall(tmp_path, **SAFELY)
    return tmp_path / NAME.top


@pytest.fixture
def stand_in(build: Path) -> Callable[[str], None]:
    """Put a program in the place of the build's Wine."""

    def put(script: str) -> None:
        for name in ("wine", "wineserver"):
            (build / "files" / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")

    return put


def call(build: Path, *arguments: str, data: Path | None, **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "HOME": str(build.parent), "STEAM_COMPAT_CLIENT_INSTALL_PATH": "", **environ}
    if data is not None:
        variables["STEAM_COMPAT_DATA_PATH"] = str(data)
    return subprocess.run([build / "proton", *arguments], env=variables, capture_output=True, text=True, check=False, timeout=120)


def test_proton_wants_its_folders_and_a_verb(build: Path, tmp_path: Path) -> None:
    without = call(build, "run", "x.exe", data=None)
    assert without.returncode == 1 and "No compat data path" in without.stderr
    assert call(build, "run", "x.exe", data=tmp_path / "missing").returncode == 1
    (tmp_path / "data").mkdir()
    strange = call(build, "dance", data=tmp_path / "data")
    assert strange.returncode == 1 and "Need a verb." in strange.stderr
    assert "IndexError" in call(build, data=tmp_path / "data").stderr
    variables = {"PATH": os.environ["PATH"], "STEAM_COMPAT_DATA_PATH": str(tmp_path / "data")}
    naked = subprocess.run([build / "proton", "run", "x.exe"], env=variables, capture_output=True, text=True, check=False)
    assert naked.returncode == 1 and "KeyError" in naked.stderr


def test_proton_makes_the_prefix_and_passes_arguments_prefix_and_exit_code_on(
    build: Path, stand_in: Callable[[str], None], tmp_path: Path
) -> None:
    stand_in('echo "$(basename "$0")|$WINEPREFIX|$WINEDEBUG|$*"; [ "$(basename "$0")" = wineserver ] || exit 7')
    data = tmp_path / "data"
    data.mkdir()
    answer = call(build, "waitforexitandrun", "/games/a b.exe", "--fast", data=data, WINEARCH="win32", WINEPREFIX="/elsewhere")
    assert answer.returncode == 7, answer.stderr
    assert answer.stdout.splitlines() == [f"wineserver|{data}/pfx|-all|-w", f"wine|{data}/pfx|-all|/games/a b.exe --fast"]
    assert (data / "pfx").is_dir() and (data / "version").read_text() == "GE-Proton11-6\n"
    assert {"version", "config_info", "tracked_files", "pfx.lock", "pfx"} == {entry.name for entry in data.iterdir()}
    run = call(build, "run", "x.exe", data=data, WINEDEBUG="+all")
    assert run.stdout.splitlines() == [f"wine|{data}/pfx|+all|x.exe"]


def test_destroying_a_prefix_leaves_what_belongs_to_the_player(build: Path, stand_in: Callable[[str], None], tmp_path: Path) -> None:
    stand_in("exit 0")
    data = tmp_path / "data"
    data.mkdir()
    call(build, "run", "x.exe", data=data)
    (data / "pfx" / "save.dat").write_text("dear to me")
    assert call(build, "destroyprefix", data=data).returncode == 0
    assert not (data / "version").exists() and (data / "pfx" / "save.dat").exists()


def test_paths_are_translated_both_ways(build: Path, tmp_path: Path) -> None:
    there = call(build, "getcompatpath", "/games/a b.exe", data=tmp_path)
    assert there.stdout == "Z:\\games\\a b.exe\n"
    assert call(build, "getnativepath", "Z:\\games\\a b.exe", data=tmp_path).stdout == "/games/a b.exe\n"
    assert call(build, "getnativepath", "C:\\x", data=tmp_path).stdout == f"{tmp_path}/pfx/dosdevices/c:/x\n"


def test_a_machine_without_wine_is_told_so(build: Path, tmp_path: Path) -> None:
    stub = (build / "files" / "bin" / "wine").read_text()
    for folder in ("/usr/games", "/usr/lib", "/opt"):
        stub = stub.replace(f"{folder}/", f"{tmp_path}/nowhere/")
    (build / "files" / "bin" / "wine").write_text(stub)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("basename", "sh", "env", "python3"):
        found = next(Path(folder, name) for folder in ("/usr/bin", "/bin", "/usr/local/bin") if Path(folder, name).exists())
        (tools / name).symlink_to(found)
    answer = call(build, "run", "x.exe", data=tmp_path, PATH=str(tools))
    assert answer.returncode == 1 and "there is no Wine on this machine" in answer.stderr


def test_the_builds_wine_hands_over_to_the_one_on_the_path(build: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "wine").write_text('#!/bin/sh\necho "the machine\'s: $*"\nexit 9\n')
    (tools / "wine").chmod(0o755)
    answer = call(build, "run", "a b.exe", data=tmp_path, PATH=f"{tools}:{os.environ['PATH']}")
    assert (answer.returncode, answer.stdout) == (9, "the machine's: a b.exe\n")
