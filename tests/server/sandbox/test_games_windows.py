from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from integ_server.sandbox.games.assembler import Assembler, Reg, When
from integ_server.sandbox.games.portable_executable import console_program
from integ_server.sandbox.games.windows_game import windows_game

NAME = "Brasswater Drift"


def sections(program: bytes) -> dict[str, tuple[int, int, int, int]]:
    """Name to (size, rva, file size, file offset), straight from the headers."""
    header = struct.unpack_from("<I", program, 0x3C)[0]
    assert program[header : header + 4] == b"PE\0\0"
    count, optional_size = struct.unpack_from("<H", program, header + 6)[0], struct.unpack_from("<H", program, header + 20)[0]
    first = header + 24 + optional_size
    rows = (struct.unpack_from("<8sIIII", program, first + 40 * place) for place in range(count))
    return {name.rstrip(b"\0").decode(): (size, rva, file_size, file_at) for name, size, rva, file_size, file_at in rows}


def test_the_program_is_a_console_program_for_64_bits() -> None:
    program = windows_game(NAME)
    header = struct.unpack_from("<I", program, 0x3C)[0]
    assert program[:2] == b"MZ"
    assert struct.unpack_from("<H", program, header + 4)[0] == 0x8664
    assert struct.unpack_from("<H", program, header + 24)[0] == 0x20B
    assert struct.unpack_from("<H", program, header + 24 + 68)[0] == 3, "the console subsystem"


def test_every_section_lies_whole_in_the_file_and_none_is_writable_and_executable() -> None:
    program = windows_game(NAME)
    found = sections(program)
    assert set(found) == {".text", ".rdata", ".bss"}
    places = sorted((rva, rva + size) for size, rva, _, _ in found.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    for _, _, file_size, file_at in found.values():
        assert file_at % 512 == file_size % 512 == 0 and file_at + file_size <= len(program)


def test_the_same_name_gives_the_same_program_and_another_name_another_folder() -> None:
    assert windows_game(NAME) == windows_game(NAME)
    assert "Lantern Keep".encode("utf-16-le") in windows_game("Lantern Keep")
    assert "Lantern Keep".encode("utf-16-le") not in windows_game(NAME)


@pytest.mark.parametrize("name", ["Größenwahn", "up\\..\\out", "50%s", "a:b"])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a folder name"):
        windows_game(name)


def test_instructions_are_the_bytes_that_a_disassembler_shows() -> None:
    code = Assembler()
    code.reserve_stack(0x28)
    code.number(Reg.R8, 300)
    code.copy(Reg.RBX, Reg.RAX)
    code.copy(Reg.RCX, Reg.R9)
    code.store_on_stack(0x20, Reg.RAX)
    code.load_element(Reg.RCX, Reg.RAX, Reg.RCX, -8)
    code.compare(Reg.RAX, 1)
    code.test(Reg.RAX)
    assert code.linked(0, {}).hex(" ") == (
        "48 83 ec 28 41 b8 2c 01 00 00 48 89 c3 4c 89 c9 48 89 44 24 20 48 8b 4c c8 f8 81 f8 01 00 00 00 48 85 c0"
    )


def test_addresses_count_from_the_end_of_their_instruction() -> None:
    code = Assembler()
    code.jump("end", When.ZERO)
    code.address(Reg.R8, "word")
    code.label("end")
    assert code.linked(0x1000, {"word": 0x2000}).hex(" ") == "0f 84 07 00 00 00 4c 8d 05 f3 0f 00 00"


def test_mistakes_in_a_program_are_found_when_it_is_made() -> None:
    code = Assembler()
    code.label("here")
    with pytest.raises(ValueError, match="stands twice"):
        code.label("here")
    code.call("Nothing")
    with pytest.raises(KeyError, match="Nothing"):
        console_program(code, constants={}, variables={}, imports={"kernel32.dll": ["ExitProcess"]})


# --- under Wine ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("wine")
    yield folder / "pfx"


@pytest.fixture
def wine(need: Callable[[str], str], prefix: Path, home: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    program, server = need("wine"), need("wineserver")
    env = {**os.environ, "WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml="}

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *command], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )

    yield run
    subprocess.run([server, "-k"], env=env, capture_output=True, check=False)
    subprocess.run([server, "-w"], env=env, capture_output=True, check=False)


@pytest.mark.integration
@pytest.mark.xdist_group("wine")
def test_under_wine_it_counts_its_starts_and_ends_as_it_is_told(
    wine: Callable[..., subprocess.CompletedProcess[str]], prefix: Path, tmp_path: Path
) -> None:
    game = tmp_path / "brasswater.exe"
    game.write_bytes(windows_game(NAME))
    first = wine(game)
    assert first.returncode == 0
    assert first.stdout.startswith(f"{NAME}: start number 1, the save is C:\\users\\")
    [save] = prefix.glob(f"drive_c/users/*/AppData/Roaming/{NAME}/save.txt")
    assert save.read_text().split() == ["starts=1"]
    ends = {("-profile", "Night Owl"): 0, ("-profile", "Night Owl", "exit", "7"): 7}
    for start, (arguments, code) in enumerate(ends.items(), 2):
        done = wine(game, *arguments)
        assert (done.returncode, f"start number {start}," in done.stdout) == (code, True), arguments
    assert save.read_text().split() == [f"starts={1 + len(ends)}"]
    assert [path.name for path in save.parent.iterdir()] == ["save.txt"]
    save.write_text("not a save at all")
    assert "start number 1," in wine(game).stdout
    save.unlink()
    save.mkdir()
    homeless = wine(game)
    assert (homeless.returncode, "nowhere to keep the save" in homeless.stdout) == (3, True)
