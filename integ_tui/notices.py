"""What is said of a failure: one line, what to type against it, how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from integ_server.contract.errors import AmbiguousError, BusyError, IntegError, PartialError, WouldLoseDataError
from integ_tui.wording import clean, span, store_name

HEADINGS = {
    "AuthenticationError": "Sign-in needed",
    "PrivateProfileError": "Private profile",
    "PermissionDeniedError": "Not allowed",
    "RateLimitedError": "The store asks for a pause",
    "ProviderError": "The store answered oddly",
    "ProviderUnavailableError": "The store is out of reach",
    "BackendUnreachableError": "The backend is out of reach",
    "IntegrityError": "Damaged data",
    "StorageError": "Disk trouble",
    "BusyError": "Busy",
    "PartialError": "Partly done",
    "WouldLoseDataError": "Refused, to lose nothing",
    "LaunchError": "The game did not start",
    "NotFoundError": "Not found",
}


@dataclass(frozen=True, slots=True)
class Notice:
    message: str
    title: str
    severity: Literal["information", "warning", "error"]


def notice_for(error: IntegError) -> Notice:
    """The toast for *error*: its message, what failed in part, its hint on a line of its own."""
    lines = [clean(error.message)]
    lines += [f"{store_name(part['provider'])}: {_said(part['error'])}" for part in _failed_parts(error)]
    if error.retry_after_s:
        lines.append(f"Try again in {span(error.retry_after_s)}.")
    if error.hint:
        lines.append(f"→ {clean(error.hint)}")
    heading = next((HEADINGS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in HEADINGS), "It did not work")
    mild = isinstance(error, BusyError | AmbiguousError | PartialError | WouldLoseDataError)
    return Notice("\n".join(lines), heading, "warning" if mild else "error")


def _failed_parts(error: IntegError) -> list[dict[str, Any]]:
    parts = (error.data or {}).get("accounts", [])
    if not isinstance(error, PartialError) or not isinstance(parts, list):
        return []
    return [part for part in parts if isinstance(part, dict) and part.get("error") and isinstance(part.get("provider"), str)]


def _said(told: object) -> str:
    return clean(str(told.get("message") or told.get("error")) if isinstance(told, dict) else str(told))
