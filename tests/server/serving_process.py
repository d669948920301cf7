"""A backend in processes of its own, as `integ serve` starts one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_RUN = """
import sys
from integ_server.serving import serve
from integ_server.settings import ServerSettings
serve(ServerSettings.from_environment(None), "127.0.0.1", int(sys.argv[1]), int(sys.argv[2]))
"""


class Served:
    """`address` is ready to be asked; `lines` are the log's so far, the rest comes with `end()`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.address = self._wait_for("answering on ").rpartition(" ")[2]

    @property
    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        self.lines += [json.loads(line) for line in rest.splitlines()]
        return self.process.returncode

    def _wait_for(self, said: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"].startswith(said):
                return str(self.lines[-1]["message"])
        raise AssertionError(f"it ended: {self.lines}")


@contextmanager
def served(
    environ: Mapping[str, str], *, processes: int = 1, before: Sequence[str] = (), pass_fds: Sequence[int] = (), cwd: Path | None = None
) -> Iterator[Served]:
    """Serve with settings from *environ* on any free port; *before* are words in front of the command."""
    words = [*before, sys.executable, "-c", _RUN, "0", str(processes)]
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "INTEG_LOG_FORMAT": "json", **environ}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, pass_fds=pass_fds, cwd=cwd)
    try:
        yield Served(process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.communicate(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        elif process.stdout is not None:
            process.stdout.close()
