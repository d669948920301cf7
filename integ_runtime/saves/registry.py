"""Keys of a Wine prefix's registry, which is two text files: `[Software\\\\Sample] 1700000000` and the values below it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_FILES = {
    "HKEY_CURRENT_USER": "user.reg",
    "HKCU": "user.reg",
    "HKEY_LOCAL_MACHINE": "system.reg",
    "HKLM": "system.reg",
}
_LIMIT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class RegistryKey:
    file: Path
    """Of the prefix; the key itself need not be in it."""
    size_bytes: int
    """Of its text with what is below it; 0 when it is not there."""


def find_key(pfx: Path, key: str) -> RegistryKey | None:
    """The key that Windows programs call *key*, or None where no file of the prefix would hold it."""
    hive, *names = key.replace("\\", "/").split("/")
    name = _FILES.get(hive.upper())
    below = [each.casefold() for each in names if each]
    if name is None or not below:
        return None
    spellings = [below]
    if name == "system.reg" and below[0] == "software":
        spellings.append(["software", "wow6432node", *below[1:]])  # where 32-bit programs find it
    starts = tuple("[" + "\\\\".join(each) for each in spellings)
    size, inside, left = 0, False, _LIMIT_BYTES
    try:
        handle = os.open(pfx / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as source:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return RegistryKey(pfx / name, 0)
            while left > 0 and (line := source.readline(left)):
                left -= len(line)
                if line.startswith(b"["):
                    text = line.decode("utf-8", "replace").casefold()
                    inside = any(text.startswith((f"{start}]", f"{start}\\\\")) for start in starts)
                size += len(line) if inside else 0
    except OSError:
        size = 0
    return RegistryKey(pfx / name, size)
