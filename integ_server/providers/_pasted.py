"""The code in whatever a player pastes after signing in at GOG."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from integ_server.contract.errors import AuthenticationError
from integ_server.providers._text import plain_line

LANDING_HOSTS = {"embed.gog.com", "www.gog.com"}
_LANDING_PATH = "/on_login_success"
_CODE = re.compile(r"[A-Za-z0-9_.~-]{6,4096}\Z")
_AROUND = "\"'`<>()[]\u2018\u2019\u201c\u201d\u00ab\u00bb,;"
_LONGEST = 16_384
HINT = "paste the whole address of the page that GOG ends on; its code is good for about a minute"


def code_from(pasted: str) -> str:
    """
    The code in *pasted*: the landing page's address, its query or a part of it, or the code alone; quotes and line breaks do not matter.

    Raises:
        AuthenticationError: GOG says there that it refused, or there is no code in it.
    """
    text = re.sub(r"[\s\u200b-\u200f\u2060\ufeff]+", "", pasted[:_LONGEST]).strip(_AROUND)
    if not text or len(pasted) > _LONGEST:
        raise AuthenticationError("no code was given", hint=HINT)
    if "=" not in text and "/" not in text:
        return _good(text)
    return _good(_from_query(_query_of(text)))


def _query_of(text: str) -> str:
    if text.startswith(("?", "&", "#")) or ("/" not in text.partition("?")[0] and "?" not in text):
        return text.lstrip("?&#")
    try:
        parts = urlsplit(text if "://" in text.partition("?")[0] else f"https://{text}")
        host = (parts.hostname or "").rstrip(".")
    except ValueError as error:
        raise AuthenticationError("that address can't be read", hint=HINT) from error
    # where INTEG_UPSTREAM_URL stands in for GOG, the landing page's host is the first part of the path
    first, _, rest = parts.path.lstrip("/").partition("/")
    path = f"/{rest}" if host not in LANDING_HOSTS and first in LANDING_HOSTS else parts.path
    known = host in LANDING_HOSTS or first in LANDING_HOSTS
    if not known or path.rstrip("/") != _LANDING_PATH:
        raise AuthenticationError("that is not the address of GOG's landing page", hint=HINT)
    return "&".join(part for part in (parts.query, parts.fragment) if part)


def _from_query(query: str) -> str:
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise AuthenticationError("that address can't be read", hint=HINT) from error
    if "error" in fields:
        said = plain_line((fields.get("error_description") or fields["error"])[0])[:200]
        raise AuthenticationError(f"GOG refused the sign-in: {said or 'no reason given'}", hint="start again: integ login gog")
    codes = set(fields.get("code", []))
    if len(codes) != 1:
        raise AuthenticationError("there is no code in that" if not codes else "there are several codes in that", hint=HINT)
    return codes.pop()


def _good(code: str) -> str:
    if not _CODE.match(code):
        raise AuthenticationError("that is no code of GOG's", hint=HINT)
    return code
