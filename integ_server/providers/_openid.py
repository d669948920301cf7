"""
Steam's OpenID 2.0 sign-in, and nothing of OpenID beyond it: no discovery, no association, one hard-coded endpoint.

Every check here closes a hole that some shipping client has or had; see each one's comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

from integ_server.contract.errors import AuthenticationError, ProviderUnavailableError, UsageError

ENDPOINT = "https://steamcommunity.com/openid/login"
NS = "http://specs.openid.net/auth/2.0"
SELECT = "http://specs.openid.net/auth/2.0/identifier_select"
NONCE_AGE_S = 300
_CLAIMED = re.compile(r"https://steamcommunity\.com/openid/id/(76561[0-9]{12})/?")
_NONCE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)[\x21-\x7e]{0,200}")
_SIGNED = {"op_endpoint", "claimed_id", "identity", "return_to", "response_nonce"}
_HINT = "start the sign-in again: integ login steam"


def page_address(return_to: str, state: str) -> str:
    """
    The address for the browser; *state* is put into *return_to* unless it is there already.

    Raises:
        UsageError: *return_to* is no absolute http(s) address.
    """
    issued = with_state(return_to, state)
    parts = urlsplit(issued)
    query = {
        "openid.ns": NS,
        "openid.mode": "checkid_setup",
        "openid.identity": SELECT,
        "openid.claimed_id": SELECT,
        "openid.return_to": issued,
        "openid.realm": f"{parts.scheme}://{parts.netloc}/",
    }
    return f"{ENDPOINT}?{urlencode(query)}"


def with_state(return_to: str, state: str) -> str:
    """*return_to* with `state` in its query, byte for byte as it is issued."""
    try:
        parts = urlsplit(return_to)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and not parts.fragment
    except ValueError:
        fits = False
    if not fits:
        raise UsageError("the address to come back to has to be an absolute http or https address")
    if not state or any(name == "state" for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return return_to
    return f"{return_to}{'&' if parts.query else '?'}{urlencode({'state': state})}"


def nonce_of(query: str) -> str | None:
    """The assertion's nonce, to be kept for ten minutes so that it counts once; None when there is none that could count at all."""
    try:
        found = _single_fields(query).get("openid.response_nonce", "")
    except AuthenticationError:
        return None
    return found if _NONCE.fullmatch(found) else None


def checked_fields(query: str, return_to: str, *, now: datetime) -> tuple[str, dict[str, str]]:
    """
    The SteamID that *query* claims, and the fields to be verified; what Steam has not confirmed yet proves nothing.

    Raises:
        AuthenticationError: The player cancelled, or a check failed.
    """
    fields = _single_fields(query)
    mode = fields.get("openid.mode")
    if mode == "cancel":
        raise AuthenticationError("the sign-in at Steam was cancelled", hint=_HINT)
    if mode != "id_res":
        raise _refused("it is no assertion")
    if fields.get("openid.ns") != NS:
        raise _refused("it is not OpenID 2.0")
    if fields.get("openid.op_endpoint") != ENDPOINT:  # never the address to ask: whoever wrote it would confirm himself
        raise _refused("it names another endpoint than Steam's")
    claimed = fields.get("openid.claimed_id", "")
    found = _CLAIMED.fullmatch(claimed)  # fullmatch: `$` would let a line end through
    if found is None or fields.get("openid.identity") != claimed:
        raise _refused("it names no Steam account")
    signed = fields.get("openid.signed", "").split(",")
    if not set(signed) >= _SIGNED or len(set(signed)) != len(signed):
        raise _refused("not everything in it is signed")
    if any(f"openid.{name}" not in fields for name in signed if name != "signed"):
        raise _refused("something that is signed is missing")
    _check_return(query, fields, return_to)
    _check_nonce(fields.get("openid.response_nonce", ""), now)
    if not fields.get("openid.sig") or not fields.get("openid.assoc_handle"):
        raise _refused("its signature is missing")
    return found[1], {name: value for name, value in fields.items() if name.startswith("openid.")}


def verification(fields: Mapping[str, str]) -> dict[str, str]:
    """The form that asks Steam whether it said so: everything as it came, mode and namespace set by us."""
    return {**fields, "openid.mode": "check_authentication", "openid.ns": NS}


def check_confirmed(body: bytes) -> None:
    """
    Read the reply in OpenID's key-value form; a substring proves nothing.

    Raises:
        AuthenticationError: Steam does not confirm the assertion: forged, altered or used before.
        ProviderUnavailableError: It is no such reply at all.
    """
    answer = key_values(body)
    if answer is None or "is_valid" not in answer:
        raise ProviderUnavailableError("Steam did not say whether the sign-in is right", hint="try again in a minute")
    if answer.get("ns") != NS or answer["is_valid"] != "true":
        raise _refused("Steam does not confirm it; it counts only once")


def key_values(body: bytes) -> dict[str, str] | None:
    """`key:value` lines with LF or CRLF; None when a line is something else or a key comes twice."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    found: dict[str, str] = {}
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if not line:
            continue
        key, colon, value = line.partition(":")
        if not colon or key in found:
            return None
        found[key] = value
    return found


def _single_fields(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query.removeprefix("?"), keep_blank_values=True, strict_parsing=False, encoding="utf-8", errors="strict", max_num_fields=64
        )
    except ValueError as error:
        raise _refused("it can't be read") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise _refused(f"{name[:40]!r} stands in it twice")
        found[name] = value
    return found


def _check_return(query: str, fields: Mapping[str, str], return_to: str) -> None:
    # Steam signs return_to, and nobody but us compares it: without this an assertion made for another site would sign in here
    if not return_to or fields.get("openid.return_to") != return_to:
        raise _refused("it was made for another address")
    for name, value in parse_qsl(urlsplit(return_to).query, keep_blank_values=True):
        if fields.get(name) != value:
            raise _refused("it came back to another address than it was made for")


def _check_nonce(nonce: str, now: datetime) -> None:
    found = _NONCE.fullmatch(nonce)
    try:
        made = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) if found else None
    except ValueError:
        made = None
    if made is None:
        raise _refused("it does not say when it was made")
    if abs((now - made).total_seconds()) > NONCE_AGE_S:
        raise AuthenticationError("the sign-in at Steam took too long, or this machine's clock is wrong", hint=_HINT)


def _refused(why: str) -> AuthenticationError:
    return AuthenticationError(f"the sign-in at Steam was refused: {why}", hint=_HINT)
