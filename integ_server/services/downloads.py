"""What a client needs to fetch a game by itself."""

from __future__ import annotations

from sqlalchemy import select

from integ_server.contract.errors import AuthenticationError, UsageError
from integ_server.contract.types import DownloadPlan, DownloadRequest
from integ_server.models.tables import accounts, library_entries
from integ_server.providers.base import PlansDownloads, RenewsAccess
from integ_server.services import access, library
from integ_server.services.backend import Backend


async def plan(backend: Backend, user_id: str, key: str, wanted: DownloadRequest) -> DownloadPlan:
    """
    The store's plan, asked with the first of the user's accounts that owns the game.

    Raises:
        GameNotFoundError: The user does not own it.
        UsageError: The store's games can't be downloaded by Integ.
        AuthenticationError: No account that owns it is signed in.
        ProviderUnavailableError: The store could not be asked.
    """
    async with backend.db.reading() as session:
        release = await library.get_release(session, user_id, key)
        mine = library_entries.c.user_id == user_id, library_entries.c.game_key == key, library_entries.c.removed_at.is_(None)
        owning = select(accounts.c.id).join(library_entries, library_entries.c.account_id == accounts.c.id)
        query = owning.where(*mine, accounts.c.removed_at.is_(None)).order_by(accounts.c.state != "ok", accounts.c.id)
        account_ids = list((await session.execute(query)).scalars())
    store = backend.get_store(release.provider)
    if not isinstance(store, PlansDownloads):
        raise UsageError(f"games of {store.title} can't be installed by Integ", hint=f"integ show {key}")
    if not account_ids:
        raise access.sign_in_again(release.provider)
    login = await access.usable_login(backend, account_ids[0])
    try:
        found = await store.download_plan(login, release.provider_game_id, wanted)
    except AuthenticationError:
        if not isinstance(store, RenewsAccess) or not login.access_token:
            raise
        login = await access.usable_login(backend, account_ids[0], refused=login.access_token)
        found = await store.download_plan(login, release.provider_game_id, wanted)
    return found.model_copy(update={"key": key, "title": found.title or release.title})
