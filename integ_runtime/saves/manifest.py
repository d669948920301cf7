"""
What a ludusavi manifest tells of a game. The file is the player's, and anybody may have written it: nothing in it is trusted.

The whole one has 50,000 entries and takes YAML minutes, so it is not parsed whole: in block style each line without indentation begins an
entry, and only the entries that may be the wanted one are.

Source: ludusavi-manifest, README.md and data/schema.yaml.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from integ_server.contract.errors import IntegrityError, NotFoundError, UsageError

LIMIT_BYTES = 128 << 20
ENTRY_LIMIT_BYTES = 2 << 20
OWN_FILE = ".ludusavi.yaml"
"""A game may bring one in its folder."""
OWN_LIMIT_BYTES = 1 << 20
_MOST_CANDIDATES = 200
"""Entries in which the looked-for number stands somewhere; of a real manifest they are a handful."""
_MOST_RULES = 2000
_MOST_ITEMS = 64
_DEEPEST = 16
_MOST_ALIASES = 8
_LINE_START = re.compile(rb"^(?=[^\s#%])(?!:\s)", re.MULTILINE)
"""Not where `: value` goes on with a `? key` of the line before."""
_KEY = re.compile(rb"""\"([^"]*)\"[ ]*:|'((?:[^']|'')*)'[ ]*:|(.*?):(?:\s|$)""")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_MARKS = (b"---", b"...")

By = Literal["steam", "gog", "title", "own"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """Both have to hold; an empty one always does."""

    os: str = ""
    store: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One path of a game, or one key of its registry, with placeholders and wildcards as they are written."""

    path: str
    tags: tuple[str, ...] = ()
    """save, config; empty: nobody knows."""
    when: tuple[Constraint, ...] = ()
    """Alternatives; none at all: always."""

    def holds(self, *, os: str, store: str) -> bool:
        """Whether it is meant for a game that believes to run on *os* and comes from *store*."""
        return not self.when or any(each.os in {"", os} and each.store in {"", store} for each in self.when)


@dataclass(frozen=True, slots=True)
class Entry:
    title: str
    files: tuple[Rule, ...] = ()
    registry: tuple[Rule, ...] = ()
    install_dirs: tuple[str, ...] = ()
    steam_ids: frozenset[int] = frozenset()
    """Its own and those of other editions."""
    gog_ids: frozenset[int] = frozenset()
    cloud: tuple[str, ...] = ()
    """Stores that keep its saves themselves."""
    alias: str = ""
    """The title under which it really stands; then nothing else here counts."""


@dataclass(frozen=True, slots=True)
class Match:
    entry: Entry
    by: By
    """How the game was known: its id at a store, its title, or a file of its own."""


class Manifest:
    """One file, read whole into memory; the newest of two entries of the same title counts."""

    def __init__(self, text: bytes, name: str) -> None:
        self._text = text.removeprefix(b"\xef\xbb\xbf")
        self._name = name
        first = _LINE_START.search(self._text)
        self._in_one = first is not None and self._text[first.start() : first.start() + 1] == b"{"

    @classmethod
    def open(cls, file: Path, *, limit_bytes: int = LIMIT_BYTES) -> Manifest:
        """
        Raises:
            NotFoundError: There is no such file.
            UsageError: It can't be read, or is larger than any manifest.
        """
        try:
            if not file.is_file():
                raise NotFoundError(f"there is no manifest {file}", hint="integ config set save_manifest FILE")
            with file.open("rb") as source:
                text = source.read(limit_bytes + 1)
        except OSError as error:
            raise UsageError(f"the manifest {file} can't be read: {error.strerror}", hint="--manifest FILE") from error
        if len(text) > limit_bytes:
            raise UsageError(f"{file} is too large for a manifest: more than {limit_bytes >> 20} MiB", hint="--manifest FILE")
        return cls(text, str(file))

    def find(self, *, steam: int | None = None, gog: int | None = None, title: str = "") -> Match | None:
        """
        What the manifest tells of a game: by its id at a store, else by its title without regard to case and signs.

        Raises:
            IntegrityError: What may be its entry is no YAML that a manifest would hold.
        """
        for by, number in (("steam", steam), ("gog", gog)):
            if number is None:
                continue
            for entry in self._with_number(number):
                if not entry.alias and number in (entry.steam_ids if by == "steam" else entry.gog_ids):
                    return Match(entry, "steam" if by == "steam" else "gog")
        if title and (found := self._titled(title)) is not None:
            return Match(found, "title")
        return None

    def first(self) -> Entry | None:
        """The only entry, of a file that a game brings of itself; the first where there are several."""
        return next((entry for at in self._starts() for entry in self._entries(at)), None)

    def _titled(self, title: str) -> Entry | None:
        wanted, exact = title, False
        for _ in range(_MOST_ALIASES):
            found = [entry for at in self._called(wanted) for entry in self._entries(at) if _alike(entry.title, wanted, exact=exact)]
            if not found:
                return None
            best = next((entry for entry in reversed(found) if entry.title == wanted), found[-1])
            if not best.alias:
                return best
            wanted, exact = best.alias, True
        return None  # in a circle

    def _with_number(self, number: int) -> Iterator[Entry]:
        looked_at, end = 0, 0
        for hit in re.finditer(rb"%d(?![0-9A-Za-z.])" % number, self._text):
            before = self._text[max(0, hit.start() - 24) : hit.start()]
            if hit.start() < end or not re.search(rb"(?:\bid[\"']?:|[-,\[])[ \t\r\n\"']*$", before):
                continue
            after = None if self._in_one else _LINE_START.search(self._text, hit.start())
            end = after.start() if after else len(self._text)  # each entry is looked at once, however often the number is in it
            at = self._start_of(hit.start())
            if at is not None:
                yield from self._entries(at)
                looked_at += 1
            if looked_at == _MOST_CANDIDATES:
                return

    def _called(self, title: str) -> Iterator[int]:
        wanted = plain_title(title)
        for at in self._starts():
            if self._in_one:
                yield at
                continue
            end = self._text.find(b"\n", at)
            line = self._text[at : end if end >= 0 else len(self._text)][:1024]
            if line[:2] == b"? " or (line[:1] == b'"' and b"\\" in line) or plain_title(_key_of(line)) == wanted:
                yield at

    def _starts(self) -> Iterator[int]:
        if self._in_one:
            yield 0
            return
        for found in _LINE_START.finditer(self._text):
            if self._text[found.start() : found.start() + 3] not in _MARKS:
                yield found.start()

    def _start_of(self, at: int) -> int | None:
        """Where the entry begins in which *at* is."""
        if self._in_one:
            return 0
        lowest = max(0, at - ENTRY_LIMIT_BYTES)
        while at >= lowest:
            begin = self._text.rfind(b"\n", 0, at) + 1
            if _LINE_START.match(self._text, begin):
                return begin if self._text[begin : begin + 3] not in _MARKS else None
            at = begin - 1
        return None

    def _entries(self, at: int) -> list[Entry]:
        """What stands from *at* on up to the next line without indentation: one entry, or all when they are written in braces."""
        after = None if self._in_one else _LINE_START.search(self._text, at + 1)
        block = self._text[at : after.start() if after else len(self._text)]
        if len(block) > ENTRY_LIMIT_BYTES:
            raise self._odd("an entry is longer than any game's")
        try:
            found = read_yaml(block.decode("utf-8"))
        except ValueError as error:
            raise self._odd(str(error)) from error
        if not isinstance(found, dict):
            raise self._odd("it is no list of titles")
        return [_entry(title, body) for title, body in found.items() if isinstance(body, dict)]

    def _odd(self, reason: str) -> IntegrityError:
        return IntegrityError(f"{self._name} is no ludusavi manifest: {reason[:200]}", hint="--manifest FILE")


def read_yaml(text: str, *, typed: bool = False) -> Any:
    """
    *text* as dicts, lists and texts; every plain value is its text, so that a title `2048` or `Yes` stays one.

    With *typed* what is written without quotes as a number, true, false or null is one; never a key.

    Raises:
        ValueError: It is no YAML, refers to other parts of itself, or is nested deeper than anything of ludusavi's.
    """
    import yaml

    top: list[Any] = []
    open_nodes: list[tuple[Any, list[str]]] = [(top, [])]
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it refers to other parts of itself")
            if isinstance(event, yaml.ScalarEvent):
                plain = typed and not event.style
                _put(open_nodes[-1], event.value, plain_value(event.value) if plain else event.value)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                if len(open_nodes) > _DEEPEST:
                    raise ValueError("it is nested too deeply")
                node: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                _put(open_nodes[-1], node, node)
                open_nodes.append((node, []))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                open_nodes.pop()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    return top[0] if top else None


def _put(into: tuple[Any, list[str]], written: Any, value: Any) -> None:
    node, keys = into
    if isinstance(node, list):
        node.append(value)
    elif keys:
        node[keys.pop()] = value
    elif isinstance(written, str):
        keys.append(written)
    else:
        raise ValueError("a key is no text")


def plain_value(text: str) -> Any:
    """What *text* without quotes stands for in YAML 1.2, as far as ludusavi's files go."""
    if text in _WORDS:
        return _WORDS[text]
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}\.[0-9]{1,18}", text) else text


def plain_title(title: str) -> str:
    """*title* without what is spelt differently from store to store: case, accents, signs, blanks."""
    bare = title.translate({ord(sign): None for sign in "™®©"})
    return "".join(letter for letter in unicodedata.normalize("NFKD", bare).casefold() if letter.isalnum())


def _alike(one: str, other: str, *, exact: bool) -> bool:
    return one == other if exact else plain_title(one) == plain_title(other)


def _key_of(line: bytes) -> str:
    """The title in the first line of an entry; a quote in it that is written twice stays, and a comparison does not see it."""
    found = _KEY.match(line)
    return next(filter(None, found.groups()), b"").decode("utf-8", "replace") if found else ""


def _entry(title: str, body: dict[str, Any]) -> Entry:
    alias = body.get("alias")
    if isinstance(alias, str) and alias:
        return Entry(title, alias=alias)
    more = _mapping(body, "id")
    return Entry(
        title=title,
        files=tuple(_rules(_mapping(body, "files"))),
        registry=tuple(_rules(_mapping(body, "registry"))),
        install_dirs=tuple(_mapping(body, "installDir"))[:_MOST_ITEMS],
        steam_ids=_numbers([_mapping(body, "steam").get("id"), *_items(more.get("steamExtra"))]),
        gog_ids=_numbers([_mapping(body, "gog").get("id"), *_items(more.get("gogExtra"))]),
        cloud=tuple(sorted(store for store, kept in _mapping(body, "cloud").items() if kept == "true")),
    )


def _rules(found: dict[str, Any]) -> Iterator[Rule]:
    for path, body in list(found.items())[:_MOST_RULES]:
        told = body if isinstance(body, dict) else {}
        when = [each for each in _items(told.get("when")) if isinstance(each, dict)]
        yield Rule(
            path=path,
            tags=tuple(each for each in _items(told.get("tags")) if isinstance(each, str)),
            when=tuple(Constraint(_word(each, "os"), _word(each, "store")) for each in when),
        )


def _word(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "")
    return value if isinstance(value, str) else "?"  # something that never holds


def _mapping(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> Sequence[Any]:
    return value[:_MOST_ITEMS] if isinstance(value, list) else ()


def _numbers(values: Sequence[Any]) -> frozenset[int]:
    return frozenset(int(each) for each in values if isinstance(each, str) and re.fullmatch(r"[0-9]{1,20}", each))
