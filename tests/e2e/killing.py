"""Kill a command at random moments, most of them between its first and its last write, and look at what is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import Player


@dataclass
class Timeline:
    """When a run wrote, in seconds after its start."""

    first_s: float
    last_s: float
    end_s: float


@dataclass
class Kills:
    """What a series of kills came to."""

    seed: int
    between_writes: int = 0
    elsewhere: int = 0
    too_late: int = 0

    def __str__(self) -> str:
        met = f"{self.between_writes} killed between first and last write, {self.elsewhere} elsewhere"
        return f"seed {self.seed}: {met}, {self.too_late} came too late"


def state_of(folder: Path) -> tuple[int, int, int, int]:
    """Another value whenever a file below *folder* was written, made or removed, or a folder got another name."""
    count = size = newest = places = 0
    for root, _, names in os.walk(folder):
        places ^= hash(root)
        for name in names:
            try:
                known = os.stat(os.path.join(root, name))
            except FileNotFoundError:
                continue
            count, size, newest = count + 1, size + known.st_size, max(newest, known.st_mtime_ns)
    return count, size, newest, places


def watch(child: subprocess.Popen[str], folder: Path) -> Timeline:
    """Let *child* run to its end, and say when it wrote below *folder*."""
    start, seen = time.monotonic(), state_of(folder)
    first = last = None
    while child.poll() is None:
        now = state_of(folder)
        if now != seen:
            last = time.monotonic() - start
            first = last if first is None else first
            seen = now
        time.sleep(0.001)
    end = time.monotonic() - start
    assert child.returncode == 0, child.stderr.read() if child.stderr else ""
    assert first is not None
    assert last is not None, "the run wrote nothing"
    return Timeline(first, last, end)


def kill_often(
    player: Player, words: list[str], template: Path, times: int, check: Callable[[Player], None], folder: Callable[[Path], Path], seed: int
) -> Kills:
    """
    Kill `integ *words*` *times* times, each in a fresh copy of the home *template*, four in five between its first and last write.

    *folder* names what is watched for writes in a home; *check* looks at the home after each kill: finish the work, find it whole.
    """
    chance = random.Random(seed)
    kills = Kills(seed)
    home = player.home

    def fresh() -> None:
        shutil.rmtree(home)
        shutil.copytree(template, home, symlinks=True)

    fresh()
    usual = watch(player.starts(*words), folder(home))
    check(player)
    while kills.between_writes + kills.elsewhere < times:
        fresh()
        between = (kills.between_writes + kills.elsewhere) % 5 != 4  # four of these for one of the others
        child = player.starts(*words)
        start, seen = time.monotonic(), state_of(folder(home))
        if between:
            while child.poll() is None and state_of(folder(home)) == seen:
                time.sleep(0.0005)
            time.sleep(chance.uniform(0, max(usual.last_s - usual.first_s, 0.001)))
        else:
            time.sleep(chance.uniform(0, usual.end_s))
        finished = child.poll() is not None
        wrote = state_of(folder(home)) != seen
        if not finished:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        if finished:
            kills.too_late += 1
            assert kills.too_late <= times * 3, f"{kills}: the run ends before it can be killed"
            usual = Timeline(
                usual.first_s, (usual.first_s + (usual.last_s - usual.first_s) * 0.9), min(usual.end_s, time.monotonic() - start)
            )
        elif between and wrote:
            kills.between_writes += 1
        else:
            kills.elsewhere += 1
        check(player)
    print(kills)
    return kills
