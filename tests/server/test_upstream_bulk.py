"""Big bodies: ranges, redirects, broken transfers, credentials that stay where they belong."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from integ_server.contract.errors import ProviderError, ProviderUnavailableError, RateLimitedError
from integ_server.upstream import BulkDoor

WHOLE = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)) * 40
Answer = Callable[[BaseHTTPRequestHandler], None]


class Wire:
    """A loopback server that gives what a test sets for a path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections: set[object] = set()
        self.url = ""


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            made.connections.add(self.client_address)
            made.answers.get(self.path, _not_found)(self)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A connection that the test dropped is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def _not_found(handler: BaseHTTPRequestHandler) -> None:
    send(404, b"gone")(handler)


def send(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def ranged(body: bytes, *, total: str | None = None, shift: int = 0) -> Answer:
    """Serves `Range: bytes=a-[b]`; with *shift*, another part than the one asked for."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        if not asked:
            send(200, body)(handler)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) + shift
        end = int(last) + 1 if last else len(body)
        if start >= len(body):
            send(416, b"", Content_Range=f"bytes */{len(body)}")(handler)
            return
        part = body[start:end]
        send(206, part, Content_Range=f"bytes {start}-{start + len(part) - 1}/{total or len(body)}")(handler)

    return answer


@contextmanager
def door(wire: Wire) -> Iterator[BulkDoor]:
    with BulkDoor(wire.url) as opened:
        yield opened


def test_a_whole_body_is_read_in_parts(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = send(200, WHOLE)
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a") as answer:
        assert (answer.status, answer.start, answer.total_bytes) == (200, 0, len(WHOLE))
        parts = list(answer.chunks(100_000))
    assert b"".join(parts) == WHOLE
    assert max(map(len, parts)) <= 100_000
    path, headers = wire.asked[0]
    assert path == "/cdn.example.com/a"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("Integ/")


def test_a_transfer_goes_on_where_it_stopped(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = ranged(WHOLE)
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a", start=1000) as answer:
        assert (answer.status, answer.start, answer.total_bytes) == (206, 1000, len(WHOLE))
        assert b"".join(answer.chunks()) == WHOLE[1000:]


def test_a_part_in_the_middle_can_be_had(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = ranged(WHOLE)
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a", start=10, end=30) as answer:
        assert answer.read(100) == WHOLE[10:30]
        assert answer.read(100) == b""


def test_a_server_without_ranges_starts_over(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = send(200, WHOLE)
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a", start=1000) as answer:
        assert (answer.status, answer.start) == (200, 0)


def test_a_range_beyond_the_end_is_the_callers_to_understand(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = ranged(WHOLE)
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a", start=len(WHOLE)) as answer:
        assert answer.status == 416
        with pytest.raises(ProviderError):
            answer.raise_for_status()


def test_another_part_than_the_one_asked_for_is_refused(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = ranged(WHOLE, shift=5)
    with door(wire) as bulk, pytest.raises(ProviderError, match="another part"), bulk.open("https://cdn.example.com/a", start=1000):
        pass


@pytest.mark.parametrize("content_range", ["", "bytes */5", "bytes 1000-5/70", "items 1000-2000/3000", "bytes 1000-x/3000"])
def test_a_part_that_does_not_say_which_is_refused(wire: Wire, content_range: str) -> None:
    wire.answers["/cdn.example.com/a"] = send(206, b"x", Content_Range=content_range)
    with door(wire) as bulk, pytest.raises(ProviderError), bulk.open("https://cdn.example.com/a", start=1000):
        pass


def test_a_part_that_nobody_asked_for_is_refused(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = send(206, b"x", Content_Range="bytes 0-0/70")
    with door(wire) as bulk, pytest.raises(ProviderError), bulk.open("https://cdn.example.com/a"):
        pass


def test_an_unknown_total_is_none(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = ranged(WHOLE, total="*")
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a", start=1) as answer:
        assert answer.total_bytes is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_an_answer(wire: Wire, status: int) -> None:
    wire.answers["/cdn.example.com/a"] = send(status, b"no")
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a") as answer:
        assert answer.status == status
        with pytest.raises(ProviderError, match=str(status)):
            answer.raise_for_status()


def test_429_says_how_long(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = send(429, b"<html>", Retry_After="77")
    with door(wire) as bulk, pytest.raises(RateLimitedError) as told, bulk.open("https://cdn.example.com/a"):
        pass
    assert told.value.retry_after_s == 77


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_trouble_of_the_server_is_no_answer(wire: Wire, status: int) -> None:
    wire.answers["/cdn.example.com/a"] = send(status, b"no")
    with door(wire) as bulk, pytest.raises(ProviderUnavailableError), bulk.open("https://cdn.example.com/a"):
        pass


@pytest.mark.parametrize(
    "there", ["/b", "https://cdn.example.com/b", "{up}/cdn.example.com/b", "http://cdn.example.com/b", "HTTP://cdn.example.com/b"]
)
def test_a_redirect_on_the_same_host_keeps_range_and_token(wire: Wire, there: str) -> None:
    wire.answers["/cdn.example.com/a/x"] = send(302, b"moved", Location=there.replace("{up}", wire.url))
    wire.answers["/cdn.example.com/b"] = ranged(WHOLE)
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a/x", start=7, headers={"Authorization": "Bearer t"}) as answer:
        assert answer.start == 7
    assert [path for path, _ in wire.asked] == ["/cdn.example.com/a/x", "/cdn.example.com/b"]
    assert wire.asked[1][1]["authorization"] == "Bearer t"
    assert wire.asked[1][1]["range"] == "bytes=7-"


def test_a_redirect_to_another_original_host_loses_the_credentials(wire: Wire) -> None:
    wire.answers["/api.example.com/a"] = send(302, b"", Location="https://cdn.example.com/b")
    wire.answers["/cdn.example.com/b"] = ranged(WHOLE)
    private = {"Authorization": "Bearer t", "COOKIE": "a=b", "X-GOG-Library-Cert": "c", "Accept": "*/*"}
    with door(wire) as bulk, bulk.open("https://api.example.com/a", start=7, headers=private) as answer:
        assert answer.status == 206
    there = wire.asked[1][1]
    assert not {"authorization", "cookie", "x-gog-library-cert"} & set(there)
    assert there["accept"] == "*/*"
    assert there["range"] == "bytes=7-"


@pytest.mark.parametrize(
    "there",
    ["ftp://cdn.example.com/b", "file:///etc/passwd", "https://127.0.0.1/b", "https://localhost/b", "https://bob:pw@a.example/", ""],
)
def test_a_redirect_out_of_the_public_internet_is_refused(wire: Wire, there: str) -> None:
    wire.answers["/cdn.example.com/a"] = send(302, b"", **({"Location": there} if there else {}))
    with door(wire) as bulk, pytest.raises(ProviderError), bulk.open("https://cdn.example.com/a"):
        pass
    assert len(wire.asked) == 1


def test_a_redirect_in_a_circle_ends(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = send(302, b"", Location="https://cdn.example.com/a")
    with door(wire) as bulk, pytest.raises(ProviderError, match="without end"), bulk.open("https://cdn.example.com/a"):
        pass
    assert len(wire.asked) < 10


@pytest.mark.parametrize("url", ["http://cdn.example.com/a", "https://127.0.0.1/a", "file:///etc/passwd", "cdn.example.com/a"])
def test_no_connection_is_made_to_an_address_that_is_not_public_https(wire: Wire, url: str) -> None:
    with door(wire) as bulk, pytest.raises(ProviderError), bulk.open(url):
        pass
    assert wire.asked == []


def test_a_body_that_ends_early_is_told(wire: Wire) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(WHOLE)))
        handler.end_headers()
        handler.wfile.write(WHOLE[:5000])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    wire.answers["/cdn.example.com/a"] = cut
    with door(wire) as bulk, bulk.open("https://cdn.example.com/a") as answer, pytest.raises(ProviderUnavailableError):
        list(answer.chunks(1000))


def test_a_body_that_stalls_is_told(wire: Wire) -> None:
    over = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"x")
        handler.wfile.flush()
        over.wait(30)

    wire.answers["/cdn.example.com/a"] = stall
    try:
        with (
            door(wire) as bulk,
            bulk.open("https://cdn.example.com/a", read_timeout_s=0.1) as answer,
            pytest.raises(ProviderUnavailableError),
        ):
            list(answer.chunks())
    finally:
        over.set()


def test_nobody_there_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with BulkDoor(url) as bulk, pytest.raises(ProviderUnavailableError), bulk.open("https://cdn.example.com/a"):
            pass


def test_a_connection_serves_one_transfer_after_the_other(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = send(200, WHOLE)
    with door(wire) as bulk:
        for _ in range(3):
            with bulk.open("https://cdn.example.com/a") as answer:
                assert sum(map(len, answer.chunks())) == len(WHOLE)
    assert len(wire.connections) == 1


def test_a_transfer_that_was_dropped_half_way_does_not_spoil_the_next(wire: Wire) -> None:
    wire.answers["/cdn.example.com/a"] = send(200, WHOLE)
    with door(wire) as bulk:
        with bulk.open("https://cdn.example.com/a") as answer:
            assert answer.read(10) == WHOLE[:10]
        with bulk.open("https://cdn.example.com/a") as answer:
            assert b"".join(answer.chunks()) == WHOLE


def test_ten_transfers_of_a_host_run_at_once_and_the_eleventh_waits(wire: Wire) -> None:
    go_on = threading.Event()
    ten_there = threading.Event()
    lock = threading.Lock()
    running = most = 0

    def hold(handler: BaseHTTPRequestHandler) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 10:
                ten_there.set()
        go_on.wait(30)
        with lock:
            running -= 1
        send(200, b"x")(handler)

    wire.answers["/cdn.example.com/a"] = hold
    with door(wire) as bulk:

        def fetch() -> None:
            with bulk.open("https://cdn.example.com/a") as answer:
                answer.read(1)

        threads = [threading.Thread(target=fetch) for _ in range(14)]
        for thread in threads:
            thread.start()
        assert ten_there.wait(30)
        go_on.set()
        for thread in threads:
            thread.join(30)
    assert most == 10
    assert len(wire.asked) == 14


def test_an_error_names_the_host_and_nothing_that_is_secret(wire: Wire) -> None:
    wire.answers["/cdn.example.com/token=nva=1~token=s3cret/a?access_token=s3cret"] = send(503)
    url = "https://cdn.example.com/token=nva=1~token=s3cret/a?access_token=s3cret"
    with door(wire) as bulk, pytest.raises(ProviderUnavailableError) as told, bulk.open(url):
        pass
    assert "cdn.example.com" in str(told.value)
    assert "s3cret" not in repr(told.value)
