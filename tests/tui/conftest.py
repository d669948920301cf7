"""Every screen test: no animation, the same terminal, whatever the machine says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_textual_snapshot
from textual import constants

_REPORTS = os.environ.get("TEXTUAL_SNAPSHOT_TEMPDIR")  # the plugin's own, which the clean environment would take from it
pytest_textual_snapshot.SVGImageExtension.file_extension = "svg"  # as newer syrupys call it


@pytest.fixture(autouse=True)
def _still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    reports = _REPORTS or os.environ.get("TEXTUAL_SNAPSHOT_TEMPDIR")
    if reports:
        monkeypatch.setenv("TEXTUAL_SNAPSHOT_TEMPDIR", reports)
