"""The desktop's keyring: short secrets by name, where there is one that answers."""

from __future__ import annotations

import os
from typing import Any

SERVICE = "integ"


class SecretService:
    """Integ's own secrets in it. Keyrings fail in ways of their own, locked, dismissed or gone: all mean that nobody answers."""

    def __init__(self, ring: Any) -> None:
        self._ring = ring

    def get(self, name: str) -> str | None:
        try:
            kept = self._ring.get_password(SERVICE, name)
        except Exception:
            return None
        return kept if isinstance(kept, str) else None

    def put(self, name: str, secret: str) -> bool:
        """Keep *secret*; True only when it can be read again."""
        try:
            self._ring.set_password(SERVICE, name, secret)
        except Exception:
            return False
        return self.get(name) == secret

    def drop(self, name: str) -> None:
        try:
            self._ring.delete_password(SERVICE, name)
        except Exception:  # it was not there, or nobody answers
            return


def find_secret_service() -> SecretService | None:
    """None without a session bus, or a service behind it."""
    if not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return None
    try:
        from keyring.backends.SecretService import Keyring

        ring: Any = Keyring()  # type: ignore[no-untyped-call]
        return SecretService(ring) if ring.priority > 0 else None
    except Exception:  # none of them may stop Integ
        return None
