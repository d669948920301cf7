"""proton update and proton prune: the newest comes, what nothing uses goes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import size
from integ_cli.traits import command

if TYPE_CHECKING:
    from integ_runtime.proton.installed import InstalledBuild
    from integ_runtime.proton.upkeep import Update, UpdateOutcome
    from integ_runtime.runtime import Runtime


@command("integ proton update", "integ proton update umu", "integ proton update GE-Proton9-27 --json", long=True)
def update(
    what: Annotated[
        str | None, Argument(help="A family, a series such as ge-9, or an installed version", metavar="WHAT", show_default=False)
    ] = None,
) -> None:
    """Install the newest version of each family in use; a default that was the newest before moves on with it."""
    out = output()

    async def work(runtime: Runtime) -> UpdateOutcome:
        with out.progress() as report:
            done = await runtime.upkeep.update(what, report=report)
        await runtime.refresh_local()
        return done

    done = session.run(out, work)
    for remark in done.remarks:
        out.warn(remark)
    if done.failures:
        for each in done.items:
            if not each.error:
                out.note(_told(each))
        done.check()
    if not done.items:
        out.note("No Proton version of Integ's yet: integ install-proton")
    out.result("proton-update", {"items": [asdict(each) for each in done.items]}, *(_told(each) for each in done.items))


def _told(item: Update) -> str:
    if item.version == item.before:
        return f"{item.version} is the newest already."
    moved = ", and the default from now on" if item.default_moved else ""
    return f"{item.version} is installed{moved}; {item.before} stays."


@command("integ proton prune", "integ proton prune --keep 2", "integ proton prune --yes --json", asks=True)
def prune(keep: Annotated[int, Option(help="Keep the newest N of each family besides", metavar="N", min=0)] = 0) -> None:
    """Show the versions of Integ's, in Steam's folder too, that no game, no prefix and no default uses, and remove them after a yes."""
    out = output()
    unused: list[InstalledBuild] = session.run(out, lambda runtime: runtime.upkeep.unused(keep=keep))
    removes = bool(unused) and (out.yes or out.can_ask)
    if removes and not out.yes:
        for each in unused:
            out.tell(f"{each.version}  {size(each.size_bytes)}  {each.path}")
        out.confirm(f"Remove {len(unused)} of the installed Proton versions?")
    if removes:
        agreed = [each.path for each in unused]
        unused = session.run(out, lambda runtime: runtime.upkeep.prune(keep=keep, only=agreed))
    cells = [(each.version, each.family, size(each.size_bytes), str(each.path)) for each in unused]
    out.result("proton-prune", _document(unused, removed=removes), out.rows(("VERSION", "FAMILY", ">SIZE", "PATH"), cells))
    if not unused:
        out.note("Every Proton version that Integ installed is used.")
    elif removes:
        out.note(f"{len(unused)} removed, {size(sum(each.size_bytes or 0 for each in unused))} in all.")
    else:
        out.note(f"Nothing was removed: integ proton prune --yes{f' --keep {keep}' if keep else ''}")


def _document(builds: list[InstalledBuild], *, removed: bool) -> dict[str, Any]:
    items = [
        {"version": each.version, "family": each.family, "path": str(each.path), "size_bytes": each.size_bytes or 0} for each in builds
    ]
    return {"items": items, "removed": removed, "size_bytes": sum(each["size_bytes"] for each in items)}
