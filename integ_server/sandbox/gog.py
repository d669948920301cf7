"""The sandbox's GOG: sign-in, account, library, metadata, installers and the content system."""

from __future__ import annotations

from starlette.routing import Route

from integ_server.sandbox import gog_account, gog_auth, gog_content, gog_downloads, gog_metadata
from integ_server.sandbox.state import SandboxState


def routes(state: SandboxState) -> list[Route]:
    """Everything that a client of GOG asks for, each at /HOST/PATH."""
    parts = (gog_auth, gog_account, gog_metadata, gog_downloads, gog_content)
    return [route for part in parts for route in part.routes(state)]
