"""
Where this device's sign-in to a backend is kept, one for each backend: the Secret Service, else a file on a tmpfs that only its owner
reads, else this process's memory. Never a disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from integ_runtime.paths import Paths
from integ_runtime.secret_service import find_secret_service
from integ_runtime.settings import shown_address

Place = Literal["secret-service", "runtime-folder", "memory"]
RENEW_BEFORE_S = 120.0
_IN_MEMORY = {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class Session:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    """When the access token ends, in seconds since 1970 by this machine's clock."""
    user_id: str
    session_id: str

    @property
    def is_due(self) -> bool:
        """Whether the access token is over, or nearly."""
        return self.expires_at - time.time() < RENEW_BEFORE_S


class SessionStore:
    """The sign-in at one backend."""

    def __init__(self, paths: Paths, backend_url: str) -> None:
        mark = hashlib.sha256(backend_url.encode()).hexdigest()[:16]
        self._name = f"session {shown_address(backend_url)} {mark}"
        self._file = paths.runtime / f"session-{mark}.json" if paths.runtime else None
        self._memory: str | None = None
        self._known: Session | None = None
        self.lock = paths.data / f".session-{mark}.lock"
        """To be held by whoever takes the next tokens: a refresh token counts once."""

    async def load(self, *, again: bool = False) -> Session | None:
        """What was found or saved last; looked for *again*, since another process may have signed in, out, or taken the next tokens."""
        if self._known is None or again:
            self._known = await asyncio.to_thread(self._load)
        return self._known

    async def save(self, session: Session) -> Place:
        """Keep *session* in place of what there was; answers where it lies now."""
        self._known = session
        return await asyncio.to_thread(self._save, json.dumps(asdict(session)))

    async def forget(self) -> None:
        self._known = None
        await asyncio.to_thread(self._forget)

    def _load(self) -> Session | None:
        if self._memory is not None:
            return _read(self._memory)
        ring = find_secret_service()
        kept = ring.get(self._name) if ring else None
        if kept is None and self._file is not None and _is_safe(self._file.parent):
            try:
                kept = self._file.read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                kept = None
        return _read(kept) if kept else None

    def _save(self, text: str) -> Place:
        self._memory = None
        ring = find_secret_service()
        if ring is not None and ring.put(self._name, text):
            self._drop_file()  # an older one of a time without a keyring
            return "secret-service"
        if self._file is not None and _write(self._file, text):
            return "runtime-folder"
        self._memory = text
        return "memory"

    def _forget(self) -> None:
        self._memory = None
        ring = find_secret_service()
        if ring is not None:
            ring.drop(self._name)
        self._drop_file()

    def _drop_file(self) -> None:
        if self._file is not None:
            try:
                self._file.unlink(missing_ok=True)
            except OSError:
                return


def _read(text: str) -> Session | None:
    """None for what Integ did not write: the player signs in again."""
    try:
        known = json.loads(text)
        return Session(**{name: kind(known[name]) for name, kind in _FIELDS.items()})
    except (ValueError, TypeError, KeyError):
        return None


_FIELDS = {"access_token": str, "refresh_token": str, "expires_at": float, "user_id": str, "session_id": str}


def _write(file: Path, text: str) -> bool:
    """Whole under its name or not at all; False where there is no folder in memory that is this user's alone."""
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)  # the folder above it is made by the login, or not at all
        if not _is_safe(file.parent):
            return False
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)
        beside.replace(file)
    except OSError:
        return False
    return True


def _is_safe(folder: Path) -> bool:
    """Whether *folder* is this user's own, closed to others, and on a file system that no disk holds."""
    try:
        known = folder.lstat()
    except OSError:
        return False
    is_ours = folder.is_dir() and not folder.is_symlink() and known.st_uid == os.geteuid() and known.st_mode & 0o077 == 0
    return is_ours and _file_system(known.st_dev) in _IN_MEMORY


def _file_system(device: int) -> str:
    """The type of the mounted file system with this device number; empty when it is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        if left.split(" ")[2:3] == [number]:
            return right.partition(" ")[0]
    return ""
