"""Sign-in at the stores: begun, finished, listed, ended."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import (
    AccountNotFoundError,
    AuthenticationError,
    PermissionDeniedError,
    UsageError,
    to_envelope,
)
from integ_server.contract.text import clean_name
from integ_server.contract.types import (
    AccountInfo,
    AccountState,
    ProviderInfo,
    SignedIn,
    SignInAnswer,
    SignInPage,
    SignInStart,
    SignInWay,
)
from integ_server.models.account import Account
from integ_server.models.tables import accounts, jobs, library_entries
from integ_server.providers.base import SignedInAccount, StoreProfile
from integ_server.services import events, library, qr_sign_in
from integ_server.services.access import opened, seal_into
from integ_server.services.backend import Backend
from integ_server.services.rows import among, in_parts
from integ_server.settings import LOOPBACK
from integ_server.upstream import rewritten

STATE_LIVES_S = 900.0
NONCE_LIVES_S = 660.0
"""Longer than an assertion may be old, by any clock."""
_LONGEST_ANSWER = 16_384
_LONGEST_ADDRESS = 1_000


def provider_infos(backend: Backend) -> list[ProviderInfo]:
    found = []
    for slug, store in sorted(backend.stores.items()):
        key_page = _key_page(backend, store)
        needs_key = bool(key_page) and not getattr(backend.settings, f"{slug}_api_key", "")
        found.append(ProviderInfo(slug=slug, title=store.title, ways=list(store.ways), needs_api_key=needs_key, api_key_page=key_page))
    return found


def _key_page(backend: Backend, store: object) -> str:
    """Where a player gets a key for *store*, as an address for their browser; empty for stores without."""
    page = str(getattr(store, "key_page", ""))
    return rewritten(page, backend.settings.upstream_url) if page else ""


async def begin(backend: Backend, user_id: str, provider: str, start: SignInStart) -> SignInPage:
    """
    A page for the browser, and the state that its answer has to bring back: good once, for a quarter of an hour, for this user.

    Raises:
        NotFoundError: There is no such store.
        UsageError: The store has no such way, or the address to come back to is not ours.
    """
    store = backend.get_store(provider)
    _check_way(backend, provider, start.way)
    if start.way is SignInWay.QR:
        return await qr_sign_in.begin(backend, user_id, provider)
    state = secrets.token_urlsafe(32)
    return_to = ""
    if start.way is SignInWay.OPENID:
        _check_return(backend, start.return_to)
        return_to = f"{start.return_to}{'&' if '?' in start.return_to else '?'}{urlencode({'state': state})}"
    address = store.sign_in_address(start.way, return_to, state)
    issued = {"user": user_id, "provider": provider, "way": start.way, "return_to": return_to}
    await backend.cache.set(f"sign-in/{state}", json.dumps(issued), STATE_LIVES_S)
    shown = rewritten(address, backend.settings.upstream_url) if address else ""
    return SignInPage(provider=provider, way=start.way, address=shown, state=state)


async def confirm(backend: Backend, user_id: str, provider: str, answer: SignInAnswer, *, may_lack_key: bool = False) -> SignedInAccount:
    """
    Let the store say whose account the answer is. Nothing is stored yet, and no transaction is open while the store is asked.

    With *may_lack_key* a page's answer is enough to say who somebody is, though not to read their library: see `lacks_key()`.

    Raises:
        NotFoundError: There is no such store.
        UsageError: The store has no such way, or it is one that is polled for (`qr_sign_in.poll`).
        AuthenticationError: The state is unknown, used or somebody else's; or the store refused the answer.
        PermissionDeniedError: A key alone, where many have accounts: it does not say whose account it reads.
        ProviderUnavailableError: The store could not be asked.
    """
    store = backend.get_store(provider)
    _check_way(backend, provider, answer.way)
    if answer.way is SignInWay.QR:
        raise UsageError("a sign-in by QR code is polled for", hint=f"integ login {provider} --qr")
    if max(len(answer.query), len(answer.code), len(answer.api_key), len(answer.account)) > _LONGEST_ANSWER:
        raise UsageError("that is too long for a sign-in", hint=f"integ login {provider}")
    return_to = await _take_state(backend, user_id, provider, answer)
    proves_nothing = answer.way is SignInWay.API_KEY and not backend.settings.is_embedded
    if proves_nothing:  # before the store is asked too, so that nobody tries keys out here
        await _check_proved(backend, user_id, provider)
    if answer.way is SignInWay.OPENID and _needs_key(backend, provider) and not answer.api_key and not may_lack_key:
        told = f"get one at {_key_page(backend, store)}, then: integ login {provider}"
        raise AuthenticationError(f"reading a {store.title} library needs a Web API key", hint=told)
    nonce_of = getattr(store, "nonce_of", None)
    nonce = nonce_of(answer.query) if nonce_of is not None and answer.way is SignInWay.OPENID else None
    if nonce and not await backend.cache.add(f"nonce/{provider}/{nonce}", "1", NONCE_LIVES_S):
        raise AuthenticationError("this sign-in was used already", hint=f"integ login {provider}")
    signed_in = await store.sign_in(answer, return_to=return_to)
    if proves_nothing:
        await _check_proved(backend, user_id, provider, signed_in.credentials.account)
    return signed_in


def lacks_key(backend: Backend, provider: str, signed_in: SignedInAccount) -> bool:
    """Whether nothing that came with the sign-in can read the library."""
    return not signed_in.credentials.secret and _needs_key(backend, provider)


async def reads_already(backend: Backend, provider: str, account: str) -> bool:
    """Whether the account is signed in here, by something that reads its library."""
    query = select(Account).where(accounts.c.provider == provider, accounts.c.account == account, accounts.c.removed_at.is_(None))
    async with backend.db.reading() as session:
        known = (await session.execute(query)).scalar_one_or_none()
    if known is None or known.secret is None or known.state == AccountState.SIGNED_OUT:
        return False
    return bool(opened(known, backend.vault).secret)


async def confirm_key(backend: Backend, provider: str, account: str, api_key: str) -> SignedInAccount:
    """
    A key for an *account* that its owner has proved to be theirs just now.

    Raises:
        AuthenticationError: The store refused the key.
        ProviderUnavailableError: The store could not be asked.
    """
    if not api_key.strip():
        raise AuthenticationError("no key was given", hint=f"integ login {provider}")
    answer = SignInAnswer(way=SignInWay.API_KEY, api_key=api_key, account=account)
    return await backend.get_store(provider).sign_in(answer, return_to="")


async def _check_proved(backend: Backend, user_id: str, provider: str, account: str | None = None) -> None:
    """Anybody can name any account beside a key of their own: only who proved it to be theirs in another way may add a key."""
    mine = [accounts.c.user_id == user_id, accounts.c.provider == provider, accounts.c.removed_at.is_(None)]
    if account is not None:
        mine.append(accounts.c.account == account)
    async with backend.db.reading() as session:
        if (await session.execute(select(accounts.c.id).where(*mine).limit(1))).first():
            return
    title = backend.get_store(provider).title
    raise PermissionDeniedError(f"a key does not prove whose {title} account it is", hint=f"integ login {provider}")


async def link(backend: Backend, session: AsyncSession, user_id: str, provider: str, signed_in: SignedInAccount) -> SignedIn:
    """
    Store the account for the user, its credentials sealed; one that was signed out comes back with its history.

    Raises:
        PermissionDeniedError: It belongs to another user of this backend.
    """
    login = signed_in.credentials
    same = select(Account).where(accounts.c.provider == provider, accounts.c.account == login.account).with_for_update()
    known = list((await session.execute(same.order_by(accounts.c.removed_at.is_not(None), accounts.c.id))).scalars())
    if any(each.removed_at is None and each.user_id != user_id for each in known):
        raise PermissionDeniedError(
            f"this {provider} account belongs to another user of this backend",
            hint=f"sign in to Integ with that account, and there: integ logout {provider}",
        )
    account = next((each for each in known if each.user_id == user_id), None)
    if account is None:
        now = datetime.now(UTC)
        account = Account(user_id=user_id, provider=provider, account=login.account, display_name="", created_at=now)
        session.add(account)
    show_as(account, StoreProfile(signed_in.display_name, signed_in.avatar_url, signed_in.profile_url))
    if login.secret or account.secret is None or account.state != AccountState.OK:  # else what it has reads more than nothing does
        seal_into(account, login, backend.vault)
    account.state, account.removed_at = AccountState.OK, None
    await session.flush()
    events.account_changed(session, user_id, provider, account.account, account.state)
    return SignedIn(provider=provider, account=account.account, display_name=account.display_name)


def show_as(account: Account, profile: StoreProfile) -> None:
    """Take over how the store shows the account; what it does not say stays as it was."""
    account.display_name = clean_name(profile.display_name) or account.display_name or account.account
    account.avatar_url = _address(profile.avatar_url) or account.avatar_url
    account.profile_url = _address(profile.profile_url) or account.profile_url


def _address(text: str) -> str | None:
    """An address that clients may open or load; None for anything else that a store may have written."""
    fits = text.startswith("https://") and len(text) <= _LONGEST_ADDRESS and text.isascii() and text.isprintable() and " " not in text
    return text if fits else None


async def sign_out(session: AsyncSession, user_id: str, provider: str | None, account: str | None) -> list[AccountInfo]:
    """
    Forget the credentials of one account, of all of a store, or of all, and take their games out of the library.

    Raises:
        AccountNotFoundError: There is none such.
    """
    query = select(Account).where(accounts.c.user_id == user_id, accounts.c.removed_at.is_(None))
    if provider is not None:
        query = query.where(accounts.c.provider == provider)
    if account is not None:
        query = query.where(accounts.c.account == account)
    ended = list((await session.execute(query.order_by(accounts.c.id).with_for_update())).scalars())
    if not ended:
        raise AccountNotFoundError("no such account is signed in", hint="integ accounts")
    now = datetime.now(UTC)
    for each in ended:
        each.secret = each.access_token = each.access_expires_at = None
        each.state, each.removed_at = AccountState.SIGNED_OUT, now
        await session.flush()
        events.account_changed(session, user_id, each.provider, each.account, each.state)
        error = to_envelope(AccountNotFoundError("this account was signed out meanwhile", hint=f"integ login {each.provider}"))
        waiting = update(jobs).where(jobs.c.account_id == each.id, jobs.c.state == "queued")
        await session.execute(waiting.values(state="failed", stage="", error=error, finished_at=now))
        owned = library_entries.c.account_id == each.id, library_entries.c.removed_at.is_(None)
        keys = sorted((await session.execute(select(library_entries.c.game_key).where(*owned))).scalars())
        if keys:
            first = await library.next_revisions(session, user_id, len(keys))
            for step, part in enumerate(in_parts(keys, library.A_REVISION_HOLDS)):
                gone = update(library_entries).where(*owned, among(session, library_entries.c.game_key, part))
                await session.execute(gone.values(removed_at=now, revision=first + step))
    return [_info(each) for each in ended]


async def infos(session: AsyncSession, user_id: str) -> list[AccountInfo]:
    query = select(Account).where(accounts.c.user_id == user_id, accounts.c.removed_at.is_(None))
    return [_info(each) for each in (await session.execute(query.order_by(accounts.c.provider, accounts.c.id))).scalars()]


def _info(account: Account) -> AccountInfo:
    return AccountInfo(
        provider=account.provider,
        account=account.account,
        display_name=account.display_name,
        avatar_url=account.avatar_url,
        profile_url=account.profile_url,
        state=AccountState(account.state),
        last_sync_at=account.last_sync_at,
    )


def _needs_key(backend: Backend, provider: str) -> bool:
    return any(each.needs_api_key for each in provider_infos(backend) if each.slug == provider)


def _check_way(backend: Backend, provider: str, way: SignInWay) -> None:
    ways = backend.get_store(provider).ways
    if way not in ways:
        raise UsageError(f"{provider} has no sign-in by {way}", hint=f"ways: {', '.join(ways)}")


def _check_return(backend: Backend, return_to: str) -> None:
    """A browser may be sent back to this backend or to the player's own machine, and nowhere else."""
    try:
        parts = urlsplit(return_to)
        origin = f"{parts.scheme}://{parts.netloc}"
        is_own = bool(backend.settings.public_url) and origin == backend.settings.public_url.rstrip("/")
        is_local = parts.scheme == "http" and parts.hostname in LOOPBACK and "@" not in parts.netloc
    except ValueError:
        is_own = is_local = False
    if not (is_own or is_local) or "#" in return_to:
        raise UsageError("the address to come back to has to be on this machine or this backend", hint="http://127.0.0.1:PORT/")


async def _take_state(backend: Backend, user_id: str, provider: str, answer: SignInAnswer) -> str:
    """
    The callback address that was issued with the answer's state; the state is used up by asking.

    A pasted key or code is brought by the player's own hand and needs none; but one that is brought has to be right.
    """
    if not answer.state and answer.way is not SignInWay.OPENID:
        return ""
    raw = await backend.cache.take(f"sign-in/{answer.state[:128]}")
    issued = json.loads(raw) if raw else {}
    expected = {"user": user_id, "provider": provider, "way": answer.way}
    if any(issued.get(name) != value for name, value in expected.items()):
        raise AuthenticationError("this sign-in was not begun here, or too long ago", hint=f"integ login {provider}")
    return str(issued["return_to"])
