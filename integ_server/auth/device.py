"""
Devices that can't open a browser, or should not have to: RFC 8628. The device shows a code, the player types it on the page `/device`
of any browser, signs in there and says yes; the device, which keeps asking, gets its tokens once.

All of it lives in the cache for ten minutes. For the page there are `look_up()`, `approve()` and `deny()`.

Source: https://www.rfc-editor.org/rfc/rfc8628
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from integ_server.auth import session as device_sessions
from integ_server.auth.caller import known_scopes
from integ_server.contract.errors import AuthenticationError, BusyError, NotFoundError, PermissionDeniedError, RateLimitedError
from integ_server.contract.scopes import ALL_SCOPES, Scope
from integ_server.contract.sessions import DEVICE_PREFIX, DeviceCode, DeviceStart, Tokens
from integ_server.contract.text import clean_name
from integ_server.services import limits
from integ_server.services.backend import Backend

LIVES_S = 600
INTERVAL_S = 5
SLOWER_BY_S = 5
"""How much longer `slow_down` makes the interval, as the RFC has it."""
TOO_EARLY_BY_S = 0.5
"""What is let through of the interval, for the network's and the clocks' sake."""
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""The RFC's own: no vowels, so that no words come out, no digits, and nothing that looks like its neighbour."""
CODE_LENGTH = 8
MOST_GUESSES = 10
GUESSES_PER_S = 600
"""So many wrong codes from one address, or in one page session, and then none for the rest of this time."""
_AGAIN = "start again: integ login --device"


@dataclass(frozen=True, slots=True)
class Request:
    """A device that waits for the player, as the page shows it."""

    user_code: str
    """As it is shown: `BCDF-GHJK`."""
    device: str
    """How the device names itself: anybody can write anything there."""
    address: str
    """Where it asked from, for the player to compare."""
    scopes: frozenset[Scope]


async def begin(backend: Backend, wanted: DeviceStart, public_url: str, address: str = "") -> DeviceCode:
    """Codes for a device that wants to be signed in; *public_url* is where browsers reach this backend."""
    device_code = f"{DEVICE_PREFIX}{secrets.token_urlsafe(32)}"
    about = {
        "device": clean_name(wanted.device)[:100] or "a device without a name",
        "address": address,
        "scopes": sorted(wanted.scopes) or sorted(ALL_SCOPES),
    }
    mark = _mark(device_code)
    for _ in range(5):
        user_code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
        if await backend.cache.add(_by_code(user_code), mark, LIVES_S):
            break
    else:
        raise BusyError("too many devices are being signed in", hint="try again in a moment", retry_after_s=5)
    await backend.cache.set(_about(mark), json.dumps({**about, "user_code": user_code}), LIVES_S)
    page = f"{public_url.rstrip('/')}/device"
    return DeviceCode(
        device_code=device_code,
        user_code=_shown(user_code),
        verification_uri=page,
        verification_uri_complete=f"{page}?{urlencode({'user_code': _shown(user_code)})}",
        expires_in=LIVES_S,
        interval=INTERVAL_S,
    )


async def poll(backend: Backend, device_code: str) -> Tokens:
    """
    The tokens, once the player has said yes; they are given out once.

    Raises:
        AuthenticationError: `data["error"]` is `authorization_pending`, or `expired_token` when the code is over, used or unknown.
        RateLimitedError: `slow_down`: asked before `interval` had passed, which is longer from now on.
        PermissionDeniedError: `access_denied`: the player said no.
    """
    mark = _mark(device_code)
    said = await backend.cache.get(_about(mark))
    if said is None:
        raise AuthenticationError("this sign-in is over, or was never begun", hint=_AGAIN, data={"error": "expired_token"})
    slower = int(await backend.cache.get(_slower(mark)) or 0)
    if not await backend.cache.add(_asked(mark), "1", INTERVAL_S + SLOWER_BY_S * slower - TOO_EARLY_BY_S):
        slower = await backend.cache.increase(_slower(mark), LIVES_S)
        interval = INTERVAL_S + SLOWER_BY_S * slower
        data = {"error": "slow_down", "interval": interval}
        raise RateLimitedError("asked too early", hint="wait for the interval", retry_after_s=interval, data=data)
    verdict = await backend.cache.take(_verdict(mark))
    if verdict is None:
        raise AuthenticationError("the player has not decided yet", hint="wait", data={"error": "authorization_pending"})
    user_id = json.loads(verdict)["user_id"]
    if user_id is None:
        await _forget(backend, mark)
        raise PermissionDeniedError("the player said no to this device", hint=_AGAIN, data={"error": "access_denied"})
    about = json.loads(said)
    try:
        async with backend.db.writing.begin() as session:
            tokens = await device_sessions.begin(backend, session, user_id, about["device"], known_scopes(about["scopes"]))
    except BaseException:  # the player's yes still stands: the device may ask again
        await backend.cache.add(_verdict(mark), verdict, LIVES_S)
        raise
    await _forget(backend, mark)
    return tokens


async def look_up(backend: Backend, user_code: str, *, address: str, page_session: str = "") -> Request:
    """
    The device that shows *user_code*, however the player typed it.

    Raises:
        NotFoundError: None does, or not any more, or somebody has decided already.
        RateLimitedError: Too many wrong codes came from *address* or in *page_session*.
    """
    return (await _look_up(backend, user_code, address, page_session))[1]


async def approve(backend: Backend, user_code: str, user_id: str, *, address: str, page_session: str = "") -> Request:
    """
    Say yes for the user: the device will be signed in as them when it asks next. Only the first decision counts.

    Raises:
        NotFoundError: As `look_up()`.
        RateLimitedError: As `look_up()`.
    """
    return await _decide(backend, user_code, user_id, address, page_session)


async def deny(backend: Backend, user_code: str, *, address: str, page_session: str = "") -> Request:
    """
    Say no: the device hears so when it asks next. Only the first decision counts.

    Raises:
        NotFoundError: As `look_up()`.
        RateLimitedError: As `look_up()`.
    """
    return await _decide(backend, user_code, None, address, page_session)


async def _decide(backend: Backend, user_code: str, user_id: str | None, address: str, page_session: str) -> Request:
    mark, request = await _look_up(backend, user_code, address, page_session)
    # Whoever takes the code away decides; nobody finds it afterwards.
    if await backend.cache.take(_by_code(_typed(user_code))) != mark:
        raise _no_such_code()
    await backend.cache.set(_verdict(mark), json.dumps({"user_id": user_id}), LIVES_S)
    return request


async def _look_up(backend: Backend, user_code: str, address: str, page_session: str) -> tuple[str, Request]:
    tries = [("device-code/address", limits.network_of(address))]
    if page_session:
        tries.append(("device-code/page", hashlib.sha256(page_session.encode()).hexdigest()[:32]))
    for name, who in tries:  # counted before it is looked at, so that many at once are counted too
        await limits.count_try(backend, name, who, most=MOST_GUESSES, per_s=GUESSES_PER_S)
    typed = _typed(user_code)
    mark = await backend.cache.get(_by_code(typed)) if len(typed) == CODE_LENGTH else None
    said = await backend.cache.get(_about(mark)) if mark is not None else None
    if mark is None or said is None:
        raise _no_such_code()
    for name, who in tries:
        await limits.forgive(backend, name, who, per_s=GUESSES_PER_S)
    about = json.loads(said)
    return mark, Request(_shown(typed), about["device"], about["address"], known_scopes(about["scopes"]))


async def _forget(backend: Backend, mark: str) -> None:
    await backend.cache.delete(_about(mark))


def _no_such_code() -> NotFoundError:
    return NotFoundError("no device shows this code, or not any more", hint="compare it with the device's screen, or begin again there")


def _typed(user_code: str) -> str:
    """What was meant: capitals, without what people put between; empty when there is anything else in it."""
    kept = "".join(each for each in user_code[:40].upper() if each not in " -–—_.\t")
    return kept if all(each in ALPHABET for each in kept) else ""


def _shown(user_code: str) -> str:
    return f"{user_code[:4]}-{user_code[4:]}"


def _mark(device_code: str) -> str:
    return hashlib.sha256(device_code.encode()).hexdigest()


def _by_code(user_code: str) -> str:
    return f"device/code/{user_code}"


def _about(mark: str) -> str:
    return f"device/{mark}"


def _verdict(mark: str) -> str:
    return f"device/{mark}/verdict"


def _asked(mark: str) -> str:
    return f"device/{mark}/asked"


def _slower(mark: str) -> str:
    return f"device/{mark}/slower"
