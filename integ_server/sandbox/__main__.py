"""`python -m integ_server.sandbox`: a sandbox to point INTEG_UPSTREAM_URL at."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from integ_server.sandbox.app import create_sandbox
from integ_server.sandbox.faults import KNOWN
from integ_server.sandbox.serve import serve
from integ_server.sandbox.world import make_world


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the address as one line, and answer until the first SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m integ_server.sandbox", description="A stand-in for Steam, GOG and the Proton release feed."
    )
    parser.add_argument("--world", choices=("small", "demo", "large", "crowd"), default="small")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", choices=sorted(KNOWN), help="may be repeated")
    parser.add_argument("--list-faults", action="store_true")
    wanted = parser.parse_args(arguments)
    if wanted.list_faults:
        sys.stdout.writelines(f"{name:32} {meaning}\n" for name, meaning in sorted(KNOWN.items()))
        return 0
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    sandbox = create_sandbox(make_world(wanted.world, wanted.seed))
    for name in wanted.fault:
        sandbox.faults.on(name)
    with serve(sandbox, wanted.port) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
