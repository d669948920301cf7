"""Let the player write a text in their own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from integ_cli.output import Output
from integ_server.contract.errors import IntegError, UsageError

_LONGEST = 1 << 20


def edited(out: Output, text: str, name: str) -> str:
    """
    *text* as the player leaves it in $VISUAL or $EDITOR, in a file of their own that is gone afterwards; its name begins with *name*.

    Raises:
        UsageError: This is no terminal, no editor is set, or what it left is no text.
        IntegError: The editor failed.
    """
    if not (out.can_ask and sys.stdout.isatty()):
        raise UsageError("an editor needs a terminal", hint="integ note GAME -")
    words = _editor()
    handle, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".txt")
    file = Path(path)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as begun:
            begun.write(f"{text}\n" if text else "")
        try:
            code = subprocess.run([*words, path], check=False).returncode
        except OSError as error:
            raise UsageError(f"{words[0]} can't be started: {error.strerror}", hint="export EDITOR=nano") from error
        if code:
            raise IntegError(f"{words[0]} ended with exit code {code}: nothing is changed", hint="integ note GAME --edit")
        with file.open("rb") as left:
            content = left.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise UsageError("the text is too long", hint="integ note GAME --edit")
        return content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError("what the editor left is no UTF-8 text", hint="integ note GAME --edit") from error
    finally:
        file.unlink(missing_ok=True)


def _editor() -> list[str]:
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(chosen)
    except ValueError as error:
        raise UsageError(f"the editor {chosen!r} can't be read: {error}", hint="export EDITOR=nano") from error
    if not words:
        raise UsageError("no editor is set", hint="export EDITOR=nano")
    return words
