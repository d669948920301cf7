"""Cursors: where a page of a list ends, opaque to clients and good for that list alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from integ_server.contract.errors import UsageError


def write_cursor(values: Sequence[str | int], *of: object) -> str:
    """A cursor for what comes after *values* in the list that is *of* this user, in this order, filtered so."""
    return base64.urlsafe_b64encode(json.dumps([_mark(of), *values], separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(cursor: str, kinds: Sequence[type[str] | type[int]], *of: object) -> list[Any]:
    """
    The values of a cursor of the same list, which have *kinds*.

    Raises:
        UsageError: It is another list's, or none at all.
    """
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    if isinstance(found, list) and len(found) == len(kinds) + 1 and found[0] == _mark(of):
        values = found[1:]
        if all(_is_good(value, kind) for value, kind in zip(values, kinds, strict=True)):
            return values
    raise UsageError("the cursor is none of this list", hint="ask again without a cursor")


def _is_good(value: object, kind: type[str] | type[int]) -> bool:
    if isinstance(value, str):
        return kind is str and "\0" not in value
    return kind is int and type(value) is int and -(2**63) <= value < 2**63


def _mark(of: Sequence[object]) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()[:12]
