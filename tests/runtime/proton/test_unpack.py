from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integ_runtime.proton.archive import Limits, TarStream, inflate
from integ_runtime.proton.unpack import Unpacked, unpack
from integ_server.contract.errors import IntegrityError
from tests.runtime.proton.tarballs import Item, build, folder, gz, hardlink, item, symlink, tar, xz, zst

T = "GE-Proton9-1"


def xz_blocks(data: bytes, block: int = 20_000) -> bytes:
    """As `xz -T` writes it: blocks that say how long they are. Their form is that of the file format's description."""
    out, index = b"\xfd7zXZ\0\0\1" + crc32(b"\0\1"), b""
    records = [data[at : at + block] for at in range(0, len(data), block)]
    for record in records:
        packed = lzma.compress(record, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}])
        fields = b"\xc0" + number(len(packed)) + number(len(record)) + b"\x21\1\x0c"
        fields += bytes(-(len(fields) + 1) % 4)
        head = bytes([(len(fields) + 1) // 4]) + fields
        out += head + crc32(head) + packed + bytes(-len(packed) % 4) + crc32(record)
        index += number(len(head) + 4 + len(packed) + 4) + number(len(record))
    index = b"\0" + number(len(records)) + index
    index += bytes(-len(index) % 4)
    foot = (len(index) // 4).to_bytes(4, "little") + b"\0\1"
    return out + index + crc32(index) + crc32(foot) + foot + b"YZ"


def crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def number(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


XZ_BLOCKS = xz_blocks(tar(build(T)))


def pieces(data: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def put(data: bytes, folder: Path, size: int = 1 << 16, limits: Limits | None = None) -> Unpacked:
    folder.mkdir()
    return unpack(pieces(data, size), folder, limits=limits)


def tree(folder: Path) -> dict[str, tuple[str, bytes | str]]:
    found: dict[str, tuple[str, bytes | str]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("symlink", os.readlink(path))
        elif path.is_file():
            found[name] = ("file", path.read_bytes())
    return found


@pytest.mark.parametrize("packed", [gz, xz, xz_blocks, zst])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("size", [1, 7777, 1 << 20])
def test_a_build_is_unpacked_as_tar_itself_would(tmp_path: Path, packed: Callable[[bytes], bytes], form: int, size: int) -> None:
    archive = tar(build(T), form)
    unpacked = put(packed(archive), tmp_path / "mine", size)
    with tarfile.open(fileobj=io.BytesIO(archive)) as reference:
        reference.extractall(tmp_path / "theirs", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    assert tree(tmp_path / "mine") == tree(tmp_path / "theirs" / T)
    assert unpacked.top == T
    assert unpacked.size_bytes == sum(len(data) for kind, data in tree(tmp_path / "mine").values() if kind == "file")
    wine = (tmp_path / "mine/files/bin/wine").stat()
    assert wine.st_ino == (tmp_path / "mine/files/bin/wineserver").stat().st_ino


def test_special_bits_and_owners_are_dropped_and_read_only_files_stay_so(tmp_path: Path) -> None:
    put(gz(tar(build(T))), tmp_path / "x")
    assert stat.S_IMODE((tmp_path / "x/files/bin/wine").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "x/LICENSE").stat().st_mode) == 0o444
    assert (tmp_path / "x/proton").stat().st_uid == os.getuid()


names = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60), min_size=1, max_size=6
).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(names, st.integers(0, 200_000), max_size=6),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    size=st.integers(100, 1 << 20),
)
def test_any_names_and_sizes_come_out_as_they_went_in(tmp_path: Path, files: dict[str, int], form: int, size: int) -> None:
    contents = {f"{T}/{name}": os.urandom(length) for name, length in files.items()}
    archive = tar([item(name, data) for name, data in contents.items()], form)
    members = TarStream(pieces(archive, size))
    assert {member.name: b"".join(members.data()) for member in members} == contents


def test_many_small_and_some_large_files_arrive_with_their_checksums(tmp_path: Path) -> None:
    contents = {f"{T}/d{number % 7}/f{number}": os.urandom(number * 37 % 5000) for number in range(2000)}
    contents[f"{T}/large"] = os.urandom(9_000_000)
    unpacked = put(gz(tar([item(name, data) for name, data in contents.items()])), tmp_path / "x")
    for name, data in contents.items():
        path = name.removeprefix(f"{T}/")
        assert (tmp_path / "x" / path).read_bytes() == data
        assert (unpacked.files[path].size_bytes, unpacked.files[path].crc32) == (len(data), zlib.crc32(data))


def test_several_streams_and_padding_are_one_archive(tmp_path: Path) -> None:
    archive = tar(build(T))
    half = len(archive) // 2
    put(gzip.compress(archive[:half]) + gzip.compress(archive[half:]) + bytes(1024), tmp_path / "gz")
    put(zst(archive[:half]) + zst(archive[half:]), tmp_path / "zst")
    put(xz(archive[:half]) + bytes(4) + xz(archive[half:]), tmp_path / "xz")
    put(xz_blocks(archive[:half]) + bytes(8) + xz_blocks(archive[half:]), tmp_path / "blocks")
    assert tree(tmp_path / "gz") == tree(tmp_path / "zst") == tree(tmp_path / "xz") == tree(tmp_path / "blocks")


def test_large_blocks_are_decoded_side_by_side_and_stay_in_order() -> None:
    content = b"".join(number.to_bytes(4, "little") for number in range(3_000_000))
    packed = xz_blocks(content, 5 << 20)
    assert b"".join(inflate(pieces(packed), Limits())) == lzma.decompress(packed) == content


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_damage_to_xz_blocks_goes_unseen_or_crashes(data: st.DataObject) -> None:
    whole = b"".join(inflate(pieces(XZ_BLOCKS, 999), Limits()))
    damaged = bytearray(XZ_BLOCKS)
    at = data.draw(st.integers(6, len(damaged) - 40))
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        found = b"".join(inflate(pieces(bytes(damaged), 999), Limits()))
    except IntegrityError:
        return
    assert found == whole  # it was in the index, which only repeats what the blocks say


HOSTILE: dict[str, list[Item]] = {
    "a name that climbs": build(T, item(f"{T}/../evil")),
    "a name that climbs from deep below": build(T, item(f"{T}/a/b/../../../evil")),
    "only dots": build(T, item("..")),
    "an absolute name": build(T, item("/evil")),
    "a second top folder": build(T, folder("other/"), item("other/x")),
    "a file beside the top folder": build(T, item("evil")),
    "a file as the top folder": [item(T, b"x")],
    "an odd top folder": [folder(".ssh/"), item(".ssh/authorized_keys")],
    "an absolute link": build(T, symlink(f"{T}/x", "/etc/passwd")),
    "an empty link": build(T, symlink(f"{T}/x", "")),
    "a link that climbs out": build(T, symlink(f"{T}/x", "../evil")),
    "a link that climbs out from below": build(T, symlink(f"{T}/files/x", "../../evil")),
    "a link out through a link": build(T, symlink(f"{T}/a", "files/bin"), symlink(f"{T}/b", "a/../../../evil")),
    "a link out through a later link": build(T, symlink(f"{T}/b", "a/../.."), symlink(f"{T}/a", "."), item(f"{T}/c")),
    "a file through a link": build(T, symlink(f"{T}/a", "files"), item(f"{T}/a/evil")),
    "a file over a link": build(T, symlink(f"{T}/a", "files/x"), item(f"{T}/a", b"evil")),
    "a folder over a link": build(T, symlink(f"{T}/a", "files"), folder(f"{T}/a/")),
    "a link over a folder": build(T, folder(f"{T}/a/"), symlink(f"{T}/a", "files")),
    "a file below a file": build(T, item(f"{T}/proton/evil")),
    "a file twice": build(T, item(f"{T}/proton", b"evil", mode=0o755)),
    "a hard link outside": build(T, hardlink(f"{T}/x", "../../etc/passwd")),
    "an absolute hard link": build(T, hardlink(f"{T}/x", "/etc/passwd")),
    "a hard link to nothing": build(T, hardlink(f"{T}/x", f"{T}/none")),
    "a hard link to a later file": build(T, hardlink(f"{T}/x", f"{T}/y"), item(f"{T}/y")),
    "a hard link to a link": build(T, symlink(f"{T}/a", "proton"), hardlink(f"{T}/x", f"{T}/a")),
    "a character device": build(T, item(f"{T}/null", None, type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "a block device": build(T, item(f"{T}/disk", None, type=tarfile.BLKTYPE, devmajor=8)),
    "a pipe": build(T, item(f"{T}/pipe", None, type=tarfile.FIFOTYPE)),
    "an unknown kind": build(T, item(f"{T}/odd", None, type=b"Z")),
    "a name too long": build(T, item(f"{T}/{'x' * 300}")),
    "names too deep": build(T, item(f"{T}/{'x/' * 200}x")),
    "files of Integ's own": build(T, item(f"{T}/.integ-build.json", b"{}")),
    "nothing": [],
}


@pytest.mark.parametrize("items", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_hostile_archive_is_refused_and_nothing_leaves_its_folder(tmp_path: Path, items: list[Item], form: int) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises(IntegrityError):
        put(gz(tar(items, form)), tmp_path / "x")
    outside = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "x")}
    assert outside == before
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_a_link_in_a_circle_is_harmless(tmp_path: Path) -> None:
    put(gz(tar(build(T, symlink(f"{T}/a", "b"), symlink(f"{T}/b", "a"), symlink(f"{T}/pfx", ".")))), tmp_path / "x")
    assert os.readlink(tmp_path / "x/pfx") == "."


def test_a_bomb_is_refused_by_ratio_size_and_number(tmp_path: Path) -> None:
    bomb = gz(tar([item(f"{T}/zeros", bytes(30 << 20))]))
    for number, limits in enumerate([Limits(floor_bytes=1 << 20), Limits(bytes=20 << 20)]):
        with pytest.raises(IntegrityError):
            put(bomb, tmp_path / f"x{number}", limits=limits)
        assert sum(path.stat().st_size for path in (tmp_path / f"x{number}").rglob("*")) < 25 << 20
    with pytest.raises(IntegrityError, match="too many"):
        put(gz(tar(build(T))), tmp_path / "many", limits=Limits(entries=5))
    with pytest.raises(IntegrityError, match="too many"):
        put(gz(tar([item(f"{T}/{'/'.join('abcdefghijklmnopqrst')}")])), tmp_path / "deep", limits=Limits(entries=10))


@pytest.mark.parametrize("packed", [gz, xz, xz_blocks, zst])
def test_an_archive_that_ends_early_is_refused_wherever_it_ends(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    whole = packed(tar(build(T)))
    for number, cut in enumerate(sorted({0, 1, 5, 6, 100, len(whole) // 2, len(whole) * 9 // 10, len(whole) - 9})):
        with pytest.raises(IntegrityError):
            put(whole[:cut], tmp_path / str(number))


def test_a_tar_without_its_end_is_refused(tmp_path: Path) -> None:
    for number, cut in enumerate([512, 1024, 5000]):
        with pytest.raises(IntegrityError, match="ends too early"):
            put(gz(tar(build(T))[:cut]), tmp_path / str(number))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 a zip",
        b"\x1f\x8b",
        b"\x1f\x8b rubbish",
        b"\xfd7zXZ\0 rubbish",
        b"\x28\xb5\x2f\xfd rubbish",
        gz(b"no tar at all" * 100),
        gz(b"\xff" * 5000),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(IntegrityError):
        put(data, tmp_path / "x")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_a_tar_makes_it_crash(data: st.DataObject) -> None:
    archive = bytearray(tar(build(T), data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))))
    for _ in range(data.draw(st.integers(1, 6))):
        header = 512 * data.draw(st.integers(0, 14))
        at = header + data.draw(st.integers(0, 511))
        archive[at] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):  # with a checksum that fits, so that the rest is looked at
            block = archive[header : header + 512]
            total = sum(block[:148]) + sum(block[156:]) + 256
            archive[header + 148 : header + 156] = b"%06o\0 " % total
    stream = TarStream(pieces(bytes(archive), 1000))
    try:
        for member in stream:
            for piece in stream.data():
                assert len(piece) <= 1000
            assert member.size >= 0
    except IntegrityError:
        pass


@given(st.binary(max_size=3000))
def test_no_bytes_make_it_crash(data: bytes) -> None:
    for head in (b"", b"\x1f\x8b\x08\x00", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"):
        try:
            for _ in TarStream(inflate(pieces(head + data, 100), Limits())):
                pass
        except IntegrityError:
            pass


@pytest.mark.parametrize(
    "record",
    [b"12 path=x\n", b"999999999 path=x\n", b"path=x\n", b"0 path=x\n", b"11 size=-1\n", b"14 size=10e99\n", b"23 GNU.sparse.major=1\n\n"],
)
def test_a_pax_header_that_makes_no_sense_is_refused(record: bytes) -> None:
    block = bytearray(tar([item("pax", record)]))
    block[156:157] = b"x"
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:512]) + 256)
    with pytest.raises(IntegrityError):
        list(TarStream(iter([bytes(block[:1024]) + tar([item("file", b"x")])])))
