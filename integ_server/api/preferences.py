"""What a player decides: for all devices, about games, and about which releases are one game."""

from __future__ import annotations

from fastapi import APIRouter

from integ_server.api.deps import Organiser, Reader, SessionDep
from integ_server.api.envelope import ok
from integ_server.contract.preferences import Arranged, GamePreferences, GameWishes, MergeWish, SplitWish, UserWishes
from integ_server.contract.types import Envelope, UserPreferences
from integ_server.services import merging, preferences

router = APIRouter(tags=["preferences"])


@router.get("/users/preferences")
async def user_preferences(session: SessionDep, user: Reader) -> Envelope[UserPreferences]:
    """What follows the player to every device."""
    return ok(await preferences.user_preferences(session, user))


@router.patch("/users/preferences")
async def change_user_preferences(session: SessionDep, user: Organiser, wishes: UserWishes) -> Envelope[UserPreferences]:
    """Change what is named; null takes a wish back."""
    return ok(await preferences.change_user(session, user, wishes))


@router.get("/games/{key}/preferences")
async def game_preferences(session: SessionDep, user: Reader, key: str) -> Envelope[GamePreferences]:
    """What the player decided about a game, by its key or its title's id."""
    return ok(await preferences.game_preferences_of(session, user, key))


@router.put("/games/{key}/preferences")
async def change_game_preferences(session: SessionDep, user: Organiser, key: str, wishes: GameWishes) -> Envelope[GamePreferences]:
    """Change what is named about a game; what is left out stays."""
    return ok(await preferences.change_game(session, user, key, wishes))


@router.post("/games/merge")
async def merge(session: SessionDep, user: Organiser, wish: MergeWish) -> Envelope[Arranged]:
    """Make one title of several; the first one's id stays."""
    return ok(await merging.merge(session, user, wish.games))


@router.post("/games/split")
async def split(session: SessionDep, user: Organiser, wish: SplitWish) -> Envelope[Arranged]:
    """Take a release out of its title, or a title that was merged apart; `undo` puts back what was split off."""
    return ok(await (merging.unsplit if wish.undo else merging.split)(session, user, wish.game))
