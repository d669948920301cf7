"""A copy of a prefix is the prefix, and nothing beyond it is read or written."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from integ_runtime.prefix import copying
from integ_runtime.prefix.copying import check_room, copy_tree, measure
from integ_server.contract.errors import StorageError


@pytest.fixture(params=["as the file system can", "without shared blocks", "without the kernel's help"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "as the file system can":
        monkeypatch.setattr(copying, "_clone", lambda *_: False)
    if request.param == "without the kernel's help":

        def refuse(*_: object) -> int:
            raise OSError(38, "not here")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    return str(request.param)


def make_prefix(folder: Path) -> Path:
    """What a prefix has that a plain tree has not."""
    drive = folder / "pfx" / "drive_c"
    (drive / "windows" / "system32").mkdir(parents=True)
    (folder / "pfx" / "dosdevices").mkdir()
    (folder / "pfx" / "dosdevices" / "z:").symlink_to("/")
    (folder / "pfx" / "dosdevices" / "c:").symlink_to("../drive_c")
    (drive / "windows" / "system32" / "ntdll.dll").symlink_to("/nowhere/GE-Proton9-27/files/lib64/wine/ntdll.dll")
    (drive / "data.bin").write_bytes(os.urandom(100_000))
    os.link(drive / "data.bin", drive / "same.bin")
    with (drive / "sparse.bin").open("wb") as sparse:
        sparse.write(b"head")
        sparse.seek(64 << 20)
        sparse.write(b"tail")
        sparse.truncate(96 << 20)
    (drive / "empty").touch()
    (drive / "caf\udce9 日本").write_text("odd")
    (drive / "script.sh").write_text("#!/bin/sh\n")
    (drive / "script.sh").chmod(0o755)
    (drive / "locked").mkdir()
    (drive / "locked" / "inner").write_text("kept")
    (drive / "locked").chmod(0o555)
    os.utime(drive / "data.bin", ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
    os.utime(drive, ns=(1_000_000_000_000_000_001, 1_000_000_000_000_000_002))
    return folder


def looks(folder: Path) -> dict[str, object]:
    """Everything that a copy has to keep, by path."""
    found: dict[str, object] = {}
    for root, names, files in os.walk(folder):
        for name in [".", *names, *files]:
            path = Path(root, name)
            known = path.lstat()
            inner = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(folder))] = (known.st_mode, known.st_mtime_ns, known.st_nlink if path.is_file() else 0, inner)
    return found


def test_a_copy_is_the_same_in_all_that_matters(tmp_path: Path, way: str) -> None:
    prefix = make_prefix(tmp_path / "prefix")
    told: list[int] = []
    copy_tree(prefix, tmp_path / "copy", moved=told.append)
    assert looks(tmp_path / "copy") == looks(prefix)
    drive = tmp_path / "copy" / "pfx" / "drive_c"
    assert os.path.samefile(drive / "data.bin", drive / "same.bin")
    assert not os.path.samefile(drive / "data.bin", prefix / "pfx" / "drive_c" / "data.bin")
    assert (drive / "sparse.bin").stat().st_blocks * 512 < 1 << 20, "its hole stays a hole"
    assert sum(told) <= measure(prefix).bytes
    (drive / "script.sh").write_text("changed")
    assert (prefix / "pfx" / "drive_c" / "script.sh").read_text() == "#!/bin/sh\n"


def test_wine_s_attributes_go_along(tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / "prefix")
    file = prefix / "pfx" / "drive_c" / "data.bin"
    try:
        os.setxattr(file, "user.DOSATTRIB", b"0x22")
    except OSError:
        pytest.skip("this file system keeps no attributes")
    copy_tree(prefix, tmp_path / "copy")
    assert os.getxattr(tmp_path / "copy" / "pfx" / "drive_c" / "data.bin", "user.DOSATTRIB") == b"0x22"


def test_a_socket_or_a_pipe_is_left_out(tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / "prefix")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(prefix)
        try:
            listening.bind("here")
        finally:
            os.chdir("/")
        os.mkfifo(prefix / "pipe")
        copy_tree(prefix, tmp_path / "copy")
    assert sorted(each.name for each in (tmp_path / "copy").iterdir()) == ["pfx"]


def test_nothing_behind_a_link_is_counted_or_copied(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "large").write_bytes(b"x" * (4 << 20))
    prefix = make_prefix(tmp_path / "prefix")
    before = measure(prefix)
    (prefix / "pfx" / "dosdevices" / "d:").symlink_to(tmp_path / "outside")
    after = measure(prefix)
    assert (after.entries, after.bytes < before.bytes + (1 << 20)) == (before.entries + 1, True)
    copy_tree(prefix, tmp_path / "copy")
    assert os.readlink(tmp_path / "copy" / "pfx" / "dosdevices" / "d:") == str(tmp_path / "outside")


def test_names_of_one_file_and_holes_are_counted_once_and_not_at_all(tmp_path: Path) -> None:
    assert measure(make_prefix(tmp_path / "prefix")).bytes < 1 << 20


def test_a_check_that_raises_ends_the_copy(tmp_path: Path, way: str) -> None:
    prefix = make_prefix(tmp_path / "prefix")
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        copy_tree(prefix, tmp_path / "copy", check=check)
    assert calls == 6


def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").write_bytes(b"x" * (1 << 20))
    known = os.statvfs(tmp_path)
    free_mib = (measure(tmp_path).bytes >> 20) + 64
    monkeypatch.setattr(copying, "_shares_blocks", lambda _: False)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, *known[2:4], free_mib << 8, *known[5:])))
    with pytest.raises(StorageError, match="MiB are free"):
        check_room(measure(tmp_path), tmp_path)
    monkeypatch.setattr(copying, "_shares_blocks", lambda _: True)
    check_room(measure(tmp_path), tmp_path)
