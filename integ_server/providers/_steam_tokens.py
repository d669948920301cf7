"""Steam's tokens: who they are for and until when, how an access token is renewed, and what Steam's result numbers mean."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import httpx

from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UsageError,
)
from integ_server.providers._http import Answer, ask, error_for
from integ_server.providers._steam_ids import read_account
from integ_server.providers._steam_models import SteamModel
from integ_server.providers._text import moment
from integ_server.providers.base import Credentials

SERVICE = "https://api.steampowered.com/IAuthenticationService"
AGAIN = "sign in again: integ login steam --qr"
TIME_LIMIT_S = 15.0
_RENEW_REFRESH_BEFORE = timedelta(days=60)
"""A refresh token that is renewed ends the old one, so an answer that gets lost ends the sign-in: not asked for without need."""
_LONGEST_TOKEN = 8192

OK, FILE_NOT_FOUND, EXPIRED = 1, 9, 27
_BUSY = {10, 20}
_TOO_OFTEN = {84, 87}
_OVER = {5, FILE_NOT_FOUND, 15, EXPIRED}
"""To a refresh token: it is no good, unknown, revoked or made for another kind of device, too old."""


class Claims(NamedTuple):
    """What Integ reads of a token. Nobody but Steam can verify one, so they are read only from what Steam itself just sent."""

    account: str
    """The SteamID."""
    expires_at: datetime | None


class _Renewed(SteamModel):
    access_token: str = ""
    refresh_token: str = ""


class _RenewedAnswer(SteamModel):
    response: _Renewed


def is_token(secret: str) -> bool:
    """Whether an account's lasting secret is a refresh token; a Web API key holds no dots."""
    return secret.count(".") == 2


def claims_of(token: str) -> Claims:
    """
    Raises:
        ProviderError: It is no token of a person's account.
    """
    try:
        if len(token) > _LONGEST_TOKEN:
            raise ValueError("too long")
        _, payload, _ = token.split(".")
        told = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True))
        account = read_account(str(told["sub"]))
        ends = told.get("exp")
        expires_at = moment(int(ends)) if isinstance(ends, int | float) else None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, binascii.Error, UsageError):
        raise ProviderError("Steam sent a token that can't be read", hint=AGAIN) from None
    if not account.steamid:
        raise ProviderError("Steam sent a token that names no account", hint=AGAIN)
    return Claims(account.steamid, expires_at)


async def call(http: httpx.AsyncClient, store: str, method: str, form: dict[str, str]) -> Answer:
    """Ask the service once: what it answers may be given only this one time."""
    return await ask(http, store, f"{SERVICE}/{method}/v1/", method="POST", data=form, retries="unsent", time_limit_s=TIME_LIMIT_S)


def result_of(answer: Answer) -> int:
    """Steam's result number: it stands in a header, and a failure is a 200 like any other."""
    text = answer.headers.get("x-eresult", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else OK


def error_of_result(result: int) -> IntegError:
    """What a result number other than OK means, where nothing more is known about it."""
    if result in _BUSY:
        return ProviderUnavailableError("Steam is busy", hint="try again in a minute")
    if result in _TOO_OFTEN:
        return RateLimitedError("Steam asks for a pause between sign-ins", hint="try again later")
    return ProviderError(f"Steam refused that with its result {result}", hint="try again later")


def signed_in(access_token: str, refresh_token: str, *, account: str = "") -> Credentials:
    """
    Credentials by tokens that Steam sent just now.

    Raises:
        ProviderError: They can't be read, or are not both of one account, *account* if it is given.
    """
    claims = claims_of(access_token)
    if claims.account != (account or claims_of(refresh_token).account):
        raise ProviderError("Steam sent the tokens of another account", hint=AGAIN)
    return Credentials(claims.account, refresh_token, access_token, claims.expires_at)


async def renewed(http: httpx.AsyncClient, store: str, login: Credentials) -> Credentials:
    """
    A fresh access token, and the refresh token to keep, which may be a new one: then the old one is dead.

    Raises:
        AuthenticationError: Steam says that the sign-in is over.
        ProviderUnavailableError: Steam did not answer.
    """
    form = {"refresh_token": login.secret, "steamid": login.account, "renewal_type": "1" if _is_near_its_end(login.secret) else "0"}
    answer = await call(http, store, "GenerateAccessTokenForApp", form)
    if answer.status != 200:
        error = error_for(answer)
        # the method needs no sign-in, so a 401 or 403 is some proxy's or a block, and ends nothing
        raise error if isinstance(error, ProviderError) else ProviderError(f"Steam answered {answer.status} to a renewal", hint="try again")
    result = result_of(answer)
    if result in _OVER:
        raise AuthenticationError("Steam ended the sign-in", hint=AGAIN)
    if result != OK:
        raise error_of_result(result)
    told = answer.model(_RenewedAnswer).response
    if not told.access_token:
        raise ProviderError("Steam renewed the sign-in without an access token", hint="try again later")
    if told.refresh_token and claims_of(told.refresh_token).account != login.account:
        raise ProviderError("Steam renewed the sign-in of another account", hint=AGAIN)
    fresh = signed_in(told.access_token, login.secret, account=login.account)
    return replace(fresh, secret=told.refresh_token or login.secret)


def _is_near_its_end(refresh_token: str) -> bool:
    try:
        ends = claims_of(refresh_token).expires_at
    except ProviderError:
        return True
    return ends is None or ends - datetime.now(UTC) < _RENEW_REFRESH_BEFORE
