"""The only writer of the command line: results on stdout, everything else on stderr, and the questions."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from integ_cli.layout import Table, safe, safe_lines, size, table
from integ_server.contract.errors import IntegError, UsageError, WouldLoseDataError, to_envelope, utc_now_text

if TYPE_CHECKING:
    from integ_runtime.progress import Progress, Report

_EVENT_PAUSE_S = 0.1


class Output:
    """What one command says and asks; its switches are the options that every command has."""

    def __init__(self) -> None:
        self.as_json = False
        self.events = False
        self.quiet = False
        self.verbose = 0
        self.no_input = False
        self.yes = False
        self._pen = threading.Lock()
        self._last_event: dict[tuple[str, str], float] = {}
        self._document_is_out = False
        self._events_are_lost = False

    # --- results ---

    def result(self, schema: str, data: object, *paragraphs: str) -> None:
        """End a command well: *data* as the envelope of `integ/`*schema*, or *paragraphs* for people."""
        if self.as_json:
            self.result_json(schema, dumps(data))
            return
        for paragraph in paragraphs:
            self.text(paragraph)

    def result_json(self, schema: str, data_json: str) -> None:
        """As `result` with `--json`, for data that are JSON already."""
        self._document(f'{{"schema":"integ/{schema}@1","status":"ok","data":', data_json, f',"timestamp":"{utc_now_text()}"}}')

    def text(self, text: str) -> None:
        """Lines of a result; line breaks stay, other control characters do not. An empty text is no line."""
        if text:
            _write(sys.stdout, text if isinstance(text, Table) else safe_lines(text))

    def rows(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
        """A table as text, as wide as the terminal when it is one; no text at all without rows."""
        import shutil

        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        return table(headers, rows, columns=columns, bold=self.colours)

    @property
    def colours(self) -> bool:
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    # --- on the way ---

    def note(self, text: str) -> None:
        """Something worth a line, that is not the result."""
        if not self.quiet:
            self._aside(safe(text))

    def tell(self, text: str) -> None:
        """Something the player has to see to go on, quiet or not."""
        self._aside(safe(text))

    def drawing(self, lines: Sequence[str], *, end: str = "\n") -> None:
        """Lines of our own making, escapes and all, beside the result."""
        with suppress(OSError):
            _write(sys.stderr, end.join(lines), end=end)

    def warn(self, text: str) -> None:
        self._aside(f"warning: {safe(text)}")

    def detail(self, text: str) -> None:
        """Shown with `-v` only."""
        if self.verbose:
            self._aside(safe(text))

    def event(self, kind: str, **fields: object) -> None:
        """One NDJSON line of `--events`. Where nobody reads them any more the work goes on; its result tells of that by its exit code."""
        known = {"schema": "integ/event@1", "event": kind, **fields, "timestamp": utc_now_text()}
        with self._pen:
            if self._events_are_lost:
                return
            try:
                _write_json(dumps(known))
            except OSError:  # raised from here it would end in the middle of whoever reports, an event loop's callback among them
                self._events_are_lost = True

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """A report for a long action: events, a bar on a terminal, lines with `-v`, or only what is waited for."""
        if self.events:
            yield self._as_event
        elif sys.stderr.isatty() and not self.quiet and os.environ.get("TERM") != "dumb":
            from integ_cli.progress_bar import progress_bar

            with progress_bar() as report:
                yield report
        else:
            stages: set[str] = set()

            def report_stage(progress: Progress) -> None:
                if progress.waits:
                    self.note(progress.message)
                elif self.verbose and progress.told not in stages:
                    stages.add(progress.told)
                    self._aside(_said(progress))

            yield report_stage

    def _as_event(self, progress: Progress) -> None:
        kind = "log" if progress.message else "progress"
        counted = progress.done_bytes if progress.done_bytes is not None else progress.done
        whole = progress.total_bytes if progress.total_bytes is not None else progress.total
        if counted is None and whole is None and not progress.message:
            kind = "stage"
        now, slot = time.monotonic(), (kind, progress.told)
        last = self._last_event.get(slot)
        if kind == "progress" and last is not None and now - last < _EVENT_PAUSE_S and counted != whole:
            return
        self._last_event[slot] = now
        more: dict[str, object] = {}
        if progress.done is not None or progress.total is not None:
            more = {"done": progress.done, "total": progress.total}
        if progress.message:
            more["message"] = progress.message
        if progress.about:
            more["about"] = progress.about
        self.event(kind, stage=progress.stage, done_bytes=progress.done_bytes, total_bytes=progress.total_bytes, **more)

    # --- failures ---

    def failure(self, error: IntegError) -> None:
        """Tell *error*: a line and a hint for a person, and the envelope when JSON was asked for."""
        self._aside(f"error: {safe(error.message)}")
        for candidate in _candidates(error):
            self._aside(f"  {safe(candidate['key'])}  {safe(candidate['title'])}")
        for line in _parts(error):
            self._aside(f"  {line}")
        if error.hint:
            self._aside(f"hint: {safe(error.hint)}")
        if self.as_json:
            self._document(dumps({"schema": "integ/error@1", **to_envelope(error)}))

    def failure_named(self, name: str, message: str) -> None:
        """The envelope of an end that is no IntegError: an interruption, a bug."""
        if self.as_json:
            known = {"status": "error", "error": name, "message": message, "hint": "", "timestamp": utc_now_text()}
            self._document(dumps({"schema": "integ/error@1", **known}))

    def interrupted(self) -> None:
        self._aside("interrupted")

    # --- questions ---

    @property
    def can_ask(self) -> bool:
        return not self.no_input and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str) -> None:
        """
        Ask before something is lost; come back only after a yes.

        Raises:
            WouldLoseDataError: The answer was no, or nobody could be asked.
        """
        if self.yes:
            return
        if not self.can_ask:
            raise WouldLoseDataError(f"{question} Nobody could be asked.", hint="--yes says yes")
        if self._read(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
            raise WouldLoseDataError("not done: the answer was no")

    def choose(self, question: str, choices: Sequence[str]) -> int:
        """The index of one of *choices*; only where `can_ask`."""
        for number, choice in enumerate(choices, 1):
            self._aside(f"{number:3}  {safe(choice)}")
        while True:
            answer = self._read(f"{question} [1-{len(choices)}] ").strip()
            if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(choices):
                return int(answer) - 1
            if not answer:
                raise UsageError("nothing was chosen")

    def answer(self, question: str, *, otherwise: str) -> str:
        """
        A line that the player types.

        Raises:
            UsageError: Nobody can be asked; *otherwise* is the hint. Or nothing was typed.
        """
        if not self.can_ask:
            raise UsageError(f"{question} can't be asked for: this is no terminal", hint=otherwise)
        answer = self._read(f"{question}: ").strip()
        if not answer:
            raise UsageError("nothing was typed", hint=otherwise)
        return answer

    def secret(self, question: str, *, otherwise: str) -> str:
        """
        What the player types without it being shown.

        Raises:
            UsageError: Nobody can be asked; *otherwise* is the hint.
        """
        if not self.can_ask:
            raise UsageError(f"{question} can't be asked for: this is no terminal", hint=otherwise)
        from getpass import getpass

        return getpass(f"{question}: ").strip()

    def _read(self, question: str) -> str:
        sys.stderr.write(safe(question))
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            raise UsageError("the input ended before the question was answered")
        return answer

    # --- ink ---

    def _aside(self, line: str) -> None:
        with suppress(OSError):  # a result is worth no less because nobody hears what is said beside it
            _write(sys.stderr, line)

    def _document(self, *parts: str) -> None:
        """The one document of a command; whatever comes after it, even after half of it, is not printed."""
        if not self._document_is_out:
            self._document_is_out = True
            with self._pen:
                _write_json(*parts)


def read_stdin_secret(what: str) -> str:
    """
    One line of stdin, for secrets that must not stand in a command line.

    Raises:
        UsageError: There is nothing on stdin, or far too much.
    """
    text = sys.stdin.readline(16_384).strip()
    if not text:
        raise UsageError(f"there is no {what} on stdin")
    if len(text) >= 16_000:
        raise UsageError(f"what stdin holds is too long for a {what}")
    return text


def read_stdin(most: int) -> str:
    """
    All of stdin.

    Raises:
        UsageError: It is no text, or longer than *most* characters.
    """
    try:
        text = sys.stdin.read(most + 1)
    except UnicodeDecodeError as error:
        raise UsageError("what stdin holds is no UTF-8 text") from error
    if len(text) > most:
        raise UsageError("what stdin holds is too long")
    return text


def _candidates(error: IntegError) -> list[dict[str, Any]]:
    found = (error.data or {}).get("candidates", [])
    return [each for each in found if isinstance(each, dict) and {"key", "title"} <= each.keys()]


def _parts(error: IntegError) -> list[str]:
    """What became of each account, for a failure that was partly a success."""
    lines = []
    for each in (error.data or {}).get("accounts", []):
        if isinstance(each, dict):
            failed = each.get("error")
            told = failed.get("message", "failed") if isinstance(failed, dict) else failed or f"{each.get('total', 0)} games"
            lines.append(safe(f"{each.get('provider')} {each.get('account')}: {told}"))
    return lines


def _said(progress: Progress) -> str:
    text = progress.message or progress.told
    return safe(f"{text} ({size(progress.total_bytes)})" if progress.total_bytes else text)


def dumps(value: object) -> str:
    """*value* as JSON in one line."""
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """Paths as their text; anything else is a bug that should be seen."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _write_json(*parts: str) -> None:
    """One line of JSON: UTF-8 whatever the locale says; on a terminal the C1 controls are escaped, which JSON itself lets through."""
    on_a_terminal = sys.stdout.isatty()
    sys.stdout.flush()
    for part in parts:
        text = "".join(f"\\u{ord(char):04x}" if "\x7f" <= char <= "\x9f" else char for char in part) if on_a_terminal else part
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _write(stream: TextIO, text: str, *, end: str = "\n") -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + end)
    stream.flush()
