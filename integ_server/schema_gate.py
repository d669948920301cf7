"""Whether the database is there with this version's tables. Nothing of it is touched before, and who waits for it goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from integ_server.contract.errors import BackendUnreachableError, IntegError
from integ_server.migrations.upgrade import check_current

_LOOK_WITHIN_S = 5.0
_BETWEEN_LOOKS_S = 0.5
_LONGEST_PAUSE_S = 5.0
_TOLD_AGAIN_AFTER_S = 60.0
_log = logging.getLogger("integ.database")


class SchemaGate:
    """Shut until a look finds all in order; it stays open from then on, since each request tells of a database that goes away later."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._looking = asyncio.Lock()
        self._looked_at = self._told_at = float("-inf")
        self.is_open = False
        self.trouble: IntegError | None = None
        """What the last look found: UsageError when `integ migrate` is missing, IntegrityError for a newer or foreign database."""

    async def look(self) -> bool:
        """Whether it is open; looks anew unless somebody did a moment ago."""
        async with self._looking:
            if self.is_open or time.monotonic() - self._looked_at < _BETWEEN_LOOKS_S:
                return self.is_open
            try:
                async with asyncio.timeout(_LOOK_WITHIN_S):
                    await check_current(self._url)
                found: IntegError | None = None
            except IntegError as error:
                found = error
            except TimeoutError:
                found = BackendUnreachableError("the backend's database does not answer", hint="check INTEG_DATABASE_URL")
            self._tell(found)
            self.trouble, self.is_open, self._looked_at = found, found is None, time.monotonic()
            return self.is_open

    async def wait(self, ending: asyncio.Event, *, give_up_on: type[IntegError] | None = None) -> bool:
        """
        Look until it is open; False when *ending* comes before.

        Raises:
            IntegError: The trouble is a *give_up_on*, for which waiting is no use.
        """
        pause_s = _BETWEEN_LOOKS_S
        while not ending.is_set():
            if await self.look():
                return True
            if give_up_on is not None and isinstance(self.trouble, give_up_on):
                raise self.trouble
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await ending.wait()
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        return False

    def require(self) -> None:
        """
        For a request, whose sender learns no more than that.

        Raises:
            BackendUnreachableError: It is shut.
        """
        if not self.is_open:
            raise BackendUnreachableError("this backend's database is not ready", hint="/readyz says what is missing", retry_after_s=5)

    def _tell(self, found: IntegError | None) -> None:
        """Once, and again now and then while it lasts."""
        now = time.monotonic()
        if found is None:
            if self.trouble is not None:
                _log.info("the database is ready")
        elif self.trouble is None or self.trouble.message != found.message or now - self._told_at >= _TOLD_AGAIN_AFTER_S:
            _log.warning("waiting for the database: %s; what mends it: %s", found.message, found.hint or "look at the database server")
            self._told_at = now
