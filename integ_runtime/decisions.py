"""What the player decided and the backend has to hear of: a file with a line each, in order, that survives the process."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from integ_runtime.cache.records import Waiting
from integ_server.contract.errors import BackendUnreachableError, StorageError, UsageError
from integ_server.contract.preferences import GameWishes, MergeWish, SplitWish, UserWishes

MOST_WAITING = 1_000
_LONGEST_FILE = 64 << 20
_log = logging.getLogger("integ.organising")


@dataclass(slots=True)
class Decision:
    """A request that may be sent again with the same *key* and is done once."""

    owner: str
    """Whose, at the backend; empty for an embedded one, and for whoever was not known yet."""
    method: str
    path: str
    body: dict[str, Any] = field(repr=False)
    key: str
    at: str = ""
    """When it was decided: RFC 3339, UTC."""
    tries: int = 0
    """How often the backend broke down over it."""

    def check(self) -> None:
        """
        Raises:
            UsageError: No backend would take it.
        """
        try:
            self.as_waiting()
        except ValidationError as error:
            wrong = error.errors()[0]
            raise UsageError(f"{'.'.join(str(each) for each in wrong['loc'])}: {wrong['msg']}") from error

    def as_waiting(self) -> Waiting:
        """
        What it means for the library.

        Raises:
            ValueError: Nothing; it is not what Integ wrote.
        """
        if self.path == "/games/merge":
            return Waiting("merge", tuple(MergeWish.model_validate(self.body).games), at=self.at)
        if self.path == "/games/split":
            wish = SplitWish.model_validate(self.body)
            return Waiting("unsplit" if wish.undo else "split", (wish.game,), at=self.at)
        if self.path == "/users/preferences":
            UserWishes.model_validate(self.body)
            return Waiting("user", wishes=self.body, at=self.at)
        _, games, key, preferences = self.path.split("/")
        if (games, preferences) != ("games", "preferences"):
            raise ValueError("this is no decision")
        GameWishes.model_validate(self.body)
        return Waiting("game", (key,), self.body, self.at)


class Decisions:
    """The file *queue*. Calls block; whoever writes holds a lock that nobody else holds."""

    def __init__(self, queue: Path) -> None:
        self._queue = queue

    def exist(self) -> bool:
        return self._queue.exists()

    def read(self) -> list[Decision]:
        """
        Those that wait, oldest first.

        Raises:
            StorageError: The disk lets nobody read them.
        """
        try:
            with self._queue.open("rb") as file:
                lines = file.read(_LONGEST_FILE).decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{self._queue} can't be read: {error.strerror}", hint="integ doctor") from error
        found = []
        for line in lines:
            try:
                found.append(_decision(json.loads(line)))
            except (ValueError, KeyError, TypeError, RecursionError):
                _log.warning("a line of %s is not what Integ wrote and is left out", self._queue)
        return found

    def add(self, decision: Decision) -> None:
        """
        Let *decision* wait behind the others, on the disk before anybody is told that it waits.

        Raises:
            BackendUnreachableError: They are too many.
            StorageError: There is no room for it on the disk.
        """
        waiting = self.read()
        if len(waiting) >= MOST_WAITING:
            raise BackendUnreachableError(
                f"{len(waiting)} decisions wait for the backend already: that is all Integ keeps", hint="integ sync"
            )
        self.write([*waiting, decision])

    def write(self, decisions: Sequence[Decision]) -> None:
        """
        Replace all: whole or not at all.

        Raises:
            StorageError: There is no room for them.
        """
        if not decisions:
            self._queue.unlink(missing_ok=True)
            return
        beside = self._queue.with_name(f".{self._queue.name}.new")
        try:
            self._queue.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in decisions)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._queue)
        except OSError as error:
            raise _not_kept(error) from error


def _not_kept(error: OSError) -> StorageError:
    return StorageError(f"what you decided can't be kept: {error.strerror}", hint="integ doctor")


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "body": lambda value: isinstance(value, dict),
    "tries": lambda value: type(value) is int,
}


def _decision(line: Any) -> Decision:
    known = {each.name: line[each.name] for each in fields(Decision) if each.name in line}
    if not all(_CHECKS.get(name, lambda value: isinstance(value, str))(value) for name, value in known.items()):
        raise ValueError("a field is of another kind")
    decision = Decision(**known)
    try:
        decision.as_waiting()
    except ValidationError as error:
        raise ValueError("a wish is not known") from error
    return decision
