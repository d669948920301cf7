"""The systemd units, read by systemd itself."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from integ_server.settings import ServerSettings
from tests.deploy.page import ROOT

UNITS = ("integ-migrate.service", "integ-api.service", "integ-worker@.service")


def installed(folder: Path) -> list[Path]:
    """The units as they would be installed, an instance of the template, and the program where this machine has one."""
    found = []
    for name in UNITS:
        text = (ROOT / "rpm" / name).read_text("utf-8")
        assert "/usr/bin/integ" in text
        file = folder / name.replace("@.", "@1.")
        file.write_text(text.replace("/usr/bin/integ", sys.executable))
        found.append(file)
    return found


@pytest.mark.integration
def test_systemd_has_nothing_to_say_against_them(tmp_path: Path, need: Callable[[str], str]) -> None:
    analyze = need("systemd-analyze")
    done = subprocess.run([analyze, "verify", "--man=no", *installed(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.integration
def test_they_are_hardened(tmp_path: Path, need: Callable[[str], str]) -> None:
    analyze = need("systemd-analyze")
    for unit in installed(tmp_path):
        words = [analyze, "security", "--offline=yes", "--no-pager", "--threshold=40", str(unit)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{unit.name}: {done.stdout[-200:]}{done.stderr}"
        level = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
        assert level is not None and float(level[1]) < 4.0


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_a_command_that_there_is_and_hands_over_secrets_by_their_names(name: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    text = (ROOT / "rpm" / name).read_text("utf-8")
    unit.read_string(text)
    words = shlex.split(unit["Service"]["ExecStart"].replace("${INTEG_PROCESSES}", "2"))
    asked = subprocess.run([sys.executable, "-m", "integ_cli", words[1], "--help"], capture_output=True, text=True, check=False)
    assert asked.returncode == 0 and all(word in asked.stdout for word in words[2:] if word.startswith("--"))
    secrets = {field for field, info in ServerSettings.model_fields.items() if not info.repr} | {"database_password"}
    credentials = set(re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE))
    assert {"secret_key", "database_url"} <= credentials <= secrets
