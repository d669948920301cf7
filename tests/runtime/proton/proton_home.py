"""A home with Proton versions in it, and a store that looks after them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import read_settings
from integ_runtime.steam.library import SteamFiles
from tests.conftest_sandbox import RunningSandbox


def store_of(home: Path, sandbox: RunningSandbox | None = None) -> ProtonStore:
    settings = read_settings({"HOME": str(home)})._replace(upstream_url=sandbox.url if sandbox else "http://127.0.0.1:9")
    return ProtonStore(settings, SteamFiles(home, {}, system=home / "no-system"))


def fake_build(tools: Path, version: str) -> Path:
    """Enough of a build of Integ's to be one."""
    path = tools / version
    (path / "files").mkdir(parents=True)
    (path / "proton").write_text("#!/bin/sh\nread line\n")
    (path / "proton").chmod(0o755)
    (path / "toolmanifest.vdf").write_text('"manifest" { "commandline" "/proton %verb%" "require_tool_appid" "1628350" }')
    (path / "version").write_text("1 x\n")
    return path


def left_over(tools: Path) -> list[str]:
    """What lies in the folder beside builds, `latest` and the lock."""
    return sorted(each.name for each in tools.iterdir() if each.name.startswith(".") and each.name != ".integ.lock")


@contextmanager
def running_from(build: Path) -> Iterator[int]:
    """A process that runs from *build*; its id, once its program has begun."""
    (build / "proton").write_text("#!/bin/sh\necho here\nread line\n")
    with subprocess.Popen([build / "proton"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        try:
            yield running.pid
        finally:
            running.kill()
