"""Bring a declared state about: what differs, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from integ_runtime.progress import Progress, Report, unheard
from integ_runtime.state.document import DeclaredState
from integ_runtime.state.plan import Step, plan
from integ_server.contract.errors import (
    AuthenticationError,
    BackendUnreachableError,
    IntegError,
    PartialError,
    ProviderUnavailableError,
    to_envelope,
)

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime


@dataclass(slots=True)
class ApplyOutcome:
    changes: list[dict[str, Any]]
    """As `integ apply --json` prints them: the fields of `Change`, `state` and `error`, an envelope or None."""
    errors: list[IntegError]
    """Of the steps that failed, and of signing in to the backend."""

    def raise_if_failed(self) -> None:
        """Raise the first error when nothing was done, PartialError when something was; `data["changes"]` tells of each change."""
        if not self.errors:
            return
        first = self.errors[0]
        told = "; ".join(dict.fromkeys(error.message for error in self.errors[:5]))
        done = any(each["state"] in {"done", "queued"} for each in self.changes)
        kind = PartialError if done else type(first)
        raise kind(told, hint=first.hint, retry_after_s=first.retry_after_s, data={"changes": self.changes})


async def apply(runtime: Runtime, state: DeclaredState, *, dry_run: bool = False, report: Report = unheard) -> ApplyOutcome:
    """
    Do what *state* declares and is not so, or with *dry_run* only say what that is. A step that fails keeps no other from being tried;
    where nobody is signed in to the backend, what needs none is done.

    While the backend can't be reached, what the library knows is what counts, and what it has to hear of waits.

    Raises:
        GameNotFoundError, AmbiguousError, UsageError: The state can't be; nothing was touched.
    """
    outcome = ApplyOutcome([], [])
    if state.needs_the_library:
        try:
            await runtime.follow()
        except (BackendUnreachableError, ProviderUnavailableError) as error:
            report(Progress("plan", message=error.message))
        except AuthenticationError as error:  # it may be the backend that the settings name first here
            outcome.errors.append(error)
            state = state.without_the_library()
    steps = await plan(runtime, state)
    async with runtime.organising.reading_once():
        for number, step in enumerate(steps):
            report(Progress("apply", done=number, total=len(steps)))
            outcome.changes += _told(step, *("planned", None) if dry_run else await _do(runtime, step, outcome, report))
    return outcome


async def _do(runtime: Runtime, step: Step, outcome: ApplyOutcome, report: Report) -> tuple[str, IntegError | None]:
    try:
        return "done" if await step.work(runtime, report) else "queued", None
    except IntegError as error:
        outcome.errors.append(error)
        return "failed", error


def _told(step: Step, state: str, error: IntegError | None) -> Sequence[dict[str, Any]]:
    envelope = to_envelope(error) if error is not None else None
    return [{**asdict(change), "state": state, "error": envelope} for change in step.changes]
