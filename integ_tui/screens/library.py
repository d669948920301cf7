"""The main screen: every title, a filter, what is known of the chosen one, and what can be done with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.widgets import Input, Label

from integ_runtime.cache.records import ReleaseRow, TitleRow
from integ_tui.actions import SYNC, plan_words
from integ_tui.screens.base import IntegScreen
from integ_tui.shelf import SORTS, TABS, Entry, Shelf, entries_of
from integ_tui.widgets.game_details import GameDetails, Shown
from integ_tui.widgets.game_list import GameList, GameListHeader
from integ_tui.widgets.row_list import RowList
from integ_tui.widgets.tab_strip import TabStrip
from integ_tui.wording import clean, counted, store_name

if TYPE_CHECKING:
    from integ_tui.activities import ActivityView
    from integ_tui.parts import Parts
    from integ_tui.screens.game import GameScreen

READING = "Reading the library…"
NOTHING_YET = "No games yet.\n\nr  read the libraries of the stores you signed in to\na  sign in to a store"
NOTHING_FITS = "No title fits.\n\nEsc  clears the filter"


class LibraryScreen(IntegScreen[None]):
    AUTO_FOCUS = "#list"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear", id="library.clear", tooltip="Clear the filter, back to the list"),
        Binding("p", "play", "Play", id="game.play", tooltip="Start the game, its output in a log"),
        Binding("P", "play_here", "Play here", show=False, id="game.play_here", tooltip="Play in this terminal, for games made for one"),
        Binding("i", "install", "Install", id="game.install", tooltip="Put the game on this machine"),
        Binding("/", "filter", "Filter", id="library.filter", tooltip="Type to find a title"),
        Binding("r", "sync", "Sync", id="library.sync", tooltip="Read the stores' libraries again"),
        Binding("s", "sort", "Sort", id="library.sort", tooltip="Sort by title, play time, last played"),
        Binding("S", "turn", "Turn", show=False, id="library.turn", tooltip="Turn the order round"),
        Binding("a", "accounts", "Accounts", id="library.accounts", tooltip="Accounts: sign in and out"),
        Binding("v", "proton", "Proton", id="library.proton", tooltip="Proton versions"),
        Binding("L", "log", "Log", show=False, id="game.log", tooltip="The log of the game that failed last"),
        Binding("u", "uninstall", "Uninstall", show=False, id="game.uninstall", tooltip="Remove the game from this machine, saves stay"),
        Binding("right,l,right_square_bracket", "tab(1)", "Next tab", show=False, id="library.next_tab", tooltip="The next tab"),
        Binding("left,h,left_square_bracket", "tab(-1)", "Last tab", show=False, id="library.previous_tab", tooltip="The tab before"),
        *(
            Binding(str(n), f"show_tab('{tab.name}')", tab.label, show=False, id=f"library.tab_{tab.name}", tooltip=f"Show: {tab.label}")
            for n, tab in enumerate(TABS, 1)
        ),
    ]

    def __init__(self, parts: Parts, *, watch_s: float = 1.0) -> None:
        super().__init__()
        self._parts = parts
        self._watch_s = watch_s
        self._stamp: int | None = None
        self._welcomed = False
        self._allowed: frozenset[str] = frozenset()
        self.shelf = Shelf()
        self.shown: Shown | None = None
        self._opened: GameScreen | None = None
        self.sort, self.backwards = "title", False

    def compose_content(self) -> ComposeResult:
        yield TabStrip([(tab.name, tab.label) for tab in TABS], brand="integ", id="tabs")
        with Horizontal(id="filter-line"):
            yield Label("/ ")
            yield Input(placeholder="filter", compact=True, id="filter", select_on_focus=False)
            yield Label("", id="count", markup=False)
        with Container(id="library-body"):
            with Vertical(id="games"):
                yield GameListHeader()
                yield GameList(empty=READING, id="list")
            yield GameDetails()

    @on(GameDetails.Hidden)  # and not on_resize: a terminal without a size of its own makes Textual resize for ever then
    def _keep_focus(self) -> None:
        if self.focused is None or isinstance(self.focused, GameDetails):
            self.query_one(GameList).focus()

    def on_mount(self) -> None:
        self.integ.library_changed.subscribe(self, lambda _: self.reload())
        self.integ.activities_moved.subscribe(self, self._show_running)
        self.call_after_refresh(self.begin)

    # reading

    @work(exclusive=True, group="begin")
    async def begin(self) -> None:
        """Show what the cache holds, then what this machine says, then watch both."""
        with self.telling_failures():
            self._stamp = await self._parts.library.stamp()
            await self._read()
        with self.telling_failures():
            if await self._parts.refresh_local():
                await self._read()
        if self.shelf.counts["installed"] == len(self.shelf.entries):  # nothing but what this machine told by itself
            self._welcome()
        self.query_one(GameList).say_empty(NOTHING_YET)
        self.look_at_plays()
        if self._watch_s:
            self.set_interval(self._watch_s, self.look_at_plays)
            self.set_interval(self._watch_s, self.look)
            self.set_interval(30 * self._watch_s, self.reload)

    @work(exclusive=True, group="welcome")
    async def _welcome(self) -> None:
        with self.telling_failures():
            accounts = await asyncio.to_thread(lambda: self._parts.accounts)  # a heavy import
            is_for_backend = await self._parts.needs_device_login()
            if not is_for_backend and await accounts.all():
                return
            if self.shelf.entries:
                where = "your backend" if is_for_backend else "a store"
                self.integ.tell(
                    f"These games are on this machine.\n→ a signs in to {where}, to see all that you own", title="No account yet"
                )
            else:
                await self.integ.welcome()

    @work(exclusive=True, group="library")  # a slower earlier answer is dropped
    async def reload(self) -> None:
        """Look at this machine again, then at the cache: after an install, a play, a sign-in."""
        with self.telling_failures():
            await self._parts.refresh_local()
            self._stamp = await self._parts.library.stamp()
            await self._read()

    @work(exclusive=True, group="look")
    async def look(self) -> None:
        """Reload when any process changed the cache since."""
        with self.telling_failures():
            stamp = await self._parts.library.stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                await self._read()

    @work(exclusive=True, group="plays")
    async def look_at_plays(self) -> None:
        """See what runs that was started elsewhere."""
        with self.telling_failures():
            await self.integ.actions.find_plays()

    async def _read(self) -> None:
        rows = await self._parts.library.titles()
        before = self.shelf.entries

        def made() -> Shelf | None:
            entries = entries_of(rows)
            return None if before and entries == before else Shelf(entries)

        shelf = await asyncio.to_thread(made)
        if shelf is None:
            return
        self.shelf = shelf
        self.query_one(TabStrip).show_counts(shelf.counts)
        self.show_view(keep=True)

    # the view

    def show_view(self, *, keep: bool = False) -> None:
        """Draw what tab, filter and order ask for; *keep* leaves the cursor on its title."""
        games = self.query_one(GameList)
        before = games.chosen if keep else None
        text = self.query_one("#filter", Input).value
        entries = self.shelf.view(self.query_one(TabStrip).active, text, self.sort, self.backwards)
        cursor = 0
        if before is not None:
            same = (n for n, entry in enumerate(entries) if entry.title_id == before.title_id)
            cursor = next(same, games.cursor)
        if self.shelf.entries:
            games.empty = NOTHING_FITS
        games.show_entries(entries, cursor, self.integ.clock())
        order = next(each.label for each in SORTS if each.name == self.sort)
        self.query_one("#count", Label).update(f" {counted(len(entries), 'title')} · by {order}")
        self.query_one(GameListHeader).show_order(self.sort, self.backwards)

    @on(RowList.Moved, "#list")
    def _moved(self, event: RowList.Moved) -> None:
        entry = self.query_one(GameList).chosen
        if self.shown is not None and entry is self.shown.entry:
            return
        self._show(Shown(entry, running=self._runs(entry)) if entry else None)
        if entry is not None:
            self._read_details(entry)

    @work(exclusive=True, group="details")
    async def _read_details(self, entry: Entry) -> None:
        with self.telling_failures():
            row = await self._parts.library.find_title(entry.title_id)
            details = await self._parts.library.details(entry.title_id) if row else {}
            if self.shown is not None and self.shown.entry is entry:
                self._show(Shown(entry, row, details, self._runs(entry)))

    def _show(self, shown: Shown | None) -> None:
        self.shown = shown
        self.query_one(GameDetails).show(shown, self.integ.clock())
        if self._opened is not None and shown is not None and shown.entry is self._opened.shown.entry:
            self._opened.show(shown)
        allowed = self._what_can_be_done()
        if allowed != self._allowed:
            self._allowed = allowed
            self.refresh_bindings()

    def _runs(self, entry: Entry) -> bool:
        return entry.title_id in self.query_one(GameList).running

    def _show_running(self, views: tuple[ActivityView, ...]) -> None:
        self.query_one(GameList).show_running(frozenset(view.title_id for view in views if view.title_id))
        if self.shown is not None and self.shown.running != self._runs(self.shown.entry):
            shown = self.shown
            self._show(Shown(shown.entry, shown.row, shown.details, self._runs(shown.entry)))
        else:
            self._show(self.shown)

    # what can be done

    def _what_can_be_done(self) -> frozenset[str]:
        can: set[str] = set()
        if self.shown is not None:
            entry = self.shown.entry
            if entry.installed:
                can.add("uninstall")
                if not self.shown.running:
                    can.add("play")
                    if "linux" in entry.platforms and self.integ.can_suspend:
                        can.add("play_here")
            if not entry.installed or len(entry.stores) > 1:
                can.add("install")
        if SYNC not in self.integ.activities:
            can.add("sync")
        if self.integ.actions.last_log is not None:
            can.add("log")
        return frozenset(can)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out what makes no sense for the chosen title."""
        if action in {"play", "play_here", "install", "uninstall", "sync", "log"}:
            return True if action in self._allowed else None
        if action == "filter":
            return not any(field.has_focus for field in self.query("#filter"))
        if action == "clear":
            away = any(details.has_focus for details in self.query(GameDetails))
            return away or any(field.value or field.has_focus for field in self.query("#filter").results(Input))
        return True

    # actions

    def action_filter(self) -> None:
        self.query_one("#filter", Input).focus()

    def action_clear(self) -> None:
        self.query_one("#filter", Input).value = ""
        self.query_one(GameList).focus()

    @on(Input.Changed, "#filter")
    def _filtered(self) -> None:
        self.show_view()
        self.refresh_bindings()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.query_one(GameList).focus()

    def key_down(self) -> None:
        if self.query_one("#filter", Input).has_focus:
            self.query_one(GameList).focus()

    @on(TabStrip.Activated)
    def _tab_chosen(self) -> None:
        self.show_view(keep=True)

    def action_tab(self, by: int) -> None:
        self.query_one(TabStrip).step(by)

    def action_show_tab(self, name: str) -> None:
        self.query_one(TabStrip).active = name

    def action_sort(self) -> None:
        names = [each.name for each in SORTS]
        self.sort = names[(names.index(self.sort) + 1) % len(names)]
        self.backwards = False
        self.show_view(keep=True)

    def action_turn(self) -> None:
        self.backwards = not self.backwards
        self.show_view(keep=True)

    def action_sync(self) -> None:
        self.integ.actions.sync()

    def action_accounts(self) -> None:
        self.integ.show_accounts()

    def action_proton(self) -> None:
        self.integ.show_proton()

    def action_log(self) -> None:
        self.integ.show_log()

    @on(RowList.Chosen, "#list")
    @work(exclusive=True, group="screen")
    async def _open(self) -> None:
        """Enter: the details, in their own pane or, where that is hidden, on a screen of their own."""
        details = self.query_one(GameDetails)
        if details.display:
            details.focus()
            return
        if self.shown is None:
            return
        from integ_tui.screens.game import GameScreen

        self._opened = GameScreen(self.shown, self.integ.clock(), self._allowed)
        try:
            action = await self.app.push_screen_wait(self._opened)
        finally:
            self._opened = None
        if action is not None:
            await self.run_action(action)

    @work(exclusive=True, group="ask")
    async def action_play(self) -> None:
        with self.telling_failures():
            release = await self._release("Play which one?", installed=True)
            if release is not None and self.shown is not None:
                self.integ.actions.play(release, self.shown.entry.title_id)

    @work(exclusive=True, group="ask")
    async def action_play_here(self) -> None:
        with self.telling_failures():
            release = await self._release("Play which one?", installed=True)
            if release is not None:
                await self.integ.play_here(release)

    @work(exclusive=True, group="ask")
    async def action_install(self) -> None:
        with self.telling_failures():
            release = await self._release("Install which one?", installed=False)
            if release is None:
                return
            plan = await self.integ.actions.install_plan(release)
            from integ_tui.screens.confirm import ConfirmScreen

            question = f"Install {clean(release.title)} from {store_name(release.provider)}?"
            if await self.app.push_screen_wait(ConfirmScreen(question, detail=plan_words(plan), yes="Install", no="Cancel")):
                self.integ.actions.install(release)

    @work(exclusive=True, group="ask")
    async def action_uninstall(self) -> None:
        with self.telling_failures():
            release = await self._release("Uninstall which one?", installed=True)
            if release is None:
                return
            from integ_tui.screens.confirm import ConfirmScreen

            where = clean(release.install_path or "")
            detail = f"{where}\nSaves, the prefix and what you added yourself stay."
            question = f"Uninstall {clean(release.title)}?"
            if await self.app.push_screen_wait(ConfirmScreen(question, detail=detail, yes="Uninstall", no="Keep", danger=True)):
                self.integ.actions.uninstall(release)

    async def _release(self, question: str, *, installed: bool) -> ReleaseRow | None:
        """The release of the chosen title that is meant; asks when several could be."""
        if self.shown is None:
            return None
        row: TitleRow | None = self.shown.row or await self._parts.library.find_title(self.shown.entry.title_id)
        fitting = [release for release in (row.releases if row else ()) if release.installed == installed]
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        from integ_tui.screens.confirm import ChooseScreen

        choices = [(each.key, f"{store_name(each.provider)}  {clean(each.title)}  ({clean(each.key)})") for each in fitting]
        key = await self.app.push_screen_wait(ChooseScreen(question, choices))
        return next((each for each in fitting if each.key == key), None)
