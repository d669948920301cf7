from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update

from integ_server.auth import rotation
from integ_server.contract.errors import AuthenticationError
from integ_server.models.tables import accounts, webhooks
from integ_server.services.access import usable_login
from integ_server.services.backend import LOCAL_USER, Backend
from tests.fakes import Shelf, fake_store
from tests.server.conftest import Player, player_on

OLD, NEW = "old:" + "o" * 32, "new:" + "n" * 32
BOTH = f"{NEW},{OLD}"
NAMES = [f"player-{at}" for at in range(7)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "A_BATCH", 2)
    monkeypatch.setattr(rotation, "PASSES", 3)
    monkeypatch.setattr(rotation, "BETWEEN_PASSES_S", 0.01)


def stores(shelf: Shelf) -> dict[str, Any]:
    return {"fake": fake_store(shelf, renews=True)}


async def filled(url: str, shelf: Shelf) -> None:
    """Accounts and a webhook, sealed with the old key."""
    async with player_on(url, stores(shelf), secret_key=OLD) as player:
        for name in NAMES:
            await player.sign_in("fake", name)
        async with player.backend.db.writing.begin() as session:
            hook = {
                "id": "h1",
                "user_id": LOCAL_USER,
                "url": "https://x.example",
                "events": [],
                "failures": 0,
                "created_at": datetime.now(UTC),
            }
            await session.execute(webhooks.insert().values(**hook, secret=player.backend.vault.seal("hook", "webhooks.secret/h1")))


async def logins(player: Player) -> list[tuple[str, str]]:
    async with player.backend.db.reading() as session:
        ids = list((await session.execute(select(accounts.c.id).order_by(accounts.c.id))).scalars())
    found = [await usable_login(player.backend, each) for each in ids]
    return [(each.secret, each.access_token) for each in found]


async def test_after_a_rotation_the_old_key_is_needed_no_more(database_url: str) -> None:
    shelf = Shelf(games={name: [] for name in NAMES})
    await filled(database_url, shelf)
    async with player_on(database_url, stores(shelf), secret_key=BOTH) as player:
        before = await logins(player)
        texts = 2 * len(NAMES) + 1
        assert await rotation.old_texts(player.backend) == texts
        heard: list[int] = []
        assert await rotation.rotate(player.backend, heard.append) == rotation.Rotated(resealed=texts)
        assert heard == sorted(heard) and heard[-1] == texts
        assert await rotation.old_texts(player.backend) == 0
        assert await rotation.rotate(player.backend) == rotation.Rotated()
    async with player_on(database_url, stores(shelf), secret_key=NEW) as player:
        assert await logins(player) == before
        async with player.backend.db.reading() as session:
            (sealed,) = (await session.execute(select(webhooks.c.secret))).scalars()
        assert player.backend.vault.open(sealed, "webhooks.secret/h1") == "hook"


async def test_a_rotation_that_is_broken_off_goes_on_where_it_was(database_url: str) -> None:
    shelf = Shelf(games={name: [] for name in NAMES})
    await filled(database_url, shelf)
    async with player_on(database_url, stores(shelf), secret_key=BOTH) as player:
        reached = 0

        def stop(done: int) -> None:
            nonlocal reached
            reached = done
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await rotation.rotate(player.backend, stop)
        left = await rotation.old_texts(player.backend)
        assert 0 < reached < left
        assert await rotation.rotate(player.backend) == rotation.Rotated(resealed=left)


async def test_what_nobody_can_read_is_counted_and_left_as_it_is(database_url: str) -> None:
    shelf = Shelf(games={name: [] for name in NAMES})
    await filled(database_url, shelf)
    async with player_on(database_url, stores(shelf), secret_key=NEW) as player:
        assert await rotation.rotate(player.backend) == rotation.Rotated(unreadable=2 * len(NAMES) + 1)
        with pytest.raises(AuthenticationError):
            await logins(player)
    async with player_on(database_url, stores(shelf), secret_key=OLD) as player:
        assert len(await logins(player)) == len(NAMES)


async def test_a_sign_in_that_is_being_renewed_is_left_alone_until_it_is(database_url: str) -> None:
    shelf = Shelf(games={"ann": []})
    async with player_on(database_url, stores(shelf), secret_key=OLD) as player:
        await player.sign_in("fake", "ann")
    async with player_on(database_url, stores(shelf), secret_key=BOTH) as player:
        seen: list[rotation.Rotated] = []

        async def meanwhile() -> None:
            seen.append(await rotation.rotate(player.backend))

        shelf.before_renewal = meanwhile
        account_id = await _only_account(player.backend)
        fresh = await usable_login(player.backend, account_id, refused="access-0")
        assert seen == [rotation.Rotated(left=2)]
        assert (fresh.secret, await _stored(player.backend)) == ("refresh-1", ("refresh-1", "access-1"))
        assert await rotation.old_texts(player.backend) == 0  # the renewal sealed with the newest key


async def test_a_renewal_whose_process_died_stops_no_rotation(database_url: str) -> None:
    shelf = Shelf(games={"ann": []})
    async with player_on(database_url, stores(shelf), secret_key=OLD) as player:
        await player.sign_in("fake", "ann")
    async with player_on(database_url, stores(shelf), secret_key=BOTH) as player:
        async with player.backend.db.writing.begin() as session:
            await session.execute(update(accounts).values(renewed_by="somebody", renewed_since=datetime.now(UTC)))
        assert (await rotation.rotate(player.backend)).left == 2
        async with player.backend.db.writing.begin() as session:
            await session.execute(text("UPDATE accounts SET renewed_since = renewed_since - 301"))
        assert await rotation.rotate(player.backend) == rotation.Rotated(resealed=2)


async def test_many_rotate_at_once_beside_a_backend_that_works(database_url: str) -> None:
    shelf = Shelf(games={name: [] for name in NAMES})
    await filled(database_url, shelf)
    async with (
        player_on(database_url, stores(shelf), secret_key=BOTH) as player,
        player_on(database_url, stores(shelf), secret_key=BOTH) as other,
    ):
        *_, found = await asyncio.gather(rotation.rotate(player.backend), rotation.rotate(other.backend), logins(player))
        assert await rotation.old_texts(player.backend) == 0
        assert found == await logins(other)


async def _only_account(backend: Backend) -> int:
    async with backend.db.reading() as session:
        found: int = (await session.execute(select(accounts.c.id))).scalar_one()
    return found


async def _stored(backend: Backend) -> tuple[str, str]:
    login = await usable_login(backend, await _only_account(backend))
    return login.secret, login.access_token
