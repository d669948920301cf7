"""How politely the outside is asked: so many requests at once to a host, so many in a while, so long a pause before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TRIES = 3
LONGEST_PAUSE_S = 5.0
"""A `Retry-After` up to this is slept out; a longer one is handed to the caller, who knows when to come back."""
BUSY = {408, 429, 500, 502, 503, 504}
FAR_OFF_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits of one group of addresses."""

    group: str
    at_once: int
    burst: float = 0
    """With `per_s`: so many at once, then `per_s` a second. 0 is no such limit."""
    per_s: float = 0


_CDN = ("gog-cdn-fastly.gog.com", "cdn.gog.com", "images.gog.com")
# Four metadata calls at once and ten connections are what GOG's open clients keep to; Steam: 100,000 calls a day and key, and short bursts
# get 429; appdetails: 200 in five minutes and address.
_GOG = Pace("gog", at_once=4)
_STEAM_KEYED = Pace("steam", at_once=4, burst=20, per_s=1)
_STEAM_SIGN_IN = Pace("steam-sign-in", at_once=8, burst=20, per_s=4)
_STEAM_STORE = Pace("steam-store", at_once=4, burst=20, per_s=4)
_STEAM_DETAILS = Pace("steam-appdetails", at_once=2, burst=40, per_s=160 / 300)


def pace_for(host: str, path: str) -> Pace:
    """The limits for an original address."""
    if host == "api.steampowered.com":
        if path.startswith("/IAuthenticationService/"):  # takes no key, and phones are waited for
            return _STEAM_SIGN_IN
        return _STEAM_STORE if path.startswith(("/IStoreBrowseService/", "/IStoreService/")) else _STEAM_KEYED
    if host == "store.steampowered.com" and path.startswith("/api/appdetails"):
        return _STEAM_DETAILS
    if host.endswith(".gog.com") and host not in _CDN:
        return _GOG
    return Pace(host, at_once=10)


def key_of(pace: Pace, params: Mapping[str, str]) -> str:
    """The key that a request with these parameters is counted by; empty: by none."""
    return params.get("key", "") if pace is _STEAM_KEYED else ""


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float | None:
    """What a `Retry-After` header asks for, in seconds, from a number or an HTTP date; None when it says nothing usable."""
    text = (value or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), FAR_OFF_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()), FAR_OFF_S)


def pause_before_retry(
    attempt: int, status: int | None, asked_s: float | None, *, chance: Callable[[], float] = random.random
) -> float | None:
    """
    Seconds to wait after try number *attempt* (from 1) failed with *status* (None: no answer); None is: give up.

    The wait is jittered, so that many clients do not come back together.
    """
    if attempt >= TRIES or (asked_s is not None and asked_s > LONGEST_PAUSE_S):
        return None
    if asked_s is not None:
        return asked_s + chance() * 0.5
    if status == 429:  # no word on how long: one more try after a while, then it is the caller's turn to wait
        return 1.0 + chance() * 2 if attempt == 1 else None
    return float(0.4 * 3 ** (attempt - 1) * (0.5 + chance()))
