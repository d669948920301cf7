"""The house stands as it is drawn: what an import really loads, and what README and CI promise."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent


def loaded_by(module: str) -> set[str]:
    ask = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", ask], text=True, env={"PATH": os.environ["PATH"], "HOME": "/"}).split())


@pytest.mark.parametrize("module", ["integ_runtime.runtime", "integ_server.app", "integ_server.sandbox.app"])
def test_nothing_below_loads_a_front_end(module: str) -> None:
    assert not {"textual", "typer"} & loaded_by(module)


def test_opening_the_runtime_loads_neither_server_nor_http() -> None:
    assert not {"fastapi", "sqlmodel", "sqlalchemy", "httpx", "dramatiq", "alembic"} & loaded_by("integ_runtime.runtime")


@pytest.mark.parametrize("module", ["integ_server.app", "integ_runtime.runtime", "integ_tui.app"])
def test_production_code_never_loads_the_sandbox(module: str) -> None:
    assert not {name for name in loaded_by(module) if name.startswith("integ_server.sandbox")}


def test_the_readme_has_two_commands_and_ci_runs_the_second() -> None:
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.M)
    assert len(commands) == 2
    assert commands[0].endswith("just demo")
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_readme_shows_a_picture_that_is_there() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert all((ROOT / unquote(picture)).is_file() for picture in pictures)


def test_every_dependency_is_locked_with_a_hash_and_no_registry_is_named() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[<>=; ]", each)[0] for each in [*wanted["dependencies"], *wanted["optional-dependencies"]["dev"]]]
    for name in names:
        assert re.search(rf"^{re.escape(name)}(\[[^]]*\])?==", lock, re.M | re.I), f"{name} is not in requirements.lock: just lock"
    assert "://" not in lock
    pinned = re.findall(r"^\S+==\S+.*\\$", lock, re.M)
    assert len(pinned) == len(re.findall(r"^[a-z0-9]\S*==", lock, re.M | re.I)), "each line goes on with its hashes"


def test_modules_stay_small_enough_to_read_in_one_go() -> None:
    files = [file for package in ("integ_cli", "integ_tui", "integ_runtime", "integ_server") for file in (ROOT / package).rglob("*.py")]
    assert files
    long = {str(file.relative_to(ROOT)): lines for file in files if (lines := len(file.read_text().splitlines())) > 400}
    assert long == {}


def test_the_full_licence_is_shipped() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in text
    assert "Version 3, 29 June 2007" in text
    assert len(text) > 30_000


def hints() -> dict[str, set[str]]:
    """The commands that the program tells people to type, with the files that do."""
    found: dict[str, set[str]] = {}
    for package in ("integ_cli", "integ_tui", "integ_runtime", "integ_server"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.keyword) and node.arg in {"hint", "mend"}:
                    for command in re.findall(r"\binteg ([a-z][a-z-]+)", ast.unparse(node.value)):
                        found.setdefault(command, set()).add(str(file.relative_to(ROOT)))
    return found


def test_no_hint_names_a_command_that_is_not_there() -> None:
    from integ_cli.command_table import PANELS

    known = {name for panel in PANELS.values() for name in panel}
    told = hints()
    assert len(told) > 8
    assert {command: files for command, files in told.items() if command not in known} == {}
