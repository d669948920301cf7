"""What a user may take along, and the end of it."""

from __future__ import annotations

from typing import Any, Literal

from integ_server.contract.types import Wire

CONFIRMATION = "delete everything"


class UserDeletion(Wire):
    """Body of `DELETE /users/me`."""

    confirm: Literal["delete everything"]
    """Word for word, so that no slip of a script does it."""


class UserDeleted(Wire):
    rows: dict[str, int]
    """How many rows went, by table; tables without any are left out."""


UserExport = dict[str, list[dict[str, Any]]]
"""Answer of `GET /users/me/export`: every row that is the user's, by table, without secrets."""
