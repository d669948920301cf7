"""Sign-in by a code that a phone scans: begun, and polled for, no faster than the store wants and for five minutes at most."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from integ_server.contract.errors import AuthenticationError, IntegError, UsageError
from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import SignInPage, SignInWay
from integ_server.providers.base import QrSession, SignedInAccount, SignsInByQr
from integ_server.services.backend import Backend

LIVES_S = 300.0
_TOLD_FOR_S = 600.0
"""So much longer it is remembered that there was one, to tell who comes late what happened."""
_LONGEST_POLL_S = 20.0


async def begin(backend: Backend, user_id: str, provider: str) -> SignInPage:
    """
    A code to scan, and the state that each poll has to bring back; good for this user.

    Raises:
        NotFoundError: There is no such store.
        UsageError: It has no such sign-in.
        ProviderUnavailableError: The store could not be asked.
    """
    store = _store(backend, provider)
    session = await store.begin_qr(_device_name(backend))
    state = secrets.token_urlsafe(32)
    await _keep(backend, state, {"user": user_id, "provider": provider, "ends_at": time.time() + LIVES_S}, session)
    return SignInPage(provider=provider, way=SignInWay.QR, address=session.address, state=state, poll_every_s=session.poll_every_s)


async def poll(backend: Backend, user_id: str, provider: str, state: str) -> SignInPending | SignedInAccount:
    """
    How far it is, or the account once the player agreed, which only one caller is told. Who asks too early is told what is known.

    Raises:
        AuthenticationError: The state is unknown, used, or another user's; the player said no; the session is over.
        ProviderError: The store answered oddly, or not at all; the state may be polled with again.
    """
    store = _store(backend, provider)
    name, turn = f"sign-in-qr/{state[:128]}", f"sign-in-qr-turn/{state[:128]}"
    issued, session = await _issued(backend, user_id, provider, name)
    if time.time() > issued["ends_at"]:
        await backend.cache.delete(name)
        raise AuthenticationError("nobody agreed on the phone within five minutes", hint=f"integ login {provider} --qr")
    # one poll at a time, whoever asks: the turn ends by itself should this process die meanwhile
    if not await backend.cache.add(turn, "1", _LONGEST_POLL_S):
        return _pending(session)
    try:
        told = await store.poll_qr(session)
    except AuthenticationError:
        await backend.cache.delete(name)
        raise
    except IntegError:
        await backend.cache.set(turn, "1", session.poll_every_s)
        raise
    if isinstance(told, SignedInAccount):
        await backend.cache.delete(name)
        return told
    if told != session:
        await _keep(backend, state, issued, told)
    await backend.cache.set(turn, "1", session.poll_every_s * 0.9)  # a client that keeps to the pause is never a moment too early
    return _pending(told)


async def peek(backend: Backend, user_id: str, provider: str, state: str) -> SignInPending:
    """
    What is known of it, the store not asked.

    Raises:
        AuthenticationError: The state is unknown, used, or another user's.
    """
    return _pending((await _issued(backend, user_id, provider, f"sign-in-qr/{state[:128]}"))[1])


async def _issued(backend: Backend, user_id: str, provider: str, name: str) -> tuple[dict[str, Any], QrSession]:
    sealed = await backend.cache.get(name)
    issued = json.loads(backend.vault.open(sealed, name)) if sealed else {}
    if issued.get("user") != user_id or issued.get("provider") != provider:
        raise AuthenticationError("this sign-in was not begun here, or too long ago", hint=f"integ login {provider} --qr")
    return issued, QrSession(**issued["session"])


async def _keep(backend: Backend, state: str, issued: dict[str, Any], session: QrSession) -> None:
    """Sealed: whoever knew the session could fetch the account's tokens in the player's place."""
    name = f"sign-in-qr/{state}"
    told = json.dumps({**issued, "session": asdict(session)})
    await backend.cache.set(name, backend.vault.seal(told, name), max(1.0, issued["ends_at"] - time.time()) + _TOLD_FOR_S)


def _pending(session: QrSession) -> SignInPending:
    return SignInPending(stage="scanned" if session.is_scanned else "waiting", address=session.address, poll_every_s=session.poll_every_s)


def _store(backend: Backend, provider: str) -> SignsInByQr:
    store = backend.get_store(provider)
    if not isinstance(store, SignsInByQr) or SignInWay.QR not in store.ways:
        raise UsageError(f"{provider} has no sign-in by {SignInWay.QR}", hint=f"ways: {', '.join(store.ways)}")
    return store


def _device_name(backend: Backend) -> str:
    """What the phone shows: a player who did not ask for a sign-in at Integ should notice."""
    host = urlsplit(backend.settings.public_url).hostname if backend.settings.public_url else None
    return f"Integ at {host}"[:60] if host else "Integ"
