"""Two folders change places in one step, where the file system can."""

from __future__ import annotations

import errno
import os
from pathlib import Path

JOURNAL = "prefix-restore.json"
"""In a game's own folder while a restore is decided on and not done; see `restoring`."""
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CAN_NOT = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}


def exchange(one: Path, other: Path) -> bool:
    """
    Let *one* and *other* change places; False where that can't be done in one step (NFS, eCryptfs, some FUSE): nothing happened then.

    Raises:
        OSError: It failed for another reason.
    """
    import ctypes  # a launch wants the name of the journal alone

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # older C libraries have none
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CAN_NOT:
        return False
    raise OSError(number, os.strerror(number), os.fspath(one))
