"""prefix: a Windows game's Wine prefix, and snapshots of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import day, size
from integ_cli.parameters import GameArgument
from integ_cli.traits import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integ_cli.output import Output
    from integ_runtime.prefix.prefixes import PrefixInfo
    from integ_runtime.prefix.snapshots import Snapshot
    from integ_runtime.runtime import Runtime

_REASONS = {"asked": "", "older-build": "before an older build", "restore": "before a restore"}


@command("integ prefix info disco-elysium", "integ prefix info gog:1207658924 --json")
def info(game: GameArgument) -> None:
    """Show a game's prefix: where it is, how large, which build used it last, its snapshots, what runs in it."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)
    found: PrefixInfo = session.run(out, lambda runtime: runtime.prefixes.info(release.key), settings)
    facts = [("Game", f"{release.title} ({release.key})"), ("Prefix", str(found.path) if found.exists else f"none yet: {found.path}")]
    if found.exists:
        facts.append(("Size", size(found.size_bytes)))
        facts.append(
            ("Last used by", f"{found.used.version} ({found.used.family or 'of no known family'})" if found.used else "nobody knows")
        )
        if found.version_text and (found.used is None or found.version_text != found.used.version):
            facts.append(("Its own version", found.version_text))
        facts.append(("Runs in it", ", ".join(f"{each.name} ({each.pid})" for each in found.running) or "nothing"))
    told = "\n".join(f"{name + ':':<17}{value}" for name, value in facts)
    out.result("prefix-info", found.as_dict(), told, _table(out, list(found.snapshots)))
    _note_sizes(out, release.key, found.snapshots)


@command("integ prefix snapshot disco-elysium", "integ prefix snapshot gog:1207658924 --note 'before the mods'", long=True)
def snapshot(
    game: GameArgument, note: Annotated[str, Option(help="A few words for yourself", metavar="TEXT", show_default=False)] = ""
) -> None:
    """Keep a copy of a game's prefix as it is; blocks are shared where the file system can."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> Snapshot:
        with out.progress() as report:
            return await runtime.prefixes.take(release.key, note=note, report=report)

    done = session.run(out, work, settings)
    out.result(
        "prefix-snapshot",
        {"key": release.key, **done.as_dict()},
        f"{done.id} holds the prefix of {release.title} ({size(done.size_bytes)}).",
    )


@command("integ prefix snapshots disco-elysium", "integ prefix snapshots gog:1207658924 --json")
def snapshots(game: GameArgument) -> None:
    """List the snapshots of a game's prefix, the oldest first."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)
    found: list[Snapshot] = session.run(out, lambda runtime: runtime.prefixes.snapshots(release.key), settings)
    out.result("prefix-snapshots", {"key": release.key, "items": [each.as_dict() for each in found]}, _table(out, found))
    _note_sizes(out, release.key, found)
    if not found:
        out.note(f"No snapshot yet: integ prefix snapshot {release.key}")


@command("integ prefix restore disco-elysium", "integ prefix restore gog:1207658924 20261125T101500Z", long=True)
def restore(
    game: GameArgument,
    snapshot: Annotated[str | None, Argument(help="Which one; the newest if none is named", metavar="SNAPSHOT", show_default=False)] = None,
) -> None:
    """Bring a snapshot back in the place of the prefix; what is there now is kept as a snapshot too."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> tuple[Snapshot, Snapshot | None]:
        with out.progress() as report:
            done = await runtime.prefixes.restore(release.key, snapshot, report=report)
        await runtime.refresh_local()
        return done

    restored, kept = session.run(out, work, settings)
    data = {"key": release.key, "restored": restored.as_dict(), "kept": kept.as_dict() if kept else None}
    told = f"The prefix of {release.title} is as it was in {restored.id}."
    out.result("prefix-restore", data, told + (f" What was there before is {kept.id} now." if kept else ""))


@command("integ prefix forget disco-elysium 20261125T101500Z", "integ prefix forget gog:1207658924 20261125T101500Z --yes", asks=True)
def forget(game: GameArgument, snapshot: Annotated[str, Argument(help="Which one", metavar="SNAPSHOT")]) -> None:
    """Delete a snapshot for good."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)
    found: Snapshot = session.run(out, lambda runtime: runtime.prefixes.snapshot(release.key, snapshot), settings)
    out.confirm(f"Delete the snapshot {found.id} of {release.title}{f' ({found.note})' if found.note else ''}?")
    gone = session.run(out, lambda runtime: runtime.prefixes.forget(release.key, snapshot), settings)
    out.result("prefix-forget", {"key": release.key, "id": gone.id}, f"{gone.id} is gone.")


@command("integ prefix remove disco-elysium", "integ prefix remove gog:1207658924 --purge --yes", asks=True)
def remove(
    game: GameArgument,
    purge: Annotated[bool, Option("--purge", help="Its snapshots too")] = False,
) -> None:
    """Delete a game's prefix with everything in it, saves that lie there too; its snapshots stay unless --purge."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)
    out.confirm(f"Delete the prefix of {release.title}{' and all its snapshots' if purge else ''}, with the saves in it?")

    async def work(runtime: Runtime) -> int:
        freed = await runtime.prefixes.remove(release.key, purge=purge)
        await runtime.refresh_local()
        return freed

    freed = session.run(out, work, settings)
    out.result("prefix-remove", {"key": release.key, "bytes_freed": freed, "purged": purge}, f"The prefix of {release.title} is gone.")


def _note_sizes(out: Output, key: str, found: Sequence[Snapshot]) -> None:
    """Those that were asked for are kept until the player forgets them, so it is told what they may take."""
    if found:
        many = "1 snapshot" if len(found) == 1 else f"{len(found)} snapshots"
        out.note(f"{many}, {size(sum(each.size_bytes for each in found))} or less; one goes by: integ prefix forget {key} SNAPSHOT")


def _table(out: Output, found: list[Snapshot]) -> str:
    cells = [
        (each.id, day(each.taken_at), size(each.size_bytes), each.used.version if each.used else "", each.note or _REASONS[each.reason])
        for each in found
    ]
    return out.rows(("!SNAPSHOT", "TAKEN", ">SIZE", "BUILD", "?NOTE"), cells)
