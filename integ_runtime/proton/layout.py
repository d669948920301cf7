"""Where the parts of a build lie, and which it has to have: a Proton brings Wine in a folder of its own, plain Wine is nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from integ_runtime.steam.tools import is_executable
from integ_server.releases.families import ARM, X86, Kind

_MACHINES = {62: X86, 183: ARM, 3: X86}  # 3 is i386, which an x86_64 build has too
_I386 = 3


class Layout(NamedTuple):
    entry: tuple[str, ...]
    """What starts it: one of these, as a program."""
    files: tuple[str, ...]
    """All of these."""
    one_of: tuple[tuple[str, ...], str]
    """At least one of these, and what is missed when there is none."""
    programs: tuple[str, ...]
    """The folders in which Wine's own programs may be, the likeliest first."""


LAYOUTS: dict[Kind, Layout] = {
    "proton": Layout(
        ("proton",),
        ("toolmanifest.vdf", "version"),
        (("files", "dist", "proton_dist.tar"), "files"),  # `dist` in old builds
        ("files/bin", "dist/bin", "files/bin-arm64"),
    ),
    "wine": Layout(("bin/wine", "bin/wine64"), ("bin/wineserver",), (("lib/wine", "lib64/wine"), "lib/wine"), ("bin",)),
}


def is_build(path: Path, kind: Kind) -> bool:
    """Whether there is a build of that kind in the folder *path*; one that has its name is whole."""
    return any((path / each).is_file() for each in LAYOUTS[kind].entry)


def missing_parts(path: Path, kind: Kind) -> list[str]:
    """What the folder *path* lacks to be a build of that kind."""
    layout = LAYOUTS[kind]
    missing = [] if any(is_executable(path / each) for each in layout.entry) else [f"an executable {layout.entry[0]}"]
    missing += [each for each in layout.files if not (path / each).is_file()]
    choice, name = layout.one_of
    return missing if any((path / each).exists() for each in choice) else [*missing, name]


def find_program(path: Path, kind: Kind, *names: str) -> Path | None:
    """The first of Wine's programs *names* that the build in *path* brings; None when it brings none."""
    found = (path / below / name for below in LAYOUTS[kind].programs for name in names)
    return next((each for each in found if is_executable(each)), None)


def machines(path: Path, kind: Kind) -> Iterator[str]:
    """What machine each of the build's main programs is for; scripts say nothing."""
    for below in LAYOUTS[kind].programs:
        for name in ("wine", "wine64", "wineserver", "wine-preloader", "wine64-preloader"):
            number = _machine_number(path, path / below / name)
            if number is not None:
                yield _MACHINES.get(number, f"another machine (ELF {number})")


def is_32_bit(path: Path, program: Path) -> bool:
    """Whether *program* of the build in *path* needs the machine's 32-bit libraries."""
    return _machine_number(path, program) == _I386


def _machine_number(path: Path, program: Path) -> int | None:
    """The machine in the ELF header of *program*; None when it is no such program, or not the build's own."""
    try:
        if not program.resolve().is_relative_to(path.resolve()):
            return None
        with program.open("rb") as file:
            header = file.read(20)
    except (OSError, RuntimeError):
        return None
    if not header.startswith(b"\x7fELF") or len(header) < 20:
        return None
    return int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
