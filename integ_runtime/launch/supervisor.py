"""
The process that stands over a game until it has really ended; it outlives Integ, so that play time does too.

Run by the same interpreter without its site packages: it imports nothing but the standard library, and of that next to nothing before the
game has started, since each module costs a millisecond or more. It begins before anybody knows what is to be started, reads that from a
socket (`marshal`, written by `watcher.py`), and tells how it went as JSON lines on the same: `started`, `failed`, `ended`.

Every signal it cares about is blocked from its start and fetched by `sigtimedwait`; nothing ever runs in a handler: SIGCHLD to reap,
SIGTERM to stop the game, SIGINT and SIGHUP to be left to the game (they reach it by themselves when it shares our terminal).
"""

# pathlib and contextlib would double what this process takes to start, and no shell is wanted:
# ruff: noqa: SIM105, PTH103, PTH105, PTH108, PTH116, PTH120, PTH123, PTH208, S606

from __future__ import annotations

import errno
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # `signal` makes enums of what is in it, which takes half as long as Python's own start

PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.25
"""How often the processes are looked at once the program that was started has ended."""
_SAID = (b"false", b"true")
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

SERVICES = frozenset(
    name[:15]  # the kernel cuts names to 15 bytes
    for name in (
        "wineserver", "wineserver64", "wineserver32", "services.exe", "winedevice.exe", "plugplay.exe", "explorer.exe", "svchost.exe",
        "rpcss.exe", "rundll32.exe", "conhost.exe", "winedbg.exe", "tabtip.exe", "iexplore.exe", "mscorsvw.exe", "wineconsole",
        "start.exe", "xalia.exe", "crashpad_handler", "pv-adverb", "srt-bwrap", "bwrap", "reaper", "winemenubuilder.exe",
    )
)  # fmt: skip
"""What Wine and the container leave running behind a game; waiting for them would count idle minutes as play."""


class Supervisor:
    def __init__(self, spec: dict[str, Any], status_fd: int) -> None:
        self._spec = spec
        self._status_fd = status_fd
        self._child = 0
        self._code: int | None = None
        self._stop_sent = 0.0
        self._terminated = self._killed = False
        self._began = ""
        self._stopping = ""
        self._saw_wine = False
        self._touched = 0.0
        self._started = time.monotonic()

    def run(self) -> int:
        self._began = _now_text()
        if (failure := self._start()) is not None:
            self._tell(b'{"event": "failed", "errno": %d}' % failure)
            return 1
        self._write_journal()
        self._tell(b'{"event": "started", "pid": %d}' % self._child)
        self._watch()
        seconds = round(time.monotonic() - self._started, 3)
        ran = self._has_run()
        if self._spec["journal"]:
            self._record(seconds, ran=ran)
        after = self._run_after()
        self._tell(
            b'{"event": "ended", "code": %d, "seconds": %.3f, "ran": %b, "stopped": %b, "after": %b}'
            % (self._game_code(), seconds, _SAID[ran], _SAID[self._stop_sent > 0], b"null" if after is None else b"%d" % after)
        )
        return 0

    def _record(self, seconds: float, *, ran: bool) -> None:
        play = {"id": self._spec["id"], "started_at": self._began, "ended_at": _now_text(), "seconds": seconds}
        try:
            if ran:
                append_line(self._spec["sessions"], {**play, "exit_code": self._code, "proton": self._spec.get("proton")})
            os.unlink(self._spec["journal"])
        except OSError:
            pass  # a full disk must not keep the exit code back

    def _has_run(self) -> bool:
        """umu-run may end with 0 when it failed itself: Proton's own line or a process of Wine's says that the game was started."""
        if not self._spec["by_umu"] or self._saw_wine:
            return True
        if not self._spec["log"]:
            return False
        try:
            with open(self._spec["log"], "rb") as log:
                log.seek(self._spec["log_header"])
                return b"\nProton: " in b"\n" + log.read(1 << 20)
        except OSError:
            return True  # somebody has moved it away

    def _look_for_wine(self) -> None:
        names = descendants(os.getpid()).values()
        self._saw_wine = any(name.startswith("wine") or name.lower().endswith(".exe") for name in names)

    def _game_code(self) -> int:
        return 125 if self._code is None else self._code

    def _run_after(self) -> int | None:
        """Run what the player wants run once the game has ended; it is killed when it takes too long, or on SIGTERM."""
        after = self._spec["after"]
        if not after:
            return None
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(2, 1)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
                os.chdir(self._spec["cwd"])
                os.execvpe(after["argv"][0], after["argv"], {**after["env"], "INTEG_EXIT_CODE": str(self._game_code())})
            finally:
                os._exit(127)
        until = time.monotonic() + after["limit_s"]
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code
            got = signal.sigtimedwait(WATCHED, POLL_S)
            if time.monotonic() > until or (got is not None and got.si_signo == signal.SIGTERM):
                try:
                    os.killpg(child, signal.SIGKILL)
                except OSError:
                    pass  # it has not got its own session yet, or has ended: the next round sees

    def _start(self) -> int | None:
        """Start the program; the answer is the errno of what kept it from starting."""
        told, tell = os.pipe()  # close-on-exec: nothing arrives when exec succeeds
        child = os.fork()
        if child == 0:
            os.close(told)
            self._become_the_game(tell)
        os.close(tell)
        with os.fdopen(told, "rb") as answer:
            failure = answer.read()
        if failure:
            os.waitpid(child, 0)
            return int(failure)
        self._child = child
        return None

    def _become_the_game(self, tell: int) -> None:
        try:
            if self._spec["own_session"]:
                os.setsid()
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and ignoring would be inherited
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            os.chdir(self._spec["cwd"])
            os.execvpe(self._spec["argv"][0], self._spec["argv"], self._spec["env"])
        except OSError as error:
            os.write(tell, str(error.errno or errno.EIO).encode())
        except (ValueError, UnicodeError):  # a NUL in an argument
            os.write(tell, str(errno.EINVAL).encode())
        finally:
            os._exit(125)

    def _watch(self) -> None:
        quiet = lives = False
        while self._reap():
            if self._code is not None:
                # A process that forks and ends while /proc is read can hide its child: only after a pause in which nobody ended it counts.
                lives = self._game_lives()
                if quiet and not lives:
                    return
            self._housekeeping()
            if looking := self._spec["by_umu"] and not self._saw_wine and not self._spec["on_host"]:
                self._look_for_wine()
            stopping = self._stop_sent and not self._killed
            got = signal.sigtimedwait(WATCHED, POLL_S if self._code is not None or stopping or looking else self._spec["touch_s"])
            quiet = got is None and self._code is not None and not lives
            if got is not None and got.si_signo == signal.SIGTERM:
                self._stop()

    def _reap(self) -> bool:
        """Take in who has ended; False once there is nobody left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._child:
                code = os.waitstatus_to_exitcode(status)
                self._code = 128 - code if code < 0 else code

    def _game_lives(self) -> bool:
        return any(name not in SERVICES and not name.startswith("pressure-vessel") for name in descendants(os.getpid()).values())

    def _stop(self) -> None:
        """Ask Wine, where it is Wine, and everybody when that does not help; a second request, or the end of the patience, kills."""
        if self._stop_sent:
            self._kill()
            return
        self._stop_sent = time.monotonic()
        if self._spec.get("stop"):
            self._note_stopping("asked")
            self._ask_wine(self._spec["stop"])
        else:
            self._terminate()

    def _note_stopping(self, how: str) -> None:
        """For whoever waits for the end: `asked` (Wine), `terminated`, `killed`."""
        self._stopping = how
        self._write_journal()

    def _terminate(self) -> None:
        self._terminated = True
        self._note_stopping("terminated")
        _send(signal.SIGTERM, descendants(os.getpid()))

    def _ask_wine(self, ask: dict[str, Any]) -> None:
        child = os.fork()
        if child == 0:
            try:
                silence = os.open(os.devnull, os.O_RDWR)
                for number in (0, 1, 2):
                    os.dup2(silence, number)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
                os.execve(ask["argv"][0], ask["argv"], ask["env"])
            finally:
                os._exit(127)

    def _kill(self) -> None:
        self._killed = True
        self._note_stopping("killed")
        if self._spec["on_host"]:  # what dies here leaves a game there that has been asked, not killed
            __import__("host").kill_all(self._spec["id"], self._spec["env"])
        for _ in range(20):  # whoever forks while we kill is caught in the next round
            alive = descendants(os.getpid())
            if not alive:
                return
            _send(signal.SIGKILL, alive)
            time.sleep(0.01)
            if not self._reap():
                return

    def _housekeeping(self) -> None:
        now = time.monotonic()
        asked_s = now - self._stop_sent if self._stop_sent and not self._killed else 0.0
        if asked_s > self._spec["patience_s"]:
            self._kill()
        elif asked_s > self._spec["patience_s"] / 2 and not self._terminated:
            self._terminate()
        if now - self._touched >= self._spec["touch_s"]:
            self._touched = now
            try:
                self._cut_log()
                os.utime(self._spec["journal"])
            except OSError:
                pass  # moved away by somebody: the game goes on

    def _cut_log(self) -> None:
        """A game that writes without end must not fill the disk: past the limit its log starts again below the header."""
        log = self._spec["log"]
        if log and os.stat(log).st_size > self._spec["log_limit"]:
            os.truncate(log, self._spec["log_header"])
            with open(log, "ab") as out:
                out.write(b"[what stood here was cut: the log had grown too long]\n")

    def _write_journal(self) -> None:
        """For a play; what is none, such as a tool in a game's prefix, has no journal."""
        file = self._spec["journal"]
        if not file:
            return
        import json

        body = {
            "id": self._spec["id"],
            "key": self._spec["key"],
            "title": self._spec["title"],
            "started_at": self._began,
            "stopping": self._stopping,
            "pid": os.getpid(),
            "pid_start": started_at_tick(os.getpid()),
            "boot_id": boot_id(),
            "game_pid": self._child,
            "proton": self._spec.get("proton"),
            "on_host": self._spec["on_host"],
        }
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(f"{file}.tmp", "w", encoding="ascii") as out:
                json.dump(body, out)
            os.replace(f"{file}.tmp", file)
        except OSError:
            pass  # a full disk costs the record, not the game

    def _tell(self, event: bytes) -> None:
        try:
            os.write(self._status_fd, event + b"\n")
        except OSError:
            pass  # Integ may be gone; the game goes on


def descendants(root: int) -> dict[int, str]:
    """Names of all living processes below *root*, by pid, as the kernel cuts them; zombies are not living."""
    parents: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        found = _stat(int(name))
        if found is not None:
            comm, state, parent, _ = found
            parents.setdefault(parent, []).append(int(name))
            if state not in "ZX":
                names[int(name)] = comm
    below: dict[int, str] = {}
    waiting = list(parents.get(root, ()))
    while waiting:
        pid = waiting.pop()
        waiting.extend(parents.get(pid, ()))
        if pid in names:
            below[pid] = names[pid]
    return below


def started_at_tick(pid: int) -> int | None:
    """When *pid* started, in clock ticks since the boot; with the boot id it names a process for good. None: no such process."""
    found = _stat(pid)
    return None if found is None or found[1] in "ZX" else found[3]


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def append_line(file: str | os.PathLike[str], body: dict[str, Any]) -> None:
    """Add *body* as one line, on the disk before it returns; a line that a crash left unfinished is ended first."""
    import json

    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (b"\n" if torn else b"") + json.dumps(body).encode("ascii") + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def _stat(pid: int) -> tuple[str, str, int, int] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    start, end = text.find(b"("), text.rfind(b")")  # a name may hold blanks and brackets
    rest = text[end + 2 :].split()
    if start < 0 or len(rest) < 20:
        return None
    return text[start + 1 : end].decode("utf-8", "replace"), rest[0].decode(), int(rest[1]), int(rest[19])


def _send(number: signal.Signals, pids: dict[int, str]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass  # it has ended by itself


def _now_text() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def main() -> int:
    import _socket  # `socket` would make enums of all its constants
    import ctypes  # none of the three for readers of its journals, who import this too
    import marshal

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    channel = _socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)  # ours, not the game's; so are the locks among what comes with the plan
    content, copies, _, _ = channel.recvmsg(1 << 16, _socket.CMSG_SPACE(16), _socket.MSG_CMSG_CLOEXEC)
    while more := channel.recv(1 << 16):
        content += more
    try:
        spec = marshal.loads(content)  # noqa: S302 - written a moment ago by the process that started this one
    except (EOFError, ValueError, TypeError):
        return 0  # it has ended without a plan, or in the middle of one
    if spec["log"]:
        log = int.from_bytes(copies[0][2][:4], sys.byteorder)
        for number, handle in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(handle, number)
    return Supervisor(spec, channel.detach()).run()
