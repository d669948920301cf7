"""Messages that nobody can do anything with: they are put aside with a reason, and what comes after them goes on."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from dramatiq import Broker, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ActorNotFound, DecodeError
from dramatiq.middleware import Middleware

from integ_server.redaction import redact

REASONS = "integ:dead-letters"
MOST_REASONS = 1_000
KEPT_FOR_S = 7 * 86_400
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

    def put_aside(self, queue_name: str, data: bytes, reason: str) -> None:
        """The dead-letter queue is for messages that can be read; of this one only the reason is kept."""
        for message_id, content in self.client.hscan_iter(f"{self.namespace}:{queue_name}.msgs", count=1000):
            if content == data:
                self.do_ack(queue_name, message_id)
                self.note_dead(message_id.decode("utf-8", "replace")[:100], queue_name, "", reason)


class _PatientConsumer(_RedisConsumer):
    def __next__(self) -> MessageProxy | None:
        try:
            message: MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        except DecodeError as error:
            cause = error.error
            self.broker.put_aside(self.queue_name, error.data, f"it can't be read: {type(cause).__name__}")
            return None
        return message


def _said(error: Any) -> str:
    return redact(f"{type(error).__name__}: {error}")[:300] if error is not None else "it was refused"
