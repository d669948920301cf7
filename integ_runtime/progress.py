"""How far a long action is, as a plain callback: the command line prints it, a screen posts it as a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    stage: str
    """One word: `download`, `unpack`, `reading`, `matching`..."""
    done_bytes: int | None = None
    total_bytes: int | None = None
    """None when not announced."""
    done: int | None = None
    """Counted things, where bytes make no sense (games)."""
    total: int | None = None
    message: str = ""
    """A sentence of its own, to be kept in view."""
    about: str = ""
    """Which one it is (`steam`), where several go on side by side."""
    waits: bool = False
    """Nothing goes on for now: `message` says what is waited for, and until when."""

    @property
    def told(self) -> str:
        """The stage, of whatever it is about: `steam: reading`."""
        return f"{self.about}: {self.stage}" if self.about else self.stage


Report = Callable[[Progress], None]


def unheard(progress: Progress) -> None:
    """The report of somebody who does not want to know."""
