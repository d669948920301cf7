"""How far a long action is, as a plain callback: the command line prints it, a screen posts it as a message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    stage: str
    """One word: `download`, `unpack`, `reading`, `matching`..."""
    done_bytes: int | None = None
    total_bytes: int | None = None
    """None when not announced."""
    done: int | None = None
    """Counted things, where bytes make no sense (games)."""
    total: int | None = None
    message: str = ""


Report = Callable[[Progress], None]


def unheard(progress: Progress) -> None:
    """The report of somebody who does not want to know."""
