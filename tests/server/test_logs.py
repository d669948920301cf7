from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from integ_server.logs import facts, install_logs, log_request, request_id

SECRET = "?key=0123456789ABCDEF0123456789ABCDEF"


@pytest.fixture
def restored() -> Iterator[None]:
    """The process's own logging again afterwards."""
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    names = ("httpx", "httpcore", "sqlalchemy", "dramatiq", "asyncio", "uvicorn")
    levels = {name: logging.getLogger(name).level for name in names}
    shown = logging._srcfile, logging.logProcesses, logging.logMultiprocessing
    yield
    logging._srcfile, logging.logProcesses, logging.logMultiprocessing = shown
    root.handlers[:], root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("restored")
def test_every_line_is_one_json_object_with_the_requests_id() -> None:
    stream = io.StringIO()
    install_logs("INFO", "auto", stream)

    async def answer(number: int) -> None:
        request_id.set(f"r{number}")
        await asyncio.sleep(0)
        logging.getLogger("integ.x").info("line\nof %s", number, extra=facts(ms=1.5, user=None))

    async def both() -> None:
        await asyncio.gather(answer(1), answer(2))

    asyncio.run(both())
    logging.getLogger("integ.x").warning("without")
    logging.getLogger("integ.x").debug("not at this level")
    found = lines(stream)
    assert [(line.get("request_id"), line["message"], line["level"]) for line in found] == [
        ("r1", "line\nof 1", "INFO"),
        ("r2", "line\nof 2", "INFO"),
        (None, "without", "WARNING"),
    ]
    assert found[0]["ms"] == 1.5 and "user" not in found[0] and found[0]["logger"] == "integ.x" and found[0]["time"].endswith("Z")


@pytest.mark.usefixtures("restored")
def test_the_line_about_a_request_is_one_like_all_others_and_everybody_who_listens_hears_it() -> None:
    named: dict[str, Any] = {"method": "GET", "route": "/games/{key}", "status": 200, "ms": 1.5, "user": None}
    quick, other, text = io.StringIO(), io.StringIO(), io.StringIO()
    install_logs("INFO", "json", quick)
    token = request_id.set("r1")
    log_request(logging.INFO, "GET /games/{key} 200 1.5 ms", **named)
    log_request(logging.DEBUG, "not at this level", **named)
    logging.getLogger("integ.access").info("GET /games/{key} 200 1.5 ms", extra=facts(**named))
    first, second = lines(quick)
    assert list(first) == list(second)
    assert first | {"time": ""} == second | {"time": ""} and len(first["time"]) == len(second["time"])
    assert (first["request_id"], first["route"], "user" in first) == ("r1", "/games/{key}", False)

    logging.getLogger().addHandler(logging.StreamHandler(other))
    log_request(logging.INFO, "GET / 200 1.5 ms", **named)
    assert other.getvalue() == "GET / 200 1.5 ms\n" and lines(quick)[-1]["message"] == "GET / 200 1.5 ms"

    install_logs("INFO", "text", text)
    log_request(logging.INFO, "GET / 200 1.5 ms", **named)
    assert text.getvalue().endswith("INFO integ.access: GET / 200 1.5 ms [r1]\n")
    request_id.reset(token)


@pytest.mark.usefixtures("restored")
def test_a_log_that_nobody_reads_any_more_fails_no_request() -> None:
    stream = io.StringIO()
    install_logs("INFO", "json", stream)
    stream.close()
    log_request(logging.INFO, "GET / 200 1.5 ms", method="GET")


@pytest.mark.usefixtures("restored")
def test_for_people_it_is_text_that_no_message_can_forge_a_line_of() -> None:
    stream = io.StringIO()
    install_logs("INFO", "text", stream)
    token = request_id.set("r1")
    logging.getLogger("integ.x").info("first\n2026-01-01T00:00:00.000Z CRITICAL integ: forged")
    request_id.reset(token)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("INFO integ.x: first") and second == "    2026-01-01T00:00:00.000Z CRITICAL integ: forged [r1]"


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_line_carries_a_secret_tracebacks_included(form: str) -> None:
    stream = io.StringIO()
    install_logs("DEBUG", form, stream)
    try:
        raise ValueError(f"GET https://api.example/{SECRET}")
    except ValueError:
        logging.getLogger("integ.x").exception("asking %s failed", f"https://api.example/{SECRET}")
    said = stream.getvalue()
    assert "Traceback" in said and "ValueError" in said and "0123456789ABCDEF" not in said


@pytest.mark.usefixtures("restored")
def test_the_lines_of_a_chatty_client_are_for_whoever_debugs() -> None:
    stream = io.StringIO()
    install_logs("INFO", "json", stream)
    logging.getLogger("httpx").info("HTTP Request")
    assert lines(stream) == []
    install_logs("DEBUG", "json", stream)
    logging.getLogger("httpx").info("HTTP Request")
    assert len(lines(stream)) == 1


@pytest.mark.usefixtures("restored")
def test_warnings_and_threads_that_fail_are_lines_too() -> None:
    stream = io.StringIO()
    install_logs("INFO", "json", stream)
    warnings.warn("careful", UserWarning, stacklevel=1)

    def fail() -> None:
        raise ValueError(SECRET)

    thread = threading.Thread(target=fail, name="t1")
    thread.start()
    thread.join()
    careful, failed = lines(stream)
    assert "careful" in careful["message"] and careful["level"] == "WARNING"
    assert "thread t1" in failed["message"] and "ValueError: ?key=***" in failed["error"]


def test_what_nobody_catches_is_a_line_with_its_traceback() -> None:
    run = (
        "from integ_server.logs import install_logs, request_id\n"
        f"install_logs('INFO', 'auto')\nrequest_id.set('r1')\nraise ValueError('{SECRET}')"
    )
    ended = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    (line,) = ended.stderr.splitlines()
    told = json.loads(line)
    assert (ended.returncode, told["level"], told["request_id"]) == (1, "CRITICAL", "r1")
    assert "Traceback" in told["error"] and "0123456789ABCDEF" not in line
