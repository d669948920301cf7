"""Secrets out of every text that a person or a log may see: addresses, headers, dumps of answers, tracebacks."""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

HIDDEN = "***"

_NAMES = (
    "access_token|refresh_token|id_token|client_secret|clientSecret|api_key|apikey|steam_api_key|wsSecret|nonce|"
    r"openid\.sig|openid\.response_nonce|steamLoginSecure|steamRefresh_steam|password|gog-al|token_to_revoke|wsToken|secret_key|certificate|"
    "device_code"
)
_START = r"(?:^|[^\w.]|%(?:25)*(?:3F|26))"
"""What stands before a name: anything but a longer name, percent-encoded once or more often too."""
_VALUE = r"[^&\s\"'<>;,)\]}]+"
_ENCODED_VALUE = r"(?:[^&\s\"'<>;,)%\]}]|%(?!(?:25)*26)[0-9a-f]{2})+"
_QUERY_NAMES = "key|code|token|sig|jwt|auth|state"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # name=value in queries, forms and cookies; names that mean nothing else may stand anywhere
    (re.compile(rf"(?im)({_START}(?:{_NAMES})=){_VALUE}"), rf"\g<1>{HIDDEN}"),
    (re.compile(rf"(?im)({_START}(?:{_NAMES})%(?:25)*3D){_ENCODED_VALUE}"), rf"\g<1>{HIDDEN}"),
    # key, code and token mean other things elsewhere: only inside a query
    (re.compile(rf"(?i)([?&](?:{_QUERY_NAMES})=){_VALUE}"), rf"\g<1>{HIDDEN}"),
    (re.compile(rf"(?i)(%(?:25)*(?:3F|26)(?:{_QUERY_NAMES})%(?:25)*3D){_ENCODED_VALUE}"), rf"\g<1>{HIDDEN}"),
    # "name": "value" in JSON and in Python's repr of it
    (
        re.compile(rf"(?i)([\"']?(?:{_NAMES}|token|X-GOG-Library-Cert)[\"']?\s*[:=,]\s*b?)([\"'])(?:\\.|(?!\2).)*\2"),
        rf"\g<1>\g<2>{HIDDEN}\g<2>",
    ),
    # headers, as httpcore prints them, as curl does, and as a dict
    (
        re.compile(
            r"(?i)(\b(?:proxy-)?authorization\b[\"']?\s*[:=,]\s*(?:b(?=[\"']))?[\"']?)(?:(?:bearer|basic|digest|token)\s+)?[^\s\"',)\]}]+"
        ),
        rf"\g<1>{HIDDEN}",
    ),
    (re.compile(r"(?i)(\b(?:set-)?cookie\b[\"']?\s*[:=,]\s*b?[\"'])(?:\\.|[^\"'])*"), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(?i)(\b(?:set-)?cookie\b\s*:\s*)[^\"'\r\n\[]+"), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(?i)(\bX-GOG-Library-Cert\b\s*[:=]\s*)[^\s\"',)\]}\[]+"), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{6,}"), rf"\g<1>{HIDDEN}"),
    # signed CDN paths: /token=nva=1785355909~dirs=4~token=0a1b2c/
    (re.compile(r"(?i)(token=)nva=[^/\s\"'<>]+"), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(?i)(~(?:token|hmac|hdntl)=)[^/~\s\"'<>&\[]+"), rf"\g<1>{HIDDEN}"),
    # user:password@ in an address, such as a proxy's
    (re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s\"'<>@]+@"), rf"\g<1>{HIDDEN}@"),
    # Integ's own, of webhooks, scripts and devices; what is shown of a personal token to know it by is shorter
    (re.compile(r"(?<![A-Za-z])(?:integ_(?:pat|rt|dc)|whsec)_[A-Za-z0-9_.+/=-]{16,}"), HIDDEN),
    # things that are secrets by their looks: a JWT, a GitHub token, a Steam Web API key
    (re.compile(r"\bey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"), HIDDEN),
    (re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[A-F])[0-9A-F]{32}(?![0-9A-Za-z])"), HIDDEN),
)
_HINTS = re.compile(
    r"(?i)token|key|code|secret|nonce|openid|bearer|authorization|cookie|password|certificate|cert\b|sig=|state=|jwt|auth|gog-al|steam|@|\bey|gh[pousr]_|github|integ_|whsec_|[0-9A-F]{32}"
)


def redact(text: str) -> str:
    """*text* with every key, code, token and secret in it replaced; safe to call on anything, twice included."""
    if not _HINTS.search(text):
        return text
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def redacted_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> str:
    """The traceback as Python prints it, without secrets; values of variables are not in it."""
    return redact("".join(traceback.format_exception(kind, error, trace)))


def install_redaction() -> None:
    """Let no log record and no uncaught exception of this process carry a secret: httpx logs whole addresses at INFO."""
    install_log_redaction()
    if not getattr(sys.excepthook, "redacts", False):
        sys.excepthook = _RedactingHook(sys.excepthook)
        threading.excepthook = _tell_thread_failure


def install_log_redaction() -> None:
    """
    Redact when a record is made, before any handler, formatter or `caplog` sees it.

    A filter on a logger would miss its children (httpcore logs as `httpcore.http11`), and one on a handler other people's handlers.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return _redacted(make(*args, **kwargs))

    make_redacted.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_redacted)


def _redacted(record: logging.LogRecord) -> logging.LogRecord:
    if record.exc_info and record.exc_info[0] is not None and record.exc_info[1] is not None:
        record.exc_text = redacted_traceback(*record.exc_info).rstrip("\n")  # formatters take this instead of making their own
    try:
        said = record.getMessage()
    except (TypeError, ValueError):  # a wrong call of the logger: its handler tells
        return record
    if redact(said) == said:
        return record
    # uvicorn's access formatter takes args apart again, so they keep their number and order as far as possible
    if isinstance(record.args, tuple):
        record.args = tuple(_redacted_argument(each) for each in record.args)
        said = record.getMessage()
    if redact(said) != said:
        record.msg, record.args = redact(said), None
    return record


def _redacted_argument(argument: object) -> object:
    if isinstance(argument, int | float | None):
        return argument
    text = str(argument)
    clean = redact(text)
    return argument if clean == text else clean


class _RedactingHook:
    """Take the place of `sys.excepthook`; what is no bug (Ctrl-C) goes to the hook that stood there."""

    redacts = True

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            self._before(kind, error, trace)
        else:
            sys.stderr.write(redacted_traceback(kind, error, trace))


def _tell_thread_failure(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is None or issubclass(failed.exc_type, SystemExit):
        return
    name = failed.thread.name if failed.thread else "unknown"
    sys.stderr.write(f"Exception in thread {name}:\n{redacted_traceback(failed.exc_type, failed.exc_value, failed.exc_traceback)}")
