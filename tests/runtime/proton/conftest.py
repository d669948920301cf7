from __future__ import annotations

from pathlib import Path

import pytest

from integ_runtime.proton import processor
from integ_runtime.proton.store import ProtonStore
from tests.conftest_sandbox import RunningSandbox
from tests.runtime.proton.proton_home import store_of


@pytest.fixture
def store(home: Path, sandbox: RunningSandbox) -> ProtonStore:
    return store_of(home, sandbox)


@pytest.fixture
def tools(home: Path) -> Path:
    return home / ".cache/integ/proton"


@pytest.fixture(autouse=True)
def new_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose processor can run builds for newer ones, whatever this one can."""
    monkeypatch.setattr(processor, "_flags", lambda cpuinfo: frozenset(" ".join(processor._NEEDS.values()).split()))
