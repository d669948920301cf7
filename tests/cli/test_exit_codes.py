"""The table of exit codes is complete and stays as it was promised."""

from __future__ import annotations

import pytest

import integ_runtime.errors as local
from integ_cli.exit_codes import ExitCode, exit_code_for
from integ_server.contract import errors

PROMISED = {
    errors.IntegError: 1,
    errors.UsageError: 2,
    errors.NotFoundError: 3,
    errors.GameNotFoundError: 3,
    errors.AccountNotFoundError: 3,
    errors.BuildNotFoundError: 3,
    errors.JobNotFoundError: 3,
    errors.AuthenticationError: 4,
    errors.PermissionDeniedError: 4,
    errors.PrivateProfileError: 4,
    errors.ProviderError: 5,
    errors.ProviderUnavailableError: 5,
    errors.RateLimitedError: 5,
    errors.BackendUnreachableError: 5,
    errors.AmbiguousError: 6,
    errors.BusyError: 6,
    errors.IntegrityError: 7,
    errors.StorageError: 8,
    errors.PartialError: 9,
    errors.WouldLoseDataError: 10,
    local.LaunchError: 125,
    local.NotExecutableError: 126,
    local.ProgramMissingError: 127,
}


def every_error() -> set[type[errors.IntegError]]:
    found, waiting = set(), [errors.IntegError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    return {kind for kind in found if kind.__module__.startswith("integ_")}


@pytest.mark.parametrize("kind", PROMISED, ids=lambda kind: kind.__name__)
def test_each_error_ends_with_its_promised_code(kind: type[errors.IntegError]) -> None:
    assert exit_code_for(kind("told")) == PROMISED[kind]


def test_no_error_of_ours_is_without_a_code_of_its_kind() -> None:
    assert {kind for kind in every_error() if exit_code_for(kind("told")) == 1} == {errors.IntegError}


def test_an_error_nobody_named_takes_its_nearest_ancestor_s_code() -> None:
    class DamagedSaveError(errors.IntegrityError):
        pass

    assert exit_code_for(DamagedSaveError("told")) == ExitCode.INTEGRITY
