"""A sign-in that is not over yet, on the wire."""

from __future__ import annotations

from typing import Literal

from integ_server.contract.types import Wire


class SignInPending(Wire):
    """Answer of `POST /auth/{provider}/callback` with status 202, while a phone is waited for: ask again with the same state."""

    stage: Literal["waiting", "scanned"]
    """`scanned`: the phone has read the code, and the player has yet to agree there."""
    address: str
    """What the code says from now on."""
    poll_every_s: float
    """How long to wait before the next poll; an earlier one answers what is known."""
