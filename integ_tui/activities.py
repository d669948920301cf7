"""The long actions under way, whatever screen is shown: started once, watched, cancelled, told about when they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from textual.message import Message

from integ_runtime.progress import Progress, Report
from integ_server.contract.errors import IntegError

if TYPE_CHECKING:
    from textual.app import App
    from textual.worker import Worker

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ActivityView:
    """One activity as a screen draws it."""

    name: str
    label: str
    progress: Progress | None
    title_id: str = ""
    """The title that is being played, for play activities."""


class ActivitiesMoved(Message):
    """Something started, came further or ended; a newer message makes this one void."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ActivitiesMoved)


@dataclass(slots=True)
class _Activity:
    name: str
    label: str
    title_id: str
    stop_question: str
    stop: Callable[[], Awaitable[object]] | None
    progress: Progress | None = None
    worker: Worker[None] | None = None
    begun: bool = False
    cancelled: bool = False


class Activities:
    """Runs coroutines as the app's workers, one of a name at a time; the app hears `ActivitiesMoved`."""

    def __init__(self, app: App[Any], failed: Callable[[IntegError], None], told: Callable[[str], None]) -> None:
        self._app = app
        self._failed = failed
        self._told = told
        self._running: dict[str, _Activity] = {}
        self._untold = False

    @property
    def views(self) -> tuple[ActivityView, ...]:
        return tuple(ActivityView(each.name, each.label, each.progress, each.title_id) for each in self._running.values())

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def lost_by_leaving(self) -> list[str]:
        """The labels of what ends when the browser does; a game goes on without it."""
        return [each.label for each in self._running.values() if each.stop is None]

    def stop_question(self, name: str) -> str:
        """What to ask before *name* is cancelled; empty when it loses nothing."""
        activity = self._running.get(name)
        return activity.stop_question if activity else ""

    def start(
        self,
        name: str,
        label: str,
        work: Callable[[Report], Awaitable[T]],
        *,
        done: Callable[[T], None] | None = None,
        title_id: str = "",
        stop_question: str = "",
        stop: Callable[[], Awaitable[object]] | None = None,
        on_error: Callable[[IntegError], None] | None = None,
    ) -> bool:
        """
        Run *work* in the background and call *done* with what it gave; False when one of this name runs already.

        *stop* ends it from outside, for what goes on when nobody watches any more; without, cancelling ends it.
        An expected failure goes to *on_error*, else it is told as a toast; a bug ends the app with its traceback.
        """
        if name in self._running:
            return False
        activity = self._running[name] = _Activity(name, label, title_id, stop_question, stop)

        def report(progress: Progress) -> None:  # from any thread
            activity.progress = progress
            self._tell()

        async def run() -> None:
            activity.begun = True
            try:
                result = await work(report)
            except IntegError as error:
                self._end(activity)
                (on_error or self._failed)(error)
            except asyncio.CancelledError:
                self._end(activity)
                if activity.cancelled:
                    self._told(f"{activity.label}: cancelled")
                raise
            except BaseException:
                self._end(activity)
                raise
            else:
                self._end(activity)
                if done is not None:
                    done(result)

        activity.worker = self._app.run_worker(run(), name=name, group=f"activity-{name}")
        self._tell()
        return True

    def cancel(self, name: str) -> None:
        activity = self._running.get(name)
        if activity is None or activity.worker is None:
            return
        if activity.stop is not None:
            self.start(f"stop-{name}", f"Stop {activity.label}", lambda report: _awaited(activity.stop))
        else:
            activity.cancelled = True
            activity.worker.cancel()
            if not activity.begun:  # then nothing of it will ever run, its end neither
                self._end(activity)

    def heard(self) -> None:
        """The app drew what there was to tell; the next progress is news again."""
        self._untold = False

    def _end(self, activity: _Activity) -> None:
        self._running.pop(activity.name, None)
        self._tell()

    def _tell(self) -> None:
        if not self._untold:  # one message on its way is enough, however fast a download reports
            self._untold = True
            self._app.post_message(ActivitiesMoved())


async def _awaited(stop: Callable[[], Awaitable[object]] | None) -> None:
    if stop is not None:
        await stop()
