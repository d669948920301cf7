"""What benches of servers share: wrk as the maker of load, a process held to its share of a core, and processor time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16


@dataclass(frozen=True)
class Told:
    """What wrk says of one run."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float


def need_wrk() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")


def wrk(address: str, seconds: int, *, script: Path | None = None, arguments: Sequence[str] = ()) -> Told:
    """Load from one thread over 16 connections; an answer of 400 or more, or a connection that broke, ends the bench."""
    scripted = ["-s", str(script)] if script is not None else []
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *scripted, address, "--", *arguments]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    shares = {share: _ms(text) for share, text in re.findall(r"(50|99)%\s+([\d.]+[a-z]+)", said)}
    if requests is None or rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"the load on {address} went wrong:\n{said}")
    return Told(int(requests[1]), float(rate[1]), shares["50"], shares["99"])


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(address: str) -> bytes:
    """The first answer that *address* gives."""
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1) as answer:
            return bytes(answer.read())
        time.sleep(0.05)
    raise SystemExit(f"{address} does not answer")


@contextlib.contextmanager
def held_to(pid: int, share: float) -> Iterator[None]:
    """Inside, the process gets no more than *share* of a core: it is stopped while it has had more."""
    ending = threading.Event()

    def hold() -> None:
        began, used_before = time.monotonic(), cpu_s(pid)
        while not ending.wait(0.002):
            over_s = (cpu_s(pid) - used_before) / share - (time.monotonic() - began)
            if over_s > 0.002:
                os.kill(pid, signal.SIGSTOP)
                ending.wait(over_s)
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def cpu_s(pid: int) -> float:
    """Of all its threads, in seconds; the kernel counts nanoseconds."""
    used = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            used += int((task / "schedstat").read_text().split()[0])
    return used / 1e9


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
