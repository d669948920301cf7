"""achievements: what the player has unlocked in a game, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import day
from integ_cli.output import Output
from integ_cli.parameters import GameArgument
from integ_cli.session import light_settings, one_of_several
from integ_cli.traits import command
from integ_server.contract.errors import IntegError, UsageError

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime
    from integ_server.contract.achievements import Achievement, AchievementList


@command("integ achievements lantern-keep", "integ achievements steam:620 --again --json")
def achievements(
    game: GameArgument,
    again: Annotated[bool, Option("--again", help="Ask the store, however fresh what is known")] = False,
) -> None:
    """Show what you have unlocked in a game, at each store where you own it."""
    from integ_runtime.cache import rows

    out = output()
    cache_db = light_settings(out).paths.cache_db
    title = one_of_several(out, lambda text: rows.get_title(cache_db, text), game)
    keys = [each.key for each in title.releases if each.key == game] or [each.key for each in title.releases]

    async def work(runtime: Runtime) -> list[AchievementList]:
        found: list[AchievementList] = []
        failed: list[IntegError] = []
        for key in keys:
            try:
                found.append(await runtime.achievements.of(key, again=again))
            except IntegError as error:
                failed.append(error)
        if failed and not found:
            raise next((each for each in failed if not isinstance(each, UsageError)), failed[0])
        for each in failed:
            out.warn(each.message)
        return found

    found = session.run(out, work)
    shown = [part for each in found for part in _about(out, each)]
    out.result("achievements", {"releases": [each.model_dump(mode="json") for each in found]}, *shown)


def _about(out: Output, found: AchievementList) -> tuple[str, str]:
    if not found.total:
        return f"{found.title} ({found.key}) has no achievements.", ""
    share = round(100 * found.unlocked / found.total)
    head = f"{found.title} ({found.key}): {found.unlocked} of {found.total} unlocked ({share} %), as of {day(found.read_at.isoformat())}"
    return head, out.rows(("", "NAME", "UNLOCKED", "?>PLAYERS", "?ABOUT"), [_row(each) for each in found.items])


def _row(each: Achievement) -> tuple[str, str, str, str, str]:
    is_secret = each.hidden and not each.unlocked
    when = (day(each.unlocked_at.isoformat()) if each.unlocked_at else "yes") if each.unlocked else "-"
    rarity = f"{each.rarity_percent:.1f} %" if each.rarity_percent is not None else "-"
    return ("✓" if each.unlocked else "·", "hidden" if is_secret else each.name, when, rarity, "" if is_secret else each.description)
