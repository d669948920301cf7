"""
A host outside of a sandbox, in miniature: Flatpak's session helper as a process of its own, and a `flatpak-spawn` that asks it.

They do what the real ones do: the host's program gets the host's environment and what it is handed, a session of its own, signals as they
are passed on (Ctrl-C and stop for the whole group), and a SIGINT to its group when a caller that wanted it watched is gone.
Source: flatpak-xdg-utils, src/flatpak-spawn.c; flatpak, session-helper/flatpak-session-helper.c.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runtime.launch.stage import write_program

HELPER = r"""
import fcntl, json, os, signal, socket, sys, threading
server = socket.socket(socket.AF_UNIX)
server.bind("\0" + sys.argv[1])
server.listen()
print("ready", flush=True)

def serve(client):
    text, fds, _, _ = socket.recv_fds(client, 1 << 20, 16)
    asked = json.loads(text)
    numbers = dict(zip(asked["fds"], fds))
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            spare = {to: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for to, fd in numbers.items()}
            for to, fd in spare.items():
                os.dup2(fd, to)
            os.chdir(asked["cwd"])
            os.execvpe(asked["argv"][0], asked["argv"], {**os.environ, "HOST_NAME": sys.argv[1], **asked["env"]})
        except OSError as error:
            os.write(2, f"Portal call failed: {error}\n".encode())
        finally:
            os._exit(1)
    for fd in fds:
        os.close(fd)
    over = []
    def wait():
        _, status = os.waitpid(child, 0)
        over.append(status)
        try:
            client.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            client.close()
        except OSError:
            pass
    threading.Thread(target=wait, daemon=True).start()
    while True:
        try:
            word = client.recv(64)
        except OSError:
            word = b""
        if not word:
            break
        for number in word.split():
            if not over:
                (os.killpg if int(number) in (signal.SIGINT, signal.SIGSTOP, signal.SIGCONT) else os.kill)(child, int(number))
    if not over and asked["watch"]:
        os.killpg(child, signal.SIGINT)

while True:
    client, _ = server.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
"""

SPAWN = r"""
import json, os, select, signal, socket, sys
known = ["--host", "--watch-bus", "--directory", "--forward-fd", "--clear-env", "--env"] + ([] if OLD else ["--unset-env", "--env-fd"])
if sys.argv[1:] == ["--help"]:
    print("Usage:\n  flatpak-spawn [OPTION…] COMMAND [ARGUMENT…]\n\n  " + "\n  ".join(known))
    sys.exit(0)
watched = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2}
at = next((at for at, word in enumerate(sys.argv) if at and not word.startswith("-")), len(sys.argv))
asked = {"argv": sys.argv[at:], "cwd": os.getcwd(), "env": {}, "fds": [0, 1, 2], "watch": False}
for word in sys.argv[1:at]:
    name, _, value = word.partition("=")
    if name not in known:
        print(f"flatpak-spawn: Unknown option {word}", file=sys.stderr)
        sys.exit(1)
    if name == "--watch-bus":
        asked["watch"] = True
    elif name == "--directory":
        asked["cwd"] = value
    elif name == "--forward-fd":
        asked["fds"].append(int(value))
    elif name == "--env-fd":
        with open(f"/proc/self/fd/{value}", "rb") as source:
            pairs = [os.fsdecode(each).partition("=") for each in source.read().split(b"\0") if each]
        assert all(name and sign for name, sign, _ in pairs)
        asked["env"].update((name, value) for name, _, value in pairs)
        os.close(int(value))
with open(CALLS, "a") as out:
    cmdline = open("/proc/self/cmdline", "rb").read().split(b"\0")[2:-1]
    out.write(json.dumps({"argv": sys.argv[1:], "cmdline": [os.fsdecode(each) for each in cmdline], "own": dict(os.environ)}) + "\n")
signal.pthread_sigmask(signal.SIG_BLOCK, watched)
bus = socket.socket(socket.AF_UNIX)
bus.connect(SOCKET)
socket.send_fds(bus, [json.dumps(asked).encode()], asked["fds"])
while True:
    if (got := signal.sigtimedwait(watched, 0.01)) is not None:
        bus.sendall(f"{got.si_signo} ".encode())
    if select.select([bus], [], [], 0)[0]:
        code = int(bus.recv(64) or b"1")
        sys.exit(128 - code if code < 0 else code)
"""


@dataclass(frozen=True)
class Host:
    folder: Path
    """In front of the sandbox's PATH: `flatpak-spawn` is there."""
    name: str
    """Of the helper's socket, and of the mark that every program of this host carries."""

    def put_spawn(self, *, old: bool = False) -> None:
        """A `flatpak-spawn`; an *old* one knows no `--env-fd`."""
        known = f"OLD, SOCKET, CALLS = {old!r}, {chr(0) + self.name!r}, {str(self.folder / 'calls')!r}"
        write_program(self.folder / "flatpak-spawn", f"#!{sys.executable} -IS\n{known}{SPAWN}")

    def calls(self) -> list[dict[str, Any]]:
        """Every call but those for help: its words, the same as the kernel shows them to everybody, and its own environment."""
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def programs(self) -> list[int]:
        """What runs on this host, the helper left out."""
        mark, found = f"HOST_NAME={self.name}".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found


@contextlib.contextmanager
def running_host(folder: Path, environ: Mapping[str, str]) -> Iterator[Host]:
    """A host whose programs get *environ*; what still runs there is gone at the end."""
    folder.mkdir(parents=True)
    host = Host(folder, f"host-{uuid.uuid4().hex}")
    host.put_spawn()
    command = [sys.executable, "-IS", "-c", HELPER, host.name]
    with subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, text=True) as helper:
        try:
            assert helper.stdout is not None and helper.stdout.readline() == "ready\n"
            yield host
        finally:
            helper.kill()
            for pid in host.programs():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
