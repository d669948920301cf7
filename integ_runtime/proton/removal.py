"""Take a build off the disk: at once under its name, then file by file. Killed in between, the next run sweeps up the rest."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.locks import only_one
from integ_runtime.proton.folder import LOCK, clean_up, hidden_sibling, remove_tree
from integ_runtime.proton.installed import LATEST, WORK_PREFIX
from integ_server.contract.errors import BuildNotFoundError, StorageError


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
        try:
            with hidden_sibling(tools) as hidden, storage_errors(path):
                path.rename(hidden / path.name)
        except StorageError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            beside = tools / f"{WORK_PREFIX}{secrets.token_hex(8)}"  # no room for one more folder, which is why it has to go
            with storage_errors(path):
                path.rename(beside)
            remove_tree(beside)

    async with only_one(path.parent / LOCK, doing="changing the Proton versions"):
        await asyncio.to_thread(away)
