"""What a check of the doctor is, and what it looks at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from integ_runtime.packages import Packages
from integ_runtime.settings import RuntimeSettings

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    state: State
    found: str
    mend: str = ""
    """A command to type, or an empty text."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the checks look at."""

    settings: RuntimeSettings
    environ: Mapping[str, str]
    packages: Packages
    root: Path
    """`/`, but for tests."""

    def number(self, path: str) -> int | None:
        """What a file below /proc says; None when this kernel has none."""
        try:
            return int((self.root / path).read_text("ascii").split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def program(self, name: str) -> str | None:
        return shutil.which(name, path=self.environ.get("PATH", os.defpath))
