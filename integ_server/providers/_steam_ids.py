"""The ways in which people write down a Steam account."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from integ_server.contract.errors import UsageError

_BASE = 76561197960265728
_LAST = _BASE + 0xFFFFFFFF
_VANITY = re.compile(r"[A-Za-z0-9_-]{2,32}\Z")
_STEAM2 = re.compile(r"STEAM_[0-5]:([01]):([0-9]{1,10})\Z", re.IGNORECASE)
_STEAM3 = re.compile(r"\[?U:1:([0-9]{1,10})\]?\Z", re.IGNORECASE)
HINT = "give the 17-digit SteamID, the profile's address, or the name in it"


@dataclass(frozen=True, slots=True)
class SteamAccount:
    """Exactly one of the two is set."""

    steamid: str = ""
    vanity: str = ""
    """A profile name that Steam has to resolve."""


def read_account(text: str) -> SteamAccount:
    """
    What *text* names: a SteamID, a profile address, a profile name, `[U:1:N]` or `STEAM_0:Y:Z`.

    Raises:
        UsageError: None of these.
    """
    wanted = text.strip().strip("\"'<>").strip()
    if "steamcommunity.com" in wanted.lower():
        return _from_address(wanted)
    if found := _STEAM3.match(wanted):
        return SteamAccount(steamid=_steamid(int(found[1]) + _BASE))
    if found := _STEAM2.match(wanted):
        return SteamAccount(steamid=_steamid(2 * int(found[2]) + int(found[1]) + _BASE))
    if wanted.isascii() and wanted.isdigit() and len(wanted) == 17:
        return SteamAccount(steamid=_steamid(int(wanted)))
    if _VANITY.match(wanted):
        return SteamAccount(vanity=wanted)
    raise UsageError("that is no Steam account", hint=HINT)


def _from_address(text: str) -> SteamAccount:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if host not in {"steamcommunity.com", "www.steamcommunity.com"} or parts.scheme not in {"http", "https"}:
        raise UsageError("that is no address of a Steam profile", hint=HINT)
    match parts.path.split("/")[1:3]:
        case ["profiles", steamid] if steamid.isascii() and steamid.isdigit() and len(steamid) == 17:
            return SteamAccount(steamid=_steamid(int(steamid)))
        case ["profiles", steam3] if _STEAM3.match(steam3):
            return read_account(steam3)
        case ["id", vanity] if _VANITY.match(vanity):
            return SteamAccount(vanity=vanity)
    raise UsageError("that is no address of a Steam profile", hint=HINT)


def _steamid(number: int) -> str:
    if not _BASE < number <= _LAST:
        raise UsageError("that SteamID is none of a person", hint=HINT)
    return str(number)
