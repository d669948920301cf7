"""`python -m integ_tui`: the browser alone, as `integ tui` runs it."""

from __future__ import annotations

import asyncio
import sys


async def _main() -> int:
    from integ_runtime.runtime import open_runtime
    from integ_runtime.settings import read_settings
    from integ_tui.app import run_browser

    async with open_runtime(read_settings()) as runtime:
        return await run_browser(runtime)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
