"""Prefixes as Valve's Proton, GE, umu and a crash leave them: each is read, kept and brought back, and no link leads anybody away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integ_runtime.prefix.prefixes import Prefixes
from integ_runtime.prefix.versions import Used
from integ_runtime.saves.manifest import Rule
from integ_runtime.saves.places import Ground, Looking, find, patterns
from tests.runtime.prefix.states import KEY

SAVE = "drive_c/users/steamuser/Documents/x.sav"


def make(prefix: Path, *, version: str | None, umu: bool) -> Path:
    """A prefix with everything in it that has led somebody away before."""
    pfx = prefix if umu else prefix / "pfx"
    (pfx / SAVE).parent.mkdir(parents=True)
    (pfx / SAVE).write_text("saved")
    (pfx / "system.reg").write_text("WINE REGISTRY Version 2\n")
    (pfx / "dosdevices").mkdir()
    (pfx / "dosdevices/z:").symlink_to("/")
    (pfx / "dosdevices/c:").symlink_to("../drive_c")
    (pfx / "drive_c/loop").symlink_to("loop")
    (pfx / "drive_c/up").symlink_to("../drive_c")
    if umu:
        (prefix / "pfx").symlink_to(".")
    if version is not None:
        (prefix / "version").write_text(version)
    return prefix


TREES = {
    "Valve's": ("9.0-203\n", False, "9.0-203", Used("9.0-203", "steam")),
    "GE's": ("GE-Proton10-34\n", False, "GE-Proton10-34", Used("GE-Proton10-34", "ge")),
    "one that nobody marked": (None, False, "", None),
    "umu's": ("UMU-Proton-9.0-4e\n", True, "UMU-Proton-9.0-4e", Used("UMU-Proton-9.0-4e", "umu")),
}


@pytest.mark.parametrize(("version", "umu", "text", "used"), TREES.values(), ids=TREES.keys())
async def test_every_kind_of_prefix_is_read_kept_and_brought_back(
    prefixes: Prefixes, home: Path, version: str | None, umu: bool, text: str, used: Used | None
) -> None:
    folder = home / ".local/share/integ/games/gog-1"
    prefix = make(folder / "prefix", version=version, umu=umu)
    info = await prefixes.info(KEY)
    assert (info.version_text, info.used) == (text, used)
    assert 0 < info.size_bytes < 1 << 20, "nothing behind a link counts"
    await prefixes.take(KEY)
    (prefix / "pfx" / SAVE).write_text("changed")
    await prefixes.restore(KEY)
    assert (prefix / "pfx" / SAVE).read_text() == "saved"
    assert (prefix / "pfx").is_symlink() is umu
    assert os.readlink(prefix / "pfx/dosdevices/z:") == "/" and os.readlink(prefix / "pfx/drive_c/loop") == "loop"


@pytest.mark.parametrize("umu", [False, True])
def test_saves_in_it_are_found_once_and_nothing_beside_it(tmp_path: Path, umu: bool) -> None:
    prefix = make(tmp_path / "prefix", version=None, umu=umu)
    ground = Ground(store="gog", game_id="1", home=tmp_path / "home", user="ann", pfx=prefix / "pfx")
    for path in ("<winDocuments>/*.sav", "C:/**/*.sav", "C:/up/up/users/steamuser/Documents/x.sav"):
        (pattern,) = {
            each.names: each for each in patterns(Rule(path), ground) if "ann" not in each.names and "My Documents" not in each.names
        }.values()
        places = find(pattern, ground, Looking())
        assert [place.path for place in places] == [(prefix / "pfx" / SAVE).resolve()]
