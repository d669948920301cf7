"""The bar on stderr for actions that take long; only loaded where there is a terminal to draw on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from integ_cli.layout import safe
from integ_runtime.progress import Progress, Report


class _Amount(ProgressColumn):
    """Bytes with their speed, or counted things, or nothing for a stage without figures."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes, self._speed, self._things = DownloadColumn(binary_units=True), TransferSpeedColumn(), MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        kind = task.fields.get("kind")
        if kind == "bytes":
            return Text(" ").join([self._bytes.render(task), self._speed.render(task)])
        return self._things.render(task) if kind == "things" else Text("")


@contextmanager
def progress_bar() -> Iterator[Report]:
    """One line a stage, or for each of what goes on side by side; a message stands above them. May be called from any thread."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), _Amount(), TimeRemainingColumn(compact=True))
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(progress: Progress) -> None:
            if progress.message:
                console.print(safe(progress.message), markup=False)
            by_bytes = progress.done_bytes is not None or progress.total_bytes is not None
            done, total = (progress.done_bytes, progress.total_bytes) if by_bytes else (progress.done, progress.total)
            kind = "bytes" if by_bytes else "things" if done is not None or total is not None else ""
            line, text = progress.about or progress.stage, safe(progress.told)
            if line not in tasks:
                tasks[line] = bars.add_task(text, total=total, kind=kind)
            bars.update(tasks[line], description=text, completed=done or 0, total=total, kind=kind)

        yield report
