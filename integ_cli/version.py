"""The version that `integ --version` tells; kept here because asking the package's metadata takes longer than starting Python."""

from __future__ import annotations

VERSION = "0.1.0"
