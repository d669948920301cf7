"""The shell lines of RUNNING.md, so that tests run what people read."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lines_of(heading: str) -> list[str]:
    """The shell blocks below *heading*, each as one script."""
    page = (ROOT / "RUNNING.md").read_text("utf-8")
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, f"RUNNING.md has no section {heading!r}"
    return re.findall(r"^```sh\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
