"""
The key that the embedded backend seals store sign-ins with: made once, kept by the Secret Service, else in a 0600 file.

A new one may take its place. While everything is sealed anew both are kept, the new one first, so that nothing is lost when that is
broken off; whoever uses the keys holds `.keys.lock` shared, so that nobody seals anything with a key that is about to go.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets as random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from integ_runtime.locks import lock_file, only_one
from integ_runtime.paths import Paths
from integ_runtime.secret_service import find_secret_service
from integ_server.contract.errors import AuthenticationError, BusyError, IntegrityError

Where = Literal["secret-service", "file"]
_IN_USE = ".keys.lock"


@dataclass(frozen=True, slots=True)
class MasterKey:
    text: str
    """`id:hex`, the newest first, separated by commas, as INTEG_SECRET_KEY takes it."""
    where: Where

    def __repr__(self) -> str:
        return f"MasterKey(where={self.where!r})"


@asynccontextmanager
async def holding_key(paths: Paths, *, wait_s: float = 60) -> AsyncIterator[MasterKey]:
    """
    The embedded backend's key, which nobody takes away while inside; the first call on a machine makes it.

    Raises:
        BusyError: The key is being changed, and has been for *wait_s*.
        AuthenticationError: As `load_or_make_key`.
        IntegrityError: As `load_or_make_key`.
    """
    until = time.monotonic() + wait_s
    while (handle := lock_file(paths.data / _IN_USE, shared=True)) is None:
        if time.monotonic() > until:
            raise BusyError("another Integ is changing the key to your sign-ins", hint="wait for it")
        await asyncio.sleep(0.05)
    try:
        yield await load_or_make_key(paths)
    finally:
        os.close(handle)


async def load_or_make_key(paths: Paths) -> MasterKey:
    """
    The embedded backend's key; the first call on a machine makes it.

    Where it lies is written down beside the database, so that a keyring that can't be reached now
    (SSH, a locked session) is told as such instead of a second key being made.

    Raises:
        AuthenticationError: The key lies in the Secret Service, which does not answer.
        IntegrityError: The file that should hold it is damaged.
    """
    async with only_one(paths.data / ".key.lock", doing="starting for the first time"):
        return await asyncio.to_thread(_load_or_make, paths.data)


async def change_key(paths: Paths, seal_anew: Callable[[MasterKey], Awaitable[bool]]) -> None:
    """
    Put a new key in the place of the one there is: *seal_anew* is handed both, and says whether the old one is needed no more.

    What was broken off before is gone on with, without another new key.

    Raises:
        BusyError: Another Integ is using the key.
        AuthenticationError: As `load_or_make_key`.
        IntegrityError: As `load_or_make_key`.
    """
    file = paths.data / "key.json"
    async with only_one(paths.data / _IN_USE, wait_s=0, doing="using the key"):
        await load_or_make_key(paths)
        await asyncio.to_thread(_add_key, file)
        if await seal_anew(await load_or_make_key(paths)):
            await asyncio.to_thread(_drop_older, file)


def key_place(paths: Paths) -> Where | None:
    """Where the key lies; None before the first start."""
    note = _read_note(paths.data / "key.json")
    return note["where"] if note else None


def _load_or_make(folder: Path) -> MasterKey:
    file = folder / "key.json"
    note = _read_note(file)
    if note is None:
        return _make(file)
    return MasterKey(",".join(f"{each['id']}:{_text_of(each, file)}" for each in [note, *note.get("older", [])]), note["where"])


def _text_of(kept: dict[str, Any], file: Path) -> str:
    if kept["where"] == "file":
        return str(kept["key"])
    ring = find_secret_service()
    found = ring.get(str(kept["id"])) if ring else None
    if not found:
        raise AuthenticationError(
            "the key to your store sign-ins lies in the desktop's keyring, which does not answer here",
            hint=f"unlock the keyring, or remove {file} and sign in again with integ login",
        )
    return found


def _make(file: Path) -> MasterKey:
    made, key = _new_key()
    _write_note(file, made)
    return MasterKey(f"{made['id']}:{key}", made["where"])


def _new_key() -> tuple[dict[str, Any], str]:
    """What is noted of a new key, which lies in the keyring already when there is one; and the key."""
    name, key = random.token_hex(4), random.token_hex(32)
    ring = find_secret_service()
    if ring is not None and ring.put(name, key):
        return {"id": name, "where": "secret-service"}, key
    return {"id": name, "where": "file", "key": key}, key


def _add_key(file: Path) -> None:
    note = _read_note(file)
    assert note is not None
    if not note.get("older"):
        made, _ = _new_key()
        _write_note(file, {**made, "older": [note]})


def _drop_older(file: Path) -> None:
    note = _read_note(file)
    assert note is not None
    older = note.pop("older", [])
    _write_note(file, note)
    ring = find_secret_service()
    for each in older:
        if ring is not None and each["where"] == "secret-service":
            ring.drop(str(each["id"]))


def _read_note(file: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{file} can't be read: {error}", hint=f"remove {file} and sign in again with integ login") from error
    if not _is_whole(note) or not all(_is_whole(each) for each in note.get("older", [])):
        raise IntegrityError(f"{file} is not what Integ wrote", hint=f"remove {file} and sign in again with integ login")
    return dict(note)


def _is_whole(note: object) -> bool:
    if not isinstance(note, dict) or not isinstance(note.get("id"), str) or not isinstance(note.get("older", []), list):
        return False
    return note.get("where") == "secret-service" or (note.get("where") == "file" and isinstance(note.get("key"), str))


def _write_note(file: Path, note: dict[str, Any]) -> None:
    beside = file.with_name(f".{file.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, json.dumps(note).encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # sign-ins are sealed with it from now on
    finally:
        os.close(folder)
