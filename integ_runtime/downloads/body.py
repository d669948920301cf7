"""What an answer holds, with a look at its beginning: a web page in place of a file must not be taken for a damaged one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integ_server.upstream import BulkAnswer


class Body:
    """The bytes of *answer*."""

    def __init__(self, answer: BulkAnswer) -> None:
        self._answer = answer
        self._head = b""

    def is_a_page(self) -> bool:
        """Whether it is a web page: stores send one when they block for a while, networks when they want a sign-in. Asked before `read`."""
        if str(self._answer.headers.get("Content-Type", "")).strip().lower().startswith("text/html"):
            return True
        if self._answer.start:
            return False
        self._head = self._answer.read(512)
        return self._head.lstrip().lower().startswith((b"<!doctype html", b"<html"))

    def read(self, n: int) -> bytes:
        """As `BulkAnswer.read`."""
        taken, self._head = self._head[:n], self._head[n:]
        return taken + self._answer.read(n - len(taken)) if len(taken) < n else taken

    def chunks(self, size: int) -> Iterator[bytes]:
        """The rest in parts of at most *size* bytes."""
        while part := self.read(size):
            yield part
