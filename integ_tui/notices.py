"""What is said of a failure: one line, what to type against it, how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from integ_server.contract.errors import AmbiguousError, BusyError, IntegError, PartialError, WouldLoseDataError
from integ_tui.wording import clean, span

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
    """The toast for *error*: its message, and its hint on a line of its own."""
    lines = [clean(error.message)]
    if error.retry_after_s:
        lines.append(f"Try again in {span(error.retry_after_s)}.")
    if error.hint:
        lines.append(f"→ {clean(error.hint)}")
    heading = next((HEADINGS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in HEADINGS), "It did not work")
    mild = isinstance(error, BusyError | AmbiguousError | PartialError | WouldLoseDataError)
    return Notice("\n".join(lines), heading, "warning" if mild else "error")
