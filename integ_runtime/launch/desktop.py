"""The player's desktop, as far as a launch has to do with it: whether there is a session bus to talk to."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PATH = re.compile(r"unix:(?:[^;]*,)?(path|abstract)=([^,;]+)")


def has_session_bus(environ: Mapping[str, str]) -> bool:
    """Whether somebody listens at the session bus of *environ*; a bus that is no local socket is taken to be there."""
    address = environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if not address and environ.get("XDG_RUNTIME_DIR"):
        address = f"unix:path={environ['XDG_RUNTIME_DIR']}/bus"
    local = _PATH.match(address)
    if local is None:
        return bool(address)
    name = local[2] if local[1] == "path" else f"\0{local[2]}"
    import socket

    with socket.socket(socket.AF_UNIX) as bus:
        bus.settimeout(1.0)
        try:
            bus.connect(name)
        except OSError:
            return False
    return True
