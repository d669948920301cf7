"""
The actors: thin doors from a message to a job. Declared for one broker, so that each app has its own.

In process a message is the job's way to a thread, which waits for its end. Between processes it is a hint that there is something
in the line, which the worker looks through by itself: it can be lost, come twice or late, and is done with at once.
"""

from __future__ import annotations

from collections.abc import Callable

import dramatiq

from integ_server.contract.types import JobKind
from integ_server.services.queues import Queue, queue_of
from integ_server.worker.runner import PutOffError

QUEUE = "integ"
Send = Callable[[str, str, str, float], None]
"""A job's kind, its queue, its id, and in how many seconds it is to be done."""
_LONGEST_ID = 64


def declare_doing(broker: dramatiq.Broker, do: Callable[[str], None]) -> Send:
    """Make actors known to *broker* that *do* a job; what comes back sends one, all by the same queue."""

    def act(job_id: str) -> None:
        """How long a store may keep a job waiting is the runner's to decide; the job's row remembers how long it has been."""
        try:
            do(job_id)
        except PutOffError as pause:
            raise dramatiq.Retry(str(pause), delay=int(pause.pause_s * 1000)) from pause

    actors = {
        kind.value: dramatiq.actor(broker=broker, actor_name=kind.value, queue_name=QUEUE, retry_when=_asks_for_it)(act) for kind in JobKind
    }

    def send(kind: str, queue: str, job_id: str, delay_s: float) -> None:
        actors[kind].send_with_options(args=(job_id,), delay=int(delay_s * 1000) if delay_s else None)

    return send


def declare_hinting(broker: dramatiq.Broker, look: Callable[[], None]) -> Send:
    """Make actors known to *broker* that make their worker *look* at the line; what comes back sends a hint by the job's own queue."""
    for queue in Queue:
        broker.declare_queue(queue.value)

    def act(job_id: str) -> None:
        if not is_job_id(job_id):
            raise TypeError("a job's id is a short text")
        look()

    actors = {
        kind.value: dramatiq.actor(broker=broker, actor_name=kind.value, queue_name=queue_of(kind.value).value)(act) for kind in JobKind
    }

    def send(kind: str, queue: str, job_id: str, delay_s: float) -> None:
        broker.enqueue(actors[kind].message(job_id).copy(queue_name=queue))

    return send


def is_job_id(value: object) -> bool:
    """Whether it may be one: whatever else reaches Redis may have put a message there."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID


def _asks_for_it(retries: int, error: BaseException) -> bool:
    return isinstance(error, dramatiq.Retry)
