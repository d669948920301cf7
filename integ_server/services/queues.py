"""How urgent a job is, and so where it stands in the line."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

from integ_server.contract.errors import UsageError


class Queue(StrEnum):
    NOW = "now"
    """Somebody waits for it."""
    SOON = "soon"
    """What keeps libraries fresh: syncs in the background, metadata, achievements."""
    LATER = "later"
    """Feeds, the mirror, clean-up."""


PATIENCE = {Queue.NOW: timedelta(0), Queue.SOON: timedelta(minutes=5), Queue.LATER: timedelta(minutes=30)}
"""A job that has waited for so long stands where one that somebody waits for begins: the urgent go first, and nothing waits for ever."""
_BY_KIND = {"sync": Queue.NOW, "proton-feed": Queue.LATER, "proton-mirror": Queue.LATER, "clean-up": Queue.LATER}


def queue_of(kind: str) -> Queue:
    """Where a job of *kind* waits when nobody says otherwise."""
    return _BY_KIND.get(kind, Queue.SOON)


def turn(queue: Queue, asked_at: datetime) -> datetime:
    return asked_at + PATIENCE[queue]


def checked(names: Collection[str]) -> list[Queue]:
    """
    The queues of these names, all when there are none.

    Raises:
        UsageError: There is no such queue.
    """
    known = {each.value: each for each in Queue}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no queue called {name[:40]!r}", hint=f"queues: {', '.join(known)}")
    return [known[name] for name in names] if names else list(Queue)
