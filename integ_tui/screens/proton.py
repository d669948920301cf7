"""Proton versions: what is installed, what can be, and which one is the default."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Label

from integ_runtime.progress import Report
from integ_server.contract.errors import WouldLoseDataError
from integ_tui.screens.base import IntegScreen
from integ_tui.widgets.row_list import Cell, RowList
from integ_tui.widgets.tab_strip import TabStrip
from integ_tui.wording import ago, clean, counted, fit, fit_right, moment, size

if TYPE_CHECKING:
    from integ_tui.parts import InstallOutcome, Proton

FAMILY_NAMES = {
    "ge": "GE-Proton",
    "umu": "UMU-Proton",
    "cachyos": "Proton-CachyOS",
    "wine-ge": "Wine-GE, plain Wine",
    "kron4ek": "Kron4ek Wine, plain Wine",
}
FAMILIES = tuple(FAMILY_NAMES)
READING = "Reading…"
NONE_INSTALLED = "No Proton version is installed.\n\n2  shows what can be"


class Build(NamedTuple):
    version: str
    family: str
    size_bytes: int | None
    installed: bool
    default: bool = False
    used_by: tuple[str, ...] = ()
    path: str = ""
    in_steam: bool = False
    """It lies in one of Steam's folders."""
    removable: bool = True
    """Integ put it where it is."""
    published_at: str = ""


class BuildList(RowList[Build]):
    def cells(self, row: Build, width: int) -> list[Cell]:
        bytes_width = 10
        note_width = 22 if width >= 64 else 14 if width >= 44 else 0
        mark: Cell = ("★ ", "warn") if row.default else ("✓ ", "good") if row.installed else ("  ", "dim")
        name = fit(row.version, max(0, width - 2 - bytes_width - note_width))
        return [mark, (name, "title"), (fit_right(size(row.size_bytes), bytes_width) + fit(f"  {self._note(row)}", note_width), "dim")]

    def _note(self, row: Build) -> str:
        if row.default:
            return "default"
        if row.in_steam:
            return "in Steam's folder" if row.removable else "Steam's own"
        if row.used_by:
            return f"used by {counted(len(row.used_by), 'game')}"
        if row.published_at:
            return ago(moment(row.published_at), self.app.clock())  # type: ignore[attr-defined]
        return "installed" if row.installed else ""


class ProtonScreen(IntegScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Back", id="proton.leave"),
        Binding("i", "install", "Install", id="proton.install", tooltip="Download and install this version"),
        Binding("d", "use", "Default", id="proton.default", tooltip="Use this version for games without a choice of their own"),
        Binding("x,delete", "remove", "Remove", id="proton.remove", tooltip="Remove this version from the disk"),
        Binding("f", "family", "Family", id="proton.family", tooltip="Show another family: GE, UMU, CachyOS, plain Wine"),
        Binding("r", "read(True)", "Refresh", id="proton.refresh", tooltip="Ask again what has been published"),
        Binding("right,l,right_square_bracket", "tab(1)", "Next tab", show=False, id="proton.next_tab", tooltip="The next tab"),
        Binding("left,h,left_square_bracket", "tab(-1)", "Last tab", show=False, id="proton.previous_tab", tooltip="The tab before"),
        Binding("1", "show_tab('installed')", "Installed", show=False, id="proton.tab_installed", tooltip="Show: installed"),
        Binding("2", "show_tab('available')", "Available", show=False, id="proton.tab_available", tooltip="Show: available"),
    ]

    def __init__(self, proton: Proton) -> None:
        super().__init__()
        self._proton = proton
        self.family = FAMILIES[0]
        self.installed: list[Build] = []
        self.available: list[Build] = []

    def compose_content(self) -> ComposeResult:
        yield TabStrip([("installed", "Installed"), ("available", "Available")], brand="Proton", id="tabs")
        yield Label("", id="family", markup=False, classes="screen-line")
        with Vertical(classes="pane -list"):
            yield BuildList(empty=READING, id="builds")

    def on_mount(self) -> None:
        self.query_one(BuildList).focus()
        self._show()
        self.action_read()

    @property
    def tab(self) -> str:
        return self.query_one(TabStrip).active

    @work(exclusive=True, group="read")
    async def action_read(self, refresh: bool = False) -> None:
        with self.telling_failures():
            items = await self._proton.list_items()
            builds = {str(build.path): build for build in await self._proton.installed()}
            self.installed = [
                Build(
                    version=clean(str(item["version"])),
                    family=str(item.get("family") or ""),
                    size_bytes=item.get("size_bytes"),
                    installed=True,
                    default=bool(item.get("default")),
                    used_by=tuple(map(str, item.get("used_by") or ())),
                    path=str(item.get("path") or ""),
                    in_steam=build is not None and build.source == "steam",
                    removable=build is not None and build.placed_by_integ,
                )
                for item in items
                for build in [builds.get(str(item.get("path")))]
            ]
            self._show()
            if self.tab == "available" or refresh:
                await self._read_available(refresh)

    async def _read_available(self, refresh: bool) -> None:
        self.query_one(BuildList).say_empty(READING)
        try:
            family = self.family
            found = await self._proton.available(family=family, refresh=refresh)
        finally:
            self.query_one(BuildList).say_empty("Nothing was found.\n\nr  asks again")
        if family != self.family:
            return
        have = {build.version: build for build in reversed(self.installed)}  # of one name Integ's own is meant
        self.available = []
        for each in found:
            here = have.get(clean(each.version))
            build = Build(
                version=clean(each.version),
                family=each.family,
                size_bytes=each.size_bytes,
                installed=here is not None,
                path=here.path if here is not None else "",
                in_steam=here is not None and here.in_steam,
                removable=here is None or here.removable,
                published_at=str(getattr(each, "published_at", "") or ""),
            )
            self.available.append(build)
        self._show()

    def _show(self) -> None:
        builds = self.query_one(BuildList)
        before = builds.chosen
        rows = self.installed if self.tab == "installed" else self.available
        if self.tab == "installed":
            builds.say_empty(NONE_INSTALLED)
        same = (n for n, build in enumerate(rows) if before is not None and build.version == before.version)
        builds.show_rows(rows, next(same, 0))
        self.query_one(TabStrip).show_counts({"installed": len(self.installed)})
        self._moved()

    @on(RowList.Moved)
    def _moved(self) -> None:
        """Say what the marks mean, and why a version that is Steam's own can't be removed."""
        chosen = self.query_one(BuildList).chosen
        words = "★ default  ✓ installed" if self.tab == "installed" else f"{FAMILY_NAMES[self.family]}  (f shows another family)"
        if self.tab == "installed" and chosen is not None and not chosen.removable:
            words += "  Steam's own: Steam removes it, in Library, Tools"
        self.query_one("#family", Label).update(words)
        self.refresh_bindings()

    @on(TabStrip.Activated)
    def _tab_chosen(self) -> None:
        self._show()
        self.action_read()

    def action_tab(self, by: int) -> None:
        self.query_one(TabStrip).step(by)

    def action_show_tab(self, name: str) -> None:
        self.query_one(TabStrip).active = name

    def action_family(self) -> None:
        self.family = FAMILIES[(FAMILIES.index(self.family) + 1) % len(FAMILIES)]
        self.available = []
        if self.tab == "available":
            self._tab_chosen()
        else:
            self.query_one(TabStrip).active = "available"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action not in {"install", "use", "remove"}:
            return True
        builds = self.query(BuildList)
        build = builds.first().chosen if builds else None
        if build is None:
            return None
        if action == "install":
            return None if build.installed else True
        if action == "use":
            return True if build.installed and not build.default else None
        return True if build.installed and build.removable else None

    # what can be done

    @on(RowList.Chosen)
    def _chosen(self) -> None:
        if self.check_action("install", ()):
            self.action_install()
        elif self.check_action("use", ()):
            self.action_use()

    def action_install(self) -> None:
        build = self.query_one(BuildList).chosen
        if build is None:
            return

        def work_on(report: Report) -> object:
            return self._proton.install(build.version, family=build.family, report=report)

        def done(outcome: InstallOutcome) -> None:
            words = "was there already" if outcome.already_installed else "is installed"
            self.integ.tell(f"{clean(outcome.version)} {words}.", title="Proton")
            if self.is_attached:
                self.action_read()

        started = self.integ.activities.start(f"proton-{build.version}", f"Install {build.version}", work_on, done=done)  # type: ignore[arg-type]
        if not started:
            self.notify(f"{build.version} is being installed already.", markup=False)

    @work(exclusive=True, group="change")
    async def action_use(self) -> None:
        build = self.query_one(BuildList).chosen
        if build is None:
            return
        with self.telling_failures():
            await self._proton.use(build.version)
            self.notify(f"{build.version} is the default now.", title="Proton", markup=False)
        self.action_read()

    @work(exclusive=True, group="change")
    async def action_remove(self) -> None:
        from integ_tui.screens.confirm import ConfirmScreen

        build = self.query_one(BuildList).chosen
        if build is None:
            return
        games = (
            f"Used by {', '.join(map(clean, build.used_by[:5]))}{' and more' if len(build.used_by) > 5 else ''}." if build.used_by else ""
        )
        where = f"In {clean(build.path)}." if build.in_steam else ""
        detail = "\n".join(line for line in (f"It frees {size(build.size_bytes)}." if build.size_bytes else "", where, games) if line)
        ask = ConfirmScreen(f"Remove {build.version}?", detail=detail, yes="Remove", no="Keep", danger=True)
        if not await self.app.push_screen_wait(ask):
            return
        with self.telling_failures():
            try:
                await self._proton.remove(build.path)
            except WouldLoseDataError as error:
                sure = ConfirmScreen(
                    f"Remove {build.version} all the same?", detail=clean(error.message), yes="Remove", no="Keep", danger=True
                )
                if not await self.app.push_screen_wait(sure):
                    return
                await self._proton.remove(build.path, force=True)
            self.notify(f"{build.version} is removed.", title="Proton", markup=False)
        self.action_read()

    def action_leave(self) -> None:
        self.dismiss(None)
