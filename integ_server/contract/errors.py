"""Every failure that Integ tells somebody about, and its form on the wire; imports nothing heavy, for the command line's sake."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


class IntegError(Exception):
    """
    What Integ expects to go wrong, as one family; the class name is the envelope's `error`.

    * IntegError                        500
      * UsageError                      400  the request makes no sense as it stands
      * NotFoundError                   404
        * GameNotFoundError                  no such game in this library
        * AccountNotFoundError               no such store account is signed in
        * BuildNotFoundError                 no such Proton version
        * JobNotFoundError                   no such job
      * AuthenticationError             401  sign-in is missing, expired or refused
        * NotSignedInError                   to this backend, that is: no token, or one that is over; a refresh may help
      * PermissionDeniedError           403  signed in, but not allowed
      * PrivateProfileError             409  the store hides the library from us
      * ProviderError                   502  a store answered oddly
        * ProviderUnavailableError      503  it is down or unreachable
          * RateLimitedError            429  it asks for a pause
      * BackendUnreachableError         503  the Integ backend did not answer
      * AmbiguousError                  409  several things fit; `data["candidates"]` names them
      * BusyError                       409  another process is doing it
      * IntegrityError                  422  a checksum, an archive or a file is not what it should be
      * StorageError                    507  no space, or the disk fails
      * PartialError                    207  some of it was done; `data` tells each part
      * WouldLoseDataError              409  refused, because something would be lost
    """

    status = 500
    usual_hint = "integ doctor"
    """What to type next when whoever raised it knows nothing better."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint
        self.retry_after_s = retry_after_s
        self.data = data


class UsageError(IntegError):
    status = 400
    usual_hint = "integ --help"


class NotFoundError(IntegError):
    status = 404
    usual_hint = "integ list"


class GameNotFoundError(NotFoundError):
    usual_hint = "integ list"


class AccountNotFoundError(NotFoundError):
    usual_hint = "integ accounts"


class BuildNotFoundError(NotFoundError):
    usual_hint = "integ proton available"


class JobNotFoundError(NotFoundError):
    usual_hint = "integ status"


class AuthenticationError(IntegError):
    status = 401
    usual_hint = "integ login"


class NotSignedInError(AuthenticationError):
    usual_hint = "integ login --device"


class PermissionDeniedError(IntegError):
    status = 403
    usual_hint = "integ accounts"


class PrivateProfileError(IntegError):
    status = 409
    usual_hint = "make the game details public in the store's privacy settings, then integ sync"


class ProviderError(IntegError):
    status = 502
    usual_hint = "try again in a while; the library stays as it was"


class ProviderUnavailableError(ProviderError):
    status = 503
    usual_hint = "check the network, or try again in a while"


class RateLimitedError(ProviderUnavailableError):
    status = 429
    usual_hint = "try again in a few minutes"


class BackendUnreachableError(IntegError):
    status = 503
    usual_hint = "integ config get backend_url"


class AmbiguousError(IntegError):
    status = 409
    usual_hint = "say which, by its key"


class BusyError(IntegError):
    status = 409
    usual_hint = "wait for the other Integ, or end it"


class IntegrityError(IntegError):
    status = 422
    usual_hint = "try again; if it stays, choose another version"


class StorageError(IntegError):
    status = 507
    usual_hint = "make room: df -h ~"


class PartialError(IntegError):
    status = 207
    usual_hint = "try again for the rest"


class WouldLoseDataError(IntegError):
    status = 409
    usual_hint = "--yes does it all the same"


def utc_now_text() -> str:
    """This moment as the envelopes write it: RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_envelope(error: IntegError) -> dict[str, Any]:
    """The failure as the API and `--json` print it, without the `schema` that only `--json` adds."""
    envelope: dict[str, Any] = {
        "status": "error",
        "error": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "timestamp": utc_now_text(),
    }
    if error.retry_after_s is not None:
        envelope["retry_after_s"] = error.retry_after_s
    if error.data is not None:
        envelope["data"] = error.data
    return envelope


def from_envelope(envelope: dict[str, Any]) -> IntegError:
    """The same failure again on the other side; a class this version does not know becomes a plain `IntegError`."""
    kind = _by_name().get(str(envelope.get("error", "")), IntegError)
    pause = envelope.get("retry_after_s")
    data = envelope.get("data")
    return kind(
        str(envelope.get("message", "")),
        hint=str(envelope.get("hint", "")),
        retry_after_s=float(pause) if isinstance(pause, int | float) else None,
        data=data if isinstance(data, dict) else None,
    )


def _by_name() -> dict[str, type[IntegError]]:
    found: dict[str, type[IntegError]] = {}
    waiting: list[type[IntegError]] = [IntegError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    return found
