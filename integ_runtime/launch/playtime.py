"""Integ's own play record: one line a play in `sessions.jsonl`, and a journal for each play that still goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from integ_runtime.launch.supervisor import append_line, boot_id, started_at_tick

SESSIONS = "sessions.jsonl"
JOURNALS = "playing"
"""Folder with one `<run id>.json` for each play that goes on, or whose supervisor was killed."""


class Plays(NamedTuple):
    sessions: int = 0
    seconds: float = 0.0
    last_played_at: str | None = None
    """When the last one ended; RFC 3339, UTC."""

    @property
    def minutes(self) -> int:
        return int(self.seconds // 60)


class Playing(NamedTuple):
    """A play that goes on."""

    run_id: str
    key: str
    title: str
    pid: int
    """Of the supervisor: SIGTERM to it stops the game."""
    game_pid: int
    started_at: str
    proton: str | None
    stopping: str = ""
    """How it is being stopped: `asked` (Wine), `terminated`, `killed`; empty when nobody wants it to end."""


def read_plays(game_dir: Path) -> Plays:
    """All plays of the game whose folder is *game_dir*; a damaged line is left out, and one that a crash had written twice counts once."""
    count, seconds, last = 0, 0.0, None
    seen: set[object] = set()
    for play in _lines(game_dir / SESSIONS):
        run_id = play.get("id")
        if isinstance(run_id, str):
            if run_id in seen:
                continue
            seen.add(run_id)
        took = play.get("seconds")
        if isinstance(took, bool) or not isinstance(took, int | float) or not 0 <= took < 10**9:
            continue
        count += 1
        seconds += took
        ended = play.get("ended_at")
        if isinstance(ended, str) and (last is None or ended > last):
            last = ended
    return Plays(count, seconds, last)


def playing(game_dir: Path) -> list[Playing]:
    """The plays of this game that go on right now, with somebody who watches over them."""
    return [_play(body, int(body["pid"])) for _, body in _journals(game_dir) if _owner_lives(body)]


def orphaned(game_dir: Path) -> list[Playing]:
    """
    The plays whose supervisor was killed and whose game goes on; `pid` is a process of the game's.

    Inside Flatpak, where each Integ has process numbers of its own, the plays that another one watches are among them.
    """
    found = [(body, _tagged(body)) for _, body in _journals(game_dir) if not _owner_lives(body)]
    return [_play(body, pids[0]) for body, pids in found if pids]


def _play(body: dict[str, Any], pid: int) -> Playing:
    proton = body.get("proton")
    return Playing(
        run_id=str(body.get("id", "")),
        key=str(body.get("key", "")),
        title=str(body.get("title", "")),
        pid=pid,
        game_pid=int(body.get("game_pid") or 0),
        started_at=str(body.get("started_at", "")),
        proton=proton if isinstance(proton, str) else None,
        stopping=str(body.get("stopping", "")),
    )


def close_stale(game_dir: Path) -> int:
    """
    Turn the journals of plays whose supervisor was killed into lines of the record; the answer is how many.

    Such a play is taken to have lasted until its journal was last touched, which the supervisor does now and then.
    """
    closed = 0
    for file, body in _journals(game_dir):
        if _owner_lives(body) or (body.get("on_host") and _tagged(body)):
            continue
        seen = file.stat().st_mtime
        began = _moment(body.get("started_at"))
        if began is not None:
            append_line(
                game_dir / SESSIONS,
                {
                    "id": body.get("id"),
                    "started_at": body.get("started_at"),
                    "ended_at": datetime.fromtimestamp(seen, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "seconds": round(max(0.0, seen - began.timestamp()), 1),
                    "exit_code": None,
                    "proton": body.get("proton"),
                    "cut_short": True,
                },
            )
            closed += 1
        file.unlink(missing_ok=True)
    return closed


def left_behind(game_dir: Path) -> list[int]:
    """The processes of plays whose supervisor was killed, as far as they still run."""
    return sorted(pid for _, body in _journals(game_dir) if not _owner_lives(body) for pid in _tagged(body))


def signal_left_behind(game_dir: Path, number: signal.Signals) -> None:
    """Send *number* to the processes of plays whose supervisor was killed; those that ended meanwhile are left out."""
    for _, body in _journals(game_dir):
        pids = [] if _owner_lives(body) else _tagged(body)
        if body.get("on_host"):
            from integ_runtime.launch import host

            host.send(number, pids)
            continue
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _tagged(body: dict[str, Any]) -> list[int]:
    """The processes that carry the tag of this play, on the host where that runs it."""
    if body.get("on_host"):
        from integ_runtime.launch import host

        return sorted(host.find(str(body.get("id"))) or ())
    tag = f"INTEG_RUN_ID={body.get('id')}".encode()
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if tag in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return sorted(found)


def _owner_lives(body: dict[str, Any]) -> bool:
    pid = body.get("pid")
    if not isinstance(pid, int) or body.get("boot_id") != boot_id():
        return False
    return started_at_tick(pid) == body.get("pid_start")


def _journals(game_dir: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted((game_dir / JOURNALS).glob("*.json")):
        try:
            body = json.loads(file.read_bytes())
        except (OSError, ValueError):
            body = {}
        yield file, body if isinstance(body, dict) else {}


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    for line in lines:
        try:
            body = json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut by a crash; the lines around it are whole
        if isinstance(body, dict):
            yield body


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
