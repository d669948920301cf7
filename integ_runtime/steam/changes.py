"""
Writing into Steam's own files: only while no client runs, in one step, with a back-up beside the file and a way back.

A client keeps these files in memory and writes them out at its end, so what is written while it runs is lost, or loses what it knew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from integ_runtime.content.installed import write_whole
from integ_runtime.launch.environment import in_gaming_mode
from integ_runtime.locks import only_one
from integ_runtime.paths import Paths
from integ_runtime.steam.client import FLATPAK_ID
from integ_runtime.steam.processes import holds_its_files
from integ_runtime.steam.roots import FLATPAK_HOME, find_roots
from integ_runtime.steam.vdf import MAX_BYTES
from integ_server.contract.errors import BusyError, IntegrityError, NotFoundError, StorageError, WouldLoseDataError, utc_now_text

SCHEMA = "integ/steam-changes@1"
BACKUPS_KEPT = 3
RECORDS_KEPT = 20
_MARK = ".integ-"

Kind = Literal["tool", "shortcut"]


@dataclass(frozen=True, slots=True)
class Art:
    """An image in Steam's `grid` folder, and what it is a copy of."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Edit:
    """What a file is to become, and the one thing in it that changes."""

    content: bytes
    what: str
    """For people: `Portal: GE-Proton10-34`."""
    kind: Kind
    id: str
    """Unsigned app id."""
    before: Any
    """What stood there, as the module of its kind writes it down; None for nothing."""
    after: Any
    art_added: tuple[Art, ...] = ()
    art_removed: tuple[Art, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was made, or was about to be when somebody ended Integ."""

    file: str
    what: str
    kind: Kind
    id: str
    at: str
    """RFC 3339, UTC."""
    backup: str | None
    """None: there was no file before."""
    sum_before: str
    """SHA-256 of the file; empty for none."""
    sum_after: str
    before: Any
    after: Any
    art_added: tuple[Art, ...] = ()
    art_removed: tuple[Art, ...] = ()


Revert = Callable[[bytes, Change, bool], bytes | None]
"""
(content, change, force) -> the content with what stood there before; None when somebody else changed it since, unless by *force*.
"""


class SteamChanges:
    """One Integ at a time changes Steam's files. Calls block for as long as a few small files take."""

    def __init__(self, paths: Paths, environ: Mapping[str, str], reverts: Mapping[Kind, Revert]) -> None:
        self._paths = paths
        self._environ = environ
        self._reverts = reverts
        self._folder = paths.data / "steam"

    async def make(self, file: Path, edit: Callable[[bytes | None], Edit | None]) -> Change | None:
        """
        Let *edit* say what becomes of the content of *file* (None: there is none); None from it, and the file stays as it is.

        Raises:
            BusyError: A Steam client runs, or another Integ changes the file.
            StorageError: The disk is full or fails; the file is as it was.
            IntegrityError: The file can't be read, or from *edit*.
        """
        async with only_one(self._folder / ".lock", wait_s=5, doing="changing Steam's files"):
            self._refuse_while_steam_runs(file)
            file = file.resolve()
            content = _read(file)
            done = edit(content)
            if done is None or done.content == content:
                return None
            return self._write(file, content, done)

    async def undo(self, *, force: bool = False) -> Change:
        """
        Take the last change back: the file as it was, or, where Steam has written it since, that one thing in it as it was.

        With *force* also what was changed again since; and of a file that is damaged by now, the back-up takes its place.

        Raises:
            NotFoundError: Nothing was changed, or the file is gone.
            WouldLoseDataError: That thing was changed again since.
            BusyError, StorageError, IntegrityError: As for `make`.
        """
        async with only_one(self._folder / ".lock", wait_s=5, doing="changing Steam's files"):
            changes = self.all()
            if not changes:
                raise NotFoundError("Integ has changed nothing in Steam's files that could be taken back", hint="integ steam tools list")
            last = changes[-1]
            file = Path(last.file)
            self._refuse_while_steam_runs(file)
            content = _read(file)
            if _sum(content) != last.sum_before:  # else somebody took it back already, or it never came to be
                before = self._before(last, content, force)
                if content is not None and _sum(content) != last.sum_after:
                    with _disk_errors(file):
                        _back_up(file, content)
                self._replace(file, content, before)
            _drop_art(last.art_added)
            _copy_art(last.art_removed)
            self._save(changes[:-1])
            return last

    def all(self) -> list[Change]:
        """What could be taken back, the last one last; records that make no sense count for nothing."""
        try:
            body = json.loads((self._folder / "changes.json").read_text("utf-8"))
            return [_change(each) for each in body["changes"]] if body["schema"] == SCHEMA else []
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []

    def _write(self, file: Path, content: bytes | None, edit: Edit) -> Change:
        """The order counts: whoever is ended in between leaves a back-up and a record of what did not happen, which `undo` sees."""
        with _disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            _sweep(file)
            backup = _back_up(file, content) if content is not None else None
        change = Change(
            file=str(file),
            what=edit.what,
            kind=edit.kind,
            id=edit.id,
            at=utc_now_text(),
            backup=str(backup) if backup else None,
            sum_before=_sum(content),
            sum_after=_sum(edit.content),
            before=edit.before,
            after=edit.after,
            art_added=edit.art_added,
            art_removed=edit.art_removed,
        )
        self._save([*self.all(), change][-RECORDS_KEPT:])
        _copy_art(edit.art_added)
        self._replace(file, content, edit.content)
        _drop_art(edit.art_removed)
        return change

    def _before(self, change: Change, content: bytes | None, force: bool) -> bytes | None:
        """What *change* has to become again; None for no file."""
        kept = _kept(change)
        if _sum(content) == change.sum_after and (kept is not None or change.backup is None):
            return kept
        if content is None:
            if force:
                return None
            raise NotFoundError(f"{change.file} is not there any more", hint="integ steam undo --force forgets what was changed in it")
        try:
            reverted = self._reverts[change.kind](content, change, force)
        except IntegrityError as damaged:
            if force and kept is not None:
                return kept
            hint = "integ steam undo --force puts the back-up in its place" if kept is not None else ""
            raise IntegrityError(damaged.message, hint=hint or damaged.hint) from damaged
        if reverted is None:
            hint = "integ steam undo --force" + (f"; the back-up is {change.backup}" if change.backup else "")
            raise WouldLoseDataError(f"it was changed again since: {change.what}", hint=hint)
        return reverted

    def _replace(self, file: Path, old: bytes | None, new: bytes | None) -> None:
        """Make *file* hold *new* instead of *old* in one step, looking once more whether somebody else has it."""
        with _disk_errors(file):
            if new is None and old is None:
                return
            if new is None:
                self._look_again(file, old)
                file.unlink()
            else:
                _put(file, new, like=file, before_rename=lambda: self._look_again(file, old))
            _sync_folder(file.parent)

    def _look_again(self, file: Path, old: bytes | None) -> None:
        self._refuse_while_steam_runs(file)
        if _read(file) != old:
            raise BusyError(f"{file} was changed by somebody else this moment", hint="try again")

    def _refuse_while_steam_runs(self, file: Path) -> None:
        if not holds_its_files(self._paths.home, find_roots(self._paths.home, self._environ)):
            return
        if in_gaming_mode(self._environ):
            hint = "switch to desktop mode and end Steam there"
        elif file.is_relative_to(self._paths.home / FLATPAK_HOME):
            hint = f"flatpak run {FLATPAK_ID} -shutdown"
        else:
            hint = "snap run steam -shutdown" if "snap" in file.parts else "steam -shutdown"
        raise BusyError("Steam is running: it would write over what is changed now", hint=hint)

    def _save(self, changes: list[Change]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / "changes.json", json.dumps({"schema": SCHEMA, "changes": [asdict(each) for each in changes]}, indent=1))


def _change(body: dict[str, Any]) -> Change:
    for name in ("art_added", "art_removed"):
        body[name] = tuple(Art(**each) for each in body[name])
    return Change(**body)


def _kept(change: Change) -> bytes | None:
    """The back-up of *change*, as long as it is kept, and is what was kept."""
    with contextlib.suppress(OSError):
        kept = Path(change.backup).read_bytes() if change.backup is not None else None
        return kept if _sum(kept) == change.sum_before else None
    return None


def _sum(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _read(file: Path) -> bytes | None:
    """None when it is not there."""
    try:
        if not file.is_file():
            if file.exists():
                raise IntegrityError(f"{file} is not a file")
            return None
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise IntegrityError(f"{file} can't be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise IntegrityError(f"{file} is too large")
    return content


def _put(file: Path, content: bytes, *, like: Path, before_rename: Callable[[], None] = lambda: None) -> None:
    """Write *file* whole and onto the disk, with mode and owner of *like*; its name is given as the last step."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}{_MARK}", suffix=".tmp", dir=file.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            _take_after(out.fileno(), like)
            os.fsync(out.fileno())
        before_rename()
        beside.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _take_after(handle: int, like: Path) -> None:
    try:
        known = like.stat()
    except FileNotFoundError:
        os.fchmod(handle, 0o644)
        return
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != (known.st_uid, known.st_gid):
        with contextlib.suppress(PermissionError):  # a group that this user is not in
            os.fchown(handle, known.st_uid, known.st_gid)
    os.fchmod(handle, known.st_mode & 0o7777)


def _back_up(file: Path, content: bytes) -> Path:
    """Keep *content* beside *file* under the date, and a few of those that were kept before."""
    backup = file.with_name(f"{file.name}{_MARK}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    _put(backup, content, like=file)
    for old in sorted(file.parent.glob(f"{file.name}{_MARK}*"))[:-BACKUPS_KEPT]:
        old.unlink(missing_ok=True)
    return backup


def _sweep(file: Path) -> None:
    """Remove what a killed Integ left half written."""
    for left in file.parent.glob(f".{file.name}{_MARK}*.tmp"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_art(images: tuple[Art, ...]) -> None:
    """Art is worth no failure: what can't be copied is left out."""
    for each in images:
        with contextlib.suppress(OSError, StorageError):
            target = Path(each.target)
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target)
            if not any(target.parent.glob(f"{target.stem}.*")):
                _put(target, Path(each.source).read_bytes(), like=target)


def _drop_art(images: tuple[Art, ...]) -> None:
    """Take copies away that nobody has changed."""
    for each in images:
        with contextlib.suppress(OSError):
            target = Path(each.target)
            if target.read_bytes() == Path(each.source).read_bytes():
                target.unlink()


@contextlib.contextmanager
def _disk_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{file} can't be written: {error.strerror}") from error
