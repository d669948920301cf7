"""Writing `config.toml`: one setting at a time, with the player's own comments and order kept."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from integ_runtime.settings import parse_setting
from integ_server.contract.errors import StorageError, UsageError


def write_setting(config_file: Path, name: str, value: str) -> None:
    """
    Write setting *name*, as text the way the environment would hold it; an empty *value* takes it out.

    The file is replaced as a whole, readable by its owner alone. A link to it stays a link.

    Raises:
        UsageError: The value makes no sense, or the file is not TOML.
        StorageError: It can't be written.
    """
    if value:
        parse_setting(name, value, name)
    target = config_file.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(target):
            text = target.read_text("utf-8") if target.exists() else ""
            document = tomlkit.parse(text)
            if value:
                document[name] = [each for each in value.split(":") if each] if name == "library_dirs" else value
            else:
                document.pop(name, None)
            _sweep(target)
            replace_file(target, tomlkit.dumps(document))
    except TOMLKitError as error:
        raise UsageError(f"{config_file} is not TOML: {error}", hint=f"mend or remove {config_file}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{config_file} is not UTF-8: {error}", hint=f"mend or remove {config_file}") from error
    except OSError as error:
        raise StorageError(f"{config_file} can't be written: {error.strerror}", hint="integ doctor") from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    handle = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(target: Path) -> None:
    """Remove what somebody who was killed left half written; for the holder of the lock."""
    for left in target.parent.glob(f".{target.name}.*"):
        if not left.name.endswith(".lock"):
            left.unlink(missing_ok=True)


def replace_file(target: Path, text: str) -> None:
    """Put *text* in the place of *target* in one step, on the disk before it returns, readable by its owner alone."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
