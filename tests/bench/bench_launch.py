"""
What `integ launch` adds before the program starts, beside starting it by hand: a native game, and a Windows game by the build's `proton`.

The game says that it runs by writing into a pipe with a name; from the command to that moment is what counts. Both ways go through the
same small `proton` script, so what Proton itself takes is in neither. No save is snapshotted, and every request would be seen and fails
the bench. `python -m tests.bench.bench_launch [ROUNDS]`
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from integ_runtime.paths import read_paths
from tests.bench.bench_cli import BARE, import_profile, quietly
from tests.bench.measure import Run, in_turn, ratio, summary, versions, write_result

TARGET = 1.5
GAME = '#!/bin/sh\necho > "$BENCH_STARTED"\n'
PROTON = '#!/bin/sh\nshift\nexec "$@"\n'
BY_HAND, BY_PROTON = "the program itself", "proton waitforexitandrun"
NATIVE, WINDOWS = "integ launch, native", "integ launch, Windows by proton"
TYPER = "bare Typer app"


def until_started(argv: Sequence[str], environ: Mapping[str, str], pipe: Path) -> Callable[[], Run]:
    """A rival: *argv* from its start to the first sign of the game; its end is waited for, but does not count."""

    def run() -> Run:
        told = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        try:
            began = time.perf_counter()
            with subprocess.Popen(
                argv, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as child:
                ready, _, _ = select.select([told], [], [], 30)
                wall_s = time.perf_counter() - began
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            if not ready or child.returncode:
                raise SystemExit(f"{' '.join(argv)} ended with {child.returncode}, and the game {'ran' if ready else 'did not start'}")
            os.read(told, 4096)
        finally:
            os.close(told)
        return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    return run


def make_program(file: Path, text: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


def make_build(home: Path) -> str:
    """A Proton version that needs no runtime; answers its `proton`."""
    folder = read_paths({"HOME": str(home)}).proton_dir / "GE-Proton9-27"
    proton = make_program(folder / "proton", PROTON)
    (folder / "toolmanifest.vdf").write_text(
        '"manifest" { "version" "2" "commandline" "/proton %verb%" "compatmanager_layer_name" "proton" }'
    )
    (folder / "version").write_text("1784900000 GE-Proton9-27\n")
    return proton


class Outside:
    """Where every request would go; counts them."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.asked = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            self._door.accept()[0].close()
            self.asked += 1


def main(rounds: int) -> None:
    integ = [str(Path(sys.executable).parent / "integ")]
    outside = Outside()
    with tempfile.TemporaryDirectory(prefix="integ-bench-") as temporary:
        home, pipe = Path(temporary), Path(temporary) / "started"
        os.mkfifo(pipe)
        environ = {"HOME": temporary, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "BENCH_STARTED": str(pipe)}
        environ["INTEG_UPSTREAM_URL"] = outside.url
        (home / "bare.py").write_text(BARE)
        proton = make_build(home)
        games = {
            name: make_program(home / "Games" / name / file, GAME) for name, file in {"linux": "start.sh", "windows": "game.exe"}.items()
        }
        for name, program in games.items():
            words = ["import", f"Bench {name}", "--path", str(Path(program).parent), "--exe", Path(program).name]
            subprocess.run([*integ, *words], env=environ, check=True, stdout=subprocess.DEVNULL)
        launches = {NATIVE: [*integ, "launch", "local:bench-linux"], WINDOWS: [*integ, "launch", "local:bench-windows"]}
        rivals = {
            BY_HAND: until_started([games["linux"]], environ, pipe),
            BY_PROTON: until_started([proton, "waitforexitandrun", games["windows"]], environ, pipe),
            TYPER: quietly([sys.executable, str(home / "bare.py")], environ),
            **{name: until_started(argv, environ, pipe) for name, argv in launches.items()},
        }
        for rival in rivals.values():
            rival()  # the first prefix, and what the disk has to find
        runs = in_turn(rivals, rounds=rounds)
        added = {NATIVE: added_s(runs, NATIVE, BY_HAND), WINDOWS: added_s(runs, WINDOWS, BY_PROTON)}
        bare_s = statistics.median(run.wall_s for run in runs[TYPER])
        targets = {f"what {name} adds / {TYPER}": {"target": TARGET, "reached": round(each / bare_s, 3)} for name, each in added.items()}
        missed = any(each["reached"] > TARGET for each in targets.values())
        profile = import_profile(launches[WINDOWS], {**environ, "BENCH_STARTED": os.devnull}) if missed else []
    if outside.asked:
        raise SystemExit(f"a launch asked the outside {outside.asked} times")
    for name, target in targets.items():
        print(f"{'met   ' if target['reached'] <= target['target'] else 'MISSED'}  {name}: {target['reached']} (target {target['target']})")
    content = {
        "versions": versions("typer", "integ"),
        "runs": {name: summary(each) for name, each in runs.items()},
        "added_s": added,
        "ratios": {f"{name} / {TYPER}": ratio(runs, name, TYPER) for name in launches},
        "targets": targets,
        "requests": outside.asked,
        "profile": profile,
    }
    print(write_result("launch", content))


def added_s(runs: Mapping[str, Sequence[Run]], name: str, by_hand: str) -> float:
    """What the median run of *name* took longer than that of *by_hand*, in seconds."""
    return round(statistics.median(run.wall_s for run in runs[name]) - statistics.median(run.wall_s for run in runs[by_hand]), 4)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
