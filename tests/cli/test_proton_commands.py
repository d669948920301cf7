"""Proton versions as a player meets them: which there are, what comes and goes, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Answer, Integ
from tests.conftest_backends import BackendKind
from tests.conftest_sandbox import RunningSandbox

Valid = Callable[[Answer], dict[str, Any]]


def test_the_name_alone_says_whose_build_is_meant(integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid) -> None:
    done = valid(integ("install-proton", "umu", "--json"))
    assert (done["version"], done["family"]) == ("UMU-Proton-9.0-4e", "umu")
    wrong = integ("install-proton", "umu-9.0-3.2", "--family", "ge", "--json")
    assert wrong.code == 3
    valid(wrong)


def test_an_old_list_is_shown_with_a_word_about_it(integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, valid: Valid) -> None:
    listed = valid(integ("proton", "available", "--family", "umu", "--json"))
    sandbox.faults.on("feed.rate_limited")
    again = integ("proton", "available", "--family", "umu", "--refresh", "--json")
    assert (again.code, valid(again)) == (0, listed)
    assert again.err.startswith("warning: GitHub asks for a pause")
