"""A store account's credentials, ready for a call: opened, and renewed when their short-lived half has run out."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import AccountNotFoundError, AuthenticationError, BusyError
from integ_server.contract.types import AccountState
from integ_server.models.account import Account
from integ_server.models.tables import accounts
from integ_server.providers.base import Credentials, RenewsAccess
from integ_server.services import events, owner
from integ_server.services.backend import Backend, SecretKeeper

RENEW_BEFORE = timedelta(minutes=5)
WAIT_FOR_RENEWAL_S = 60.0


def seal_into(account: Account, login: Credentials, vault: SecretKeeper) -> None:
    """Put *login* into the row, sealed for this account of this store."""
    account.secret = vault.seal(login.secret, _about("secret", account))
    account.access_token = vault.seal(login.access_token, _about("access_token", account)) if login.access_token else None
    account.access_expires_at = login.access_expires_at if login.access_token else None


def opened(account: Account, vault: SecretKeeper) -> Credentials:
    """
    Raises:
        AuthenticationError: There are none, or the keys in use do not open them.

    An account that the store refused once is tried again when it is asked for: a refusal may have been a passing block.
    """
    if account.secret is None:
        raise sign_in_again(account.provider)
    access = vault.open(account.access_token, _about("access_token", account)) if account.access_token else ""
    return Credentials(account.account, vault.open(account.secret, _about("secret", account)), access, account.access_expires_at)


async def get_account(session: AsyncSession, account_id: int, *, lock: bool = False) -> Account:
    """
    Raises:
        AccountNotFoundError: It was signed out meanwhile.
    """
    query = select(Account).where(accounts.c.id == account_id, accounts.c.removed_at.is_(None))
    account = (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
    if account is None:
        raise AccountNotFoundError("this account is signed out", hint="integ login")
    return account


async def usable_login(backend: Backend, account_id: int, *, refused: str | None = None) -> Credentials:
    """
    Credentials whose access token is good for some minutes; *refused* is an access token that the store did not take although
    it should be good: then a newer one is made.

    One process at a time renews an account's token, and stores what it got before anybody uses it: a store may take each
    refresh token only once.

    Raises:
        AccountNotFoundError: The account was signed out meanwhile.
        AuthenticationError: The sign-in is over.
        ProviderUnavailableError: The store could not be asked.
        BusyError: Another process has been renewing it for a minute.
    """
    until = time.monotonic() + WAIT_FOR_RENEWAL_S
    while True:
        async with backend.db.reading() as session:
            account = await get_account(session, account_id)
        login = opened(account, backend.vault)
        store = backend.get_store(account.provider)
        if not isinstance(store, RenewsAccess) or not store.runs_out(login) or not _is_due(login, refused):
            return login
        if await _take_turn(backend, account):
            break
        if time.monotonic() > until:
            raise BusyError(f"another process is renewing the sign-in at {store.title}", hint="try again")
        await backend.outside(asyncio.sleep(0.1))
    try:
        fresh = await store.renew(login)
        await _keep(backend, account, fresh)
    except AuthenticationError:
        await mark(backend, account_id, AccountState.SIGNED_OUT, login)
        raise
    finally:
        await asyncio.shield(_end_turn(backend, account_id))
    return fresh


async def mark(backend: Backend, account_id: int, state: AccountState, login: Credentials) -> None:
    """Write down what the store thinks of *login*, unless the player signed in anew, or out, while it was asked."""
    async with backend.db.writing.begin() as session:
        account = (await session.execute(select(Account).where(accounts.c.id == account_id).with_for_update())).scalar_one_or_none()
        if account is None or account.removed_at is not None or account.secret is None:
            return
        if backend.vault.open(account.secret, _about("secret", account)) == login.secret:
            account.state = state
            await session.flush()
            events.account_changed(session, account.user_id, account.provider, account.account, state)


def sign_in_again(provider: str) -> AuthenticationError:
    return AuthenticationError(f"the sign-in at {provider} is over", hint=f"integ login {provider}")


def _is_due(login: Credentials, refused: str | None) -> bool:
    if not login.access_token or (refused is not None and login.access_token == refused):
        return True
    return login.access_expires_at is not None and login.access_expires_at - datetime.now(UTC) < RENEW_BEFORE


async def _take_turn(backend: Backend, account: Account) -> bool:
    """Whether this caller may renew; what it decided upon must not have changed since."""
    held = account.renewed_by
    if held is not None and owner.is_alive(held, account.renewed_since, own_machine=backend.settings.is_embedded):
        age = datetime.now(UTC) - account.renewed_since if account.renewed_since else timedelta(0)
        if age < timedelta(seconds=WAIT_FOR_RENEWAL_S):
            return False
    unchanged = accounts.c.renewed_by.is_(None) if held is None else accounts.c.renewed_by == held
    same_secret = (
        accounts.c.secret == account.secret,
        or_(accounts.c.access_token.is_(None), accounts.c.access_token == account.access_token),
    )
    async with backend.db.writing.begin() as session:
        mine = update(accounts).where(accounts.c.id == account.id, unchanged, *same_secret)
        taken = await session.execute(mine.values(renewed_by=owner.this_process(), renewed_since=datetime.now(UTC)))
    assert isinstance(taken, CursorResult)
    return taken.rowcount == 1


async def _end_turn(backend: Backend, account_id: int) -> None:
    async with backend.db.writing.begin() as session:
        mine = update(accounts).where(accounts.c.id == account_id, accounts.c.renewed_by == owner.this_process())
        await session.execute(mine.values(renewed_by=None, renewed_since=None))


async def _keep(backend: Backend, account: Account, fresh: Credentials) -> None:
    """Store what the store gave, unless the player signed out or in anew while it was asked."""
    sealed = account.model_copy()
    seal_into(sealed, fresh, backend.vault)
    values = {name: getattr(sealed, name) for name in ("secret", "access_token", "access_expires_at")}
    async with backend.db.writing.begin() as session:
        same = update(accounts).where(accounts.c.id == account.id, accounts.c.secret == account.secret)
        await session.execute(same.values(**values))


def sealed_about(column: str, provider: str, account: str) -> str:
    """What a sealed text of the accounts' table is bound to."""
    return f"accounts.{column}/{provider}:{account}"


def _about(column: str, account: Account) -> str:
    return sealed_about(column, account.provider, account.account)
