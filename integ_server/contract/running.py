"""What a backend tells about itself to whoever runs it."""

from __future__ import annotations

from typing import Literal

from integ_server.contract.types import Wire


class Check(Wire):
    """One thing that the backend needs; the form is `integ doctor`'s."""

    name: str
    state: Literal["ok", "warn", "fail"]
    """Only `fail` keeps the backend from being ready."""
    found: str
    mend: str = ""
    """What to do about it; empty when all is well."""


class Readiness(Wire):
    state: Literal["ok"] = "ok"
    checks: list[Check]
