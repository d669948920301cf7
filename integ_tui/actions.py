"""What the browser can do with the library's games, as activities: sync, play, install, uninstall."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from integ_runtime.cache.records import ReleaseRow
from integ_runtime.progress import Progress, Report
from integ_server.contract.errors import IntegError, PartialError
from integ_tui.wording import PLATFORM_NAMES, clean, counted, size, span, store_name

if TYPE_CHECKING:
    from integ_tui.activities import Activities
    from integ_tui.parts import Games, Launcher, LaunchOutcome, Parts, SyncOutcome

SYNC = "sync"
LOOK_EVERY_S = 1.0
"""Between two looks at a game that somebody else watches over."""
T = TypeVar("T")


class Actions:
    """Starts what the screens ask for; tells the end as a toast, and the library's watchers that it changed."""

    def __init__(
        self,
        parts: Parts,
        activities: Activities,
        *,
        told: Callable[..., None],
        failed: Callable[[IntegError], None],
        changed: Callable[[], None],
        options: Callable[[], Any] | None = None,
    ) -> None:
        self._parts = parts
        self._activities = activities
        self._told = told
        self._failed = failed
        self._changed = changed
        self._options = options or default_options
        self.last_log: tuple[str, Path] | None = None
        """Title and log of the game that failed last."""
        self.here: set[str] = set()
        """Keys of games that have the terminal, whose end is told by whoever gave it to them."""

    async def launcher(self) -> Launcher:
        """Made in a thread when it is first asked for, since what it imports is heavy."""
        return await asyncio.to_thread(lambda: self._parts.launcher)

    async def _games(self) -> Games:
        return await asyncio.to_thread(lambda: self._parts.games)

    def sync(self, providers: Sequence[str] = ()) -> bool:
        def done(outcome: SyncOutcome) -> None:
            self._changed()
            self._told(sync_words(outcome.accounts), title="Library")

        def failed(error: IntegError) -> None:
            if isinstance(error, PartialError):
                self._changed()
            self._failed(error)

        label = f"Sync {', '.join(map(store_name, providers))}" if providers else "Sync"

        async def work(report: Report) -> SyncOutcome:
            outcome = await self._parts.sync(providers, report=report)
            outcome.raise_if_failed()
            return outcome

        return self._activities.start(SYNC, label, work, done=done, on_error=failed)

    # playing

    def play(self, release: ReleaseRow, title_id: str) -> bool:
        """Run the game with its output in a log, watched until it ends; it goes on when the browser is left."""
        title = clean(release.title)

        async def work(report: Report) -> LaunchOutcome:
            report(Progress("starting"))
            launcher = await self.launcher()
            plan = await launcher.plan(release.key)
            for note in plan.notes:
                self._told(note, title=title, severity="warning", timeout=8)
            report(Progress("running"))
            return await launcher.run(plan, attach=False, stop_when_asked=False)

        return self._watch(release.key, title, title_id, work, lambda outcome: self.ended(title, outcome))

    async def find_plays(self) -> None:
        """Take in the games that run though this browser did not start them: it was left and came back, or somebody else did."""
        launcher = await self.launcher()
        for play in await asyncio.to_thread(launcher.running):
            if play.key not in self.here and _play_name(play.key) not in self._activities:
                row = await self._parts.library.find_title(play.key)
                self._watch_other(play.key, clean(play.title), row.title_id if row else "")

    def _watch_other(self, key: str, title: str, title_id: str) -> None:
        async def work(report: Report) -> None:
            report(Progress("running"))
            launcher = await self.launcher()
            while any(play.key == key for play in await asyncio.to_thread(launcher.running)):  # noqa: ASYNC110 - nobody tells us of its end
                await asyncio.sleep(LOOK_EVERY_S)

        def done(_: None) -> None:
            self._changed()
            self._told(f"{title} has ended.", title="Played")

        self._watch(key, title, title_id, work, done)

    def _watch(self, key: str, title: str, title_id: str, work: Callable[[Report], Awaitable[T]], done: Callable[[T], None]) -> bool:
        async def stop() -> None:
            await (await self.launcher()).stop(key)

        return self._activities.start(
            _play_name(key),
            title,
            work,
            done=done,
            title_id=title_id,
            stop_question=f"Stop {title}? What it has not saved is lost.",
            stop=stop,
            on_error=self._not_started,
        )

    def ended(self, title: str, outcome: LaunchOutcome) -> None:
        """Say how a game ended, and keep the log of one that failed."""
        self._changed()
        if outcome.exit_code == 0:
            self._told(f"{title} ended after {span(outcome.seconds)}.", title="Played")
            return
        ending = f"with exit code {outcome.exit_code}" if outcome.exit_code < 128 else f"by signal {outcome.exit_code - 128}"
        lines = f"{title} ended {ending} after {span(outcome.seconds)}."
        if outcome.log_path is not None:
            self.last_log = (title, outcome.log_path)
            lines += "\n→ L shows its log"
        self._told(lines, title="The game failed", severity="error", timeout=10)

    def _not_started(self, error: IntegError) -> None:
        self._changed()
        self._failed(error)

    # installing

    async def install_plan(self, release: ReleaseRow) -> Mapping[str, Any]:
        return await (await self._games()).plan(release.key, await asyncio.to_thread(self._options))

    def install(self, release: ReleaseRow) -> bool:
        title = clean(release.title)

        async def work(report: Report) -> Mapping[str, Any]:
            return await (await self._games()).install(release.key, await asyncio.to_thread(self._options), report=report)

        return self._activities.start(f"install-{release.key}", f"Install {title}", work, done=lambda done: self._installed(title, done))

    def _installed(self, title: str, done: Mapping[str, Any]) -> None:
        self._changed()
        path = clean(str(done.get("path") or ""))
        self._told(f"{title} is installed{f' in {path}' if path else ''}.", title="Installed")

    def uninstall(self, release: ReleaseRow) -> bool:
        title = clean(release.title)

        async def work(report: Report) -> Mapping[str, Any]:
            return await (await self._games()).uninstall(release.key, report=report)

        return self._activities.start(f"install-{release.key}", f"Uninstall {title}", work, done=lambda _: self._uninstalled(title))

    def _uninstalled(self, title: str) -> None:
        self._changed()
        self._told(f"{title} is uninstalled; its saves and prefix are kept.", title="Uninstalled")


def _play_name(key: str) -> str:
    return f"play-{key}"


def sync_words(accounts: Sequence[Mapping[str, Any]]) -> str:
    """One line an account: what a sync changed."""
    lines = []
    for each in accounts:
        changes = [f"{each.get(kind) or 0:,} {kind}" for kind in ("added", "changed", "removed") if each.get(kind)]
        total = counted(int(each.get("total") or 0), "game")
        lines.append(f"{store_name(str(each.get('provider')))}: {total}, {', '.join(changes) or 'nothing new'}")
    return "\n".join(lines) or "Up to date."


def plan_words(plan: Mapping[str, Any]) -> str:
    """What the player is asked to agree to before an install."""
    lines = []
    if plan.get("download_bytes"):
        lines.append(f"Download  {size(int(plan['download_bytes']))}")
    if plan.get("disk_bytes"):
        lines.append(f"On disk   {size(int(plan['disk_bytes']))}")
    if plan.get("platform"):
        platform, language = clean(str(plan["platform"])), clean(str(plan.get("language") or ""))
        lines.append(f"For       {', '.join(part for part in (PLATFORM_NAMES.get(platform, platform), language) if part)}")
    if plan.get("path"):
        lines.append(f"Into      {clean(str(plan['path']))}")
    return "\n".join(lines)


def default_options() -> Any:
    """How a game is installed when the player asks for nothing special; for a thread, since this import is a heavy one."""
    from integ_runtime.content.games import InstallOptions

    return InstallOptions()
