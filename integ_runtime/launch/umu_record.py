"""What umu keeps here, and what was learned of what it calls a game, read; whoever asks for that is `umu_ids`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNKNOWN = "umu-default"
RECORD = "umu.json"
STORES = frozenset({"gog", "egs", "amazon", "ubisoft", "humble", "itchio", "battlenet", "ea", "zoomplatform"})
"""As umu-database and protonfixes name them."""
UMU_RUNTIMES = {"1391110": "steamrt2", "1628350": "steamrt3", "4183110": "steamrt4", "4185400": "steamrt4-arm64"}
"""Folder below umu's own that holds a Steam runtime, by the runtime's app id."""
ID = re.compile(r"umu-[A-Za-z0-9]{1,64}")


def read_id(folder: Path) -> str:
    """What umu calls the game with the *folder* of its own, as far as it was learned."""
    known = read_record(folder).get("id")
    return known if isinstance(known, str) and ID.fullmatch(known) else UNKNOWN


def read_runtimes(data_home: Path, environ: Mapping[str, str]) -> frozenset[str]:
    """App ids of the Steam runtimes that umu has fetched."""
    home = Path(environ.get("UMU_FOLDERS_PATH") or data_home)
    return frozenset(app_id for app_id, name in UMU_RUNTIMES.items() if (home / "umu" / name / "pressure-vessel").is_dir())


def read_record(folder: Path) -> dict[str, Any]:
    """What is kept below *folder*; empty when nothing is, or nobody can read it."""
    try:
        known = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
