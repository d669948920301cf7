"""What was learned of what umu calls a game, read; whoever asks for it is `umu_ids`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

UNKNOWN = "umu-default"
RECORD = "umu.json"
STORES = frozenset({"gog", "egs", "amazon", "ubisoft", "humble", "itchio", "battlenet", "ea", "zoomplatform"})
"""As umu-database and protonfixes name them."""
ID = re.compile(r"umu-[A-Za-z0-9]{1,64}")


def read_id(folder: Path) -> str:
    """What umu calls the game with the *folder* of its own, as far as it was learned."""
    known = read_record(folder).get("id")
    return known if isinstance(known, str) and ID.fullmatch(known) else UNKNOWN


def read_record(folder: Path) -> dict[str, Any]:
    """What is kept below *folder*; empty when nothing is, or nobody can read it."""
    try:
        known = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
