"""How every command ends, whoever read its words: what went wrong is told, and becomes an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence

from integ_cli.exit_codes import ExitCode, exit_code_for
from integ_cli.output import Output
from integ_server.contract.errors import IntegError, StorageError, UsageError

_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM, errno.ENOTDIR}


def ended(argv: Sequence[str], work: Callable[[Output], int]) -> int:
    """The exit code of *work*, which is what *argv* asks for; everything is told already."""
    out = Output()
    try:
        code = _told(argv, out, work)
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_stdout()
        return ExitCode.PIPE_CLOSED
    except OSError:  # the failure was told already; what is left in the buffer can't be
        _let_go_of_stdout()
        return ExitCode.STORAGE
    return code


def _told(argv: Sequence[str], out: Output, work: Callable[[Output], int]) -> int:
    try:
        return work(out)
    except IntegError as error:
        _look_for_json(argv, out)
        out.failure(error)
        return exit_code_for(error)
    except KeyboardInterrupt:
        out.failure_named("Interrupted", "interrupted")
        out.interrupted()
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in _DISK_TROUBLE:
            trouble = StorageError(f"{error.filename or 'the disk'} can't be used: {error.strerror}", hint="integ doctor")
            out.failure(trouble)
            return exit_code_for(trouble)
        if isinstance(error, FileNotFoundError) and not _stands_somewhere():
            out.failure(UsageError("the folder that you are in was removed", hint="cd"))
            return ExitCode.USAGE
        return _bug(error, out)
    except Exception as error:
        return _bug(error, out)


def _stands_somewhere() -> bool:
    import os

    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return False
    return True


def _bug(error: Exception, out: Output) -> int:
    """A mistake of ours: the whole traceback, without anybody's secrets."""
    import traceback

    from integ_server.upstream import redact

    out.failure_named("IntegError", redact(f"a bug in Integ: {type(error).__name__}: {error}"))
    sys.stderr.write(redact("".join(traceback.format_exception(error))))
    return ExitCode.FAILED


def _look_for_json(argv: Sequence[str], out: Output) -> None:
    """A command line that could not be read may still have asked for JSON."""
    asked = argv[: argv.index("--")] if "--" in argv else argv
    if {"--json", "--events"} & set(asked):
        out.as_json = True


def _let_go_of_stdout() -> None:
    """Nobody takes what we write: keep the interpreter from complaining about it at its end."""
    import os

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
