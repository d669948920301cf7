"""
Whether this machine's files still are as the library cache last took them in: a list of `stat` results, compared.

`integ list` runs this each time, so it imports the standard library alone; only a difference loads what reads Steam's files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integ_runtime.cache.schema import VERSION
from integ_runtime.paths import Paths

NOTE = "local-files.json"
_VARIABLES = ("HOME", "STEAM_DIR", "STEAM_EXTRA_COMPAT_TOOLS_PATHS", "XDG_DATA_HOME")


def bring_up_to_date(paths: Paths, environ: Mapping[str, str] = os.environ) -> bool:
    """
    Take what changed in Steam's and Integ's own files into the library cache; True when the library changed.

    Raises:
        StorageError: The cache can't be written.
    """
    note = paths.cache / NOTE
    if _unchanged(paths, environ, note):
        return False
    from integ_runtime.local import refresh_local

    seen = _look(paths, environ)  # before the files are read: what changes meanwhile is seen the next time
    changed = refresh_local(paths, environ)
    _write(note, {**seen, "cache": _number(paths.cache_db)})
    return changed


def _unchanged(paths: Paths, environ: Mapping[str, str], note: Path) -> bool:
    try:
        known = json.loads(note.read_bytes())
        if known["variables"] != _variables(environ) or known["cache"] != _number(paths.cache_db):
            return False
        return all(_stamp(path) == stamp for path, stamp in known["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _look(paths: Paths, environ: Mapping[str, str]) -> dict[str, Any]:
    from integ_runtime.content.installed import RECORD
    from integ_runtime.launch.playtime import SESSIONS
    from integ_runtime.steam.library import SteamFiles

    watched = [*SteamFiles(paths.home, environ).watched(), paths.games_dir]
    if paths.games_dir.is_dir():
        watched += [folder / name for folder in paths.games_dir.iterdir() for name in (RECORD, SESSIONS)]
    return {"variables": _variables(environ), "files": {os.fsdecode(path): _stamp(path) for path in watched}}


def _variables(environ: Mapping[str, str]) -> list[str | None]:
    return [environ.get(name) for name in _VARIABLES]


def _stamp(path: str | Path) -> list[int] | None:
    try:
        facts = os.stat(path)  # noqa: PTH116 - a thousand of these are made, most of them of plain text
    except OSError:
        return None
    return [facts.st_ino, facts.st_mtime_ns, facts.st_size]


def _number(path: Path) -> list[int] | None:
    """The inode alone, of a file in this version's form: every sync writes to the cache, but only another file knows nothing of ours."""
    stamp = _stamp(path)
    return [VERSION, stamp[0]] if stamp else None


def _write(note: Path, seen: dict[str, Any]) -> None:
    """Best effort: without it the next command looks again."""
    import tempfile

    try:
        handle, beside = tempfile.mkstemp(dir=note.parent, prefix=f".{NOTE}.")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(seen, file)
            Path(beside).replace(note)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError:
        return
