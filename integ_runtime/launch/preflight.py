"""What can be told of a game before anything is started."""

from __future__ import annotations

import os
import shlex

from integ_runtime.content.installed import InstalledGame
from integ_runtime.errors import NotExecutableError, ProgramMissingError
from integ_server.contract.errors import UsageError


def check_program(game: InstalledGame) -> None:
    """What can be told before anything is started: exit codes 126 and 127, as a shell would give them."""
    exe = game.executable
    if exe is None:
        return  # the plan says so, with the hint that fits
    if not game.path.is_dir():
        raise ProgramMissingError(
            f"the folder of {game.title} is gone: {game.path}", hint=f"bring its drive back, or integ uninstall {game.key}"
        )
    if not exe.exists():
        raise ProgramMissingError(f"{exe} is not there", hint=f"integ uninstall {game.key}, and install it again")
    if game.working_dir is not None and not game.working_dir.is_dir():
        raise ProgramMissingError(f"the working folder {game.working_dir} is not there", hint=f"integ options {game.key} --cwd DIR")
    if exe.is_dir():
        raise UsageError(f"{exe} is a folder", hint=f"integ import {game.key} --path {shlex.quote(str(game.path))} --exe FILE")
    if game.platform == "linux" and not os.access(exe, os.X_OK):
        raise NotExecutableError(f"{exe} is not executable", hint=f"chmod +x {shlex.quote(str(exe))}")
