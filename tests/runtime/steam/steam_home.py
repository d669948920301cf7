"""A whole Steam home, built file by file as Steam lays it out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIRST_STEAM_ID = 76561197960265728


def vdf(content: dict[str, Any], depth: int = 0) -> str:
    """*content* as Steam writes it: tabs, quotes, one key a line."""
    tabs = "\t" * depth
    lines = []
    for key, value in content.items():
        if isinstance(value, dict):
            lines += [f'{tabs}"{escaped(str(key))}"', f"{tabs}{{", vdf(value, depth + 1), f"{tabs}}}"]
        else:
            lines.append(f'{tabs}"{escaped(str(key))}"\t\t"{escaped(str(value))}"')
    return "\n".join(line for line in lines if line)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")


def write(file: Path, content: dict[str, Any] | str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        content = vdf(content) + "\n"
    file.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    return file


class SteamHome:
    """Builds below *root*; `steamapps` may be spelt otherwise."""

    def __init__(self, root: Path, *, steamapps: str = "steamapps", client: bool = True) -> None:
        self.root = root
        self.steamapps = root / steamapps
        self.steamapps.mkdir(parents=True)
        if client:
            write(root / "steam.sh", "#!/bin/sh\n")

    def library(self, path: Path, *, steamapps: str = "steamapps") -> Path:
        (path / steamapps).mkdir(parents=True)
        write(path / "libraryfolder.vdf", {"libraryfolder": {"contentid": "7", "label": ""}})
        return path

    def name_libraries(self, *paths: Path | str, apps: dict[int, int] | None = None, where: str = "config") -> None:
        folders: dict[str, Any] = {"0": {"path": str(self.root), "apps": {}}}
        for number, path in enumerate(paths, 1):
            folders[str(number)] = {"path": str(path), "label": "", "mounted": "1", "apps": apps or {}}
        place = self.root / "config" if where == "config" else self.steamapps
        write(place / "libraryfolders.vdf", {"libraryfolders": folders})

    def app(self, app_id: int, name: str = "", *, flags: int = 4, folder: str | None = None, into: Path | None = None, **more: Any) -> Path:
        steamapps = into or self.steamapps
        facts = {"appid": app_id, "name": name, "StateFlags": flags, "installdir": name if folder is None else folder, **more}
        write(steamapps / f"appmanifest_{app_id}.acf", {"AppState": facts})
        place = steamapps / "common" / (name if folder is None else folder)
        if "/" not in (name if folder is None else folder):
            place.mkdir(parents=True, exist_ok=True)
        return place

    def users(self, **recent: dict[str, Any]) -> None:
        """`users(u1={"MostRecent": "1"})`: the account id is the name without its letter."""
        named = {str(FIRST_STEAM_ID + int(name[1:])): {"AccountName": name, **facts} for name, facts in recent.items()}
        write(self.root / "config" / "loginusers.vdf", {"users": named})

    def played(self, account: int, apps: dict[int, dict[str, Any]], *, valve: str = "Valve", key: str = "apps") -> Path:
        tree = {
            "UserLocalConfigStore": {
                "apps": {str(app): {"OverlayAppEnable": "1", "Playtime": "999999"} for app in apps},
                "apptickets": {str(app): "00" for app in apps},
                "Software": {valve: {"Steam": {key: {str(app): facts for app, facts in apps.items()}}}},
            }
        }
        return write(self.root / "userdata" / str(account) / "config" / "localconfig.vdf", tree)

    def config(self, chosen: dict[str, dict[str, str]] | None = None, *, valve: str = "Valve", mapping: str = "CompatToolMapping") -> Path:
        """A `config.vdf` with bytes in it that are no text."""
        steam: dict[str, Any] = {"AutoUpdateWindowEnabled": "0", "controller": "@@", "Accounts": {"ana": {"SteamID": "7"}}}
        if chosen is not None:
            steam[mapping] = chosen
        tree = {"InstallConfigStore": {"Software": {valve: {"Steam": steam}}, "Music": {"LocalLibrary": {}}}}
        return write(self.root / "config" / "config.vdf", (vdf(tree) + "\n").encode().replace(b"@@", b"\xff\xfe\x80"))

    def tool(self, folder: str, *, name: str | None = None, requires: str = "1628350", base: Path | None = None) -> Path:
        place = (base or self.root / "compatibilitytools.d") / folder
        write(place / "proton", "#!/bin/sh\n").chmod(0o755)
        write_manifest(place, requires=requires)
        tools = {name or folder: {"install_path": ".", "display_name": folder, "from_oslist": "windows", "to_oslist": "linux"}}
        write(place / "compatibilitytool.vdf", {"compatibilitytools": {"compat_tools": tools}})
        return place


def write_manifest(place: Path, *, requires: str = "", command: str = "/proton %verb%", layer: str = "proton") -> None:
    facts = {"version": "2", "commandline": command, "compatmanager_layer_name": layer}
    if requires:
        facts["require_tool_appid"] = requires
    write(place / "toolmanifest.vdf", {"manifest": facts})


@contextmanager
def running_client(root: Path, *files: Path) -> Iterator[None]:
    """A process that looks like the client of this Steam: it keeps *files* in memory, and writes them out at its end."""
    program = root / "ubuntu12_32" / "steam"
    client = subprocess.Popen([program, "-c", "echo; read line"], executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert client.stdout is not None
        client.stdout.readline()
        known = {file: file.read_bytes() for file in files}
        yield
        for file, content in known.items():
            file.write_bytes(content)
    finally:
        client.communicate(b"end\n")
