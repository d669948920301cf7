"""How a failure looks on the wire, for the description of the API; `contract.errors.to_envelope()` makes one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from integ_server.contract.types import Wire


class FailureEnvelope(Wire):
    status: Literal["error"]
    error: str
    """The class of the failure, such as `GameNotFoundError`; its meaning never changes."""
    message: str
    hint: str
    """What to do next."""
    timestamp: datetime
    retry_after_s: float | None = None
    data: dict[str, Any] | None = None
