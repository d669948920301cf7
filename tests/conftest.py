"""Every test gets an empty home, none of the developer's variables, and no way out of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest_backends import _house, backend_kind  # noqa: F401 - fixtures for every test
from tests.conftest_sandbox import sandbox  # noqa: F401 - a fixture for every test

_KEPT = {"PATH", "LANG", "TERM", "CI", "TMPDIR"}
LOOPBACK = {"localhost", "127.0.0.1", "::1", ""}


def pytest_configure() -> None:
    """A shell starts what it puts in the background with Ctrl-C ignored, and the programs that tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HOME, with nothing of the developer's environment but PATH and the language."""
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(("PYTEST_", "COV_", "PYTHONHASHSEED", "HYPOTHESIS_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return folder


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A connection to anything but this machine fails the test that tries it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """An empty folder in memory, of this user alone: what a login gives as $XDG_RUNTIME_DIR."""
    folder = Path(tempfile.mkdtemp(prefix="integ-test-", dir="/dev/shm"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def need() -> Callable[[str], str]:
    """Ask for a foreign program: its path, else the test is skipped, and fails where CI promised to have it."""

    def ask(program: str) -> str:
        found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/games:/usr/sbin")
        if found is None and os.environ.get("CI"):
            pytest.fail(f"{program} is missing, and CI has to have it")
        if found is None:
            pytest.skip(f"{program} is not on this machine")
        return found

    return ask
