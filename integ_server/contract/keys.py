"""What came of sealing everything anew with the newest key; for whoever runs a backend, and never on the wire."""

from __future__ import annotations

from typing import NamedTuple


class KeyRotation(NamedTuple):
    newest: str
    """The id of the key that seals from now on."""
    resealed: int
    """Texts that an older key sealed before."""
    left: int
    """Texts that were in use all the time: rotate again."""
    unreadable: int
    """Texts that no key of the list opens: only a new sign-in mends that."""
    texts: dict[str, int]
    """How many texts each key of the list seals now, newest first."""
