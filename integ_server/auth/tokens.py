"""Personal tokens for scripts: shown once, kept as a hash, with scopes and mostly with an end."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.auth.caller import Caller, known_scopes
from integ_server.contract.errors import NotFoundError, NotSignedInError, PermissionDeniedError, UsageError
from integ_server.contract.sessions import TOKEN_PREFIX, NewToken, TokenInfo, TokenRequest
from integ_server.contract.text import clean_name
from integ_server.models.api_token import ApiToken
from integ_server.models.tables import api_tokens
from integ_server.services.backend import Backend

KNOWN_FOR_S = 60.0
"""How long the cache answers for a token before the database is asked again."""
REFUSED_FOR_S = 300.0
"""Longer than any look into the database that began before the revocation may take to write its answer down."""
USE_IS_NOTED_EVERY = timedelta(minutes=5)
MOST_TOKENS = 100
_PREFIX_SHOWN = len(TOKEN_PREFIX) + 6
_REVOKED = "revoked"


async def make(session: AsyncSession, caller: Caller, wanted: TokenRequest) -> NewToken:
    """
    A new token of the caller's; what is answered holds it for the only time.

    Raises:
        PermissionDeniedError: It would be allowed more than the caller is.
        UsageError: The name says nothing, or there are too many tokens already.
    """
    beyond = sorted(set(wanted.scopes) - caller.scopes)
    if beyond:
        raise PermissionDeniedError(f"this sign-in can't give away what it lacks: {', '.join(beyond)}", hint="ask for fewer scopes")
    name = clean_name(wanted.name)
    if not name:
        raise UsageError("a token needs a name to be known by", hint="integ token create NAME")
    now = datetime.now(UTC).replace(microsecond=0)
    living = select(api_tokens.c.id).where(api_tokens.c.user_id == caller.user_id, *_alive(now)).limit(MOST_TOKENS)
    if len((await session.execute(living)).all()) >= MOST_TOKENS:
        raise UsageError(f"there are {MOST_TOKENS} tokens already", hint="integ token revoke")
    token = f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}"
    row = ApiToken(
        id=uuid.uuid4().hex,
        user_id=caller.user_id,
        name=name,
        prefix=token[:_PREFIX_SHOWN],
        token_hash=_hash(token),
        scopes=sorted(set(wanted.scopes)),
        created_at=now,
        expires_at=None if wanted.expires_in_days is None else now + timedelta(days=wanted.expires_in_days),
    )
    session.add(row)
    await session.flush()
    return NewToken(**_info(row).model_dump(), token=token)


async def infos(session: AsyncSession, user_id: str) -> list[TokenInfo]:
    """Those that are good, the newest first."""
    query = select(ApiToken).where(api_tokens.c.user_id == user_id, *_alive(datetime.now(UTC)))
    found = (await session.execute(query.order_by(api_tokens.c.created_at.desc(), api_tokens.c.id).limit(MOST_TOKENS))).scalars()
    return [_info(row) for row in found]


async def revoke(backend: Backend, session: AsyncSession, user_id: str, token_id: str) -> None:
    """
    End a token; it is refused from now on.

    Raises:
        NotFoundError: The user has no such token.
    """
    mine = api_tokens.c.id == token_id, api_tokens.c.user_id == user_id
    query = select(api_tokens.c.token_hash).where(*mine, *_alive(datetime.now(UTC))).with_for_update()
    token_hash = (await session.execute(query)).scalar_one_or_none() if token_id.isalnum() else None
    if token_hash is None:
        raise NotFoundError("there is no such token", hint="integ token list")
    await _revoke(backend, session, token_hash)


async def revoke_all(backend: Backend, session: AsyncSession, user_id: str) -> int:
    """End all tokens of the user; answers how many there were."""
    query = select(api_tokens.c.token_hash).where(api_tokens.c.user_id == user_id, *_alive(datetime.now(UTC)))
    ended = list((await session.execute(query.order_by(api_tokens.c.id).with_for_update())).scalars())
    for token_hash in ended:
        await _revoke(backend, session, token_hash)
    return len(ended)


async def caller_of(backend: Backend, token: str) -> Caller:
    """
    Who brings the personal token *token*; the cache knows for a minute, then the database is asked once.

    Raises:
        NotSignedInError: It is unknown, over or revoked.
    """
    token_hash = _hash(token)
    known = await backend.cache.get(_known(token_hash))
    if known == _REVOKED:
        raise _refused()
    if known is None:
        known = await _look_up(backend, token_hash)
    said = json.loads(known)
    if said["expires_at"] is not None and said["expires_at"] <= time.time():
        raise _refused()
    return Caller(said["user_id"], known_scopes(said["scopes"]), token_id=said["id"])


async def _look_up(backend: Backend, token_hash: str) -> str:
    now = datetime.now(UTC)
    async with backend.db.reading() as session:
        query = select(ApiToken).where(api_tokens.c.token_hash == token_hash, *_alive(now))
        row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise _refused()
    expires_at = None if row.expires_at is None else row.expires_at.timestamp()
    known = json.dumps({"id": row.id, "user_id": row.user_id, "scopes": row.scopes, "expires_at": expires_at})
    # Never over a revocation that came between the look and now.
    await backend.cache.add(_known(token_hash), known, KNOWN_FOR_S)
    if row.last_used_at is None or now - row.last_used_at >= USE_IS_NOTED_EVERY:
        with suppress(DBAPIError):  # a script is not refused because nobody could note that it came
            async with backend.db.writing.begin() as session:
                await session.execute(update(api_tokens).where(api_tokens.c.id == row.id).values(last_used_at=now))
    return known


async def _revoke(backend: Backend, session: AsyncSession, token_hash: str) -> None:
    await session.execute(update(api_tokens).where(api_tokens.c.token_hash == token_hash).values(revoked_at=datetime.now(UTC)))
    await backend.cache.set(_known(token_hash), _REVOKED, REFUSED_FOR_S)


def _alive(now: datetime) -> tuple[Any, ...]:
    return api_tokens.c.revoked_at.is_(None), or_(api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > now)


def _info(row: ApiToken) -> TokenInfo:
    return TokenInfo(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=sorted(known_scopes(row.scopes)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def _refused() -> NotSignedInError:
    return NotSignedInError("the token is unknown, over or revoked", hint="integ token create")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _known(token_hash: str) -> str:
    return f"token/{token_hash}"
