"""The actors: thin doors from a message to a job. Declared for one broker, so that each app has its own."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq

from integ_server.worker.runner import PutOffError

QUEUE = "integ"


def declare(broker: dramatiq.Broker, do: Callable[[str], None]) -> Callable[[str, str, float], None]:
    """Make the actors known to *broker*; what comes back sends a message: a job's kind, its id, and in how many seconds."""

    def sync_account(job_id: str) -> None:
        _patiently(do, job_id)

    def read_metadata(job_id: str) -> None:
        _patiently(do, job_id)

    actors = {
        kind: dramatiq.actor(broker=broker, queue_name=QUEUE, retry_when=_asks_for_it)(act)
        for kind, act in (("sync", sync_account), ("metadata", read_metadata))
    }

    def send(kind: str, job_id: str, delay_s: float) -> None:
        actors[kind].send_with_options(args=(job_id,), delay=int(delay_s * 1000) if delay_s else None)

    return send


def _asks_for_it(retries: int, error: BaseException) -> bool:
    return isinstance(error, dramatiq.Retry)


def _patiently(do: Callable[[str], None], job_id: str) -> None:
    """How long a store may keep a job waiting is the runner's to decide; the job's row remembers how long it has been."""
    try:
        do(job_id)
    except PutOffError as pause:
        raise dramatiq.Retry(str(pause), delay=int(pause.pause_s * 1000)) from pause
