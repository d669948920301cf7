"""A game's Wine prefix: where it is, whether it can be used, and which build used it last."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from integ_runtime.content.installed import USED, write_whole
from integ_server.contract.errors import StorageError
from integ_server.releases.families import natural_order

COPIES = "prefix-copies"
KEPT_COPIES = 2


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


@dataclass(frozen=True, slots=True)
class Used:
    """The build that used a prefix last."""

    version: str
    family: str


def last_build(prefix: Path) -> Used | None:
    """None when no build of Integ's has used it."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        body = json.loads((prefix.parent / USED).read_text("utf-8"))
        if isinstance(body, dict) and isinstance(body.get("proton"), str):
            return Used(body["proton"], str(body.get("family", "")))
    return None


def note_build(prefix: Path, now: Used) -> None:
    """
    Remember that *now* uses *prefix*; before an older build, or one of another family, gets at it, a copy of the prefix is kept.

    Proton has a clean-up for going back, but only between Valve's own versions: a prefix that GE's or umu's builds are part of gets none.

    Raises:
        StorageError: There is no room for the copy, or the disk fails.
    """
    before = last_build(prefix)
    if before == now:
        return
    goes_back = before is not None and (before.family != now.family or natural_order(now.version) < natural_order(before.version))
    if before is not None and goes_back and (prefix / "pfx").exists():
        keep_copy(prefix, before.version)
    write_whole(prefix.parent / USED, json.dumps({"proton": now.version, "family": now.family}))


def keep_copy(prefix: Path, version: str) -> Path:
    """A copy of *prefix* as *version* left it; file systems that can share the blocks of both do."""
    copies = prefix.parent / COPIES
    copies.mkdir(mode=0o700, exist_ok=True)
    for left in copies.glob(".*.tmp"):  # of a copy that was cut short; nobody else works on this prefix now
        shutil.rmtree(left, ignore_errors=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    work, target = copies / f".{stamp}.tmp", copies / f"{stamp} {version}"
    done = subprocess.run(["cp", "-a", "--reflink=auto", "--", prefix, work], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(work, ignore_errors=True)
        raise StorageError(
            f"{version} has used this prefix, and no copy could be kept before an older build does: {done.stderr.strip()[-200:]}",
            hint=f"make room, or play on with --proton {version}",
        )
    work.rename(target)
    for old in sorted(each for each in copies.iterdir() if not each.name.startswith("."))[:-KEPT_COPIES]:
        shutil.rmtree(old, ignore_errors=True)
    return target
