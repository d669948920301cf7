"""keys: what sign-ins at the stores are sealed with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from integ_cli.context import output
from integ_cli.exit_codes import ExitCode
from integ_cli.traits import command

if TYPE_CHECKING:
    from integ_server.contract.keys import KeyRotation


@command("integ keys rotate", "integ keys rotate --json")
def rotate() -> None:
    """
    Seal all sign-ins at the stores with a new key.

    Without a backend for many the key is made here, and the old one is dropped. Where INTEG_SECRET_KEY is set, put the new key in front
    of the old one there first (ID:SECRET,OLD), restart what serves and works, then run this: it says when the old one may go.
    """
    out = output()
    serves = _has_server_key()
    done = asyncio.run(_rotated_server() if serves else _rotated_embedded())
    older = [key_id for key_id in done.texts if key_id != done.newest]
    free = [key_id for key_id in older if serves and not done.texts[key_id]]
    used = [key_id for key_id in older if done.texts[key_id]]
    items = [{"id": key_id, "texts": texts} for key_id, texts in done.texts.items() if serves or texts or key_id == done.newest]
    lines = [f"{done.resealed} secrets are sealed anew with the key {done.newest}."]
    if free:
        lines.append(f"In use no more, to be taken out of INTEG_SECRET_KEY: {', '.join(free)}.")
    if used:
        lines.append(f"Still in use: {', '.join(used)}. Run this again.")
    if serves and not older:
        lines.append("There is no other key in INTEG_SECRET_KEY: to change it, put a new one in front of it (ID:SECRET,OLD).")
    data = {"newest": done.newest, "resealed": done.resealed, "left": done.left, "unreadable": done.unreadable, "keys": items}
    out.result("keys-rotate", data, *lines)
    if done.unreadable:
        out.warn(f"{done.unreadable} secrets can't be read with any key there is: their players have to sign in to the store again")
    if done.left:
        raise typer.Exit(ExitCode.PARTLY)


def _has_server_key() -> bool:
    """Whether this is a machine that serves, by the one setting that nothing but a backend has."""
    from integ_server.environment import found_values

    return bool(found_values({"secret_key": ["integ_secret_key"]}, {"secret_key"}, Path(".env")))


async def _rotated_server() -> KeyRotation:
    from integ_server.app import rotate_keys
    from integ_server.settings import ServerSettings

    return await rotate_keys(ServerSettings.from_environment())


async def _rotated_embedded() -> KeyRotation:
    from integ_runtime.keys import rotate_embedded_key
    from integ_runtime.settings import read_settings

    return await rotate_embedded_key(read_settings())
