"""
Installing a Proton build of 1.2 GB in 9,000 files, beside `curl | tar` with the same archive from the same server on this machine.

Integ's time is that of a whole fresh process, from its start to its end: imports, release feed, SHA-512, unpacking, a record of every
file, the sync to the disk and the rename. The yardstick checks nothing and leaves what it wrote to be synced by whoever comes next.

The peer protonup installs the same .tar.gz in the same run. The same build over a link of 60 MB/s shows what a player at a fast line waits
for, and one whose connection breaks at 90 % how much is fetched again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integ_runtime.proton.archive import Limits, TarStream, inflate
from tests.bench.measure import RESULTS, Run, in_turn, ratio, run_program, summary, versions, write_result

TAG = "GE-Proton9-1"
FILES, LARGE, MEDIUM = 9_000, 40, 2_460
LINK_BYTES_PER_S = 60_000_000
CUT = 0.9
PEER_BEATEN_BY = 2.0
PEER = """
import sys
from protonup import api
api.PROTONGE_URL, target = sys.argv[1:]
api.install_directory(target)
sys.exit(0 if api.get_proton("GE-Proton9-1", yes=True) else 1)
"""
TARGETS = {"gz": 0.45, "zst": 1.1, "xz": 0.60}
PACKERS = {
    "gz": ["gzip", "-6"],
    "zst": ["zstd", "-q", "-T0", "-6"],
    "xz": ["xz", "-T0", "-1", "--block-size=24MiB"],
}  # the blocks that xz makes by default, in less time
MANIFEST = '"manifest" { "version" "2" "commandline" "/proton %verb%" "require_tool_appid" "1628350" }\n'
CHILD = """
import asyncio, time, json, sys
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
settings = read_settings()
store = ProtonStore(settings, SteamFiles(settings.paths.home, {}))
began = time.perf_counter()
outcome = asyncio.run(store.install("GE-Proton9-1"))
assert not outcome.already_installed
print(f"    install() alone {time.perf_counter() - began:.3f} s", file=sys.stderr)
"""


def make_tree(root: Path) -> int:
    """The same bytes on every machine, as compressible as a real build (to about 40 %); its size."""
    rng = random.Random(20261122)
    words = [rng.randbytes(rng.randint(3, 12)) for _ in range(900)]
    parts: list[bytes] = []
    while sum(map(len, parts)) < 16 << 20:
        kind = rng.random()
        parts.append(rng.randbytes(4096) if kind < 0.10 else bytes(2048) if kind < 0.20 else b"".join(rng.choices(words, k=600)))
    stock = b"".join(parts)
    small = {
        "proton": b"#!/usr/bin/env python3\n",
        "toolmanifest.vdf": MANIFEST.encode(),
        "version": f"1 {TAG}\n".encode(),
        "LICENSE": b"free\n",
    }
    total = 0
    for number in range(FILES - len(small)):
        low, high = (6 << 20, 12 << 20) if number < LARGE else (60 << 10, 500 << 10) if number < LARGE + MEDIUM else (200, 40 << 10)
        size = rng.randint(low, high)
        at = rng.randrange(len(stock) - size)
        file = root / "files" / "lib" / "wine" / f"part-{number % 300}" / f"module-{number}.dll"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(stock[at : at + size])
        total += size
    for name, content in small.items():
        (root / name).write_bytes(content)
        (root / name).chmod(0o755 if name == "proton" else 0o644)
    return total + sum(map(len, small.values()))


def publish(tree: Path, served: Path, kind: str) -> Path:
    """The archive and a release feed that names it, where the outside would have them."""
    name = f"{TAG}.tar.{kind}"
    folder = served / "github.com" / "GloriousEggroll" / "proton-ge-custom" / "releases" / "download" / TAG
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / name
    with archive.open("wb") as out, subprocess.Popen(["tar", "-C", str(tree.parent), "-c", tree.name], stdout=subprocess.PIPE) as packed:
        subprocess.run(PACKERS[kind], stdin=packed.stdout, stdout=out, check=True)
    digest = hashlib.sha512()
    with archive.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    (folder / f"{TAG}.sha512sum").write_text(f"{digest.hexdigest()}  {name}\n")
    feed = served / "api.github.com" / "repos" / "GloriousEggroll" / "proton-ge-custom"
    feed.mkdir(parents=True, exist_ok=True)
    base = f"https://github.com/GloriousEggroll/proton-ge-custom/releases/download/{TAG}"
    sizes = {name: archive.stat().st_size, f"{TAG}.sha512sum": 150}
    assets = [
        {"id": at, "name": each, "size": size, "browser_download_url": f"{base}/{each}"} for at, (each, size) in enumerate(sizes.items())
    ]
    (feed / "releases@per_page=100").write_text(json.dumps([{"tag_name": TAG, "assets": assets}]))
    return archive


@contextmanager
def serving(root: Path, *words: str) -> Iterator[str]:
    argv = [sys.executable, "-m", "tests.bench.static_server", str(root), *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()


def fresh(folder: Path) -> Path:
    """
    A new folder, with nothing of earlier rivals waiting to be written to the disk, nor in the memory that this one gets.

    What earlier runs wrote stays on the disk until all are done: ext4 without a journal looks for half a minute at every inode that was
    freed, which would cost whoever comes next. It leaves the page cache, since a virtual machine hands out memory it never used slowly.
    """
    os.sync()
    for parent, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(parent, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
    return Path(tempfile.mkdtemp(dir=folder))


def parts(archive: Path) -> dict[str, float]:
    """Processor seconds of what an install can't do without, one after the other on one thread: where the time of a row goes."""

    def chunks() -> Iterator[bytes]:
        with archive.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk

    def sha512() -> None:
        digest = hashlib.sha512()
        for chunk in chunks():
            digest.update(chunk)

    def inflated() -> None:
        for _ in inflate(chunks(), Limits()):
            pass

    def read_as_tar() -> None:
        stream = TarStream(inflate(chunks(), Limits()))
        for _ in stream:
            for _ in stream.data():
                pass

    found = {}
    for name, work in {"sha512_cpu_s": sha512, "inflate_cpu_s": inflated, "inflate_and_tar_cpu_s": read_as_tar}.items():
        began = time.process_time()
        work()
        found[name] = round(time.process_time() - began, 3)
    return found


def protonup(folder: Path) -> Path | None:
    """The Python of a virtual environment that has the peer; None where it can't be had."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "protonup").exists():
        steps = [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", "protonup"]]
        if any(subprocess.run(step, check=False).returncode for step in steps):
            print("protonup can't be installed: it is left out", file=sys.stderr)
            return None
    return python


def tell_peer(archive: Path, served: Path, url: str) -> str:
    """The release as the peer asks for it, with addresses on this machine; where it has to ask."""
    feed = served / "peer" / "tags"
    feed.mkdir(parents=True, exist_ok=True)
    base = f"{url}/{archive.parent.relative_to(served)}"
    assets = [{"name": name, "size": 0, "browser_download_url": f"{base}/{name}"} for name in (f"{TAG}.sha512sum", archive.name)]
    (feed / TAG).write_text(json.dumps({"tag_name": TAG, "published_at": "2026-01-01T00:00:00Z", "assets": assets}))
    return f"{url}/peer"


def install(url: str, home: Path) -> Run:
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "INTEG_UPSTREAM_URL": url}
    return run_program([sys.executable, "-c", CHILD], environ=environ)


def over_a_link(archive: Path, served: Path, out: Path) -> dict[str, Any]:
    """How long an install takes over a link of so many bytes a second, beside the bytes' own time on it."""
    with serving(served, "--bytes-per-s", str(LINK_BYTES_PER_S)) as url:
        run = install(url, fresh(out))
    wire_s = archive.stat().st_size / LINK_BYTES_PER_S
    slower = round(run.wall_s / wire_s, 3)
    print(f"proton over 60 MB/s: {run.wall_s:.2f} s, {slower} x the time of the bytes on the wire")
    return {"bytes_per_s": LINK_BYTES_PER_S, "wall_s": round(run.wall_s, 3), "wire_s": round(wire_s, 3), "ratio": slower}


def after_a_cut(archive: Path, served: Path, out: Path) -> dict[str, Any]:
    """What is fetched twice when the connection breaks at 90 % of the archive."""
    log = served.parent / "sent"
    with serving(served, "--cut", str(CUT), "--log", str(log)) as url:
        run = install(url, fresh(out))
    size = archive.stat().st_size
    sent = [int(line) for line in log.read_text("ascii").split()]
    large = [each for each in sent if each > size * (1 - CUT) / 2]
    if len(large) != 2:
        raise SystemExit(f"the archive was to come in two answers, not in {len(large)}")
    again = sum(large) - size
    print(f"proton cut at 90 %: {again} bytes are fetched again, of {size}")
    return {"cut_at": CUT, "archive_bytes": size, "fetched_again_bytes": again, "wall_s": round(run.wall_s, 3)}


def compare(kind: str, tree: Path, work: Path, rounds: int) -> dict[str, Any]:
    served, out = work / "served", work / "out"
    out.mkdir(exist_ok=True)
    archive = publish(tree, served, kind)
    flag = {"gz": "-xzf", "zst": "-I zstd -xf", "xz": "-xJf"}[kind]
    with serving(served) as url:
        address = f"{url}/{archive.relative_to(served)}"

        def curl_and_tar() -> Run:
            return run_program(["sh", "-c", f"curl -sS {address} | tar {flag} - -C {fresh(out)}"])

        def integ() -> Run:
            return install(url, fresh(out))

        def copy() -> Run:
            return run_program(["cp", "-a", str(tree), str(fresh(out))])

        rivals: dict[str, Callable[[], Run]] = {"curl | tar": curl_and_tar, "integ": integ, "cp -a (the floor)": copy}
        peer = protonup(Path(tempfile.gettempdir()) / "integ-bench-protonup") if kind == "gz" else None
        if peer is not None:
            told = tell_peer(archive, served, url)

            def by_peer() -> Run:
                home = fresh(out)
                return run_program([str(peer), "-c", PEER, told, f"{home}/builds"], environ={"HOME": str(home), "PATH": os.environ["PATH"]})

            rivals["protonup"] = by_peer
        runs = in_turn(rivals, rounds=rounds)
    extra = {"link": over_a_link(archive, served, out), "cut": after_a_cut(archive, served, out)} if kind == "gz" else {}
    archive_bytes, profile = archive.stat().st_size, parts(archive)
    shutil.rmtree(out)
    shutil.rmtree(served)
    reached = ratio(runs, "integ", "curl | tar")
    if "protonup" in runs:
        extra["protonup_ratio"] = ratio(runs, "protonup", "integ")
        print(f"proton .tar.{kind}: protonup takes {extra['protonup_ratio']} x Integ (target {PEER_BEATEN_BY}: no less)")
    print(f"proton .tar.{kind}: integ takes {reached} x curl | tar (target {TARGETS[kind]})")
    return {
        "archive_bytes": archive_bytes,
        "ratio": reached,
        "target": TARGETS[kind],
        "reached": reached <= TARGETS[kind],
        "memory_target_mb": 200,
        "memory_reached": max(run.peak_mb for run in runs["integ"]) <= 200,
        "profile": profile,
        **extra,
        "rivals": {name: summary(each) for name, each in runs.items()},
    }


def earlier_rows() -> dict[str, Any]:
    """The rows of kinds that are not measured this time."""
    try:
        return dict(json.loads((RESULTS / "proton.json").read_text("utf-8"))["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--kinds", nargs="+", choices=sorted(TARGETS), default=["gz", "zst", "xz"])
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="integ-bench-") as folder:
        work = Path(folder)
        tree = work / "tree" / TAG
        size = make_tree(tree)
        rows = earlier_rows() | {f"tar.{kind}": compare(kind, tree, work, options.rounds) for kind in options.kinds}
    file = write_result(
        "proton",
        {"tree_bytes": size, "files": FILES, "versions": versions("isal", "urllib3", "httpx", "pydantic", "zstandard"), "rows": rows},
    )
    print(f"written to {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file.name}")


if __name__ == "__main__":
    main()
