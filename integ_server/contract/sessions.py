"""Sign-in to Integ itself: devices, sessions, personal tokens. Sign-in at the stores is in `types`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from integ_server.contract.scopes import Scope
from integ_server.contract.types import Wire

TOKEN_PREFIX = "integ_pat_"  # noqa: S105 - no secret: what every personal token begins with
REFRESH_PREFIX = "integ_rt_"
DEVICE_PREFIX = "integ_dc_"


# --- a device that signs in (RFC 8628) --------------------------------------------------------------------------------


class DeviceStart(Wire):
    """Body of `POST /auth/device`."""

    device: str = Field(default="", max_length=100)
    """How the device names itself; the player reads it on the page and in the list of sessions."""
    scopes: list[Scope] = []
    """Empty: all."""


class DeviceCode(Wire):
    """Answer of `POST /auth/device`: what to show to the player, and what to ask with."""

    device_code: str = Field(repr=False)
    user_code: str
    """To be typed on the page, as in `BCDF-GHJK`."""
    verification_uri: str
    verification_uri_complete: str
    """The page with the code filled in, for a QR."""
    expires_in: int
    """Seconds."""
    interval: int
    """Seconds between two questions; each `slow_down` makes it longer."""


class DevicePoll(Wire):
    """
    Body of `POST /auth/device/token`.

    Until the player has decided the answer is a failure whose `data` has the RFC's word in `error`: `authorization_pending` (401),
    `slow_down` (429, with the new `interval`), `expired_token` (401; also for a code that is unknown or was used), `access_denied` (403).
    """

    device_code: str = Field(max_length=200, repr=False)


# --- a session ---------------------------------------------------------------------------------------------------------


class Tokens(Wire):
    """What a device is signed in with. The refresh token counts once: the answer brings the next one."""

    access_token: str = Field(repr=False)
    """A JWT; its public keys are at `/.well-known/jwks.json`."""
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - RFC 6749's word
    expires_in: int
    """Seconds that the access token lasts."""
    refresh_token: str = Field(repr=False)
    refresh_expires_at: datetime
    session_id: str
    user_id: str
    scopes: list[Scope]


class RefreshRequest(Wire):
    """Body of `POST /auth/refresh`."""

    refresh_token: str = Field(max_length=200, repr=False)


class SessionInfo(Wire):
    """A device, or a browser at the backend's pages."""

    id: str
    kind: Literal["device", "browser"] = "device"
    device: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime
    """When it was refreshed last, which happens at least every half hour while it is used; to five minutes for a browser."""
    expires_at: datetime
    """Unless it is used before."""
    is_current: bool = False
    """True for the session that asks."""


# --- personal tokens ----------------------------------------------------------------------------------------------------


class TokenRequest(Wire):
    """Body of `POST /auth/tokens`."""

    name: str = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(min_length=1)
    expires_in_days: int | None = Field(default=90, ge=1, le=3650)
    """None: never, which is worth a thought."""


class TokenInfo(Wire):
    id: str
    name: str
    prefix: str
    """Its first characters, to know it by."""
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewToken(TokenInfo):
    """Answer of `POST /auth/tokens`."""

    token: str = Field(repr=False)
    """Told this once; the backend keeps its hash."""


class KeySet(Wire):
    """Answer of `GET /.well-known/jwks.json`, not in an envelope, as RFC 7517 has it."""

    keys: list[dict[str, Any]]
