"""
Steam's sign-in by a QR code: a session is begun, the player scans its code with the Steam app and agrees there, and whoever polls
is given the tokens.

The session says that it is a mobile app's. A token for a web browser can't be renewed since April 2025, and one for Steam's client only
over its own protocol; one for the mobile app can, so the player signs in once and not every day.
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
from pydantic import Field

from integ_server.contract.errors import AuthenticationError, IntegError, ProviderError, ProviderUnavailableError
from integ_server.providers import _steam_tokens as tokens
from integ_server.providers._http import Answer, error_for
from integ_server.providers._steam_models import SteamModel
from integ_server.providers.base import Credentials, QrSession

_MOBILE_APP = "3"
_STEAM_APP = "1"
_CHALLENGE = re.compile(r"https://s\.team/q/[0-9]{1,4}/[0-9]{1,20}")
_CLIENT_ID = re.compile(r"[0-9]{1,20}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9+/_=-]{4,200}")
_POLL_S = 5.0
_AGAIN = "start the sign-in again: integ login steam --qr"


class _Begun(SteamModel):
    client_id: str = Field(coerce_numbers_to_str=True)
    request_id: str
    challenge_url: str
    interval: float = _POLL_S


class _BegunAnswer(SteamModel):
    response: _Begun


class _Polled(SteamModel):
    """Whatever is as before is left out."""

    new_client_id: str = Field(default="", coerce_numbers_to_str=True)
    new_challenge_url: str = ""
    refresh_token: str = Field(default="", repr=False)
    access_token: str = Field(default="", repr=False)
    had_remote_interaction: bool = False
    agreement_session_url: str = ""


class _PolledAnswer(SteamModel):
    response: _Polled


async def begin(http: httpx.AsyncClient, store: str, device: str) -> QrSession:
    """
    A new code; the phone shows *device* beside it.

    Raises:
        ProviderError: Steam's answer holds no code that the Steam app would take.
        ProviderUnavailableError: Steam did not answer, or does not offer this now.
    """
    form = {
        "device_friendly_name": device,
        "platform_type": _MOBILE_APP,
        "device_details[device_friendly_name]": device,
        "device_details[platform_type]": _MOBILE_APP,
        "device_details[app_type]": _STEAM_APP,
        "website_id": "Mobile",
    }
    answer = await tokens.call(http, store, "BeginAuthSessionViaQR", form)
    _check_status(answer)
    if (result := tokens.result_of(answer)) != tokens.OK:
        raise tokens.error_of_result(result)
    told = answer.model(_BegunAnswer).response
    if not _CLIENT_ID.fullmatch(told.client_id) or told.client_id == "0" or not _REQUEST_ID.fullmatch(told.request_id):
        raise ProviderError("Steam began a sign-in without saying which", hint="try again later")
    pause = told.interval if 1 <= told.interval <= 60 else _POLL_S
    return QrSession(_checked(told.challenge_url), _handle(told.client_id, told.request_id), pause)


async def poll(http: httpx.AsyncClient, store: str, session: QrSession) -> QrSession | Credentials:
    """
    The session as it is now, its code perhaps another one; credentials once the player agreed.

    Raises:
        AuthenticationError: The player said no, or the session is over.
        ProviderError: Steam answered oddly; the session may be polled again.
        ProviderUnavailableError: Steam did not answer; the session may be polled again.
    """
    at: dict[str, Any] = json.loads(session.handle)
    answer = await tokens.call(http, store, "PollAuthSessionStatus", {"client_id": at["client_id"], "request_id": at["request_id"]})
    if answer.status == 500:  # how some have seen a session end
        raise AuthenticationError("Steam gave up this sign-in", hint=_AGAIN)
    _check_status(answer)
    match tokens.result_of(answer):
        case tokens.OK:
            told = answer.model(_PolledAnswer).response
        case tokens.FILE_NOT_FOUND:
            raise AuthenticationError("the sign-in was refused on the phone, or Steam gave it up", hint=_AGAIN)
        case tokens.EXPIRED:
            raise AuthenticationError("the QR code ran out", hint=_AGAIN)
        case other:
            raise tokens.error_of_result(other)
    if told.refresh_token:
        return await _credentials(http, store, told)
    if told.agreement_session_url:
        raise AuthenticationError("Steam wants you to accept an agreement first", hint="sign in at https://store.steampowered.com once")
    client_id, address = at["client_id"], session.address
    if told.new_client_id and told.new_client_id != client_id:
        if not _CLIENT_ID.fullmatch(told.new_client_id):
            raise ProviderError("Steam changed the code to one that is none", hint=_AGAIN)
        client_id = told.new_client_id  # the request_id stays the one that the session was begun with
        address = told.new_challenge_url or f"{address.rpartition('/')[0]}/{client_id}"
    return QrSession(_checked(address), _handle(client_id, at["request_id"]), session.poll_every_s, told.had_remote_interaction)


async def _credentials(http: httpx.AsyncClient, store: str, told: _Polled) -> Credentials:
    if told.access_token:
        return tokens.signed_in(told.access_token, told.refresh_token)
    # seen for some days in 2023: signed in, with the lasting half alone
    claims = tokens.claims_of(told.refresh_token)
    bare = Credentials(claims.account, told.refresh_token)
    try:
        return await tokens.renewed(http, store, bare)
    except ProviderError:  # the session is spent; what it gave lasts, and its first use asks again
        return bare


def _check_status(answer: Answer) -> None:
    if answer.status == 200:
        return
    error: IntegError = error_for(answer)
    if not isinstance(error, ProviderError):  # it takes no sign-in, so this is about our address and goes away
        error = ProviderUnavailableError("Steam offers no sign-in by QR code to this address for now", hint="try again later")
    raise error


def _checked(address: str) -> str:
    """A code has to lead into the Steam app and nowhere else."""
    if not _CHALLENGE.fullmatch(address):
        raise ProviderError("Steam sent a QR code that is none of its own", hint="try again later")
    return address


def _handle(client_id: str, request_id: str) -> str:
    return json.dumps({"client_id": client_id, "request_id": request_id})
