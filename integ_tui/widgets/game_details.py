"""What is known of one title, beside the list, below it, or on a screen of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from integ_runtime.cache.records import ReleaseRow, TitleRow
from integ_tui.shelf import Entry
from integ_tui.wording import PLATFORM_NAMES, ago, clean, clean_lines, moment, playtime, store_name


@dataclass(frozen=True, slots=True)
class Shown:
    """The title on show; `row` and `details` follow once they are read."""

    entry: Entry
    row: TitleRow | None = None
    details: dict[str, Any] = field(default_factory=dict)
    running: bool = False


class GameDetails(VerticalScroll):
    """Draws a `Shown`; scrolls when it is long."""

    class Hidden(Message):
        """A terminal that became narrow hides the details; whoever holds them has to say where the keys go now."""

    def compose(self) -> ComposeResult:
        yield Static("", markup=False, id="details-text")

    def on_hide(self) -> None:
        self.post_message(self.Hidden())

    def show(self, shown: Shown | None, now: datetime) -> None:
        text = Text("Nothing is chosen.", style="dim") if shown is None else written(shown, now)
        self.query_one("#details-text", Static).update(text)
        self.scroll_home(animate=False, immediate=True)


def written(shown: Shown, now: datetime) -> Text:
    """The details as text; every foreign word in it is plain, never markup."""
    entry, details = shown.entry, shown.details
    text = Text()
    text.append(entry.title, style="bold")
    line = _facts_line(details)
    if line:
        text.append(f"\n{line}", style="dim")
    state = "▶ running" if shown.running else "✓ installed" if entry.installed else "not installed"
    if entry.update_available:
        state += ", ↑ update available"
    text.append(f"\n\n{state}")
    last = ago(moment(entry.last_played_at), now)
    played = playtime(entry.playtime_min) or ("under a minute" if last else "never")
    text.append(f"\nPlayed   {played}" + (f", last {last}" if last else ""))
    if shown.row is not None:
        for release in shown.row.releases:
            _append_release(text, release)
        if shown.row.tags:
            text.append(f"\nTags     {', '.join(clean(tag) for tag in shown.row.tags)}")
    note = clean_lines(str(details.get("notes") or "")).strip()
    if note:
        text.append("\n\nYour note", style="bold")
        text.append(f"\n{note}")
    description = clean_lines(str(details.get("description") or "")).strip()
    if description:
        text.append(f"\n\n{description}")
    dlc = details.get("dlc") or []
    if dlc:
        text.append(f"\n\nDLC ({len(dlc)})", style="bold")
        for each in dlc:
            text.append(f"\n• {clean(str(each.get('title') or each.get('key')))}")
    if details.get("guessed"):
        text.append("\n\nJoined by name and year: a guess.", style="dim")
    return text


def _facts_line(details: dict[str, Any]) -> str:
    year = str(details.get("release_date") or "")[:4]
    makers = [clean(str(each)) for each in (details.get("developers") or [])[:2]]
    genres = [clean(str(each)) for each in (details.get("genres") or [])[:3]]
    return " · ".join(part for part in (year, ", ".join(makers), ", ".join(genres)) if part)


def _append_release(text: Text, release: ReleaseRow) -> None:
    text.append(f"\n\n{store_name(release.provider)}", style="bold")
    text.append(f"  {clean(release.key)}", style="dim")
    platforms = ", ".join(PLATFORM_NAMES.get(each, clean(each)) for each in release.platforms) or "platforms unknown"
    text.append(f"\n{platforms}")
    if release.playtime_min:
        text.append(f" · {playtime(release.playtime_min)}")
    if release.proton:
        text.append(f" · {clean(release.proton)}")
    if release.installed:
        text.append(f"\n✓ {clean(release.install_path or 'installed')}")
