"""Take the README's picture: the real browser on the demo's world, as it looks in a terminal. `python -m tests.tui.picture`"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path

from integ_runtime.runtime import open_runtime
from integ_runtime.settings import read_settings
from integ_server.sandbox.app import create_sandbox
from integ_server.sandbox.serve import serve
from integ_server.sandbox.world import make_world
from integ_tui.app import IntegApp
from tests.e2e.conftest import gog_code

PICTURE = Path(__file__).resolve().parents[2] / ".github" / "library.svg"


async def take(home: Path) -> str:
    """The library screen as SVG, with a game installed and chosen."""
    made = create_sandbox(make_world("demo"))
    environ = {"HOME": str(home)}
    with serve(made) as url:
        async with open_runtime(read_settings(environ)._replace(upstream_url=url)) as runtime:
            await runtime.accounts.sign_in_with_key("steam", made.world.steam_key, made.world.steam_id)
            await runtime.accounts.sign_in_with_code("gog", urllib.parse.unquote(gog_code(url)))
            await runtime.sync()
            app = IntegApp(runtime, clock=lambda: datetime(2026, 11, 24, 12, 0, tzinfo=UTC))
            async with app.run_test(size=(116, 32)) as pilot:
                await app.workers.wait_for_complete()
                await pilot.press(*("down",) * 20)
                await pilot.pause(0.5)
                await app.workers.wait_for_complete()
                await pilot.pause()
                return app.export_screenshot(title="integ")


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="integ-picture-"))
    try:
        svg = asyncio.run(take(home))
    finally:
        shutil.rmtree(home)
    # the fonts of whoever looks at it: nothing is fetched for a picture
    svg = re.sub(r"@font-face\s*\{[^}]*\}\s*", "", svg).replace("Fira Code", "Fira Code, DejaVu Sans Mono")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg)


if __name__ == "__main__":
    main()
