"""
The way out of Flatpak's sandbox: a program is run by the host through `flatpak-spawn`, and watched there until it has really ended.

A word of a command is shown to every user of the machine, the value of a variable is not: so variables go to the host by a file in memory.
Run by its file as a process of its own, without site packages, it imports nothing but the standard library.

Source: flatpak-xdg-utils, src/flatpak-spawn.c; `--env-fd` is there since its 1.0.5, an older one ends with "Unknown option". Flatpak,
session-helper: the host's program has a session of its own; a lost bus with `--watch-bus` is a SIGINT to its group, and it may ignore that.
"""

# What runs beside the game starts as fast as the supervisor does, and like it wants no pathlib:
# ruff: noqa: PTH120

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

SPAWN = "flatpak-spawn"
RUN_ID = "INTEG_RUN_ID"
"""The tag of a play; on the host its value ends with a mark of its own, since our own processes in the sandbox are seen there too."""
_MARK = "-on-the-host"
_HANDED_FD = 9
"""The highest that every shell knows how to close."""
LOOK_S = 2.0
"""How often the host is asked what still runs, once the program that was started there has ended."""
_LIMIT_S = 10.0
_AGAIN_S = 0.2
_MOST_UNANSWERED = 3
"""A question that a signal ended is asked again soon; a host that never answers is not waited for."""
_SETS = f'. /proc/self/fd/{_HANDED_FD} && exec {_HANDED_FD}<&- && exec "$@"'
_LISTS = (
    'for each in $(grep -lszxF "$1" /proc/[0-9]*/environ); do each=${each%/environ}; echo "${each#/proc/} $(cat "$each/comm")"; done; true'
)
_KILLS = f"for round in 1 2 3 4 5; do found=$({_LISTS} | cut -d' ' -f1); [ -n \"$found\" ] || break; kill -s KILL $found; done"


def door(cwd: str, names: Iterable[str], words: Sequence[str]) -> tuple[str, ...]:
    """The command that has the host run *words* in *cwd*, with the variables called *names* as they are where it is run itself."""
    return (sys.executable, "-I", "-S", __file__, cwd, "=".join(["", *sorted(names)]), *words)


def find(run_id: str) -> dict[int, str] | None:
    """The processes of the play *run_id* on the host, with the names that the kernel gives them; None when the host did not answer."""
    return find_with([f"{RUN_ID}={run_id}{_MARK}"])


def find_with(variables: Iterable[str]) -> dict[int, str] | None:
    """The processes on the host that have one of *variables* (`NAME=VALUE`) in their environment; None when the host did not answer."""
    answer = _asked("/bin/sh", "-c", _LISTS, "sh", "\n".join(variables))
    if answer is None:
        return None
    found: dict[int, str] = {}
    for line in answer.splitlines():
        pid, _, name = line.partition(" ")
        if pid.isdigit():
            found[int(pid)] = name
    return found


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to processes of the host; those that have ended are left out."""
    if words := [str(pid) for pid in pids]:
        _asked("/bin/sh", "-c", 'for each do kill -s "$0" "$each" 2>/dev/null; done', number.name.removeprefix("SIG"), *words)


def kill_all(run_id: str, environ: Mapping[str, str]) -> None:
    """Kill every process of the play *run_id* on the host; *environ* is that of `flatpak-spawn`."""
    _asked("/bin/sh", "-c", _KILLS, "sh", f"{RUN_ID}={run_id}{_MARK}", environ=environ)


def _asked(*words: str, environ: Mapping[str, str] | None = None) -> str | None:
    try:
        asked = subprocess.run(
            [SPAWN, "--host", "--watch-bus", "--directory=/", *words], env=environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if asked.returncode else asked.stdout.decode("utf-8", "replace")


def _spawn_words(cwd: str, handed: dict[bytes, bytes], words: Sequence[str]) -> list[str] | None:
    """How `flatpak-spawn` is called; the file in memory that it names stays open for it. None: it can't hand these over."""
    front = [SPAWN, "--host", "--watch-bus", f"--directory={cwd}"]
    told = subprocess.run([SPAWN, "--help"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False).stdout
    if b"--env-fd" in told:
        front.append(f"--env-fd={_HANDED_FD}")
        text = b"".join(name + b"=" + value + b"\0" for name, value in handed.items())
    elif all(re.fullmatch(rb"[A-Za-z_][A-Za-z0-9_]*", name) for name in handed):  # the host's shell reads them
        front += [f"--forward-fd={_HANDED_FD}", "/bin/sh", "-c", _SETS, "sh"]
        text = b"".join(b"export " + name + b"='" + value.replace(b"'", b"'\\''") + b"'\n" for name, value in handed.items())
    else:
        return None
    memory = os.memfd_create("variables")
    with os.fdopen(memory, "wb") as out:
        out.write(text)
        out.flush()
        os.dup2(memory, _HANDED_FD)
    os.lseek(_HANDED_FD, 0, os.SEEK_SET)
    return [*front, *words]


def _run(cwd: str, names: Sequence[str], words: Sequence[str]) -> int:
    watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    # what is meant for the game is not for flatpak-spawn: its PATH, what it preloads
    handed = {name: os.environb.pop(name) for name in map(os.fsencode, names) if name in os.environb}
    os.environ.setdefault("PATH", os.defpath)
    run_id = os.fsdecode(handed.get(RUN_ID.encode(), b""))
    if run_id:
        handed[RUN_ID.encode()] = f"{run_id}{_MARK}".encode()
    try:
        argv = _spawn_words(cwd, handed, words)
        if argv is None:
            print(f"this {SPAWN} hands no variable of such a name to the host", file=sys.stderr)  # noqa: T201 - a program of its own
            return 125
        child = os.posix_spawnp(SPAWN, argv, os.environ, setsigmask=())
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{SPAWN} can't be used: {error}", file=sys.stderr)  # noqa: T201
        return 127
    os.close(_HANDED_FD)
    code = None
    while code is None:
        signal.sigwaitinfo(watched)  # what else comes has reached flatpak-spawn as it reached us, and it passes that on
        ended, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else None
    if run_id:
        _wait_for_the_rest(run_id, watched - {signal.SIGCHLD})
    return 128 - code if code < 0 else code


def _wait_for_the_rest(run_id: str, signals: set[signal.Signals]) -> None:
    """Wait until nothing of the play runs on the host but what Wine and the container leave there; *signals* are passed on to it."""
    sys.path.append(os.path.dirname(__file__))
    services = __import__("supervisor").SERVICES
    unanswered, wanted = 0, None
    while unanswered < _MOST_UNANSWERED:
        found = find(run_id)
        unanswered = unanswered + 1 if found is None else 0
        if found is not None:
            alive = [pid for pid, name in found.items() if name not in services and not name.startswith("pressure-vessel")]
            if not alive:
                return
            if wanted is not None:
                send(signal.Signals(wanted.si_signo), alive)
        got = signal.sigtimedwait(signals, _AGAIN_S if found is None else LOOK_S)
        wanted = got or (wanted if found is None else None)  # a signal may have ended the question too, as it reaches all of ours


def main() -> int:
    cwd, names, *words = sys.argv[1:]
    return _run(cwd, [name for name in names.split("=") if name], words)


if __name__ == "__main__":
    sys.exit(main())
