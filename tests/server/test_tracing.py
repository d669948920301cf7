"""Traces as a collector receives them, over its real protocol."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from integ_server.logs import request_id
from integ_server.migrations.upgrade import migrate
from integ_server.services import library
from integ_server.services.backend import Backend
from integ_server.tracing import ids_of, open_tracing
from tests.server.api.test_health import opened_app
from tests.server.conftest import personal_token_on


class Collector:
    """What was sent to an OTLP endpoint: spans by their names."""

    def __init__(self) -> None:
        self.raw = b""
        self.spans: dict[str, Any] = {}

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans |= {span.name: span for span in scope.spans}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_request_and_the_job_it_began_are_one_trace(sqlite_url: str, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await personal_token_on(sqlite_url)

    async def broken(*args: object) -> None:
        raise RuntimeError("words of the error")

    async with opened_app(sqlite_url, is_embedded=False) as (app, http):
        http.headers["Authorization"] = f"Bearer {token}"
        theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await http.get("/games/steam:620?q=private", headers={"x-request-id": "r-1", "traceparent": theirs})
        monkeypatch.setattr(library, "user_info", broken)
        await http.get("/users/me", headers={"x-request-id": "r-2"})
        backend: Backend = app.state.backend
        assert backend.tracing is not None
        # elsewhere, later: a worker that knows the request's id from the job's row
        reset = request_id.set("r-1")
        with backend.tracing.job("sync", "j1") as ended:
            backend.tracing.store_request("api.gog.com", 200, 0.5, 0.1)
            ended.append("failed")
        request_id.reset(reset)
    request, job, store, failed = (collector.spans[name] for name in ("GET /games/{key}", "job sync", "store api.gog.com", "GET /users/me"))
    trace_id, span_id = (number.to_bytes(size) for number, size in zip(ids_of("r-1"), (16, 8), strict=True))
    assert {request.trace_id, job.trace_id, store.trace_id} == {trace_id}
    assert (request.span_id, request.parent_span_id, job.parent_span_id, store.parent_span_id) == (span_id, b"", span_id, job.span_id)
    assert [link.trace_id.hex() for link in request.links] == ["0af7651916cd43dd8448eb211c80319c"]
    assert attributes(request) == {
        "http.request.method": "GET",
        "http.route": "/games/{key}",
        "http.response.status_code": 404,
        "integ.request_id": "r-1",
    }
    assert attributes(job)["integ.job.state"] == "failed" and job.status.code == 2 and failed.status.code == 2
    assert 0.09e9 < store.end_time_unix_nano - store.start_time_unix_nano < 0.11e9
    for secret in (b"private", b"words of the error", token.encode()):
        assert secret not in collector.raw


async def test_a_collector_that_is_away_holds_nobody_up(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    await migrate(sqlite_url)
    async with opened_app(sqlite_url, is_embedded=False) as (_, http):
        assert (await http.get("/healthz")).status_code == 200


def test_without_the_package_it_is_said_and_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with caplog.at_level(logging.WARNING):
        assert open_tracing("1") is None
    assert "pip install 'integ[otel]'" in caplog.text


async def test_unasked_it_costs_nothing(sqlite_url: str) -> None:
    await migrate(sqlite_url)
    async with opened_app(sqlite_url, is_embedded=False) as (app, _):
        assert app.state.backend.tracing is None
    ask = "import sys, integ_server.tracing as t; t.open_tracing('1'); print('opentelemetry' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", ask], text=True).strip() == "False"


async def test_the_embedded_backend_is_never_traced(sqlite_url: str, collector: Collector) -> None:
    async with opened_app(sqlite_url) as (_, http):
        answer: httpx.Response = await http.get("/games")
    assert answer.status_code == 200 and collector.spans == {}
