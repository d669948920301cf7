"""
How long `integ` takes to start, and to print 10,000 titles, beside Python's own start, a bare Typer app, and legendary.

`python -m tests.bench.bench_cli [ROUNDS]`
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from integ_cli.command_table import paths
from integ_runtime.cache.store import LibraryCache
from integ_runtime.paths import read_paths
from integ_server.contract.types import Changes, ReleaseRecord, TitleRecord
from tests.bench.measure import Run, in_turn, ratio, summary, versions, write_result

TITLES = 10_000
START_TARGET, LIST_TARGET, LEGENDARY_START, LEGENDARY_LIST, MEMORY_MB = 7.0, 1.2, 0.5, 0.6, 50

BARE = """
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

@app.command()
def show(json: bool = False) -> None:
    print("done")

app()
"""
BARE_LIST = """
import sqlite3
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

ASK = '''SELECT json_object('items', json_group_array(json_object('title_id', t.id, 'title', t.title,
    'favourite', json(iif(t.favourite, 'true', 'false')), 'hidden', json(iif(t.hidden, 'true', 'false')), 'tags', json(t.tags),
    'playtime_min', t.playtime_min, 'last_played_at', t.last_played_at, 'installed', json(iif(t.installed, 'true', 'false')),
    'releases', (SELECT json_group_array(json_object('key', r.key, 'provider', r.provider, 'provider_game_id', r.provider_game_id,
        'title', r.title, 'installed', json(iif(r.installed, 'true', 'false')), 'install_path', r.install_path,
        'platforms', json(r.platforms), 'playtime_min', r.playtime_min, 'last_played_at', r.last_played_at,
        'update_available', json(iif(r.update_available, 'true', 'false')), 'proton', r.proton))
        FROM releases r WHERE r.title_id = t.id))), 'total', count(*))
    FROM (SELECT * FROM titles WHERE hidden = 0 ORDER BY sort, id) t'''

@app.command()
def show(cache: str, json: bool = False) -> None:
    print(sqlite3.connect(cache).execute(ASK).fetchone()[0])

app()
"""


LISTED = "integ list --json, 10,000 titles"
RUN_AS_THEY_ARE = (["accounts"], ["status"], ["proton", "list"], ["config", "list"], ["doctor"])
"""What can be run over and over with no store and changes nothing; the first two open the embedded backend."""


def quietly(argv: Sequence[str], environ: Mapping[str, str]) -> Callable[[], Run]:
    """A rival: *argv* from its start to its end, its output to nowhere."""

    def run() -> Run:
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            try:
                nowhere = os.open(os.devnull, os.O_RDWR)
                for handle in (0, 1, 2):
                    os.dup2(nowhere, handle)
                os.execve(argv[0], list(argv), dict(environ))
            finally:
                os._exit(127)
        _, status, usage = os.wait4(child, 0)
        wall_s = time.perf_counter() - began
        if status != 0:
            raise SystemExit(f"{' '.join(argv)} ended with {os.waitstatus_to_exitcode(status)}")
        return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    return run


def fill(home: Path) -> Path:
    """A cache of 10,000 titles, a tenth of them at two stores; answers the cache file."""
    luck = Random(7)
    titles, releases = [], []
    for number in range(TITLES):
        name = f"{luck.choice(['Amber', 'Hollow', 'Silent', 'Iron'])} {luck.choice(['Harbour', 'Lantern', 'Crown'])} {number}"
        titles.append(TitleRecord(id=f"title-{number}", title=name, year=2000 + number % 25))
        for provider in ("steam", "gog") if number % 10 == 0 else (("steam", "gog")[number % 2],):
            releases.append(
                ReleaseRecord(
                    key=f"{provider}:{number}",
                    provider=provider,
                    provider_game_id=str(number),
                    title_id=f"title-{number}",
                    title=name,
                    platforms=["linux", "windows"] if number % 3 else ["windows"],
                    playtime_min=luck.randrange(5000),
                    accounts=["a"],
                )
            )
    cache_db = read_paths({"HOME": str(home)}).cache_db
    asyncio.run(LibraryCache(cache_db).apply(Changes(revision=1, titles=titles, releases=releases)))
    return cache_db


def legendary(folder: Path) -> list[str] | None:
    """legendary's program in a virtual environment of its own; None where it can't be had."""
    python = folder / "bin" / "python"
    program = folder / "bin" / "legendary"
    if not program.exists():
        steps = [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", "legendary-gl"]]
        for step in steps:
            if subprocess.run(step, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
                return None
    return [str(program)]


def import_profile(argv: list[str], environ: dict[str, str]) -> list[str]:
    """Where a start goes: its twelve dearest imports with what they bring along, in ms."""
    words = [sys.executable, "-X", "importtime", *argv]
    told = subprocess.run(words, env=environ, capture_output=True, text=True, check=False).stderr
    rows = [line.removeprefix("import time:").split("|") for line in told.splitlines() if line.startswith("import time:")]
    dear = sorted(((int(total), name.strip()) for _, total, name in rows if total.strip().isdigit()), reverse=True)
    return [f"{total / 1000:.0f} ms {name}" for total, name in dear[:12]]


def command_words() -> list[list[str]]:
    return [words for words, _ in paths()]


def main(rounds: int) -> None:
    python = sys.executable
    integ = [str(Path(python).parent / "integ")]
    with tempfile.TemporaryDirectory(prefix="integ-bench-") as temporary:
        home = Path(temporary)
        environ = {"HOME": temporary, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        cache_db = fill(home)
        for name, text in {"bare.py": BARE, "bare_list.py": BARE_LIST}.items():
            (home / name).write_text(text)
        rivals = {
            "python -c pass": [python, "-c", "pass"],
            "bare Typer app": [python, str(home / "bare.py")],
            "bare Typer app, 10,000 titles by SQLite": [python, str(home / "bare_list.py"), str(cache_db)],
            "integ --version": [*integ, "--version"],
            "integ --help": [*integ, "--help"],
            "integ list --json, 10,000 titles": [*integ, "list", "--json"],
            "integ search --json": [*integ, "search", "lantern", "--json"],
            "integ show --json": [*integ, "show", "title-77", "--json"],
            "integ config path": [*integ, "config", "path"],
            **{f"integ {' '.join(words)} --json": [*integ, *words, "--json"] for words in RUN_AS_THEY_ARE},
            **{f"integ {' '.join(words)} --help": [*integ, *words, "--help"] for words in command_words()},
        }
        rival = legendary(Path(tempfile.gettempdir()) / "integ-bench-legendary")
        if rival is not None:
            rivals |= {"legendary --version": [*rival, "--version"], "legendary list-installed": [*rival, "list-installed", "--json"]}
        runs = in_turn({name: quietly(argv, environ) for name, argv in rivals.items()}, rounds=rounds)
        missed = [
            name for name in runs if name.startswith("integ") and ratio(runs, name, "python -c pass") > START_TARGET and name != LISTED
        ]
        profiles = {name: import_profile(rivals[name], environ) for name in missed}

    ratios = {f"{name} / python -c pass": ratio(runs, name, "python -c pass") for name in runs if name.startswith(("integ", "bare"))}
    listed = LISTED
    ratios[f"{listed} / bare Typer app"] = ratio(runs, listed, "bare Typer app, 10,000 titles by SQLite")
    if rival is not None:
        ratios["integ --version / legendary --version"] = ratio(runs, "integ --version", "legendary --version")
        ratios["integ --help / legendary --version"] = ratio(runs, "integ --help", "legendary --version")
        ratios[f"{listed} / legendary list-installed"] = ratio(runs, listed, "legendary list-installed")
    starts = [name for name in runs if name.startswith("integ") and name != listed]
    ran = {" ".join(["integ", *words, "--json"]) for words in RUN_AS_THEY_ARE}
    worst_run = max(ratios[f"{name} / python -c pass"] for name in ran)
    starts = [name for name in starts if name not in ran]
    worst = max(ratios[f"{name} / python -c pass"] for name in starts)
    targets = {
        "help of every command, and what reads the cache / python -c pass": {"target": START_TARGET, "reached": worst},
        "commands run as they are / python -c pass": {"target": START_TARGET, "reached": worst_run},
        "list --json / bare Typer app": {"target": LIST_TARGET, "reached": ratios[f"{listed} / bare Typer app"]},
        "list --json, MB": {"target": MEMORY_MB, "reached": summary(runs[listed])["peak_mb"]},
    }
    if rival is not None:
        targets["--help / legendary --version"] = {"target": LEGENDARY_START, "reached": ratios["integ --help / legendary --version"]}
        targets["list --json / legendary"] = {"target": LEGENDARY_LIST, "reached": ratios[f"{listed} / legendary list-installed"]}
    for name, found in ratios.items():
        print(f"{found:8.2f}  {name}")
    for name, each in targets.items():
        met = each["reached"] <= each["target"]
        print(f"{'met   ' if met else 'MISSED'}  {name}: {each['reached']} (target {each['target']})")
    summaries = {name: summary(each) for name, each in runs.items()}
    file = write_result(
        "cli", {"versions": versions("typer", "integ"), "runs": summaries, "ratios": ratios, "targets": targets, "profiles": profiles}
    )
    print(file)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
