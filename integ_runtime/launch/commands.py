"""The command that a player wants run before a game; the one after it is the supervisor's, which outlives us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from integ_runtime.errors import LaunchError
from integ_runtime.launch.plan import LaunchPlan

BEFORE_LIMIT_S = 120.0


async def run_before(plan: LaunchPlan, log_path: Path | None, *, limit_s: float = BEFORE_LIMIT_S) -> None:
    """
    Run the plan's `before` to its end; what it prints goes to the log, or to our stderr.

    Raises:
        LaunchError: It failed, or took longer than *limit_s*; the game is not to be started.
    """
    out = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC) if log_path else os.dup(2)
    hint = f"mend it, or start without it: integ options {plan.key} --before ''"
    try:
        process = await asyncio.create_subprocess_exec(
            *plan.before,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=plan.surroundings(),
            cwd=plan.cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(f"{plan.before[0]}, which is to be run before {plan.title}, can't be: {error.strerror}", hint=hint) from error
    finally:
        os.close(out)
    try:
        async with asyncio.timeout(limit_s):
            code = await process.wait()
    except TimeoutError as error:
        raise LaunchError(f"{plan.before[0]}, run before {plan.title}, took longer than {limit_s:.0f} s", hint=hint) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code:
        raise LaunchError(f"{plan.before[0]}, run before {plan.title}, ended with {code}: the game was not started", hint=hint)
