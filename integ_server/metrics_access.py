"""Who may read a process's figures; apart from them, since the embedded backend loads this and not those."""

from __future__ import annotations

import hmac

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def brings(authorization: str, token: str) -> bool:
    """Whether a header brings *token* as a bearer token."""
    kind, _, offered = authorization.partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(offered.strip().encode(), token.encode())
