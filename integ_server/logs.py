"""The log of a backend that serves: one line an event, as JSON or for people, with the request's id in every line and no secret in any."""

from __future__ import annotations

import functools
import json
import logging
import sys
import threading
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from integ_server.redaction import install_redaction, redact

request_id: ContextVar[str] = ContextVar("integ_request_id", default="")
"""Of the request that is being answered, or of the one that asked for the job that is being done; empty for the backend's own work."""

_FACTS = "integ"
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
"""`json.dumps` would make an encoder for each line, which takes longer than the line."""
_log = logging.getLogger("integ")
_access = logging.getLogger("integ.access")


def facts(**named: str | float | None) -> dict[str, Any]:
    """
    What a line tells by name besides its message, for `extra=`; None is left out.

    Redaction looks at messages, so a value that somebody outside chose does not belong here.
    """
    return {_FACTS: {name: value for name, value in named.items() if value is not None}}


def install_logs(level: str, form: str, stream: TextIO | None = None) -> None:
    """
    Let everything that this process logs come out of *stream* (stderr) in one form; for a process that only serves.

    *form* is `json`, `text`, or `auto`: text on a terminal. What nobody catches is logged too, with its traceback.
    """
    install_redaction()
    out = stream or sys.stderr
    handler = _Handler(out)
    handler.setFormatter(TextLines() if form == "text" or (form == "auto" and out.isatty()) else JsonLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # What these say at INFO is a line for each request to a store, or for each query: only whoever debugs wants that.
    for name in ("httpx", "httpcore", "sqlalchemy", "dramatiq", "asyncio", "uvicorn"):
        logging.getLogger(name).setLevel(logging.DEBUG if level == "DEBUG" else max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)
    # What no line of ours tells is not looked for: by the handbook's own means, it is a good part of what a line costs.
    logging._srcfile = None
    logging.logProcesses = logging.logMultiprocessing = False
    sys.excepthook = _LoggingHook()
    threading.excepthook = _log_thread_failure


def log_request(level: int, message: str, **named: str | float | None) -> None:
    """
    A line of `integ.access`. Where JSON for the one stream is all that becomes of it, it is made without the way through `logging`,
    which takes about as long as the answer to a list that has not changed. No part of it may be a stranger's words.
    """
    if not _access.isEnabledFor(level):
        return
    extra = facts(**named)
    listening = _access.root.handlers
    handler = listening[0] if len(listening) == 1 and not _access.handlers else None
    if isinstance(handler, _Handler) and isinstance(handler.formatter, JsonLines):
        now = time.time()
        line = _started(now, int(now % 1 * 1000), logging.getLevelName(level), _access.name, message)
        handler.write(_encode({**line, **extra[_FACTS]}))
    else:
        _access.log(level, "%s", message, extra=extra)


class _Handler(logging.StreamHandler[TextIO]):
    def write(self, line: str) -> None:
        self.acquire()
        try:
            self.stream.write(line + self.terminator)
            self.flush()
        except (OSError, ValueError):  # nobody reads it any more, which is no reason to fail a request
            pass
        finally:
            self.release()


def _started(at: float, ms: int, level: str, logger: str, message: str) -> dict[str, Any]:
    line = {"time": f"{_second(int(at))}.{ms:03d}Z", "level": level, "logger": logger, "message": message}
    if asked_by := request_id.get():
        line["request_id"] = asked_by
    return line


class JsonLines(logging.Formatter):
    """`{"time","level","logger","message"}`, and where they apply `"request_id"`, the line's own facts and `"error"`, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = _started(record.created, int(record.msecs), record.levelname, record.name, record.getMessage())
        line.update(getattr(record, _FACTS, {}))
        if error := _traceback(self, record):
            line["error"] = error
        return _encode(line)


class TextLines(logging.Formatter):
    """`TIME LEVEL LOGGER: MESSAGE [REQUEST]`; what goes on over several lines is indented, so that no message looks like another line."""

    def format(self, record: logging.LogRecord) -> str:
        asked_by = request_id.get()
        line = f"{_moment(record)} {record.levelname} {record.name}: {record.getMessage()}{f' [{asked_by}]' if asked_by else ''}"
        error = _traceback(self, record)
        return (f"{line}\n{error}" if error else line).replace("\n", "\n    ")


def _moment(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@functools.lru_cache(maxsize=2)
def _second(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Redaction has written it into the record already; a record that was made without it is redacted here."""
    if not record.exc_text and record.exc_info:
        record.exc_text = redact(formatter.formatException(record.exc_info))
    return record.exc_text or ""


class _LoggingHook:
    """In the place of `sys.excepthook`: the same traceback, but as a line of the log."""

    redacts = True

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            _log.critical("an uncaught %s ended this process", kind.__name__, exc_info=(kind, error, trace))


def _log_thread_failure(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is None or issubclass(failed.exc_type, SystemExit):
        return
    name = failed.thread.name if failed.thread else "unknown"
    trace = (failed.exc_type, failed.exc_value, failed.exc_traceback)
    _log.critical("an uncaught %s ended the thread %s", failed.exc_type.__name__, name, exc_info=trace)
