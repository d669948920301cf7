"""A new key for what the embedded backend keeps sealed."""

from __future__ import annotations

from integ_runtime.client.transport import server_settings
from integ_runtime.secrets import MasterKey, change_key
from integ_runtime.settings import RuntimeSettings
from integ_server.contract.keys import KeyRotation


async def rotate_embedded_key(settings: RuntimeSettings) -> KeyRotation:
    """
    Make a new key, seal everything anew with it, and drop the old one once nothing needs it. Broken off, it is gone on with the next time.

    Raises:
        BusyError: Another Integ is at work, with the old key.
        AuthenticationError: The keyring that has the old key does not answer.
    """
    from integ_server.app import rotate_keys

    result: list[KeyRotation] = []

    async def seal_anew(both: MasterKey) -> bool:
        done = await rotate_keys(server_settings(settings, both))
        result.append(done)
        return done.left == 0

    await change_key(settings.paths, seal_anew)
    return result[0]
