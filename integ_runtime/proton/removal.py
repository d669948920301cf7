"""Take a build off the disk: at once under its name, then file by file. Killed in between, the next run sweeps up the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.locks import only_one
from integ_runtime.proton.folder import LOCK, clean_up, hidden_sibling
from integ_runtime.proton.installed import LATEST
from integ_server.contract.errors import BuildNotFoundError


async def remove(path: Path, check: Callable[[], None]) -> None:
    """
    Remove the build in the folder *path*, unless *check*, which is asked under the lock, raises.

    Raises:
        BuildNotFoundError: Somebody else removed it meanwhile.
        StorageError: It can't be removed.
    """

    def away() -> None:
        tools = path.parent
        if not path.is_dir():  # another process removed it meanwhile
            raise BuildNotFoundError(f"{path.name} is not installed any more", hint="integ proton list")
        check()
        clean_up(tools)
        link = tools / LATEST
        with suppress(OSError):  # first: a `latest` that leads nowhere is worse than none
            if os.readlink(link) == path.name:  # noqa: PTH115
                link.unlink()
        with hidden_sibling(tools) as hidden, storage_errors(path):
            path.rename(hidden / path.name)

    async with only_one(path.parent / LOCK, doing="changing the Proton versions"):
        await asyncio.to_thread(away)
