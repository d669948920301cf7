"""
The broker on Redis. Messages that nobody can do anything with are put aside with a reason, and what comes after them goes on; of many
hints that come together one is given on, for they all say the same.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import defaultdict
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from dramatiq import Broker, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ActorNotFound, ConnectionClosed, DecodeError
from dramatiq.middleware import Middleware
from redis.exceptions import RedisError

from integ_server.contract.types import JobKind
from integ_server.redaction import redact
from integ_server.worker.actors import is_job_id

REASONS = "integ:dead-letters"
MOST_REASONS = 1_000
KEPT_FOR_S = 7 * 86_400
_DONE_AT_ONCE = 128
_HINTS = frozenset(kind.value for kind in JobKind)
# As Dramatiq's own script does for one: what was given to somebody else meanwhile is left to them.
_TAKE_OUT = """
for _, id in ipairs(ARGV) do
  if redis.call('SREM', KEYS[1], id) > 0 then redis.call('HDEL', KEYS[2], id) end
end
"""
_log = logging.getLogger("integ.worker")


class DeadLetters(Middleware):
    """Notes in Redis, beside Dramatiq's own dead-letter queue, why each message is in it."""

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        error = message._exception
        reason = f"there is no actor {message.actor_name[:40]!r}" if isinstance(error, ActorNotFound) else _said(error)
        if isinstance(broker, PatientBroker):
            broker.note_dead(message.message_id, message.queue_name, message.actor_name, reason)


class PatientBroker(RedisBroker):
    """Puts aside what is no message at all, where Dramatiq's consumer would stumble over it each time it is given out again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._done: defaultdict[str, list[str]] = defaultdict(list)
        self._lock = Lock()  # the worker's thread is done with messages, each queue's own fetches them
        self._take = self.client.register_script(_TAKE_OUT)

    def declare_queue(self, queue_name: str) -> None:
        """Without a second queue for what is to come later: a job's row says that, and each queue is a thread that asks Redis."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    @property
    def consumer_class(self) -> type[_PatientConsumer]:
        return _PatientConsumer

    def note_dead(self, message_id: str, queue: str, actor: str, reason: str) -> None:
        _log.error("a message of the queue %s is put aside: %s", queue[:40], reason)
        told = {"id": message_id, "queue": queue, "actor": actor[:100], "reason": reason, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        pipe = self.client.pipeline(transaction=False)
        pipe.lpush(REASONS, json.dumps(told))
        pipe.ltrim(REASONS, 0, MOST_REASONS - 1)
        pipe.expire(REASONS, KEPT_FOR_S)
        pipe.execute()

    def done_with(self, queue_name: str, *message_ids: str) -> int:
        """Note that the messages can be taken out of Redis; how many of their queue can by now."""
        with self._lock:
            self._done[queue_name] += message_ids
            return len(self._done[queue_name])

    def take_out(self, queue_name: str) -> None:
        """
        Take out what is done with, all at once.

        Raises:
            RedisError: Redis does not answer; they stay noted.
        """
        with self._lock:
            done = self._done.pop(queue_name, [])
        if not done:
            return
        keys = [f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}", f"{self.namespace}:{queue_name}.msgs"]
        try:
            self._take(keys=keys, args=done)
        except RedisError:
            with self._lock:
                self._done[queue_name] += done
            raise

    def put_aside(self, queue_name: str, data: bytes, reason: str) -> None:
        """The dead-letter queue is for messages that can be read; of this one only the reason is kept."""
        for message_id, content in self.client.hscan_iter(f"{self.namespace}:{queue_name}.msgs", count=1000):
            if content == data:
                self.do_ack(queue_name, message_id)
                self.note_dead(message_id.decode("utf-8", "replace")[:100], queue_name, "", reason)


class _PatientConsumer(_RedisConsumer):
    """Messages are hints: one that is done with and not taken out, because its worker died, comes again and does no harm."""

    def __next__(self) -> MessageProxy | None:
        try:
            message: MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        except DecodeError as error:
            cause = error.error
            self.broker.put_aside(self.queue_name, error.data, f"it can't be read: {type(cause).__name__}")
            return None
        if message is None:
            self._take_out()
        elif message.actor_name in _HINTS:
            self._pass_over_hints()
        return message

    def ack(self, message: MessageProxy) -> None:
        """Many go together: Dramatiq's own way there and back for each takes longer than all that is done for a hint."""
        self.queued_message_ids.discard(message.message_id)
        many = self.broker.done_with(self.queue_name, message.options["redis_message_id"])
        if many >= _DONE_AT_ONCE or not self.outstanding_message_count:
            with contextlib.suppress(ConnectionClosed):  # the thread that fetches tries it again
                self._take_out()

    def _pass_over_hints(self) -> None:
        """Those that follow the one which is given on now. Whatever else comes between them is left for its turn."""
        passed: list[str] = []
        for data in self.message_cache:
            hint = _hint(data)
            if hint is None:
                break
            passed.append(hint)
        del self.message_cache[: len(passed)]
        self.broker.done_with(self.queue_name, *passed)

    def close(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            self._take_out()
        super().close()

    def _take_out(self) -> None:
        try:
            self.broker.take_out(self.queue_name)
        except RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


def _hint(data: bytes | None) -> str | None:
    """By which id Redis has the message, if it says no more than that there may be something in the line; else None."""
    try:
        told = json.loads(data or b"")
        (job_id,), options = told["args"], told["options"]
        plain = told["actor_name"] in _HINTS and is_job_id(job_id) and not told["kwargs"] and "eta" not in options
        return str(options["redis_message_id"]) if plain else None
    except (ValueError, TypeError, KeyError, RecursionError):  # it goes Dramatiq's way, and is put aside there
        return None


def _said(error: Any) -> str:
    return redact(f"{type(error).__name__}: {error}")[:300] if error is not None else "it was refused"
