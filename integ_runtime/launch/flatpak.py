"""A plan as it is run from inside Flatpak: by the host, which knows nothing of the sandbox's files and variables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from integ_runtime.errors import LaunchError
from integ_runtime.launch.environment import for_commands
from integ_runtime.launch.plan import LaunchPlan

INFO = Path("/.flatpak-info")
"""There inside every Flatpak, and nowhere else."""
_SANDBOX_ONLY = ("/app", "/run/host", "/run/flatpak", "/tmp", "/var/tmp")  # noqa: S108 - names, nothing is written there


def on_the_host(plan: LaunchPlan) -> LaunchPlan:
    """
    *plan*, handed to the host; what the plan sets is handed over too, and nothing else of ours arrives there.

    It ends with us, signals and exit codes are passed on, and what asks Wine to end is run by the host as well.

    Raises:
        LaunchError: It names a file that is in the sandbox alone.
    """
    for text in (*plan.argv, str(plan.cwd), *plan.before, *plan.after, *(each for value in plan.env.values() for each in value.split(":"))):
        if any(Path(text).is_relative_to(each) for each in _SANDBOX_ONLY):
            raise LaunchError(f"{text} is inside Integ's Flatpak alone, and games run outside it", hint="integ config list")
    from integ_runtime.launch.host import RUN_ID

    around = (*for_commands(plan.env), "INTEG_GAME_KEY", "INTEG_GAME_TITLE")
    return plan._replace(
        argv=_handed(plan, plan.argv, (*plan.env, RUN_ID)),
        before=_handed(plan, plan.before, around),
        after=_handed(plan, plan.after, (*around, "INTEG_EXIT_CODE")),
        stop=_handed(plan, plan.stop, ("WINEPREFIX",)),
        on_host=True,
    )


def _handed(plan: LaunchPlan, words: tuple[str, ...], names: Iterable[str]) -> tuple[str, ...]:
    from integ_runtime.launch.host import door

    return door(str(plan.cwd), names, words) if words else ()
