"""Who is asking, once that is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from integ_server.contract.errors import PermissionDeniedError
from integ_server.contract.scopes import ALL_SCOPES, EXPLAINED, Scope
from integ_server.services.backend import LOCAL_USER


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, and what for they may."""

    user_id: str
    scopes: frozenset[Scope]
    session_id: str | None = None
    """Of the device that is signed in; None for a personal token and for the embedded user."""
    token_id: str | None = None

    def require(self, scope: Scope) -> None:
        """
        Raises:
            PermissionDeniedError: The caller may not use *scope*.
        """
        if scope not in self.scopes:
            raise PermissionDeniedError(
                f"this sign-in may not {EXPLAINED[scope]}: it lacks the scope {scope}",
                hint="integ login --device, or integ token create with that scope",
                data={"scope": str(scope)},
            )


LOCAL_CALLER = Caller(LOCAL_USER, ALL_SCOPES)


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Those of *names* that this version knows; a scope of a newer one allows nothing here."""
    return _known_scopes(frozenset(names))


@lru_cache(maxsize=512)
def _known_scopes(names: frozenset[str]) -> frozenset[Scope]:
    return frozenset(each for each in Scope if each in names)
