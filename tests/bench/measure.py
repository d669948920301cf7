"""What every bench shares: rivals that run in turn, medians, the machine's facts, one JSON file of results each."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One run of a program of its own."""

    wall_s: float
    cpu_s: float
    """User and system time, children that were waited for included."""
    peak_mb: float


def run_program(argv: Sequence[str], *, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Run:
    """Run *argv* to its end; a failure ends the bench. Its output goes to this process's stderr."""
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(2, 1)
            if cwd is not None:
                os.chdir(cwd)
            os.execvpe(argv[0], list(argv), dict(environ if environ is not None else os.environ))
        finally:
            os._exit(127)
    _, status, usage = os.wait4(child, 0)
    wall_s = time.perf_counter() - began
    if status != 0:
        raise SystemExit(f"{argv[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(rivals: Mapping[str, Callable[[], Run]], *, rounds: int) -> dict[str, list[Run]]:
    """Every rival once a round, so that whatever else the machine does hits all of them alike."""
    runs: dict[str, list[Run]] = {name: [] for name in rivals}
    for number in range(rounds):
        for name, rival in rivals.items():
            runs[name].append(rival())
            print(f"  round {number + 1}: {name} {runs[name][-1].wall_s:.3f} s", file=sys.stderr)
    return runs


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians, and every wall time for whoever doubts them."""
    return {
        "wall_s": round(statistics.median(run.wall_s for run in runs), 4),
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 4),
        "peak_mb": round(max(run.peak_mb for run in runs), 1),
        "runs_s": [round(run.wall_s, 4) for run in runs],
    }


def ratio(runs: Mapping[str, Sequence[Run]], name: str, yardstick: str) -> float:
    """The median wall time of *name* in those of *yardstick*."""
    return round(statistics.median(run.wall_s for run in runs[name]) / statistics.median(run.wall_s for run in runs[yardstick]), 3)


def machine() -> dict[str, Any]:
    """What a reader needs to judge the figures; nothing that names the machine or its owner."""
    model = ""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def versions(*distributions: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_result(name: str, content: Mapping[str, Any]) -> Path:
    """`results/NAME.json`, with the machine's facts and the moment."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    taken_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    file.write_text(json.dumps({"bench": name, "taken_at": taken_at, "machine": machine(), **content}, indent=2) + "\n", "utf-8")
    return file
