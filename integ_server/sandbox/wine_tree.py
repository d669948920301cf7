"""What lies in the sandbox's plain Wine builds: trees of the real shapes, whose programs hand over to this machine's Wine."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from integ_server.sandbox.proton_tree import STUB, Member

_MODULES = tuple(f"{name}{number:02d}.dll" for name in ("d3d", "kernel", "msvcp", "winhttp") for number in range(4))


def wine_members(build: str) -> Iterator[Member]:
    """
    The tree of the build whose top folder is *build*; folders come before what they hold.

    Wine-GE (`lutris-…`) brings libraries, GStreamer's plugins and Mono along; Kron4ek's rely on the machine's. Up to the tenth series those
    that are not `wow64` have a loader for each width.
    """
    luck = Random(build)
    is_ge = build.startswith("lutris-")
    yield Member("bin", "folder", mode=0o755)
    for name in ("wine", "wineserver", "wineboot", "winecfg"):
        yield Member(f"bin/{name}", body=STUB.encode(), mode=0o755)
    if is_ge or ("wow64" not in build and "-x86" not in build and "-11." not in build):
        yield Member("bin/wine64", "symlink", target="wine", mode=0o777)
    for library in ("lib", "lib64") if is_ge else ("lib",):
        unix = "i386" if build.endswith("-x86") or (is_ge and library == "lib") else "x86_64"
        for folder in (library, f"{library}/wine", f"{library}/wine/{unix}-unix", f"{library}/wine/{unix}-windows"):
            yield Member(folder, "folder", mode=0o755)
        yield Member(f"{library}/wine/{unix}-unix/ntdll.so", body=luck.randbytes(300), mode=0o755)
        for name in _MODULES:
            yield Member(f"{library}/wine/{unix}-windows/{name}", body=b"MZ" + luck.randbytes(200))
        if is_ge:
            yield Member(f"{library}/libvkd3d.so.1", body=luck.randbytes(300), mode=0o755)
            yield Member(f"{library}/gstreamer-1.0", "folder", mode=0o755)
            yield Member(f"{library}/gstreamer-1.0/libgstplayback.so", body=luck.randbytes(300), mode=0o755)
    yield Member("share", "folder", mode=0o755)
    yield Member("share/wine", "folder", mode=0o755)
    yield Member("share/wine/wine.inf", body=f"; {build}\n[version]\nsignature=$CHICAGO$\n".encode())
    if is_ge:
        yield Member("share/wine/mono", "folder", mode=0o755)
        yield Member("share/wine/mono/mono.txt", body=luck.randbytes(64))
