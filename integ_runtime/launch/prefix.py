"""A game's Wine prefix: where it is, whether it can be used, and which build used it last."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from integ_runtime.content.installed import write_whole
from integ_server.contract.errors import StorageError

USED = "prefix.json"
"""Beside the prefix, not in it: Proton keeps no usable record of the builds that touched a prefix."""


def prefix_of(game_dir: Path) -> Path:
    """The folder above Wine's own prefix, as Proton and umu want it."""
    return game_dir / "prefix"


def prepare(prefix: Path) -> None:
    """
    Make sure that Proton can work in *prefix*.

    Raises:
        StorageError: It can't be made, belongs to somebody else, or its file system can't do what Wine needs.
    """
    try:
        prefix.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = prefix.stat().st_uid
        if owner != os.geteuid():
            raise StorageError(f"{prefix} belongs to another user ({owner})", hint=f"chown it, or play as its owner: {prefix}")
        if not (prefix / "pfx").exists():
            probe = prefix / f".integ-probe-{os.getpid()}"
            probe.symlink_to("nowhere")  # vfat and exfat can't, and Wine's drives are links
            probe.unlink()
    except OSError as error:
        raise StorageError(f"the prefix {prefix} can't be used: {error.strerror}", hint="it needs a file system with links") from error


def note_build(prefix: Path, version: str) -> None:
    """Remember which build used *prefix* last."""
    if last_build(prefix) != version:
        write_whole(prefix.parent / USED, json.dumps({"proton": version}))


def last_build(prefix: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        body = json.loads((prefix.parent / USED).read_text("utf-8"))
        found = body.get("proton") if isinstance(body, dict) else None
        return found if isinstance(found, str) else None
    return None
