"""The full-screen browser, opened from the command line: the one place where this front end calls the other."""

from __future__ import annotations

from integ_cli import session
from integ_cli.context import output
from integ_cli.output import Output
from integ_cli.traits import command
from integ_runtime.settings import RuntimeSettings
from integ_server.contract.errors import UsageError


@command("integ tui")
def tui() -> None:
    """Open the full-screen browser."""
    open_browser(output())


def open_browser(out: Output, settings: RuntimeSettings | None = None) -> None:
    """
    Show the browser until the player leaves it.

    Raises:
        UsageError: There is no terminal to show it on.
    """
    import sys

    if out.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the browser needs a terminal", hint="integ list")
    from integ_tui.app import run_browser

    session.run(out, run_browser, settings)
