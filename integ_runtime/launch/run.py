"""Starting what a plan says; what waits for its end is loaded, and gets its event loop, once the game has been started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from integ_runtime import late_loop
from integ_runtime.launch.environment import masked, shown
from integ_runtime.launch.plan import LaunchPlan
from integ_runtime.launch.playtime import JOURNALS, SESSIONS, close_stale, left_behind
from integ_runtime.launch.watcher import Watcher
from integ_runtime.locks import lock_file
from integ_server.contract.errors import BusyError, StorageError

PATIENCE_S = 10.0
"""How long a game that was asked to end may take before it is killed."""
TOUCH_S = 20.0
"""How often the journal is touched and the log looked at: so much of a play is lost at most when the supervisor is killed."""
CRASH_WITHIN_S = 10.0
KEPT_LOGS = 10
LOG_LIMIT_BYTES = 64 << 20
PLAY_LOCK = "play.lock"
AFTER_LIMIT_S = 120.0


class LaunchOutcome(NamedTuple):
    exit_code: int
    """The game's own; 128 + N when signal N ended it."""
    log_path: Path | None
    """None when the game had the terminal, or runs in Steam."""
    seconds: float
    after_code: int | None = None
    """How the command after it ended; None when there is none."""
    stopped: bool = False
    """Somebody wanted it to end."""

    @property
    def crashed(self) -> bool:
        """It ended by a signal, or badly within seconds, and nobody wanted it to end."""
        killed = self.exit_code > 128 and self.exit_code not in {128 + signal.SIGINT, 128 + signal.SIGTERM}
        return not self.stopped and (killed or (self.exit_code != 0 and self.seconds < CRASH_WITHIN_S))


@contextlib.contextmanager
def play_lock(game_dir: Path, *, shared: bool = False, doing: str = "it is being played") -> Iterator[int]:
    """
    Hold the right to the game's prefix; the descriptor may be inherited by the supervisor, which then holds it on.

    Raises:
        BusyError: The game runs.
    """
    handle = lock_file(game_dir / PLAY_LOCK, shared=shared)
    if handle is None:
        key = game_dir.name.replace("-", ":", 1)
        raise BusyError(f"{key} is in use: {doing}", hint=f"end that first; a play ends by integ stop {key}")
    try:
        yield handle
    finally:
        os.close(handle)


async def run_game(
    plan: LaunchPlan,
    *,
    game_dir: Path,
    log_dir: Path,
    attach: bool,
    on_started: Callable[[int], None] | None = None,
    stop_when_asked: bool = True,
    patience_s: float = PATIENCE_S,
    watcher: Watcher | None = None,
) -> LaunchOutcome:
    """
    Start *plan* and wait for its end; *on_started* hears the game's pid. A *watcher* has begun already, for the same *attach*.

    With *attach* the game has our standard streams, and on a terminal Ctrl-C and Ctrl-Z reach it as they would reach any program; without,
    it has a session of its own and a log. With *stop_when_asked* SIGTERM and cancellation stop the game; without, cancellation leaves it.

    Raises:
        BusyError: The game, or another one in its prefix, runs already.
        LaunchError: It could not be started; `NotExecutableError` and `ProgramMissingError` say why, where that is known.
    """
    with contextlib.ExitStack() as held:
        lock = held.enter_context(play_lock(game_dir, shared=plan.prefix is None))
        orphans = left_behind(game_dir)
        if orphans and plan.prefix is not None:
            raise BusyError(f"{plan.title} still runs (pid {orphans[0]}), left by a play that was cut short", hint=f"integ stop {plan.key}")
        close_stale(game_dir)
        log_path = None if attach else _open_log(log_dir, plan)
        if plan.before:
            from integ_runtime.launch.commands import run_before

            await late_loop.needed()
            await run_before(plan, log_path)
        spec = _spec(plan, log_path, game_dir=game_dir, patience_s=patience_s)
        with _signals_wait() as let_them_come:
            started = _start(spec, watcher or Watcher(attach=attach), log_path, lock)
            held.close()  # the lock is the supervisor's now
            await late_loop.needed()
            from integ_runtime.launch.following import follow

            return await follow(started, plan, presses=3, on_started=on_started, stop_when_asked=stop_when_asked, ready=let_them_come)


async def run_tool(plan: LaunchPlan, *, lock: int | None, log_dir: Path, attach: bool) -> LaunchOutcome:
    """
    Start *plan*, something else than the game in its prefix, and wait for its end. It is no play: nothing of it is recorded.

    *lock* is the play lock's descriptor, which is held on until the program has ended; None for a program beside a game that runs, which
    keeps it. The first Ctrl-C ends the program.

    Raises:
        LaunchError: It could not be started.
    """
    from integ_runtime.launch.following import follow

    log_path = None if attach else _open_log(log_dir, plan)
    spec = _spec(plan, log_path, game_dir=None, patience_s=PATIENCE_S)
    started = _start(spec, Watcher(attach=attach), log_path, lock)
    return await follow(started, plan, presses=1, on_started=None, stop_when_asked=True)


class Started(NamedTuple):
    """A game that a supervisor was told to start."""

    child: int
    """The supervisor's pid."""
    status: int
    """On it the supervisor tells how the game goes."""
    log_path: Path | None
    terminal: bool
    looks: list[Any] | None
    """The terminal's settings before the game could change them."""


def _spec(plan: LaunchPlan, log_path: Path | None, *, game_dir: Path | None, patience_s: float) -> dict[str, Any]:
    """*plan* as the supervisor reads it. Without a *game_dir* no play is recorded."""
    run_id = os.urandom(16).hex()
    return {
        "id": run_id,
        "key": plan.key,
        "title": plan.title,
        "argv": list(plan.argv),
        "env": {**plan.environ, "INTEG_RUN_ID": run_id},
        "cwd": str(plan.cwd),
        "sessions": str(game_dir / SESSIONS) if game_dir else "",
        "journal": str(game_dir / JOURNALS / f"{run_id}.json") if game_dir else "",
        "proton": plan.proton,
        "on_host": plan.on_host,
        "patience_s": patience_s,
        "touch_s": TOUCH_S,
        "log": str(log_path) if log_path else None,
        "log_header": log_path.stat().st_size if log_path else 0,
        "log_limit": LOG_LIMIT_BYTES,
        "stop": _asking_wine(plan),
        # what the host runs is not seen from here: there the log alone says whether umu-run has started the game
        "by_umu": game_dir is not None and plan.runner == "umu" and not (plan.on_host and log_path is None),
        "after": {"argv": list(plan.after), "env": plan.surroundings(), "limit_s": AFTER_LIMIT_S} if plan.after else None,
    }


def _start(spec: dict[str, Any], watcher: Watcher, log_path: Path | None, lock: int | None) -> Started:
    """Give *watcher* its plan; from then on it holds the *lock* too."""
    looks = _terminal_looks() if watcher.terminal else None
    if watcher.terminal and "TERM" in os.environ:
        spec["env"].setdefault("TERM", os.environ["TERM"])
    handles: list[int] = []
    try:
        if log_path:
            handles.append(os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        status = watcher.give({**spec, "own_session": not watcher.terminal}, handles if lock is None else [*handles, lock])
    finally:
        watcher.dismiss()  # which it can't be any more, unless it got no plan
        for handle in handles:
            os.close(handle)
    return Started(watcher.pid, status, log_path, watcher.terminal, looks)


def _asking_wine(plan: LaunchPlan) -> dict[str, Any] | None:
    """What ends everything in the prefix the way Wine itself would."""
    if not plan.stop or plan.prefix is None:
        return None
    return {"argv": list(plan.stop), "env": {**plan.environ, "WINEPREFIX": str(plan.prefix / "pfx")}}


@contextlib.contextmanager
def _signals_wait() -> Iterator[Callable[[], None]]:
    """
    Hold SIGTERM and SIGINT back until whoever answers them is there, which calls what this yields: they are about the game already.

    Where an event loop runs it is there at once, and other threads would get them.
    """
    if late_loop.is_here():
        yield lambda: None
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

    def let_them_come() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield let_them_come
    finally:
        let_them_come()


def _open_log(log_dir: Path, plan: LaunchPlan) -> Path:
    """A new log with its header; the oldest ones go."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            log = log_dir / (f"{stamp}.log" if not number else f"{stamp}-{number}.log")
            try:
                handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:
                number += 1
        with os.fdopen(handle, "wb") as out:
            out.write(_header(plan).encode("utf-8", "replace"))
        for old in sorted(log_dir.glob("*.log"))[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"no log can be written in {log_dir}: {error.strerror}") from error
    return log


def _header(plan: LaunchPlan) -> str:
    facts = {
        "game": f"{plan.title} ({plan.key})",
        "argv": json.dumps(masked(plan.argv)),
        "cwd": str(plan.cwd),
        "runner": plan.runner,
        "proton": plan.proton or "-",
        "prefix": str(plan.prefix or "-"),
        "kernel": " ".join((os.uname().sysname, os.uname().release, os.uname().machine)),
    }
    lines = [f"# {name}: {value}" for name, value in facts.items()]
    lines += [f"# env {name}={value}" for name, value in shown(plan.env).items()]
    return "\n".join(lines) + "\n\n"


def _terminal_looks() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None
