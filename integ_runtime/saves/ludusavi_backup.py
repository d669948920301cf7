"""
The `mapping.yaml` of a ludusavi backup: which backups of a game there are and which files each holds; read, changed, written as it was.

The files themselves lie beside it, in folders or zip files that it names. It may come from anybody: no name in it leads anywhere else.

Source: ludusavi, docs/help/backup-structure.md and src/scan/layout.rs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from integ_runtime.saves.manifest import read_yaml
from integ_server.contract.errors import IntegrityError

MAPPING = "mapping.yaml"
_LIMIT_CHARACTERS = 64 << 20
_INVALID = re.compile(r'[\\/:*?"<>|\0]')
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class SavedFile:
    sha1: str
    """40 hex digits."""
    size_bytes: int
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else is written there, by a newer ludusavi perhaps; kept as it is."""


@dataclass(frozen=True, slots=True)
class Registry:
    sha1: str | None
    """None: there is nothing of the registry in it."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A full one, or with *is_diff* what is different since the full one that it belongs to."""

    name: str
    """Of its folder or zip file; `.` when the drive folders lie beside the mapping itself."""
    when: str
    """RFC 3339, UTC."""
    files: Mapping[str, SavedFile | None]
    """By absolute path; None in a differential one: removed since. Absent there: as in the full one."""
    registry: Registry | None = None
    """None in a differential one: as in the full one."""
    is_diff: bool = False
    os: str = ""
    comment: str = ""
    locked: bool = False
    """Never deleted by itself."""
    children: tuple[Backup, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_zip(self) -> bool:
        return self.name.endswith(".zip")


@dataclass(frozen=True, slots=True)
class BackupMapping:
    title: str
    drives: Mapping[str, str]
    """What each drive folder stands for: `drive-0` for nothing, as on Linux, `drive-C` for `C:`."""
    backups: tuple[Backup, ...] = ()
    """The oldest first."""
    more: Mapping[str, Any] = field(default_factory=dict)

    def stored_at(self, path: str) -> str:
        """
        Where in a backup the file *path* lies, such as `drive-0/home/ann/x.sav`.

        Raises:
            IntegrityError: It is no absolute path, names nothing, or its drive has no folder.
        """
        plain = path.replace("\\", "/") if _DRIVE.match(path) else path
        drive, _, rest = plain.partition("/")
        names = rest.split("/")
        folder = next((name for name, value in self.drives.items() if value == drive), None)
        if folder is None or not all(_is_name(name) for name in names):
            raise _odd(f"{path!r} has no place in it")
        return "/".join([folder, *names])

    def with_drive(self, drive: str) -> BackupMapping:
        """The same with a folder for *drive*, which is empty for Linux' only one."""
        if drive in self.drives.values():
            return self
        wanted = "drive-0" if not drive else f"drive-{folder_name(drive.replace(':', ''))}"
        name, number = wanted, 1
        while name in self.drives:
            number += 1
            name = f"{wanted}-{number}"
        return BackupMapping(self.title, {**self.drives, name: drive}, self.backups, self.more)


def files_of(full: Backup, diff: Backup | None = None) -> dict[str, tuple[SavedFile, Backup]]:
    """Every file as it was when *diff* (or *full* itself) was made, with the backup that holds it."""
    found = {path: (saved, full) for path, saved in full.files.items() if saved is not None}
    for path, saved in (diff.files if diff else {}).items():
        if saved is None:
            found.pop(path, None)
        elif diff is not None:
            found[path] = (saved, diff)
    return found


def read_mapping(text: str) -> BackupMapping:
    """
    Raises:
        IntegrityError: It is no mapping, or a name in it leads somewhere else.
    """
    if len(text) > _LIMIT_CHARACTERS:
        raise _odd("it is too large")
    try:
        body = read_yaml(text, typed=True)
    except ValueError as error:
        raise _odd(str(error)) from error
    if not isinstance(body, dict):
        raise _odd("it names no game")
    body = dict(body)
    drives = _dict(body.pop("drives", None), "drives")
    for folder, drive in drives.items():
        if not _is_name(folder) or not isinstance(drive, str | None):
            raise _odd(f"the drive {folder!r} is none")
    return BackupMapping(
        title=_text(body, "name", needed=True),
        drives={folder: drive or "" for folder, drive in drives.items()},
        backups=tuple(_backup(each, is_diff=False) for each in _list(body.pop("backups", None), "backups")),
        more=body,
    )


def write_mapping(mapping: BackupMapping) -> str:
    """*mapping* as ludusavi reads it; `read_mapping` of it is *mapping* again."""
    import yaml

    body = {"name": mapping.title, "drives": dict(mapping.drives), "backups": [_as_yaml(each) for each in mapping.backups], **mapping.more}
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(body, Dumper=dumper, sort_keys=False, default_flow_style=False, width=1 << 20))


def folder_name(title: str) -> str:
    """The folder below a backup target that holds the game called *title*."""
    inner = re.sub(r"^\.|\.\Z", "_", title)
    safe = _INVALID.sub("_", inner)
    if safe.strip("_"):
        return safe
    return "ludusavi-renamed-" + base64.b64encode(title.encode("utf-8", "replace")).decode("ascii").replace("/", "_")


def _backup(body: Any, *, is_diff: bool) -> Backup:
    body = dict(_dict(body, "a backup"))
    name = _text(body, "name", needed=True)
    if name != "." and not _is_name(name):
        raise _odd(f"the backup {name!r} is not beside it")
    when = _text(body, "when", needed=True)
    files = {path: _file(path, saved, may_be_gone=is_diff) for path, saved in _dict(body.pop("files", None), "files").items()}
    registry = body.pop("registry", None)
    locked = body.pop("locked", False)
    if not isinstance(locked, bool):
        raise _odd("locked is neither true nor false")
    return Backup(
        name=name,
        when=when,
        files=files,
        registry=None if registry is None else Registry(_text(dict(_dict(registry, "registry")), "hash") or None),
        is_diff=is_diff,
        os=_text(body, "os"),
        comment=_text(body, "comment"),
        locked=locked,
        children=() if is_diff else tuple(_backup(each, is_diff=True) for each in _list(body.pop("children", None), "children")),
        more=body,
    )


def _file(path: str, body: Any, *, may_be_gone: bool) -> SavedFile | None:
    if body is None and may_be_gone:
        return None
    body = dict(_dict(body, f"the file {path!r}"))
    sha1, size = _text(body, "hash", needed=True), body.pop("size", 0)
    if not re.fullmatch(r"[0-9a-fA-F]{40}", sha1) or isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise _odd(f"the file {path!r} has no SHA-1 or no size")
    return SavedFile(sha1, size, body)


def _as_yaml(backup: Backup) -> dict[str, Any]:
    body: dict[str, Any] = {"name": backup.name, "when": backup.when}
    body |= {name: value for name, value in (("os", backup.os), ("comment", backup.comment), ("locked", backup.locked)) if value}
    body["files"] = {
        path: None if saved is None else {"hash": saved.sha1, "size": saved.size_bytes, **saved.more}
        for path, saved in backup.files.items()
    }
    body["registry"] = {"hash": backup.registry.sha1} if backup.registry else None if backup.is_diff else {"hash": None}
    if not backup.is_diff:
        body["children"] = [_as_yaml(each) for each in backup.children]
    return {**body, **backup.more}


def _is_name(text: str) -> bool:
    return text not in {"", ".", ".."} and "/" not in text and "\0" not in text


def _text(body: dict[str, Any], name: str, *, needed: bool = False) -> str:
    value = body.pop(name, None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # a title such as 2048, by somebody's hand; ludusavi itself quotes it
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value):
        raise _odd(f"{name} is no text")
    return value


def _dict(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _odd(f"{what} is no mapping")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _odd(f"{what} is no list")
    return value


def _odd(reason: str) -> IntegrityError:
    return IntegrityError(f"this is no {MAPPING} of ludusavi's: {reason[:200]}", hint="choose another backup")
