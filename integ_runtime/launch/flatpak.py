"""A plan as it is run from inside Flatpak: by the host, which knows nothing of the sandbox's files and variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from integ_runtime.errors import LaunchError
from integ_runtime.launch.environment import for_commands
from integ_runtime.launch.plan import LaunchPlan

INFO = Path("/.flatpak-info")
"""There inside every Flatpak, and nowhere else."""
_SANDBOX_ONLY = ("/app", "/run/host", "/run/flatpak", "/tmp", "/var/tmp")  # noqa: S108 - names, nothing is written there


def on_the_host(plan: LaunchPlan) -> LaunchPlan:
    """
    *plan*, handed to the host by `flatpak-spawn`; what the plan sets is named to it, since nothing else arrives there.

    It ends with us (`--watch-bus`), signals and exit codes are passed on. Wine can't be asked from here: the signals end it.

    Raises:
        LaunchError: It names a file that is in the sandbox alone.
    """
    for text in (*plan.argv, str(plan.cwd), *plan.before, *plan.after, *(each for value in plan.env.values() for each in value.split(":"))):
        if any(Path(text).is_relative_to(each) for each in _SANDBOX_ONLY):
            raise LaunchError(f"{text} is inside Integ's Flatpak alone, and games run outside it", hint="integ config list")
    return replace(
        plan,
        argv=_spawned(plan, plan.argv, plan.env),
        before=_spawned(plan, plan.before, for_commands(plan.env)) if plan.before else (),
        after=_spawned(plan, plan.after, for_commands(plan.env)) if plan.after else (),
        stop=(),
    )


def _spawned(plan: LaunchPlan, words: Iterable[str], env: Mapping[str, str]) -> tuple[str, ...]:
    variables = (f"--env={name}={value}" for name, value in sorted(env.items()))
    return ("flatpak-spawn", "--host", "--watch-bus", f"--directory={plan.cwd}", *variables, *words)
