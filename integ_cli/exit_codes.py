"""Every exit code there is, and which error ends with which: scripts rely on both."""

from __future__ import annotations

from enum import IntEnum

from integ_runtime import errors as local
from integ_server.contract import errors


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    SIGN_IN = 4
    UNAVAILABLE = 5
    AMBIGUOUS_OR_BUSY = 6
    INTEGRITY = 7
    STORAGE = 8
    PARTLY = 9
    WOULD_LOSE_DATA = 10
    NOT_STARTED = 125
    NOT_EXECUTABLE = 126
    PROGRAM_MISSING = 127
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """What a shell reports of a program that SIGPIPE ended; nothing went wrong here."""


_BY_ERROR: dict[type, ExitCode] = {
    errors.IntegError: ExitCode.FAILED,
    errors.UsageError: ExitCode.USAGE,
    errors.NotFoundError: ExitCode.NOT_FOUND,
    errors.AuthenticationError: ExitCode.SIGN_IN,
    errors.PermissionDeniedError: ExitCode.SIGN_IN,
    errors.PrivateProfileError: ExitCode.SIGN_IN,
    errors.ProviderError: ExitCode.UNAVAILABLE,
    errors.BackendUnreachableError: ExitCode.UNAVAILABLE,
    errors.AmbiguousError: ExitCode.AMBIGUOUS_OR_BUSY,
    errors.BusyError: ExitCode.AMBIGUOUS_OR_BUSY,
    errors.IntegrityError: ExitCode.INTEGRITY,
    errors.StorageError: ExitCode.STORAGE,
    errors.PartialError: ExitCode.PARTLY,
    errors.WouldLoseDataError: ExitCode.WOULD_LOSE_DATA,
    local.LaunchError: ExitCode.NOT_STARTED,
    local.NotExecutableError: ExitCode.NOT_EXECUTABLE,
    local.ProgramMissingError: ExitCode.PROGRAM_MISSING,
}


def exit_code_for(error: errors.IntegError) -> ExitCode:
    """The code of the nearest ancestor that has one."""
    named = (_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)
    return next(named, ExitCode.FAILED)
