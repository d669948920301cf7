"""serve, worker, migrate: what a backend for many is run with. They read the backend's settings, not the player's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from typer import Option

from integ_cli.context import output
from integ_cli.exit_codes import ExitCode
from integ_cli.traits import command
from integ_server.contract.errors import UsageError

if TYPE_CHECKING:
    from integ_server.settings import ServerSettings

AllowUpstream = Annotated[
    bool, Option("--allow-upstream", help="Let INTEG_UPSTREAM_URL name another machine, which sees everybody's sign-ins at the stores")
]


@command("integ serve", "integ serve --host 0.0.0.0 --port 8000 --processes 2")
def serve(
    host: Annotated[str, Option(help="The address to listen at", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, Option(help="The port; 0 takes a free one", metavar="N", min=0, max=65535)] = 8000,
    processes: Annotated[int, Option(help="How many processes answer; more than one need Redis", metavar="N", min=1, max=64)] = 1,
    allow_upstream: AllowUpstream = False,
) -> None:
    """Run the backend for many, with the settings of its environment or .env."""
    out = output()
    settings = _settings(allow_upstream=allow_upstream)
    from integ_server.serving import serve as answer

    def listening(address: str) -> None:
        data = {"address": address, "processes": processes}
        out.result("serve", data, f"Integ answers at {address}, from {processes} process{'es' if processes > 1 else ''}.")

    answer(settings, host, port, processes, listening=listening)


@command("integ worker", "integ worker --threads 8")
def worker(
    threads: Annotated[int, Option(help="How many jobs are done at once", metavar="N", min=1, max=64)] = 4,
    queues: Annotated[list[str] | None, Option(help="Only these queues; may be given several times", metavar="QUEUE")] = None,
    allow_upstream: AllowUpstream = False,
) -> None:
    """Do the backend's jobs: syncs, details of games. Any number of workers may run, on any machine."""
    out = output()
    settings = _settings(allow_upstream=allow_upstream)
    from integ_server.worker.run import run_worker

    wanted = sorted(set(queues or ()))
    which = f", for {', '.join(wanted)}" if wanted else ""
    told = f"A worker with {threads} threads{which}. A signal ends it."

    def ready() -> None:
        out.result("worker", {"threads": threads, "queues": wanted}, told)

    asyncio.run(run_worker(settings, threads=threads, queues=wanted, ready=ready))


@command("integ migrate", "integ migrate --check")
def migrate(
    check: Annotated[bool, Option("--check", help="Change nothing: exit 1 when there is something to do")] = False,
) -> None:
    """Bring the backend's database to this version's tables. Safe while others do the same."""
    out = output()
    settings = _settings(allow_upstream=True)
    from integ_server.migrations import upgrade

    async def work() -> tuple[str | None, bool]:
        before = await upgrade.found_revision(settings.database_url)
        return before, False if check else await upgrade.migrate(settings.database_url)

    before, changed = asyncio.run(work())
    newest = upgrade.known_revisions()[-1]
    kind = settings.database_url.partition("+")[0]
    data = {"database": kind, "from": before, "to": newest, "current": changed or before == newest, "migrated": changed}
    if changed:
        told = f"The {kind} database is at revision {newest} now; it was {f'at {before}' if before else 'empty'}."
    elif before == newest:
        told = f"The {kind} database is at revision {newest} already: nothing to do."
    else:
        told = f"The {kind} database is {f'at {before}' if before else 'empty'}, and {newest} is this version's: integ migrate"
    out.result("migrate", data, told)
    if not data["current"]:
        raise typer.Exit(ExitCode.FAILED)


def _settings(*, allow_upstream: bool) -> ServerSettings:
    """
    Raises:
        UsageError: One is missing or wrong, or everything would go to another machine that nobody agreed to.
    """
    from integ_server.settings import LOOPBACK, ServerSettings

    settings = ServerSettings.from_environment()
    where = urlsplit(settings.upstream_url or "").hostname
    if where is not None and where not in LOOPBACK and not allow_upstream:
        raise UsageError(
            f"INTEG_UPSTREAM_URL sends everybody's sign-ins to {where}",
            hint="--allow-upstream agrees to that; else unset INTEG_UPSTREAM_URL",
        )
    return settings
