"""What is going on, one line each: a word, how far it is, how to end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from integ_runtime.progress import Progress
from integ_tui.activities import ActivityView
from integ_tui.wording import clean, fit, size

MOST_LINES = 3


class ActivityBar(Widget):
    """Nothing high while nothing goes on."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"activity-bar--label", "activity-bar--bar", "activity-bar--dim"}

    class Pressed(Message):
        """The player clicked what goes on, to cancel it."""

    views: reactive[tuple[ActivityView, ...]] = reactive((), init=False)

    def watch_views(self, old: Sequence[ActivityView], new: Sequence[ActivityView]) -> None:
        if min(len(old), MOST_LINES) != min(len(new), MOST_LINES):
            self.styles.height = min(len(new), MOST_LINES)
        self.refresh()

    def on_click(self) -> None:
        self.post_message(self.Pressed())

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return min(len(self.views), MOST_LINES)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self.views):
            return Strip.blank(width, self.rich_style)
        label, bar, dim = (self.get_component_rich_style(f"activity-bar--{part}") for part in ("label", "bar", "dim"))
        more = len(self.views) - MOST_LINES
        if more > 0 and y == MOST_LINES - 1:
            return Strip([Segment(fit(f" and {more + 1} more", width), dim)], width)
        view = self.views[y]
        amounts, share = how_far(view.progress)
        amount = next((each for each in amounts if len(each) + 17 <= width), "")
        room = width - len(amount) - 4
        bar_width = min(24, room - 30) if share is not None else 0
        segments = [Segment(f" {fit(view.label, min(room - max(bar_width, 0), 36))} ", label)]
        if share is not None and bar_width >= 4:
            done = round(bar_width * share)
            segments += [Segment("█" * done, bar), Segment("░" * (bar_width - done), dim)]
        segments.append(Segment(f" {amount}", dim))
        return Strip(segments).adjust_cell_length(width, self.rich_style)


def how_far(progress: Progress | None) -> tuple[list[str], float | None]:
    """*progress* in words, the longest first and then ever shorter ones, and its share of the whole when that is known."""
    if progress is None:
        return [], None
    amount, share = "", None
    if progress.done_bytes is not None:
        amount = f"{size(progress.done_bytes)} of {size(progress.total_bytes)}" if progress.total_bytes else size(progress.done_bytes)
        share = progress.done_bytes / progress.total_bytes if progress.total_bytes else None
    elif progress.done is not None:
        amount = f"{progress.done:,} of {progress.total:,}" if progress.total else f"{progress.done:,}"
        share = progress.done / progress.total if progress.total else None
    percent = ""
    if share is not None:
        share = max(0.0, min(1.0, share))
        percent = f"{share:.0%}"
    message, stage = clean(progress.message), clean(progress.told)
    parts = [(message, stage, amount, percent), (stage, amount, percent), (amount, percent), (percent or amount or stage,)]
    return list(dict.fromkeys(" ".join(word for word in each if word) for each in parts)), share
