"""The contract's errors plus those that only a player's own machine knows; each keeps its nearest ancestor's exit code."""

from __future__ import annotations

from integ_server.contract.errors import IntegError, NotFoundError


class LaunchError(IntegError):
    """The game could not be started (exit 125)."""


class NotExecutableError(LaunchError):
    """The game's program is there but can't be executed (exit 126)."""


class ProgramMissingError(LaunchError, NotFoundError):
    """The game's program is not there (exit 127)."""
