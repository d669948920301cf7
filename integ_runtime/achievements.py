"""What a player achieved: from the backend, and from this machine's copy while that can't be had."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import ValidationError

from integ_runtime.client.api import ApiClient
from integ_server.contract.achievements import AchievementList
from integ_server.contract.errors import BackendUnreachableError, ProviderUnavailableError


class Achievements:
    def __init__(self, api: Callable[[], Awaitable[ApiClient]], folder: Path) -> None:
        """*folder* holds the copies, a file a release."""
        self._api, self._folder = api, folder

    async def of(self, key: str, *, again: bool = False) -> AchievementList:
        """
        The achievements of the release *key*; `read_at` says how old they are.

        Raises:
            GameNotFoundError: The library has no such release.
            UsageError: Its store keeps no achievements.
            PrivateProfileError, AuthenticationError, ProviderError: The store does not tell.
            BackendUnreachableError: The backend does not answer, and there is no copy.
        """
        try:
            found = await (await self._api()).achievements(key, again=again)
        except (BackendUnreachableError, ProviderUnavailableError):
            copy = await asyncio.to_thread(_read, self._file(key))
            if copy is None:
                raise
            return copy
        await asyncio.to_thread(_write, self._file(key), found)
        return found

    def _file(self, key: str) -> Path:
        return self._folder / f"{key.replace(':', '-', 1).replace('/', '_')}.json"


def _read(file: Path) -> AchievementList | None:
    try:
        return AchievementList.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(file: Path, found: AchievementList) -> None:
    """Best effort: a copy that can't be kept is had from the backend again."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w") as copy:
                copy.write(found.model_dump_json())
            Path(beside).replace(file)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
