"""The key that the embedded backend seals store sign-ins with: made once, kept by the Secret Service, else in a 0600 file."""

from __future__ import annotations

import asyncio
import json
import os
import secrets as random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from integ_runtime.locks import only_one
from integ_runtime.paths import Paths
from integ_runtime.secret_service import find_secret_service
from integ_server.contract.errors import AuthenticationError, IntegrityError

Where = Literal["secret-service", "file"]


@dataclass(frozen=True, slots=True)
class MasterKey:
    text: str
    """`id:hex`, as INTEG_SECRET_KEY takes it."""
    where: Where

    def __repr__(self) -> str:
        return f"MasterKey(where={self.where!r})"


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


def key_place(paths: Paths) -> Where | None:
    """Where the key lies; None before the first start."""
    note = _read_note(paths.data / "key.json")
    return note["where"] if note else None


def _load_or_make(folder: Path) -> MasterKey:
    file = folder / "key.json"
    note = _read_note(file)
    if note is None:
        return _make(file)
    if note["where"] == "file":
        return MasterKey(f"{note['id']}:{note['key']}", "file")
    ring = find_secret_service()
    kept = ring.get(str(note["id"])) if ring else None
    if not kept:
        raise AuthenticationError(
            "the key to your store sign-ins lies in the desktop's keyring, which does not answer here",
            hint=f"unlock the keyring, or remove {file} and sign in again with integ login",
        )
    return MasterKey(f"{note['id']}:{kept}", "secret-service")


def _make(file: Path) -> MasterKey:
    name, key = random.token_hex(4), random.token_hex(32)
    ring = find_secret_service()
    if ring is not None and ring.put(name, key):
        _write_note(file, {"id": name, "where": "secret-service"})
        return MasterKey(f"{name}:{key}", "secret-service")
    _write_note(file, {"id": name, "where": "file", "key": key})
    return MasterKey(f"{name}:{key}", "file")


def _read_note(file: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{file} can't be read: {error}", hint=f"remove {file} and sign in again with integ login") from error
    whole = isinstance(note, dict) and isinstance(note.get("id"), str)
    if not whole or (note.get("where") != "secret-service" and not isinstance(note.get("key"), str)):
        raise IntegrityError(f"{file} is not what Integ wrote", hint=f"remove {file} and sign in again with integ login")
    return dict(note)


def _write_note(file: Path, note: dict[str, str]) -> None:
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
