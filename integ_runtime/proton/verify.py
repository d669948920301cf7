"""Compare a build with what was written down of it as it was installed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isal.isal_zlib import crc32

from integ_runtime.downloads.background import Stop
from integ_runtime.downloads.fetch import storage_errors
from integ_runtime.proton.installed import FILES_RECORD, RECORD
from integ_runtime.proton.unpack import FileFacts, Unpacked
from integ_server.contract.errors import IntegrityError

# What Proton itself writes into its folder as it runs.
_OWN_TRACES = {"__pycache__", "dist.lock", "pfx.lock"}
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class VerifyOutcome:
    """Paths below the build's folder, sorted."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    """What was added; what Proton leaves behind as it runs is not counted."""

    @property
    def is_whole(self) -> bool:
        return not (self.missing or self.changed or self.foreign)


def write_files_record(folder: Path, unpacked: Unpacked) -> None:
    """Write down what lies in *folder*, for `verify`. Names that are no UTF-8 are kept as JSON's lone surrogates."""
    content = {
        "files": {path: [facts.size_bytes, facts.crc32, int(facts.executable)] for path, facts in unpacked.files.items()},
        "links": unpacked.links,
    }
    with storage_errors(folder / FILES_RECORD):
        (folder / FILES_RECORD).write_text(json.dumps(content, separators=(",", ":")), "ascii")


def verify(folder: Path, stop: Stop | None = None) -> VerifyOutcome:
    """
    What differs from the record.

    Raises:
        IntegrityError: There is no record, or it is damaged.
    """
    files, links = _read_files_record(folder)
    missing, changed, foreign = [], [], []
    seen: set[str] = set()
    for path, facts in _walk(folder):
        if stop is not None:
            stop.check()
        if path in links:
            seen.add(path)
            if not stat.S_ISLNK(facts.st_mode) or os.readlink(folder / path) != links[path]:  # noqa: PTH115 - a Path would tidy it
                changed.append(path)
        elif path in files:
            seen.add(path)
            if not _is_same(folder / path, facts, files[path]):
                changed.append(path)
        else:
            foreign.append(path)
    missing = [path for path in (*files, *links) if path not in seen]
    return VerifyOutcome(tuple(sorted(missing)), tuple(sorted(changed)), tuple(sorted(foreign)))


def _is_same(path: Path, facts: os.stat_result, wanted: FileFacts) -> bool:
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != wanted.size_bytes or bool(facts.st_mode & 0o100) != wanted.executable:
        return False
    found = 0
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                found = crc32(chunk, found)
    except OSError:
        return False
    return found == wanted.crc32


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything but folders, by its path below *folder*; no link is followed."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with storage_errors(folder / below), os.scandir(folder / below) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                if path in {RECORD, FILES_RECORD} or entry.name in _OWN_TRACES:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    yield path, entry.stat(follow_symlinks=False)


def _read_files_record(folder: Path) -> tuple[dict[str, FileFacts], dict[str, str]]:
    try:
        content = json.loads((folder / FILES_RECORD).read_text("ascii"))
        files = {str(path): FileFacts(int(size), int(crc), bool(executable)) for path, (size, crc, executable) in content["files"].items()}
        links = {str(path): str(target) for path, target in content["links"].items()}
    except FileNotFoundError:
        raise IntegrityError(f"nothing is written down of the files of {folder.name}", hint="remove it and install it again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"what is written down of the files of {folder.name} is damaged", hint="remove it and install it again"
        ) from error
    return files, links
