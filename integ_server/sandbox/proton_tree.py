"""What lies in the sandbox's Proton build: a small tree of the real shape, whose `proton` runs programs by this machine's Wine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal

PROTON_SCRIPT = '''#!/usr/bin/env python3
"""The sandbox's stand-in for Proton: the verbs and the environment of the real one, over the Wine of this machine."""

import fcntl
import os
import subprocess
import sys

BASE = os.path.dirname(os.path.abspath(sys.argv[0]))


def fail(text):
    print("Proton: " + text, file=sys.stderr)
    sys.exit(1)


def build_name():
    with open(os.path.join(BASE, "version"), encoding="utf-8") as file:
        return file.read().split(None, 1)[1].strip()


def prepare(data):
    """Make or bring up to date what lies around the prefix, under the prefix's lock."""
    with open(os.path.join(data, "pfx.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.makedirs(os.path.join(data, "pfx"), exist_ok=True)
        fonts = BASE + "/files/share/fonts/"
        for name, text in (("version", build_name()), ("config_info", build_name() + "\\n" + fonts)):
            with open(os.path.join(data, name), "w", encoding="utf-8") as file:
                file.write(text + "\\n")
        open(os.path.join(data, "tracked_files"), "a", encoding="utf-8").close()


def wine(data, *arguments, program="wine", output=None):
    environ = dict(os.environ, WINEPREFIX=os.path.join(data, "pfx"))
    environ.setdefault("WINEDEBUG", "-all")
    environ.setdefault("WINEDLLOVERRIDES", "mscoree,mshtml=")  # no questions about Mono and Gecko at the first start
    environ.pop("WINEARCH", None)
    return subprocess.call([os.path.join(BASE, "files", "bin", program), *arguments], env=environ, stdout=output)


def main():
    if len(sys.argv) < 2:
        sys.argv[1]  # the real one ends in an IndexError here, too
    verb, arguments = sys.argv[1], sys.argv[2:]
    if "STEAM_COMPAT_DATA_PATH" not in os.environ:
        fail("No compat data path?")
    os.environ["STEAM_COMPAT_CLIENT_INSTALL_PATH"]
    data = os.environ["STEAM_COMPAT_DATA_PATH"]
    if not os.path.isdir(data):
        fail("the compat data path is no folder: " + data)
    prepare(data)
    if verb == "waitforexitandrun":
        wine(data, "-w", program="wineserver")
        sys.exit(wine(data, *arguments))
    if verb in ("run", "runinprefix"):
        sys.exit(wine(data, *arguments))
    if verb == "destroyprefix":
        for name in ("tracked_files", "version"):
            if os.path.exists(os.path.join(data, name)):
                os.remove(os.path.join(data, name))
        sys.exit(0)
    if verb == "getcompatpath":
        print("Z:" + os.path.abspath(arguments[0]).replace("/", "\\\\"))
        sys.exit(0)
    if verb == "getnativepath":
        drive, _, rest = arguments[0].replace("\\\\", "/").partition(":")
        root = "" if drive.lower() == "z" else os.path.join(data, "pfx", "dosdevices", drive.lower() + ":")
        print(root + rest)
        sys.exit(0)
    print("Need a verb.", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
'''

STUB = """#!/bin/sh
# The sandbox's build holds no Wine of its own: this hands over to the machine's.
name=$(basename "$0")
for found in "$(command -v "$name")" "/usr/games/$name" /usr/lib/*/wine/"$name" "/usr/lib/wine/$name" "/opt/wine-stable/bin/$name"; do
  case "$found" in
    "" | "$0") ;;
    *) [ -x "$found" ] && exec "$found" "$@" ;;
  esac
done
[ "$name" = wineserver ] && exit 0
echo "$name: there is no Wine on this machine, and the sandbox's builds bring none" >&2
exit 1
"""

_MANIFEST = """"manifest"
{
  "version" "2"
  "commandline" "/proton %verb%"
  "use_sessions" "1"
  "compatmanager_layer_name" "proton"
}
"""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a build, named below its top folder."""

    name: str
    kind: Literal["file", "folder", "symlink", "hardlink", "device"] = "file"
    body: bytes = b""
    target: str = ""
    mode: int = 0o644


def own_members(build: str, made_at: int) -> tuple[Member, ...]:
    """The two files that name their build; each shorter than one tar block, so that every build's archive has the same size."""
    tool = (
        '"compatibilitytools"\n{\n  "compat_tools"\n  {\n    // the internal name\n'
        f'    "{build}"\n    {{\n      "install_path" "."\n      "display_name" "{build}"\n'
        '      "from_oslist" "windows"\n      "to_oslist" "linux"\n    }\n  }\n}\n'
    )
    return (
        Member("version", body=f"{made_at} {build}\n".encode()),
        Member("compatibilitytool.vdf", body=tool.encode()),
    )


@lru_cache(maxsize=1)
def shared_members() -> tuple[Member, ...]:
    """Everything else, the same in every build; folders come before what they hold."""
    luck = Random("a proton tree")

    def filler() -> bytes:
        words = ("wine", "dxvk", "vkd3d", "mono", "gecko", "layer", "loader", "table", "glyph")
        text = " ".join(luck.choice(words) for _ in range(luck.randrange(40, 260)))
        return text.encode() + luck.randbytes(luck.randrange(64, 900))

    libraries = [f"lib{name}{number}" for name in ("avcodec", "gst", "vkd3d", "sdl", "ffi") for number in range(8)]
    modules = [f"{name}{number:02d}.dll" for name in ("d3d", "kernel", "msvcp", "ntdll", "xaudio", "winhttp") for number in range(16)]
    return (
        Member("proton", body=PROTON_SCRIPT.encode(), mode=0o755),
        Member("toolmanifest.vdf", body=_MANIFEST.encode()),
        Member("LICENSE", body=b"The sandbox's build holds no code of Proton or Wine; it belongs to Integ.\n"),
        Member("user_settings.sample.py", body=b'user_settings = {\n    # "PROTON_LOG": "1",\n}\n'),
        Member("protonfixes", "folder", mode=0o755),
        Member("protonfixes/__init__.py", body=b""),
        Member("files", "folder", mode=0o755),
        Member("files/bin", "folder", mode=0o755),
        *(Member(f"files/bin/{name}", body=STUB.encode(), mode=0o755) for name in ("wine", "wineserver")),
        Member("files/bin/wine64", "symlink", target="wine", mode=0o777),
        Member("files/lib", "folder", mode=0o755),
        Member("files/lib/x86_64-linux-gnu", "folder", mode=0o755),
        *(Member(f"files/lib/x86_64-linux-gnu/{name}.so.1.0", body=filler(), mode=0o755) for name in libraries),
        *(Member(f"files/lib/x86_64-linux-gnu/{name}.so.1", "symlink", target=f"{name}.so.1.0", mode=0o777) for name in libraries),
        Member("files/lib/wine", "folder", mode=0o755),
        Member("files/lib/wine/x86_64-windows", "folder", mode=0o755),
        *(Member(f"files/lib/wine/x86_64-windows/{name}", body=b"MZ" + filler()) for name in modules),
        Member("files/share", "folder", mode=0o755),
        Member("files/share/wine", "folder", mode=0o755),
        Member("files/share/wine/nls", "folder", mode=0o755),
        Member("files/share/wine/nls/locale.nls", body=filler(), mode=0o444),
        Member("files/share/wine/mono", "folder", mode=0o755),
        Member("files/share/wine/mono/wine-mono-10.3.0", "folder", mode=0o755),
        Member("files/share/wine/mono/wine-mono-10.3.0/mono.txt", body=filler()),
        Member("files/share/wine/mono/wine-mono", "symlink", target="wine-mono-10.3.0", mode=0o777),
        Member("files/share/fonts", "folder", mode=0o755),
        *(Member(f"files/share/fonts/sandbox-{number:02d}.ttf", body=filler()) for number in range(12)),
        Member("files/share/default_pfx", "folder", mode=0o755),
        Member("files/share/default_pfx/drive_c", "folder", mode=0o755),
        Member("files/share/default_pfx/drive_c/windows", "folder", mode=0o755),
        Member("files/share/default_pfx/drive_c/windows/system32", "folder", mode=0o755),
        *(
            Member(
                f"files/share/default_pfx/drive_c/windows/system32/{name}",
                "symlink",
                target=f"../../../../../lib/wine/x86_64-windows/{name}",
                mode=0o777,
            )
            for name in modules
        ),
    )
