"""export, apply: everything out again, and a declared state brought about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import Table
from integ_cli.output import Output, dumps, read_stdin
from integ_cli.traits import command
from integ_server.contract.errors import StorageError, UsageError, utc_now_text

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime
    from integ_runtime.state.apply import ApplyOutcome

_BEGINS = b'{"schema":"integ/export@1"'


@command("integ export", "integ export integ-backup.json", asks=True)
def export(
    file: Annotated[
        str | None, Argument(help="Into this file, readable by you alone; else to stdout", metavar="FILE", show_default=False)
    ] = None,
) -> None:
    """
    Write everything out as one JSON document: what you decided about your games, this machine's settings, and all that the backend
    has of you. No secret is in it; integ apply reads it.
    """
    out = output()
    target = Path(file).expanduser() if file is not None else None
    if target is not None:
        _check_target(out, target)
    data = session.run(out, lambda runtime: runtime.export())
    text = dumps(data)
    if target is None:
        out.result_json("export", text)
        return
    written = _write(target, f'{_BEGINS.decode()},"status":"ok","data":{text},"timestamp":"{utc_now_text()}"}}\n')
    told = f"What you decided about {len(data['games'])} games, and everything else, is in {target}."
    out.result("export", {"path": target, "size_bytes": written, "games": len(data["games"])}, told)


@command("integ apply integ-backup.json --dry-run", "integ apply games.toml", "ssh deck integ export | integ apply -", long=True)
def apply(
    file: Annotated[str, Argument(help="JSON or TOML, such as integ export wrote; - is stdin", metavar="FILE")],
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would change, change nothing")] = False,
) -> None:
    """
    Bring a declared state about: settings, favourites, hidden games, tags, notes, Proton versions, launch options, how games are started
    here, merges and splits. Only what differs is changed, and what the file does not name stays as it is. Options may name programs
    that are run with a game: look at a stranger's file with --dry-run first.
    """
    from integ_runtime.settings import read_settings
    from integ_runtime.state.document import LARGEST_BYTES, parse_state, read_state

    out = output()
    session.light_settings(out)  # this machine's own games may be meant too
    if file == "-":
        state = parse_state(read_stdin(LARGEST_BYTES).encode("utf-8", "surrogateescape"), "stdin")
    else:
        state = read_state(Path(file).expanduser())
    settings = read_settings(declared=state.settings)

    async def work(runtime: Runtime) -> ApplyOutcome:
        with out.progress() as report:
            return await runtime.apply(state, dry_run=dry_run, report=report)

    outcome = session.run(out, work, settings)
    table = out.rows(("", "GAME OR NAME", "WHAT", "FROM", "TO"), [_cells(each) for each in outcome.changes])
    if outcome.errors and not out.as_json:
        out.text(table)
    outcome.raise_if_failed()
    out.result("apply", {"dry_run": dry_run, "changes": outcome.changes}, *_paragraphs(table, outcome.changes, dry_run=dry_run))
    if any(each["state"] == "queued" for each in outcome.changes):
        out.note("The backend can't be reached: it hears of the rest with the next sync.")


def _paragraphs(table: Table, changes: list[dict[str, Any]], *, dry_run: bool) -> list[str]:
    if not changes:
        return ["Nothing to do: all is as declared."]
    many = f"{len(changes)} changes" if len(changes) > 1 else "1 change"
    return [table, f"{many} to make; without --dry-run {'they are' if len(changes) > 1 else 'it is'} made." if dry_run else f"{many} made."]


def _cells(change: dict[str, Any]) -> tuple[str, ...]:
    name = f"{change['title']} ({change['name']})" if change["title"] else change["name"]
    what = f"{change['kind']} {change['field']}" if change["kind"] in {"split", "merge"} else change["field"]
    return change["state"], name, what, _said(change["before"]), _said(change["after"])


def _said(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    line = " ".join(text.split())
    return (line if len(line) <= 40 else f"{line[:39]}…") or "-"


def _check_target(out: Output, target: Path) -> None:
    """Another file than an export of ours is not replaced unasked, and nothing that is no file."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder", hint=f"integ export {target}/integ-backup.json")
    if not target.exists():
        if not target.parent.is_dir():
            raise UsageError(f"there is no folder {target.parent}", hint="integ export FILE")
        return
    if not target.is_file():
        raise UsageError(f"{target} is no file that could be replaced", hint=f"integ export > {target}")
    try:
        with target.open("rb") as file:
            begins = file.read(len(_BEGINS))
    except OSError as error:
        raise StorageError(f"{target} can't be read: {error.strerror}", hint="integ export FILE") from error
    if begins and begins != _BEGINS:
        out.confirm(f"{target} is no export. Replace it?")


def _write(target: Path, text: str) -> int:
    from integ_runtime.config_file import replace_file

    try:
        replace_file(target.resolve(), text)
    except OSError as error:
        raise StorageError(f"{target} can't be written: {error.strerror}", hint="integ export FILE") from error
    return len(text.encode())
