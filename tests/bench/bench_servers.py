"""
`just bench servers`: which HTTP server under the API. Each rival answers the same page of 50 games from memory, in one process, to wrk.

Rivals run in turn. Time on the clock depends on what else the machine does, so the figure to compare is the server's own processor time a
request; throughput and latencies stand beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI, Response

from integ_server.api.envelope import add_handlers
from integ_server.api.middleware import Doorkeeper
from integ_server.api.recorder import Recorder
from tests.bench.load import free_port, need_wrk, wait_for, wrk
from tests.bench.measure import versions, write_result

RIVALS = ("uvicorn-h11", "uvicorn-httptools", "uvicorn-httptools-uvloop", "granian", "granian-uvloop")


def make_app() -> FastAPI:
    """The API's own outer layers around an answer that costs nothing to make."""
    app = FastAPI()
    app.add_middleware(Doorkeeper, loopback_only=True)
    app.add_middleware(Recorder, writes_lines=False)
    add_handlers(app)
    game = {
        "title_id": "lantern-keep",
        "title": "Lantern Keep",
        "tags": ["quiet", "short"],
        "playtime_min": 731,
        "releases": ["gog:1", "steam:2"],
    }
    page = json.dumps({"status": "ok", "data": {"items": [game] * 50, "next_cursor": None}}).encode()

    @app.get("/games")
    async def games(limit: int = 50) -> Response:
        return Response(page, media_type="application/json")

    return app


def be(name: str, port: int) -> None:
    """Serve in this process until a signal comes."""
    if name.startswith("uvicorn"):
        import uvicorn

        uvicorn.run(
            make_app(),
            host="127.0.0.1",
            port=port,
            http="h11" if name.endswith("h11") else "httptools",
            loop="uvloop" if name.endswith("uvloop") else "asyncio",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        return
    from granian.constants import HTTPModes, Interfaces, Loops  # type: ignore[import-not-found]
    from granian.server import Server

    loop = Loops.uvloop if name.endswith("uvloop") else Loops.asyncio
    server = Server(
        "tests.bench.bench_servers:make_app",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        loop=loop,
        factory=True,
        websockets=False,
        log_enabled=False,
    )
    server.serve()


def measured(name: str, seconds: int) -> dict[str, float]:
    port = free_port()
    address = f"http://127.0.0.1:{port}/games?limit=50"
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bench_servers", "--be", name, "--port", str(port)], start_new_session=True
    )
    try:
        wait_for(address)
        wrk(address, 1)
        before, began = _cpu_s(server.pid), time.monotonic()
        told = wrk(address, seconds)
        used = _cpu_s(server.pid) - before
        return {**asdict(told), "cpu_us_a_request": used / told.requests * 1e6, "cpu_share": used / (time.monotonic() - began)}
    finally:
        server.terminate()
        server.wait(20)


def _cpu_s(pid: int) -> float:
    """Processor time of *pid* and of its children, which still run."""
    total = 0.0
    for stat in [each for each in os.listdir("/proc") if each.isdigit()]:
        try:
            with open(f"/proc/{stat}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--be")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    asked = parser.parse_args()
    if asked.be:
        be(asked.be, asked.port)
        return
    need_wrk()
    if find_spec("granian") is None:  # no part of Integ
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "granian"], check=True)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in RIVALS}
    for number in range(asked.rounds):
        for name in RIVALS:
            runs[name].append(measured(name, asked.seconds))
            print(
                f"  round {number + 1}: {name} {runs[name][-1]['cpu_us_a_request']:.0f} µs, {runs[name][-1]['per_s']:.0f}/s",
                file=sys.stderr,
            )
    found: dict[str, dict[str, Any]] = {
        name: {key: round(statistics.median(run[key] for run in each), 2) for key in each[0] if key != "requests"}
        for name, each in runs.items()
    }
    print(json.dumps(found, indent=2))
    write_result(
        "servers", {"rivals": found, "versions": versions("uvicorn", "granian", "uvloop", "httptools", "h11", "fastapi", "starlette")}
    )


if __name__ == "__main__":
    main()
