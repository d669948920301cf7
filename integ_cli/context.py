"""The running command's own writer, for the command functions."""

from __future__ import annotations

from typing import Any, cast

from typer._click.globals import get_current_context

from integ_cli.output import Output


def current_context() -> Any:
    return get_current_context()


def output() -> Output:
    """The writer of the command that is running."""
    return cast("Output", get_current_context().obj)
