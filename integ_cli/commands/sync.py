"""sync and status: pull the libraries, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import account_state, day
from integ_cli.output import Output
from integ_cli.traits import command

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime
    from integ_runtime.syncing import SyncOutcome


@command("integ sync", "integ sync gog --full", "integ sync --events --no-input", long=True)
def sync(
    providers: Annotated[list[str] | None, Argument(help="Only these stores", metavar="PROVIDER", show_default=False)] = None,
    full: Annotated[bool, Option("--full", help="Read titles' details again, known or not")] = False,
    no_wait: Annotated[bool, Option("--no-wait", help="Let it run on in the background")] = False,
) -> None:
    """Read your libraries from the stores into the local cache."""
    out = output()
    wanted = [each.lower() for each in providers or []]
    if no_wait:
        pid = session.run(out, lambda runtime: runtime.sync_in_background(wanted, full=full))
        out.result(
            "sync", {"accounts": [], "background_pid": pid}, f"Syncing in the background (process {pid}); integ status tells how far it is."
        )
        return

    async def work(runtime: Runtime) -> SyncOutcome:
        with out.progress() as report:
            return await runtime.sync(wanted, full=full, report=report)

    try:
        outcome = session.run(out, work)
    except KeyboardInterrupt:
        out.note(_goes_on())
        raise
    outcome.raise_if_failed()
    out.result("sync", {"accounts": outcome.accounts}, accounts_table(out, outcome.accounts))
    if not outcome.accounts:
        out.note("Nobody is signed in: integ login")


def _goes_on() -> str:
    """What becomes of a sync whose player does not wait for its end."""
    from integ_runtime.settings import read_settings

    if read_settings().backend_url is None:
        return "Nothing more is read now; what was begun is taken up by the next: integ sync"
    return "The backend goes on with it; how far it is: integ status"


def accounts_table(out: Output, accounts: list[dict[str, Any]]) -> str:
    cells = [(each["provider"], each["account"], each["added"], each["changed"], each["removed"], each["total"]) for each in accounts]
    return out.rows(("STORE", "ACCOUNT", ">NEW", ">CHANGED", ">GONE", ">GAMES"), cells)


@command("integ status", "integ status --json")
def status() -> None:
    """Say who is signed in, how fresh the library is, and what runs."""
    out = output()
    known = session.run(out, lambda runtime: runtime.status())
    who = "" if known["user"] is None else f", as {known['user']}"
    lines = [f"Backend: {known['backend']}{who}"]
    if known["upstream_url"]:
        lines.append(f"Outside: everything goes to {known['upstream_url']}")
    accounts = [
        (each["provider"], each["display_name"], account_state(each["state"]), day(each["last_sync_at"])) for each in known["accounts"]
    ]
    jobs = [(each["kind"], each["provider"], each["account"], each["state"], each["done"], _told(each)) for each in known["jobs"]]
    out.result(
        "status",
        known,
        "\n".join(lines),
        out.rows(("STORE", "ACCOUNT", "STATE", "LAST SYNC"), accounts) or "Nobody is signed in: integ login",
        out.rows(("JOB", "STORE", "ACCOUNT", "STATE", ">DONE", "ERROR"), jobs),
    )


def _told(job: dict[str, Any]) -> str:
    return str((job["error"] or {}).get("message", ""))
