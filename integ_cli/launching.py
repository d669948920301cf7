"""`integ launch`, whoever read its words: decide, start, wait, tell. Loaded while a player waits for a game, so it loads little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integ_cli import session
from integ_server.contract.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integ_cli.launch_words import LaunchWords
    from integ_cli.output import Output
    from integ_runtime.launch.plan import LaunchPlan
    from integ_runtime.launch.run import LaunchOutcome
    from integ_runtime.launch.watcher import Watcher
    from integ_runtime.runtime import Runtime


def launch(out: Output, asked: LaunchWords, watcher: Watcher | None = None) -> int:
    """Start a game and wait for its end; answers the game's own code. A *watcher* has begun already."""
    variables = variables_of(asked.env)
    settings = session.light_settings(out)
    release = session.get_release(out, settings, asked.game)

    async def work(runtime: Runtime) -> tuple[dict[str, Any], int]:
        plan = await runtime.launcher.plan(
            release.key, proton=asked.proton, wrappers=asked.wrappers, env=variables, args=asked.arguments, task=asked.task
        )
        for note in plan.notes:
            out.warn(note)
        if asked.dry_run:
            return plan.as_dict(), 0
        outcome = await runtime.launcher.run(plan, attach=not out.as_json, watcher=watcher)
        if outcome.crashed:
            await _tell_crash(out, plan, outcome)
        await runtime.refresh_local()
        told = {
            "key": release.key,
            "exit_code": outcome.exit_code,
            "seconds": outcome.seconds,
            "log_path": outcome.log_path,
            "after_code": outcome.after_code,
        }
        return told, outcome.exit_code

    data, code = session.run_at_once(out, work, settings)
    if asked.dry_run:
        _tell_plan(out, data)
        return 0
    from integ_cli.layout import duration

    out.result("launch", data)
    if data["after_code"]:
        out.warn(f"the command after it ended with {data['after_code']}")
    out.note(f"{release.title} ran for {duration(data['seconds'])}" + (f" and exited with {code}." if code else "."))
    if code and data["log_path"]:
        out.note(f"Its log: {data['log_path']}")
    return code


def _tell_plan(out: Output, data: dict[str, Any]) -> None:
    import shlex

    shown = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in data["env"].items()), shlex.join(data["argv"])])
    around = [shlex.join(data[each]) for each in ("before", "after")]
    out.result("launch", data, f"cd {shlex.quote(str(data['cwd']))}", around[0], shown, around[1])


async def _tell_crash(out: Output, plan: LaunchPlan, outcome: LaunchOutcome) -> None:
    from integ_cli.layout import duration
    from integ_runtime.launch.crash import last_lines, notify

    for line in last_lines(outcome.log_path) if outcome.log_path else []:
        out.note(f"  {line}")
    text = f"It exited with {outcome.exit_code} after {duration(outcome.seconds)}."
    await notify(f"{plan.title} has crashed", text, plan.environ)


def variables_of(given: Sequence[str]) -> dict[str, str]:
    """
    `K=V` texts as variables.

    Raises:
        UsageError: One of them is none.
    """
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name or "\0" in each:
            raise UsageError(f"--env {name or each} is no K=V", hint="--env DXVK_HUD=fps")
        found[name] = value
    return found
