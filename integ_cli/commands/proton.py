"""install-proton and proton: the Proton versions on this machine, and which game uses which."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import day, size
from integ_cli.parameters import SteamOption
from integ_cli.traits import command
from integ_server.contract.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from integ_runtime.proton.install import InstallOutcome
    from integ_runtime.proton.store import PublishedBuild
    from integ_runtime.proton.verify import VerifyOutcome
    from integ_runtime.runtime import Runtime

Family = Literal["ge", "umu", "cachyos", "wine-ge", "kron4ek"]


@command(
    "integ install-proton",
    "integ install-proton ge-8.26",
    "integ install-proton umu --events",
    "integ install-proton wine-11.7",
    "integ install-proton ge-latest --to steam --steam flatpak",
    long=True,
)
def install_proton(
    *,
    version: Annotated[str, Argument(help="A version, or latest", metavar="VERSION")] = "latest",
    family: Annotated[Family | None, Option(help="Whose builds, where the version's name does not say it")] = None,
    unverified: Annotated[bool, Option("--unverified", help="Also a build that was published without a checksum")] = False,
    to: Annotated[Literal["steam"] | None, Option("--to", help="Into Steam's own folder, for games that Steam runs")] = None,
    steam: SteamOption = None,
    steam_root: Annotated[str | None, Option("--steam-root", help="What --steam was called before", hidden=True)] = None,
) -> None:
    """Install a Proton version: downloaded, checked, and only then there."""
    steam = steam or steam_root
    if steam is not None and to is None:
        raise UsageError("--steam goes with --to steam", hint=f"integ install-proton {version} --to steam --steam {steam}")
    out = output()

    async def work(runtime: Runtime) -> tuple[InstallOutcome, str, list[str]]:
        with out.progress() as report:
            if to is None:
                done = await runtime.proton.install(version, family=family, unverified=unverified, report=report)
                return done, "", runtime.proton.published.remarks
            into = await runtime.proton.install_into_steam(version, family=family, steam=steam, unverified=unverified, report=report)
            return into.outcome, into.notice, runtime.proton.published.remarks

    done, notice, remarks = session.run(out, work)
    for remark in remarks:
        out.warn(remark)
    told = f"{done.version} was there already: {done.path}" if done.already_installed else f"{done.version} is installed: {done.path}"
    out.result("install-proton", asdict(done), told)
    if notice:
        out.note(notice)
    if to is not None and not done.already_installed:
        out.note("Steam shows it after a restart.")


@command("integ proton list", "integ proton list --json")
def list_builds() -> None:
    """List the Proton versions on this machine, Steam's own too."""
    out = output()
    items: list[dict[str, Any]] = session.run(out, lambda runtime: runtime.proton.list_items())
    cells = [
        (each["version"], each["family"], "default" if each["default"] else "", size(each["size_bytes"]), _users(each), each["path"])
        for each in items
    ]
    out.result("proton-list", {"items": items}, out.rows(("VERSION", "FAMILY", "", ">SIZE", "USED BY", "PATH"), cells))
    if not items:
        out.note("No Proton version yet: integ install-proton")


@command(
    "integ proton available",
    "integ proton available --family cachyos --limit 5",
    "integ proton available --family kron4ek --variant staging",
)
def available(
    family: Annotated[Family, Option(help="Whose builds")] = "ge",
    variant: Annotated[
        str, Option(help="Which of several builds of each version: staging, wow64...", metavar="VARIANT", show_default=False)
    ] = "",
    limit: Annotated[int, Option(help="At most so many", metavar="N", min=1)] = 30,
    refresh: Annotated[bool, Option("--refresh", help="Ask again, though the list was read a short while ago")] = False,
) -> None:
    """List the versions that can be installed, newest first."""
    out = output()

    async def work(runtime: Runtime) -> tuple[list[PublishedBuild], str, tuple[str, ...]]:
        found = await runtime.proton.available(family=family, variant=variant, limit=limit, refresh=refresh)
        return found, runtime.proton.notice, () if variant else runtime.proton.variants(family)

    builds, notice, others = session.run(out, work)
    if notice:
        out.warn(notice)
    items = [each._asdict() for each in builds]
    cells = [
        (each["version"], each["family"], day(each["published_at"]), size(each["size_bytes"]), "installed" if each["installed"] else "")
        for each in items
    ]
    out.result("proton-available", {"items": items}, out.rows(("VERSION", "FAMILY", "PUBLISHED", ">SIZE", ""), cells))
    if others:
        out.note(f"Listed by --variant: {', '.join(others)}")


def _users(item: dict[str, Any]) -> str:
    return ", ".join(item["used_by"])


@command("integ proton use GE-Proton9-27", "integ proton use ge-9.27 --game disco-elysium", "integ proton use --off --game disco-elysium")
def use(
    version: Annotated[str | None, Argument(help="An installed version", metavar="VERSION", show_default=False)] = None,
    game: Annotated[str | None, Option(help="For this game alone", metavar="GAME")] = None,
    off: Annotated[bool, Option("--off", help="Take the choice back")] = False,
) -> None:
    """Choose the version for a game, on every device; or this machine's for all games without a choice of their own."""
    if off == (version is not None):
        raise UsageError("a version, or --off: one of them", hint="integ proton use VERSION --game GAME")
    out = output()
    release = session.get_release(out, session.light_settings(out), game) if game is not None else None
    key = release.key if release else None

    async def work(runtime: Runtime) -> tuple[str | None, bool]:
        used = await runtime.proton.use(version, game=key) if version is not None else None
        queued = used.queued if used is not None else await runtime.proton.forget(game=key)
        await runtime.refresh_local()
        return used.build.version if used is not None else None, queued

    name, queued = session.run(out, work)
    whom = release.title if release else "Games without a choice of their own"
    told = f"with {name}" if name else "with this machine's default" if release else "with the newest version that is installed"
    out.result("proton-use", {"version": name, "key": key, "queued": queued}, f"{whom} will run {told}.")
    if queued:
        out.note("The backend can't be reached: your other devices hear of it with the next sync.")
    if release is not None and release.provider == "steam":
        out.note(f"Steam itself takes what is chosen there: integ steam tools use {name or '--off'} {release.key}")


@command("integ proton remove GE-Proton8-26", "integ proton remove ge-8.26 --yes", asks=True)
def remove(
    version: Annotated[str, Argument(help="An installed version", metavar="VERSION")],
    force: Annotated[bool, Option("--force", help="Though games are set to use it")] = False,
    source: Annotated[
        Literal["steam"] | None, Option("--from", help="The one in Steam's folder, where Integ has one of that name too")
    ] = None,
) -> None:
    """Remove a version that Integ installed, also one in Steam's folder; refused while games are set to use it."""
    out = output()
    out.confirm(f"Remove {version} from this machine?")
    gone = session.run(out, lambda runtime: runtime.proton.remove(version, force=force, source=source))
    out.result("proton-remove", {"version": gone.version}, f"{gone.version} is removed.")


@command("integ proton verify GE-Proton9-27")
def verify(version: Annotated[str, Argument(help="An installed version", metavar="VERSION")]) -> None:
    """Check a version's files against what was installed; exits 7 when they differ."""
    out = output()
    found: VerifyOutcome = session.run(out, lambda runtime: runtime.proton.verify(version))
    data = {"missing": list(found.missing), "changed": list(found.changed), "foreign": list(found.foreign)}
    lines = [f"{kind}: {path}" for kind, paths in data.items() for path in paths]
    if not found.is_whole:
        for line in lines[:20]:
            out.note(line)
        told = f"{version}: {len(data['missing'])} files are missing, {len(data['changed'])} changed, {len(data['foreign'])} were added"
        raise IntegrityError(told, hint=f"integ proton remove {version}, then integ install-proton {version}", data=data)
    out.result("proton-verify", data, f"{version} is whole.")
