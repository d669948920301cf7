"""Users of a backend for many: who somebody is, by the store accounts that they have proved to be theirs."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import BackendUnreachableError, PermissionDeniedError
from integ_server.contract.text import clean_name
from integ_server.models.tables import accounts as account_rows
from integ_server.models.tables import users
from integ_server.models.user import User
from integ_server.providers.base import SignedInAccount
from integ_server.services import accounts
from integ_server.services.backend import Backend

PROFILE_KNOWN_FOR_S = 300.0


@dataclass(frozen=True, slots=True)
class Profile:
    """How a user is shown."""

    name: str
    avatar_url: str | None


async def find_profile(backend: Backend, user_id: str) -> Profile | None:
    """How the user is shown, known for five minutes; None for one who is not there any more."""
    try:
        kept = await backend.cache.get(_profile(user_id))
    except BackendUnreachableError:
        kept = None
    if kept is not None:
        return Profile(**json.loads(kept))
    async with backend.db.reading() as session:
        row = (await session.execute(select(users.c.name, users.c.avatar_url).where(users.c.id == user_id))).one_or_none()
    if row is None:
        return None
    found = Profile(row.name, row.avatar_url)
    with suppress(BackendUnreachableError):
        await backend.cache.set(_profile(user_id), json.dumps(asdict(found)), PROFILE_KNOWN_FOR_S)
    return found


async def forget_profile(backend: Backend, user_id: str) -> None:
    """Ask the database again: the user is shown in another way, or not there any more."""
    await backend.cache.delete(_profile(user_id))


async def sign_in_with(backend: Backend, session: AsyncSession, provider: str, signed_in: SignedInAccount) -> str:
    """
    The id of the user whom a store account belongs to, or of a new one; the account and its credentials are stored.

    *signed_in* has to come from `accounts.confirm()`, which takes nothing for a proof that is none.

    Raises:
        PermissionDeniedError: The account is nobody's, and this backend takes no new users.
    """
    user_id = await _user_of(session, provider, signed_in.credentials.account)
    if user_id is None:
        if backend.settings.registration == "closed":
            raise PermissionDeniedError("this backend takes no new players", hint="ask whoever runs it")
        name = clean_name(signed_in.display_name) or signed_in.credentials.account
        user_id = await make_user(session, name, signed_in.avatar_url or None)
    elif signed_in.avatar_url:
        unseen = update(users).where(users.c.id == user_id, users.c.avatar_url.is_(None)).values(avatar_url=signed_in.avatar_url)
        await session.execute(unseen)
        await forget_profile(backend, user_id)
    await accounts.link(backend, session, user_id, provider, signed_in)
    return user_id


async def make_user(session: AsyncSession, name: str, avatar_url: str | None = None) -> str:
    """A new user with an empty library; its id."""
    now = datetime.now(UTC)
    began = int(now.timestamp() * 1000)
    user = User(id=uuid.uuid4().hex, name=name, avatar_url=avatar_url, revision=began, first_revision=began, created_at=now)
    session.add(user)
    await session.flush()
    return user.id


async def _user_of(session: AsyncSession, provider: str, account: str) -> str | None:
    """
    Who has the account; or had it, and could not get in again without it: whoever signed one store out while another lets them in
    may have given the account away.
    """
    present = account_rows.alias()
    another_way = exists().where(present.c.user_id == account_rows.c.user_id, present.c.removed_at.is_(None))
    same = account_rows.c.provider == provider, account_rows.c.account == account
    query = select(account_rows.c.user_id).where(*same, account_rows.c.removed_at.is_(None) | ~another_way)
    newest = query.order_by(account_rows.c.removed_at.is_not(None), account_rows.c.removed_at.desc(), account_rows.c.id.desc())
    found: str | None = (await session.execute(newest.limit(1))).scalar_one_or_none()
    return found


def _profile(user_id: str) -> str:
    return f"profile/{user_id}"
