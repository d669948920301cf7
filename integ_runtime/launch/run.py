"""Starting what a plan says, waiting for its end, stopping it on request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import marshal
import os
import signal
import sys
import termios
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integ_runtime.errors import LaunchError, NotExecutableError, ProgramMissingError
from integ_runtime.launch import supervisor
from integ_runtime.launch.commands import AFTER_LIMIT_S, run_before, surroundings
from integ_runtime.launch.environment import masked, shown
from integ_runtime.launch.plan import LaunchPlan
from integ_runtime.launch.playtime import JOURNALS, SESSIONS, close_stale, left_behind
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
_HERE = str(Path(supervisor.__file__).parent)
_SUPERVISE = f"import sys; sys.path.append({_HERE!r}); import supervisor; sys.exit(supervisor.main())"
"""By import, so that its compiled form is used; from its folder, so that nothing else of ours is loaded."""


@dataclass(frozen=True, slots=True)
class LaunchOutcome:
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
) -> LaunchOutcome:
    """
    Start *plan* and wait for its end; *on_started* hears the game's pid.

    With *attach* the game has our standard streams, and on a terminal Ctrl-C and Ctrl-Z reach it as they would reach any program; without,
    it has a session of its own and a log. With *stop_when_asked* SIGTERM and cancellation stop the game; without, cancellation leaves it.

    Raises:
        BusyError: The game, or another one in its prefix, runs already.
        LaunchError: It could not be started; `NotExecutableError` and `ProgramMissingError` say why, where that is known.
    """
    with play_lock(game_dir, shared=plan.prefix is None) as lock:
        orphans = left_behind(game_dir)
        if orphans and plan.prefix is not None:
            raise BusyError(f"{plan.title} still runs (pid {orphans[0]}), left by a play that was cut short", hint=f"integ stop {plan.key}")
        close_stale(game_dir)
        log_path = None if attach else _open_log(log_dir, plan)
        if plan.before:
            await run_before(plan, log_path)
        started = _start(plan, log_path, lock=lock, game_dir=game_dir, attach=attach, patience_s=patience_s)
    return await _wait(started, plan, presses=3, on_started=on_started, stop_when_asked=stop_when_asked)


async def run_tool(plan: LaunchPlan, *, lock: int | None, log_dir: Path, attach: bool) -> LaunchOutcome:
    """
    Start *plan*, something else than the game in its prefix, and wait for its end. It is no play: nothing of it is recorded.

    *lock* is the play lock's descriptor, which is held on until the program has ended; None for a program beside a game that runs, which
    keeps it. The first Ctrl-C ends the program.

    Raises:
        LaunchError: It could not be started.
    """
    log_path = None if attach else _open_log(log_dir, plan)
    started = _start(plan, log_path, lock=lock, game_dir=None, attach=attach, patience_s=PATIENCE_S)
    return await _wait(started, plan, presses=1, on_started=None, stop_when_asked=True)


@dataclass(frozen=True, slots=True)
class _Started:
    child: int
    """The supervisor's pid."""
    status: int
    """On it the supervisor tells how the game goes."""
    log_path: Path | None
    terminal: bool


def _start(
    plan: LaunchPlan, log_path: Path | None, *, lock: int | None, game_dir: Path | None, attach: bool, patience_s: float
) -> _Started:
    """Without a *game_dir* no play is recorded."""
    terminal = attach and _has_terminal()
    run_id = uuid.uuid4().hex
    env = {**plan.environ, "INTEG_RUN_ID": run_id}
    if terminal and "TERM" in os.environ:
        env.setdefault("TERM", os.environ["TERM"])
    spec = {
        "id": run_id,
        "key": plan.key,
        "title": plan.title,
        "argv": list(plan.argv),
        "env": env,
        "cwd": str(plan.cwd),
        "own_session": not terminal,
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
        "after": {"argv": list(plan.after), "env": surroundings(plan), "limit_s": AFTER_LIMIT_S} if plan.after else None,
        "held": [] if lock is None else [lock],
    }
    child, status = _start_supervisor(spec, log_path=log_path, terminal=terminal)
    return _Started(child, status, log_path, terminal)


def _asking_wine(plan: LaunchPlan) -> dict[str, Any] | None:
    """What ends everything in the prefix the way Wine itself would."""
    if not plan.stop or plan.prefix is None:
        return None
    return {"argv": list(plan.stop), "env": {**plan.environ, "WINEPREFIX": str(plan.prefix / "pfx")}}


def _start_supervisor(spec: dict[str, Any], *, log_path: Path | None, terminal: bool) -> tuple[int, int]:
    """Its pid, and the descriptor on which it tells how the game goes. Its own file is run, so nothing of ours is imported."""
    spec_out, spec_in = os.pipe()
    status_out, status_in = os.pipe()
    streams: list[int] = []
    try:
        # Onto itself: the copy in the child alone loses its close-on-exec, so no other thread's child inherits it.
        actions = [(os.POSIX_SPAWN_DUP2, each, each) for each in (spec_out, status_in, *spec["held"])]
        if log_path is not None:
            streams = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)]
            actions += [(os.POSIX_SPAWN_DUP2, streams[0], 0), (os.POSIX_SPAWN_DUP2, streams[1], 1), (os.POSIX_SPAWN_DUP2, streams[1], 2)]
        argv = [sys.executable, "-I", "-S", "-c", _SUPERVISE, str(spec_out), str(status_in)]
        clean = {"LC_ALL": "C.UTF-8", "PATH": os.defpath}
        child = os.posix_spawn(sys.executable, argv, clean, file_actions=actions, setsid=not terminal, setsigmask=())
        os.close(spec_out)
        spec_out = -1
        with os.fdopen(spec_in, "wb") as out:
            spec_in = -1
            out.write(marshal.dumps(spec))
        return child, status_out
    except OSError as error:
        os.close(status_out)
        raise LaunchError(f"no process could be started: {error.strerror}", hint="integ doctor") from error
    finally:
        for each in (spec_out, spec_in, status_in, *streams):
            if each >= 0:
                os.close(each)


async def _wait(
    started: _Started,
    plan: LaunchPlan,
    *,
    presses: int,
    on_started: Callable[[int], None] | None,
    stop_when_asked: bool,
) -> LaunchOutcome:
    child, log_path, terminal = started.child, started.log_path, started.terminal
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(started.status, "rb", buffering=0)
    )
    looks = _terminal_looks() if terminal else None
    asked: set[int] = set()

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    outcome: LaunchOutcome | None = None
    told_all, has_run = False, True
    try:
        with _signals(stop, presses=presses if terminal else 0, wanted=stop_when_asked):
            while (line := await _next_line(reader, stop if stop_when_asked else None, asked)) is not None:
                event = json.loads(line)
                if event["event"] == "failed":
                    told_all = True
                    raise _start_failure(int(event["errno"]), plan)
                if event["event"] == "started" and on_started is not None:
                    on_started(int(event["pid"]))
                if event["event"] == "ended":
                    outcome = LaunchOutcome(int(event["code"]), log_path, float(event["seconds"]), event["after"], event["stopped"])
                    has_run = event["ran"]
            told_all = True
    finally:
        transport.close()
        if looks is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, looks)  # a game that was killed leaves it raw
        _reap(child, wait=told_all)
    if asked:
        raise asyncio.CancelledError
    if outcome is None:
        raise LaunchError(f"what watched over {plan.title} ended before the game did", hint="integ doctor")
    if not has_run and not outcome.stopped:
        where = f"it says why in {log_path}" if log_path else "it says why above"
        raise LaunchError(f"umu-run ended with {outcome.exit_code} and did not start {plan.title}", hint=f"{where}; integ doctor")
    return outcome


async def _next_line(reader: asyncio.StreamReader, stop: Callable[[], None] | None, asked: set[int]) -> bytes | None:
    """The next thing the supervisor says, None at its end; a cancellation becomes a request to stop, and the waiting goes on."""
    while True:
        try:
            line = await reader.readline()
        except asyncio.CancelledError:
            if stop is None:
                raise
            asked.add(1)
            stop()
            continue
        return line or None


@contextlib.contextmanager
def _signals(stop: Callable[[], None], *, presses: int, wanted: bool) -> Iterator[None]:
    """SIGTERM stops the game. On a terminal Ctrl-C is the game's, which gets it from the kernel as we do; the last of *presses* stops."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    pressed = 0

    def interrupted() -> None:
        nonlocal pressed
        pressed += 1
        if pressed >= presses:
            stop()

    taken = {signal.SIGTERM: stop, **({signal.SIGINT: interrupted} if presses else {})}
    before = {number: signal.getsignal(number) for number in taken}
    for number, answer in taken.items():
        loop.add_signal_handler(number, answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            if handler is not None:
                signal.signal(number, handler)


def _start_failure(number: int, plan: LaunchPlan) -> LaunchError:
    program = plan.argv[0]
    if number in {errno.ENOENT, errno.ENOTDIR}:
        if not plan.cwd.is_dir():
            return ProgramMissingError(f"the folder {plan.cwd} is not there", hint=f"integ uninstall {plan.key}, and install it again")
        if Path(program).exists():
            return ProgramMissingError(f"what {program} has to be run by is not there", hint="integ doctor")
        return ProgramMissingError(f"{program} is not there", hint=f"integ uninstall {plan.key}, and install it again")
    if number in {errno.EACCES, errno.ENOEXEC, errno.EPERM}:
        return NotExecutableError(
            f"{program} can't be executed: {os.strerror(number)}", hint=f"integ uninstall {plan.key}, and install it again"
        )
    return LaunchError(f"{program} could not be started: {os.strerror(number)}", hint="integ doctor")


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


def _has_terminal() -> bool:
    """Whether our standard input is a terminal of which we are the foreground job."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _terminal_looks() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _reap(child: int, *, wait: bool) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0 if wait else os.WNOHANG)
