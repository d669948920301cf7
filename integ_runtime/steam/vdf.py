"""
Valve's text KeyValues ("VDF", "ACF"), read: for files that other programs write, hand-edit, cut short and fill with rubbish.

Its own reader, because the one on PyPI looks keys up by their case, has no bound on depth and trips over unquoted conditionals.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from integ_server.contract.errors import IntegrityError

MAX_BYTES = 64 << 20
MAX_DEPTH = 64
_JUST_WRITTEN_S = 2.0

# Possessive quantifiers: no input makes the scanner go back over what it has read.
TOKEN = re.compile(
    r"""(?:[\s\0\ufeff]++|//[^\n]*+)*+
      (?: "(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"
        | (?P<open>\{) | (?P<close>\})
        | \[(?P<condition>[!$][^\]\n]*+)\]
        | (?P<bare>(?:[^\s"{}\0/]|/(?!/))++)
        | \Z )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r'\\([nt\\"])')
_ESCAPED = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}
_TRUE_HERE = {"$LINUX", "$POSIX"}


class Section:
    """
    One `{...}` of a file: keys to texts and sections, looked up without regard to case, in the order of the file.

    A section that comes twice is one section with the keys of both; of a text that comes twice the last one counts.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, str | Section]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key.casefold() in self._entries

    def items(self) -> Iterator[tuple[str, str | Section]]:
        """Each key as the file spells it (the spelling that came first) and its value."""
        yield from self._entries.values()

    def sections(self) -> Iterator[tuple[str, Section]]:
        for key, value in self._entries.values():
            if isinstance(value, Section):
                yield key, value

    def find(self, *path: str) -> str | Section | None:
        """What stands at *path*; None when there is nothing."""
        found: str | Section | None = self
        for key in path:
            if not isinstance(found, Section):
                return None
            entry = found._entries.get(key.casefold())
            if entry is None:
                return None
            found = entry[1]
        return found

    def section(self, *path: str) -> Section:
        """The section at *path*; an empty one when there is none."""
        found = self.find(*path)
        return found if isinstance(found, Section) else Section()

    def text(self, *path: str) -> str:
        """The text at *path*; empty when there is none."""
        found = self.find(*path)
        return found if isinstance(found, str) else ""

    def number(self, *path: str) -> int:
        """The whole number at *path*, 0 when there is none; bounded to what 64 bits hold."""
        text = self.text(*path).strip()
        digits = text.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
            return 0
        return max(-(2**63), min(int(text), 2**64 - 1))

    def add(self, key: str, value: str | Section) -> None:
        folded = key.casefold()
        before = self._entries.get(folded)
        if before is None:
            self._entries[folded] = (key, value)
        elif isinstance(before[1], Section) and isinstance(value, Section):
            for name, each in value.items():
                before[1].add(name, each)
        else:
            self._entries[folded] = (before[0], value)

    def enter(self, key: str) -> Section:
        """The section *key*, made when it is not there; a text of that name gives way to it."""
        entry = self._entries.get(key.casefold())
        if entry is not None and isinstance(entry[1], Section):
            return entry[1]
        made = Section()
        self.add(key, made)
        return made

    def as_dict(self) -> dict[str, object]:
        return {key: value.as_dict() if isinstance(value, Section) else value for key, value in self._entries.values()}


def read_vdf(path: Path) -> Section:
    """
    The content of the file *path*.

    Steam may be writing it: a file that makes no sense and is younger than two seconds is read once more.

    Raises:
        FileNotFoundError: It is not there.
        IntegrityError: It can't be read or understood; the message names it.
    """
    text, written_at = _read(path)
    try:
        return parse_vdf(text, where=str(path))
    except IntegrityError:
        if abs(time.time() - written_at) > _JUST_WRITTEN_S:
            raise
    time.sleep(0.05)
    return parse_vdf(_read(path)[0], where=str(path))


def parse_vdf(text: str, *, where: str = "text") -> Section:
    """
    The outermost keys of *text*.

    Raises:
        IntegrityError: Braces or quotes don't match, it is nested too deep, or it holds no key at all.
    """
    root = Section()
    stack = [root]
    key: str | None = None
    last: tuple[Section, str, tuple[str, str | Section] | None] | None = None  # where a text went, and what stood there before
    skipping = False  # the next section belongs to another system
    position, end, match_at = 0, len(text), TOKEN.match
    while position < end:
        match = match_at(text, position)
        if match is None:
            raise damaged(where, text, position, "a quote is left open")
        position = match.end()
        kind = match.lastgroup
        if kind is None:
            break
        if kind in {"quoted", "bare"}:
            token = match[kind]
            if kind == "quoted" and "\\" in token:
                token = unescaped(token)
            if key is None:
                key, skipping, last = token, False, None
            else:
                folded = key.casefold()
                last = (stack[-1], folded, stack[-1]._entries.get(folded))
                stack[-1].add(key, token)
                key = None
        elif kind == "condition":
            if key is not None:
                skipping = not condition_holds(match["condition"])
            elif last is not None and not condition_holds(match["condition"]):
                _take_back(*last)
                last = None
        elif kind == "open":
            if key is None:
                raise damaged(where, text, match.start(), "a section has no name")
            if len(stack) > MAX_DEPTH:
                raise damaged(where, text, match.start(), "it is nested too deep")
            stack.append(Section() if skipping else stack[-1].enter(key))
            key, skipping, last = None, False, None
        else:
            if key is not None or len(stack) == 1:
                raise damaged(where, text, match.start(), "a closing brace comes too early")
            stack.pop()
            last = None
    if key is not None or len(stack) > 1:
        raise damaged(where, text, end, "it ends too early")
    if not root._entries:
        raise IntegrityError(f"{where} is empty")
    return root


def _take_back(section: Section, folded: str, before: tuple[str, str | Section] | None) -> None:
    if before is None:
        section._entries.pop(folded, None)
    else:
        section._entries[folded] = before


def unescaped(token: str) -> str:
    """What stands between two quotes, as it is meant; an escape that nobody knows stays."""
    return _ESCAPE.sub(lambda found: _ESCAPED[found[1]], token)


def condition_holds(condition: str) -> bool:
    """Whether `$LINUX||!$WIN32` and the like hold on this system; `||` binds looser than `&&`, as in Valve's own reader."""

    def term(text: str) -> bool:
        text = text.strip()
        negated = text.startswith("!")
        return (text.lstrip("!").strip().upper() in _TRUE_HERE) != negated

    return any(all(term(one) for one in part.split("&&")) for part in condition.split("||"))


def _read(path: Path) -> tuple[str, float]:
    """Text and time of writing; a pipe or device is refused without waiting for it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise IntegrityError(f"{path} is not a file")
            content = os.read(handle, min(facts.st_size, MAX_BYTES) + 1)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IntegrityError(f"{path} can't be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise IntegrityError(f"{path} is too large")
    return content.decode("utf-8", "surrogateescape"), facts.st_mtime


def damaged(where: str, text: str, position: int, what: str) -> IntegrityError:
    line = text.count("\n", 0, position) + 1
    return IntegrityError(f"{where} is damaged in line {line}: {what}")
