"""
Changing one key of a text VDF file of somebody else's: every other byte stays as it stood, comments, order and odd spellings too.

Never by writing a parsed tree out again: Steam's `config.vdf` holds bytes that are no UTF-8, and keys whose case moves with its versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from integ_runtime.steam.vdf import MAX_DEPTH, TOKEN, condition_holds, damaged, unescaped
from integ_server.contract.errors import IntegrityError


@dataclass(slots=True)
class _Entry:
    """One key with its value, by its places in the text; `inside` is None for a text."""

    key: str
    start: int
    value_start: int = 0
    """Of a section: behind its brace."""
    value_end: int = 0
    """Of a section: its closing brace."""
    end: int = 0
    inside: list[_Entry] | None = None
    counts: bool = True
    """False when a condition says that it is meant for another system."""


def set_text(content: bytes, path: Sequence[str], value: str, *, where: str = "text") -> bytes:
    """
    *content* with *value* at *path*; what is missing of the path is made, spelt as it is given here.

    Of a key that comes twice the last one changes: the one that counts.

    Raises:
        IntegrityError: *content* is damaged, or something on the path is not what it has to be; the message begins with *where*.
    """
    text = _decoded(content)
    *above, key = path
    sections, missing = _sections(text, above, where)
    if not missing:
        found = list(_named(sections, key))
        if found:
            if found[-1].inside is not None:
                raise IntegrityError(f"{where} holds a section where {key} should be a text")
            return _encoded(text[: found[-1].value_start] + _quoted(value) + text[found[-1].value_end :])
    return _encoded(_inserted(text, sections[-1], missing, {key: value}))


def set_section(content: bytes, path: Sequence[str], values: Mapping[str, str], *, where: str = "text") -> bytes:
    """The same for several texts of the section at *path*; its other keys stay."""
    text = _decoded(content)
    sections, missing = _sections(text, path, where)
    if missing and values:
        return _encoded(_inserted(text, sections[-1], missing, values))
    for key, value in values.items():
        content = set_text(content, [*path, key], value, where=where)
    return content


def remove(content: bytes, path: Sequence[str], *, where: str = "text") -> bytes:
    """
    *content* without what stands at *path*, however often it does; unchanged when there is nothing.

    Raises:
        IntegrityError: As for `set_text`.
    """
    text = _decoded(content)
    *above, key = path
    sections, missing = _sections(text, above, where)
    if missing:
        return content
    for entry in reversed(list(_named(sections, key))):
        start, end = _whole_lines(text, entry.start, entry.end)
        text = text[:start] + text[end:]
    return _encoded(text)


def _sections(text: str, path: Sequence[str], where: str) -> tuple[list[_Entry], list[str]]:
    """The sections that *path* means, which are one to a reader, as far as there are any; and the names that are missing."""
    sections = [_Entry("", 0, 0, len(text), len(text), inside=_entries(text, where))]
    for at, key in enumerate(path):
        below = list(_named(sections, key))
        if not below:
            return sections, list(path[at:])
        if any(each.inside is None for each in below):
            raise IntegrityError(f"{where} holds a text where {key} should be a section")
        sections = below
    return sections, []


def _named(sections: Sequence[_Entry], key: str) -> Iterator[_Entry]:
    folded = key.casefold()
    for section in sections:
        yield from (each for each in section.inside or () if each.counts and each.key.casefold() == folded)


def _entries(text: str, where: str) -> list[_Entry]:
    """Every key of *text* with its places; reads what `parse_vdf` reads, and refuses what that refuses."""
    root: list[_Entry] = []
    stack: list[_Entry] = []
    current = root
    pending: _Entry | None = None
    last: _Entry | None = None
    position, end = 0, len(text)
    while position < end:
        match = TOKEN.match(text, position)
        if match is None:
            raise damaged(where, text, position, "a quote is left open")
        position, kind = match.end(), match.lastgroup
        if kind is None:
            break
        start = match.start(kind) - (kind in {"quoted", "condition"})
        if kind in {"quoted", "bare"}:
            if pending is None:
                pending, last = _Entry(unescaped(match[kind]) if kind == "quoted" else match[kind], start), None
            else:
                pending.value_start, pending.value_end, pending.end = start, position, position
                pending.counts = True  # a condition stands behind a text, before a section
                current.append(pending)
                pending, last = None, pending
        elif kind == "condition":
            if pending is not None:
                pending.counts = condition_holds(match["condition"])
            elif last is not None:
                last.counts, last.end = condition_holds(match["condition"]), position
        elif kind == "open":
            if pending is None:
                raise damaged(where, text, start, "a section has no name")
            if len(stack) >= MAX_DEPTH:
                raise damaged(where, text, start, "it is nested too deep")
            pending.inside, pending.value_start = [], position
            current.append(pending)
            stack.append(pending)
            current, pending, last = pending.inside, None, None
        else:
            if pending is not None or not stack:
                raise damaged(where, text, start, "a closing brace comes too early")
            closed = stack.pop()
            closed.value_end, closed.end, last = start, position, None
            current = stack[-1].inside or [] if stack else root
    if pending is not None or stack:
        raise damaged(where, text, end, "it ends too early")
    return root


def _inserted(text: str, section: _Entry, path: Sequence[str], values: Mapping[str, str]) -> str:
    """*text* with *values*, below the new sections of *path*, as the last of *section*; on lines of their own where it has such."""
    newline = "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"
    at = section.value_end
    line = text.rfind("\n", 0, at) + 1
    is_root = section.end == section.value_end
    if is_root:
        before = "" if not text or text.endswith("\n") else newline
        return text + before + newline.join(_lines(path, values, "")) + newline
    brace_indent = text[line:at]
    if brace_indent.strip() or line <= section.value_start:  # the brace shares its line with something
        return f"{text[:at]} {' '.join(part.strip() for part in _lines(path, values, ''))} {text[at:]}"
    indent = brace_indent + "\t"
    if section.inside:
        first = section.inside[-1].start
        before_it = text[text.rfind("\n", 0, first) + 1 : first]
        indent = before_it if not before_it.strip() else indent
    return text[:line] + "".join(each + newline for each in _lines(path, values, indent)) + text[line:]


def _lines(path: Sequence[str], values: Mapping[str, str], indent: str) -> list[str]:
    if not path:
        return [f"{indent}{_quoted(key)}\t\t{_quoted(value)}" for key, value in values.items()]
    return [f"{indent}{_quoted(path[0])}", f"{indent}{{", *_lines(path[1:], values, indent + "\t"), f"{indent}}}"]


def _whole_lines(text: str, start: int, end: int) -> tuple[int, int]:
    """From *start* to *end*, with the lines themselves when nothing else is on them."""
    line = text.rfind("\n", 0, start) + 1
    after = text.find("\n", end) + 1 or len(text)
    alone = not text[line:start].strip(" \t") and not text[end:after].strip(" \t\r\n")
    return (line, after) if alone else (start, end)


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text with a NUL can't be written")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
