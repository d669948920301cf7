"""doctor: what is missing on this machine."""

from __future__ import annotations

from dataclasses import asdict

from integ_cli import session
from integ_cli.context import output
from integ_cli.traits import command

_SIGNS = {"ok": "ok", "warn": "note", "fail": "FAIL"}


@command("integ doctor", "integ doctor --json")
def doctor() -> None:
    """Say what is missing on this machine, and what mends it."""
    out = output()
    checks = [asdict(each) for each in session.run(out, lambda runtime: runtime.doctor())]
    lines = []
    for check in checks:
        lines.append(f"{_SIGNS[check['state']]:<5} {check['name']}: {check['found']}")
        if check["mend"] and check["state"] != "ok":
            lines.append(f"      $ {check['mend']}")
    out.result("doctor", {"checks": checks}, "\n".join(lines))
