"""Games that Steam starts: what its client is asked, and when they have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from integ_runtime.launch.environment import clean
from integ_runtime.launch.plan import LaunchPlan
from integ_runtime.launch.run import LaunchOutcome
from integ_runtime.steam.client import SteamCommand, hand_over, steam_command, steam_uri, wait_for_game
from integ_server.contract.errors import NotFoundError

if TYPE_CHECKING:
    from integ_runtime.steam.library import SteamFiles


def plan_by_steam(key: str, args: Sequence[str], steam: SteamFiles, environ: Mapping[str, str]) -> LaunchPlan:
    """
    What Steam's client would be asked.

    Raises:
        NotFoundError: Steam has not installed it.
    """
    game_id = key.partition(":")[2]
    uri = steam_uri("rungameid", game_id)
    known = steam.snapshot().find_game(int(game_id))
    if known is None or not known.installed:
        raise NotFoundError(f"{key} is not installed", hint=f"integ install {key}")
    if args:
        uri = f"steam://run/{game_id}//{quote(' '.join(args), safe='')}/"
    command = steam_command(uri, steam.roots(), environ, holder=known.root)
    return LaunchPlan(
        key=key,
        title=known.name or key,
        argv=command.argv,
        env={},
        environ=clean(environ),
        cwd=Path("/"),
        runner="steam",
        proton=known.tool or None,
    )


async def run_by_steam(plan: LaunchPlan, steam: SteamFiles) -> LaunchOutcome:
    """Ask the client and wait for the game's end, which is seen when the client is local; its exit code is Steam's secret."""
    client = await hand_over(SteamCommand(plan.argv, "native"), plan.environ)
    seconds = await wait_for_game(plan.key.partition(":")[2], client, steam.client_runs)
    return LaunchOutcome(0, None, seconds)
