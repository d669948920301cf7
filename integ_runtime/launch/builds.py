"""What a build on the disk is to a plan: a Proton by its manifest, plain Wine by its programs."""

from __future__ import annotations

from pathlib import Path

from integ_runtime.errors import LaunchError
from integ_runtime.launch.calling import Build, BuildTool, WineBuild
from integ_runtime.proton.installed import InstalledBuild
from integ_runtime.proton.layout import find_program, is_32_bit
from integ_runtime.steam.tools import read_tool
from integ_server.contract.errors import IntegrityError

_LOADER_32 = "ld-linux.so.2"
_FIRST_LINES = 4096


def read_call(build: InstalledBuild, prefix: Path, root: Path = Path("/")) -> Build:
    """
    How *build* calls a program in *prefix*; *root* is where the machine that runs it has its files.

    Raises:
        IntegrityError: Something of it is missing.
        LaunchError: It can't be used on this machine, or not in this prefix.
    """
    if build.kind == "wine":
        return _read_wine(build, prefix, root)
    manifest = read_tool(build.path)
    if manifest is None:
        raise IntegrityError(f"{build.version} has no toolmanifest.vdf", hint=f"integ proton verify {build.version}")
    return BuildTool(build.version, manifest)


def find_wineserver(build: InstalledBuild) -> Path | None:
    """The build's own, which ends all of a prefix when it is asked to."""
    return find_program(build.path, build.kind, "wineserver")


def _read_wine(build: InstalledBuild, prefix: Path, root: Path) -> WineBuild:
    wine, wine64 = (find_program(build.path, "wine", name) for name in ("wine", "wine64"))
    server = find_wineserver(build)
    if server is None or (wine is None and wine64 is None):
        raise IntegrityError(f"{build.version} has no wine and wineserver", hint=f"integ proton verify {build.version}")
    notes: tuple[str, ...] = ()
    if wine is not None and is_32_bit(build.path, wine):
        if wine64 is None and _is_64_bit_prefix(prefix):
            key = prefix.parent.name.replace("-", ":", 1)
            raise LaunchError(
                f"{build.version} knows 32-bit prefixes alone, and this one is for 64 bits",
                hint=f"integ launch {key} --proton {build.version.removesuffix('-x86')}, or: integ prefix remove {key}",
            )
        if not any((root / each / _LOADER_32).exists() for each in ("lib", "usr/lib")):
            if wine64 is None:
                raise LaunchError(
                    f"{build.version} needs 32-bit libraries, which this machine has not",
                    hint=f"integ install-proton {build.version.removesuffix('-x86')}, or install glibc for 32 bits",
                )
            wine = None
            notes = ("32-bit programs will not run: this machine has no 32-bit libraries",)
    program = wine or wine64
    assert program is not None
    folders = [build.path / each for each in ("lib64", "lib", "lib/x86_64-linux-gnu", "lib/i386-linux-gnu")]
    return WineBuild(
        build.version,
        program,
        server,
        libraries=tuple(each for each in folders if any(each.glob("*.so*"))),
        plugins=tuple(each / "gstreamer-1.0" for each in folders if (each / "gstreamer-1.0").is_dir()),
        has_mono=(build.path / "share/wine/mono").is_dir(),
        notes=notes,
    )


def _is_64_bit_prefix(prefix: Path) -> bool:
    try:
        with (prefix / "pfx" / "system.reg").open("rb") as file:
            return b"#arch=win64" in file.read(_FIRST_LINES)
    except OSError:
        return False
