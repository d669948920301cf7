"""What a file must hash to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    """As hashlib names it: sha512, sha256, md5..."""
    hexdigest: str
    """In small letters."""

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hexdigest}"
