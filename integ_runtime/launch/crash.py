"""What is told of a game that crashed: the last it said, and a word to a desktop on which nobody looks at a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from integ_runtime.launch.desktop import has_session_bus

_TAIL_BYTES = 64 << 10
_PATIENCE_S = 5.0


def last_lines(log: Path, most: int = 15) -> list[str]:
    """The last lines that the game itself wrote to *log*; none when it wrote nothing, or nobody can read them."""
    try:
        with log.open("rb") as source:
            size = source.seek(0, 2)
            source.seek(max(0, size - _TAIL_BYTES))
            tail = source.read().decode("utf-8", "replace")
    except OSError:
        return []
    if size <= _TAIL_BYTES:
        tail = tail.partition("\n\n")[2]  # behind the header
    return [line for line in tail.splitlines() if line.strip()][-most:]


async def notify(title: str, text: str, environ: Mapping[str, str]) -> bool:
    """Show a notification on the desktop of *environ*; False where there is none, or nothing to show it with."""
    program = shutil.which("notify-send", path=environ.get("PATH"))
    if program is None or not await asyncio.to_thread(has_session_bus, environ):
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, "--app-name=Integ", "--icon=dialog-error", "--", title, text),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environ),
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await process.wait() == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
