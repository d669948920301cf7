"""What one running sandbox remembers: its world, its faults, what was asked of it, and the stores' short-lived secrets."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from integ_server.sandbox.faults import Faults
from integ_server.sandbox.world import World

T = TypeVar("T")

_REMEMBERED_REQUESTS = 20_000


class Seen(tuple[str, str, str]):
    """One request as (method, host, path), with its query string and headers beside it."""

    query: str
    headers: dict[str, str]

    @classmethod
    def of(cls, method: str, host: str, path: str, query: str, headers: dict[str, str]) -> Seen:
        seen = cls((method, host, path))
        seen.query = query
        seen.headers = headers
        return seen

    @property
    def method(self) -> str:
        return self[0]

    @property
    def host(self) -> str:
        return self[1]

    @property
    def path(self) -> str:
        """Begins with a slash; the host is not part of it."""
        return self[2]


class SandboxState:
    """Handed to every part of the sandbox. A part keeps what it must remember in `part()`, never at module level."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.faults = Faults()
        self.requests: deque[Seen] = deque(maxlen=_REMEMBERED_REQUESTS)
        self.closing = threading.Event()
        """Set when the server goes down: whoever waits on purpose stops waiting."""
        self.clock: Callable[[], float] = time.time
        """Unix seconds; a test may put another clock here to let codes and links run out."""
        self._parts: dict[type[object], object] = {}
        self._lock = threading.Lock()

    def part(self, kind: type[T]) -> T:
        """The one *kind* of this sandbox, made on first use."""
        with self._lock:
            found = self._parts.get(kind)
            if not isinstance(found, kind):
                found = self._parts[kind] = kind()
            return found

    def secret(self, digits: int = 32) -> str:
        """Hex digits for codes, tokens, nonces and signatures; by chance, so that a sandbox started anew repeats none."""
        return secrets.token_hex(digits // 2)
