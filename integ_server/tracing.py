"""
Traces of requests and of the jobs that they began, for OpenTelemetry: only where OTEL_EXPORTER_OTLP_ENDPOINT names a collector.

A request's trace and first span have ids that are made of its request id. A job knows that id from its row, so its span joins the trace
without anything more being stored, and whoever has a line of the log has the trace. What a caller says about a trace of its own is
kept as a link: strangers do not decide what is traced. The ready-made ASGI instrumentation is not used: it writes addresses with
their queries down, and codes stand in some.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from integ_server.logs import request_id

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_begins_trace: ContextVar[bool] = ContextVar("integ_begins_trace", default=False)
_log = logging.getLogger("integ.tracing")


def open_tracing(version: str) -> Tracing | None:
    """None where nobody asked for traces, which costs nothing; and where OpenTelemetry is missing, which is said in the log."""
    if not (os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: pip install 'integ[otel]'")
        return None
    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or "integ", "service.version": version or "0"}
    provider = TracerProvider(resource=Resource.create(named), id_generator=_ids(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


class Tracing:
    """Spans of one process. No span carries an address, a message of an error or anything else that a stranger chose."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("integ")

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """Around the answer to a request; whoever answers it calls `answered` with what is yielded."""
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        theirs = trace.get_current_span(TraceContextTextMapPropagator().extract(headers, Context())).get_span_context()
        links = [trace.Link(theirs)] if theirs.is_valid else None
        begins = _begins_trace.set(True)
        try:
            span = self._tracer.start_span(method, Context(), trace.SpanKind.SERVER, {"http.request.method": method}, links)
        finally:
            _begins_trace.reset(begins)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span

    def answered(self, span: Any, method: str, route: str, status: int) -> None:
        from opentelemetry.trace import StatusCode

        span.update_name(f"{method} {route}")
        span.set_attributes({"http.route": route, "http.response.status_code": status, "integ.request_id": request_id.get()})
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    @contextmanager
    def job(self, kind: str, job_id: str) -> Iterator[list[str]]:
        """Around a job; the state in which it ended is put into what is yielded."""
        from opentelemetry import trace

        ended: list[str] = []
        facts = {"integ.job.kind": kind, "integ.job.id": job_id}
        span = self._tracer.start_span(f"job {kind}", self._asked_by(request_id.get()), trace.SpanKind.CONSUMER, facts)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield ended
            span.set_attribute("integ.job.state", ended[-1] if ended else "dropped")
            if "failed" in ended:
                span.set_status(trace.StatusCode.ERROR)

    def store_request(self, host: str, status: int, waited_s: float, took_s: float) -> None:
        """A try that is over already, below the request or the job that needed it."""
        from opentelemetry import trace

        now = time.time_ns()
        facts: dict[str, str | int | float] = {
            "server.address": host,
            "http.response.status_code": status,
            "integ.waited_s": round(waited_s, 3),
        }
        began = now - int(took_s * 1e9)
        self._tracer.start_span(f"store {host}", kind=trace.SpanKind.CLIENT, attributes=facts, start_time=began).end(now)

    def close(self) -> None:
        """Send what is left; blocks for a while when the collector is away."""
        self._provider.shutdown()

    def _asked_by(self, asked_by: str) -> Any:
        """The context of the request that began a job; an empty one for the backend's own work."""
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace.sampling import Decision

        if not asked_by:
            return Context()
        trace_id, span_id = ids_of(asked_by)
        # Whether the request was traced is decided by its trace's id, so the same question gets the same answer here.
        decision = self._provider.sampler.should_sample(Context(), trace_id, "").decision
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else trace.TraceFlags.DEFAULT)
        begun = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(begun), Context())


def ids_of(asked_by: str) -> tuple[int, int]:
    """The trace's id and that of its first span, for a request's id."""
    digest = hashlib.blake2b(asked_by.encode(), digest_size=24).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return ids_of(request_id.get())[0] if _begins_trace.get() else super().generate_trace_id()

        def generate_span_id(self) -> int:
            return ids_of(request_id.get())[1] if _begins_trace.get() else super().generate_span_id()

    return Ids()
