"""Opening a web address in the desktop's own browser, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping
from urllib.parse import urlsplit


async def open_in_browser(address: str, environ: Mapping[str, str] = os.environ) -> bool:
    """
    Hand *address* to `xdg-open`; False when there is no desktop here, such as over SSH, or it is no web address.

    Python's `webbrowser` is not used: without a desktop it would start a text browser on top of this screen.
    """
    if urlsplit(address).scheme not in {"http", "https"}:
        return False
    opener = shutil.which("xdg-open", path=environ.get("PATH"))
    if opener is None or not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return False
    started = await asyncio.create_subprocess_exec(opener, address, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True)
    try:
        async with asyncio.timeout(5):
            return await started.wait() == 0
    except TimeoutError:
        return True  # some desktops' openers stay for as long as the browser does
