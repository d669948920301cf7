"""One sync as a front end sees it: start it, watch it, and take what changed into the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from integ_runtime.cache.store import LibraryCache
from integ_runtime.client.api import ApiClient
from integ_runtime.client.events import Waker, waking
from integ_runtime.progress import Progress, Report, unheard
from integ_server.contract.errors import IntegError, PartialError, from_envelope
from integ_server.contract.types import JobInfo, JobState

_OVER = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
"""Between two looks at a job; the backend may serve others too."""


@dataclass(slots=True)
class SyncOutcome:
    accounts: list[dict[str, Any]] = field(default_factory=list)
    """As `integ sync --json` prints them: provider, account, added, changed, removed, total, error (an envelope, or None)."""

    @property
    def failures(self) -> list[IntegError]:
        return [from_envelope(each["error"]) for each in self.accounts if each["error"]]

    def raise_if_failed(self) -> None:
        """Raise the first error when nothing was synced, PartialError with `data["accounts"]` when some was."""
        failed = self.failures
        if failed and len(failed) == len(self.accounts):
            first = failed[0]
            told = "; ".join(dict.fromkeys(each.message for each in failed))
            raise type(first)(told, hint=first.hint, retry_after_s=first.retry_after_s, data={"accounts": self.accounts})
        if failed:
            told = "; ".join(f"{each['provider']}: {each['error']['message']}" for each in self.accounts if each["error"])
            raise PartialError(told, hint=failed[0].hint or "integ sync", data={"accounts": self.accounts})


async def follow(api: ApiClient, library: LibraryCache) -> int:
    """
    Take what changed at the backend since the last time into the cache; answers the revision reached.

    A cache that was filled for another user of the backend begins anew.
    """
    owner = await api.owner()
    while True:
        await library.belong_to(owner)
        changes = await api.changes(await library.revision())
        await library.apply(changes, owner)
        if not changes.more:
            return changes.revision


async def run_sync(
    api: ApiClient, library: LibraryCache, providers: Sequence[str] = (), *, full: bool = False, report: Report = unheard
) -> SyncOutcome:
    """
    Sync *providers* (all when empty), wait for the end, and take the result into the cache, whatever part of it there is.

    An account's own failure stands in the outcome; see `SyncOutcome.raise_if_failed`.
    """
    await library.belong_to(await api.owner())  # before anything fails: another user's games are not to be seen meanwhile
    jobs = await api.start_sync(providers, full=full)
    told: dict[str, JobInfo] = {}
    waiting = {job.id for job in jobs}
    accounts = [job.id for job in jobs if job.kind == "sync"]
    async with waking(api) as waker:
        await _wait_for(api, waiting, told, _by_account(jobs, report), waker)
    await follow(api, library)
    return SyncOutcome([_account(told[job_id]) for job_id in accounts])


def _by_account(jobs: Sequence[JobInfo], report: Report) -> Callable[[JobInfo], None]:
    """What tells *report* how a job stands, under its store's name; of several accounts there each has its own beside it."""
    stores = Counter(job.provider for job in jobs if job.kind == "sync")

    def tell(job: JobInfo) -> None:
        about = f"{job.provider} {job.account}" if job.account and stores[job.provider] > 1 else job.provider
        if job.state is JobState.QUEUED and job.error is not None:
            report(Progress("waiting", about=about, message=_why(about, job), waits=True))
        else:
            report(Progress(job.stage or job.state, done=job.done, total=job.total, about=about))

    return tell


def _why(about: str, job: JobInfo) -> str:
    """What a job waits for, for people: `steam waits: Steam did not answer; asked again at 12:30:05`."""
    again = f"; asked again at {job.waits_until.astimezone():%H:%M:%S}" if job.waits_until else ""
    return f"{about} waits: {from_envelope(job.error or {}).message}{again}"


async def _wait_for(api: ApiClient, waiting: set[str], told: dict[str, JobInfo], tell: Callable[[JobInfo], None], waker: Waker) -> None:
    """Look at the jobs *waiting*, and at the metadata that they leave to be read, until all are over; *told* is how they stand."""
    pause_s = _SHORTEST_PAUSE_S
    while waiting:
        pause_s = min(pause_s * 1.3, _LONGEST_PAUSE_S)
        for job_id in sorted(waiting):
            job = await api.job(job_id)
            if told.get(job_id) != job:
                told[job_id] = job
                pause_s = _SHORTEST_PAUSE_S
                tell(job)
            if job.state in _OVER:
                waiting.discard(job_id)
        if not waiting:  # a sync leaves metadata to be read behind: that is part of what the player waits for
            status = await api.sync_status()
            waiting = {job.id for job in status.jobs if job.kind == "metadata" and job.state not in _OVER}
        if waiting:
            await waker.sleep(pause_s)


def _account(job: JobInfo) -> dict[str, Any]:
    counts = job.counts.model_dump() if job.counts else {"added": 0, "changed": 0, "removed": 0, "total": 0}
    return {"provider": job.provider, "account": job.account, **counts, "error": job.error}
