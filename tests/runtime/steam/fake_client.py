"""A Steam client as far as installing goes: asked by an address, it writes manifests the way the real one does."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.runtime.steam.steam_home import SteamHome, vdf, write

_CLIENT = f"""#!{sys.executable} -IS
import json, os, re, sys, time
plan = json.load(open(__file__ + ".json"))
action, game = re.fullmatch(r"steam://(\\w+)/(\\d+)", sys.argv[-1]).groups()
open(__file__ + ".asked", "a").write(sys.argv[-1] + "\\n")
file = os.path.join(plan["steamapps"], f"appmanifest_{{game}}.acf")
for text in plan[action]:
    if text is None:
        os.unlink(file)
    else:
        open(file + ".tmp", "w").write(text)
        os.replace(file + ".tmp", file)
    time.sleep(plan["pause_s"])
while plan["stays"] and not os.path.exists(__file__ + ".end"):
    time.sleep(0.02)
"""


States = list[dict[str, object] | None]


def fake_client(steam: SteamHome, folder: Path, *, stays: bool = True, pause_s: float = 0.1, **plan: States) -> Path:
    """
    The program `steam` in *folder*; `install=[...]` are the states of the app's manifest, one after another, None for no manifest.

    It *stays* until `end(...)`, like one that became the client, or ends when it has done its work.
    """
    program = write(folder / "steam", _CLIENT)
    program.chmod(0o755)
    texts = {action: [each and vdf({"AppState": each}) for each in states] for action, states in plan.items()}
    known = {"steamapps": os.fspath(steam.steamapps), "stays": stays, "pause_s": pause_s, "install": [], "uninstall": [], **texts}
    write(folder / "steam.json", json.dumps(known))
    return program


def asked(program: Path) -> list[str]:
    """The addresses that it was given."""
    return program.with_name("steam.asked").read_text().split()


def end(program: Path) -> None:
    program.with_name("steam.end").touch()


def states_of_a_download(app_id: int, name: str, *, total: int = 1000) -> States:
    """No manifest at first, as long as the client asks its user; then begun, rising, there."""
    facts = {"appid": app_id, "name": name, "installdir": name, "buildid": "77", "BytesToDownload": total}
    rising = [{**facts, "StateFlags": 1026, "BytesDownloaded": done} for done in (0, total // 4, total // 2)]
    return [*rising, {**facts, "StateFlags": 4, "BytesDownloaded": total, "SizeOnDisk": 3 * total}]
