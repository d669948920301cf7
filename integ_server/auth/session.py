"""
Devices that are signed in. A session is a family of refresh tokens, of which each is good once, and a record in the cache, without
which none of its access tokens is good: revoking takes the record away, and every process refuses from that moment on. A browser at the
pages has a cookie instead of tokens, which is good as long as its session's record is there.

The record is written and taken away while the session's row is locked, so that a refresh which runs beside a revocation can't bring
it back. When Redis loses the records, the refresh tokens bring new ones.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.auth.caller import Caller, known_scopes
from integ_server.auth.jwt import ACCESS_LIVES_S
from integ_server.contract.errors import NotFoundError, NotSignedInError, UsageError
from integ_server.contract.scopes import ALL_SCOPES, Scope
from integ_server.contract.sessions import REFRESH_PREFIX, SessionInfo, Tokens
from integ_server.contract.text import clean_name
from integ_server.models.session import DeviceSession
from integ_server.models.tables import sessions
from integ_server.services.backend import Backend
from integ_server.settings import split_keys

LIVES = timedelta(days=60)
"""How long a device that is not used stays signed in."""
ANSWER_MAY_BE_LOST = timedelta(seconds=60)
MOST_SESSIONS = 100
BROWSER_LIVES_S = 1800.0
"""How long a browser that asks for no page stays signed in."""
BROWSER_IS_NOTED_EVERY_S = 300.0
"""A page that is asked for within this long of the one before writes nothing."""
_BROWSER_LIVES = timedelta(seconds=BROWSER_LIVES_S + BROWSER_IS_NOTED_EVERY_S)
"""Longer than its cookie's, which decides."""
_ENDED_AGAIN = "sign in again: integ login --device"


async def begin(backend: Backend, session: AsyncSession, user_id: str, device: str, scopes: Collection[Scope]) -> Tokens:
    """Sign a device of the user's in."""
    session_id = uuid.uuid4().hex
    refresh_token = f"{REFRESH_PREFIX}{session_id}.{secrets.token_urlsafe(32)}"
    facts = {"device": clean_name(device)[:100] or "a device", "scopes": sorted(scopes), "refresh_hash": _hash(refresh_token)}
    row = await _add(backend, session, LIVES, id=session_id, user_id=user_id, **facts)
    return await _tokens(backend, row, refresh_token)


async def begin_browser(backend: Backend, session: AsyncSession, user_id: str, name: str) -> str:
    """Sign a browser of the user's in, for as long as it goes on asking for pages; the session's id."""
    session_id = uuid.uuid4().hex
    facts = {"kind": "browser", "device": clean_name(name)[:100] or "a browser", "scopes": sorted(ALL_SCOPES), "refresh_hash": ""}
    await _add(backend, session, _BROWSER_LIVES, id=session_id, user_id=user_id, **facts)
    await backend.cache.set(_record(session_id), user_id, _BROWSER_LIVES.total_seconds())
    return session_id


async def is_alive(backend: Backend, session_id: str, user_id: str) -> bool:
    """Whether the user's session goes on; asks the cache alone."""
    return await backend.cache.get(_record(session_id)) == user_id


async def note_browser(backend: Backend, session_id: str, user_id: str) -> None:
    """It asked for a page: let it live on, unless it was ended."""
    now = datetime.now(UTC)
    seen = update(sessions).where(sessions.c.id == session_id, *_alive(user_id)).values(last_used_at=now, expires_at=now + _BROWSER_LIVES)
    async with backend.db.writing.begin() as session:
        if (await session.execute(seen.returning(sessions.c.id))).first() is not None:
            await backend.cache.set(_record(session_id), user_id, _BROWSER_LIVES.total_seconds())


async def _add(backend: Backend, session: AsyncSession, lives: timedelta, **facts: Any) -> DeviceSession:
    now = datetime.now(UTC)
    await _make_room(backend, session, facts["user_id"], now)
    row = DeviceSession(**facts, created_at=now, last_used_at=now, expires_at=now + lives)
    session.add(row)
    await session.flush()
    return row


async def refresh(backend: Backend, refresh_token: str) -> Tokens:
    """
    The next tokens. The same question again within a minute has the same answer: the first may have been lost with its process.

    Raises:
        NotSignedInError: The token is unknown, over, or was used before; in that case it was stolen by somebody, or from somebody,
            and the whole session ends.
    """
    session_id = refresh_token.removeprefix(REFRESH_PREFIX).partition(".")[0]
    async with backend.db.writing.begin() as session:  # of its own: a family that ends must not come back with the refused request
        query = select(DeviceSession).where(sessions.c.id == session_id).with_for_update()
        row = (await session.execute(query)).scalar_one_or_none() if session_id.isalnum() else None
        answer = await _rotated(backend, session, row, refresh_token) if row is not None else None
    if answer is None:
        raise NotSignedInError("this device is not signed in any more", hint=_ENDED_AGAIN)
    return answer


async def _rotated(backend: Backend, session: AsyncSession, row: DeviceSession, refresh_token: str) -> Tokens | None:
    now = datetime.now(UTC)
    given = _hash(refresh_token)
    if row.revoked_at is not None or row.expires_at <= now:
        return None
    if hmac.compare_digest(given, row.refresh_hash):
        successor = _successors(backend, refresh_token)[0]
        row.previous_hash, row.refresh_hash, row.rotated_at = given, _hash(successor), now
    elif row.previous_hash is not None and hmac.compare_digest(given, row.previous_hash) and _is_lately(row.rotated_at, now):
        # What was answered then is answered again, so that both of two processes that asked at once hold what is good.
        known = [each for each in _successors(backend, refresh_token) if hmac.compare_digest(_hash(each), row.refresh_hash)]
        successor = known[0] if known else _successors(backend, refresh_token)[0]
        row.refresh_hash = _hash(successor)
    else:
        await _end(backend, session, row.id, now)
        return None
    row.last_used_at, row.expires_at = now, now + LIVES
    await session.flush()
    return await _tokens(backend, row, successor)


async def caller_of(backend: Backend, token: str, beside: Callable[[str], str] | None = None) -> tuple[Caller, str | None]:
    """
    Who brings the access token *token*; asks the cache once and the database never. With it comes what the cache has under the name
    that *beside* gives for the user, asked for in the same go.

    Raises:
        NotSignedInError: It is none, over or revoked.
    """
    claims = backend.signer.check(token)
    more = [beside(claims.user_id)] if beside is not None else []
    user_id, *found = await backend.cache.get_many([_record(claims.session_id), *more])
    if user_id != claims.user_id:
        raise NotSignedInError("the sign-in to this backend is over, or none")
    return Caller(claims.user_id, known_scopes(claims.scopes), session_id=claims.session_id), found[0] if found else None


async def infos(session: AsyncSession, user_id: str, current_id: str | None) -> list[SessionInfo]:
    """The devices and browsers that are signed in, the one used last first."""
    query = select(DeviceSession).where(*_alive(user_id)).order_by(sessions.c.last_used_at.desc(), sessions.c.id)
    return [
        SessionInfo(
            id=row.id,
            kind="browser" if row.kind == "browser" else "device",
            device=row.device,
            scopes=sorted(known_scopes(row.scopes)),
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            expires_at=row.expires_at,
            is_current=row.id == current_id,
        )
        for row in (await session.execute(query)).scalars()
    ]


async def end(backend: Backend, session: AsyncSession, user_id: str, session_id: str) -> None:
    """
    Sign a device or a browser of the user's out; its tokens, or its cookie, are refused from now on.

    Raises:
        NotFoundError: The user has no such session.
    """
    query = select(sessions.c.id).where(sessions.c.id == session_id, *_alive(user_id)).with_for_update()
    if not session_id.isalnum() or (await session.execute(query)).first() is None:
        raise NotFoundError("there is no such session", hint="integ accounts")
    await _end(backend, session, session_id, datetime.now(UTC))


async def end_current(backend: Backend, session: AsyncSession, caller: Caller) -> None:
    """
    Sign the device out that asks.

    Raises:
        UsageError: No device asks: a personal token, or the user of an embedded backend.
    """
    if caller.session_id is None:
        raise UsageError("this sign-in is no session that could end", hint="integ token revoke")
    await end(backend, session, caller.user_id, caller.session_id)


async def end_all(backend: Backend, session: AsyncSession, user_id: str) -> int:
    """Sign all devices and browsers of the user's out; answers how many there were."""
    query = select(sessions.c.id).where(*_alive(user_id)).order_by(sessions.c.id).with_for_update()
    ended = list((await session.execute(query)).scalars())
    for session_id in ended:
        await _end(backend, session, session_id, datetime.now(UTC))
    return len(ended)


async def _make_room(backend: Backend, session: AsyncSession, user_id: str, now: datetime) -> None:
    """Whoever signs in again and again, and never out, loses the devices that were used longest ago."""
    query = select(sessions.c.id).where(*_alive(user_id)).order_by(sessions.c.last_used_at.desc(), sessions.c.id).offset(MOST_SESSIONS - 1)
    for session_id in list((await session.execute(query)).scalars()):
        await _end(backend, session, session_id, now)


async def _end(backend: Backend, session: AsyncSession, session_id: str, now: datetime) -> None:
    await session.execute(update(sessions).where(sessions.c.id == session_id).values(revoked_at=now))
    await backend.cache.delete(_record(session_id))


async def _tokens(backend: Backend, row: DeviceSession, refresh_token: str) -> Tokens:
    scopes = known_scopes(row.scopes)
    await backend.cache.set(_record(row.id), row.user_id, ACCESS_LIVES_S)
    return Tokens(
        access_token=backend.signer.sign(row.user_id, row.id, scopes),
        expires_in=ACCESS_LIVES_S,
        refresh_token=refresh_token,
        refresh_expires_at=row.expires_at.replace(microsecond=0),
        session_id=row.id,
        user_id=row.user_id,
        scopes=sorted(scopes),
    )


def _successors(backend: Backend, refresh_token: str) -> list[str]:
    """
    The token that follows *refresh_token*, under each key, newest first. It is worked out from the one before, which nobody can do
    without the backend's key, so that a repeated question can have the same answer although only hashes are kept.
    """
    head = refresh_token.partition(".")[0]
    found = []
    for _, secret in split_keys(backend.settings.secret_key):
        key = hmac.digest(secret.encode(), b"integ/refresh/1", "sha256")
        found.append(f"{head}.{hmac.new(key, refresh_token.encode(), hashlib.sha256).hexdigest()}")
    return found


def _alive(user_id: str) -> tuple[Any, ...]:
    return sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None), sessions.c.expires_at > datetime.now(UTC)


def _is_lately(rotated_at: datetime | None, now: datetime) -> bool:
    return rotated_at is not None and now - rotated_at <= ANSWER_MAY_BE_LOST


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _record(session_id: str) -> str:
    return f"session/{session_id}"
