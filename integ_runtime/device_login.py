"""This device's sign-in to a backend for many: a code that the player confirms in any browser (RFC 8628), and its end."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from integ_runtime.cache.store import LibraryCache
from integ_runtime.client.api import ApiClient
from integ_runtime.client.sign_in import session_of
from integ_runtime.session_store import Place, SessionStore
from integ_server.contract.errors import (
    AuthenticationError,
    BackendUnreachableError,
    IntegError,
    NotSignedInError,
    PermissionDeniedError,
    RateLimitedError,
)
from integ_server.contract.sessions import DeviceCode, Tokens
from integ_server.contract.types import UserInfo

_AGAIN = "integ login --device"
_LONGEST_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class SignedInDevice:
    user: UserInfo
    place: Place
    """Where the sign-in is kept; one in memory ends with this process."""


class DeviceLogin:
    def __init__(self, api: Callable[[], Awaitable[ApiClient]], store: SessionStore, library: LibraryCache) -> None:
        self._api, self._store, self._library = api, store, library

    async def is_signed_in(self) -> bool:
        """Whether this device has a sign-in; the backend may have ended it meanwhile."""
        return await self._store.load(again=True) is not None

    async def begin(self) -> DeviceCode:
        """The code to show, with the page to confirm it on."""
        return await (await self._api()).begin_device(f"Integ on {platform.node() or 'a computer'}"[:100])

    async def finish(self, code: DeviceCode) -> SignedInDevice:
        """
        Wait for the player's yes. Nothing is kept before.

        Raises:
            AuthenticationError: Nobody said yes in time.
            PermissionDeniedError: The player said no.
        """
        asked_at, tokens = await self._wait(code)
        place = await self._store.save(session_of(tokens, asked_at))
        user = await (await self._api()).me()
        await self._library.belong_to(user.id)
        return SignedInDevice(user, place)

    async def end(self) -> bool:
        """
        End this device's session and forget it here; False when the backend could not be told, where it then ends by itself.

        The library of this device goes; the store accounts stay with the user.
        """
        try:
            if await self._store.load(again=True) is not None:
                await (await self._api()).end_session()
            told = True
        except NotSignedInError:
            told = True  # it was over already
        except (BackendUnreachableError, RateLimitedError):
            told = False
        await self._store.forget()
        await self._library.belong_to("")
        return told

    async def _wait(self, code: DeviceCode) -> tuple[float, Tokens]:
        """The tokens, and when they were asked for."""
        until, interval_s = time.monotonic() + code.expires_in, float(code.interval)
        while time.monotonic() + interval_s < until:
            await asyncio.sleep(interval_s)
            asked_at = time.time()
            try:
                return asked_at, await (await self._api()).poll_device(code.device_code)
            except IntegError as error:
                interval_s = _next_interval_s(error, interval_s)
        raise _too_late()


def _next_interval_s(error: IntegError, interval_s: float) -> float:
    """
    How long to wait after the answer *error*.

    Raises:
        IntegError: It is final.
    """
    said = error.data or {}
    match said.get("error"):
        case "authorization_pending":
            return interval_s
        case "slow_down":
            return max(interval_s + 5, float(said.get("interval", 0)))
        case "access_denied":
            raise PermissionDeniedError("the sign-in was refused on the page", hint=_AGAIN) from None
        case "expired_token":
            raise _too_late() from None
    if isinstance(error, BackendUnreachableError | RateLimitedError):  # it may come back before the code is over
        return min(max(interval_s * 2, error.retry_after_s or 0), _LONGEST_INTERVAL_S)
    raise error


def _too_late() -> AuthenticationError:
    return AuthenticationError("the code is over: nobody confirmed it in time", hint=_AGAIN)
