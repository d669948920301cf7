"""Signing in with a store, as a browser does it: over the store's own page, by a code that is pasted, or by one that a phone scans."""

from __future__ import annotations

import hashlib
import io
import math
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from integ_server.api.deps import BackendDep
from integ_server.api.limits import limited
from integ_server.api.page_drawing import HEADERS, PageRoute, failure_text, go, sentence, show, user_name
from integ_server.api.page_session import FormDep, PageDep, PageSession, browser_name, keep, signed_in
from integ_server.auth import session as device_sessions
from integ_server.contract.errors import IntegError, NotFoundError, ProviderError
from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import ProviderInfo, SignInAnswer, SignInStart, SignInWay
from integ_server.providers.base import SignedInAccount
from integ_server.services import accounts, qr_sign_in, users
from integ_server.services.backend import Backend
from integ_server.upstream import rewritten

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[limited("page", 240, 60)])
_PROVES = {SignInWay.OPENID, SignInWay.CODE, SignInWay.QR}
"""Ways that say whose account it is; a key does not."""
_STAGES = {
    "waiting": "Waiting for your phone…",
    "scanned": "Scanned. Now confirm it on your phone.",
}
_beginning = [limited("page-sign-in", 30, 60)]


@router.get("/sign-in")
async def choose_store(backend: BackendDep, page: PageDep) -> Response:
    """The stores that say who somebody is."""
    stores = [each for each in accounts.provider_infos(backend) if _PROVES & set(each.ways)]
    return await show(backend, page, "stores.html", stores=stores)


@router.get("/auth/{provider}/login")
async def choose_way(backend: BackendDep, page: PageDep, provider: str) -> Response:
    """How one signs in there."""
    return await _store_page(backend, page, provider)


@router.get("/sign-in/{provider}/openid", dependencies=_beginning)
async def to_store(request: Request, backend: BackendDep, page: PageDep, provider: str) -> Response:
    """On to the store's page, which sends the browser back to `/auth/{provider}/callback`."""
    if request.headers.get("sec-fetch-site") not in {None, "same-origin", "none"}:
        return await go(backend, page, f"/auth/{_known(backend, provider).slug}/login")
    start = SignInStart(way=SignInWay.OPENID, return_to=f"{page.public_url}/auth/{_known(backend, provider).slug}/callback")
    begun = await accounts.begin(backend, page.owner, provider, start)
    return await go(backend, page, begun.address)


@router.get("/auth/{provider}/callback", dependencies=_beginning)
async def from_store(request: Request, backend: BackendDep, page: PageDep, provider: str, state: str = "") -> Response:
    """Back from the store's page; good for the browser that went there, once."""
    answer = SignInAnswer(way=SignInWay.OPENID, state=state, query=request.url.query)
    told = await accounts.confirm(backend, page.owner, provider, answer, may_lack_key=True)
    if accounts.lacks_key(backend, provider, told) and not await accounts.reads_already(backend, provider, told.credentials.account):
        page.proved_store, page.proved_account = provider, told.credentials.account
        return await go(backend, page, f"/sign-in/{provider}/key")
    return await _finish(backend, page, provider, told)


@router.post("/sign-in/{provider}/code", dependencies=_beginning)
async def take_code(backend: BackendDep, page: FormDep, provider: str, code: Annotated[str, Form(max_length=16_384)] = "") -> Response:
    """What the player pasted of the address on which the store's page ended."""
    try:
        told = await accounts.confirm(backend, page.owner, provider, SignInAnswer(way=SignInWay.CODE, code=code))
    except IntegError as error:
        return await _store_page(backend, page, provider, error)
    return await _finish(backend, page, provider, told)


@router.get("/sign-in/{provider}/key")
async def ask_for_key(backend: BackendDep, page: PageDep, provider: str) -> Response:
    """A key of the player's own, for the account that was proved to be theirs."""
    if page.proved_store != provider or not page.proved_account:
        return await go(backend, page, f"/auth/{_known(backend, provider).slug}/login")
    return await show(backend, page, "key.html", store=_known(backend, provider), failure="")


@router.post("/sign-in/{provider}/key", dependencies=_beginning)
async def take_key(backend: BackendDep, page: FormDep, provider: str, api_key: Annotated[str, Form(max_length=400)] = "") -> Response:
    """The key, which is tried at once."""
    if page.proved_store != provider or not page.proved_account:
        return await go(backend, page, f"/auth/{_known(backend, provider).slug}/login")
    try:
        told = await accounts.confirm_key(backend, provider, page.proved_account, api_key)
    except IntegError as error:
        text = failure_text(error)
        return await show(backend, page, "key.html", status=error.status, store=_known(backend, provider), failure=text)
    return await _finish(backend, page, provider, told)


@router.post("/sign-in/{provider}/qr", dependencies=_beginning)
async def begin_qr(backend: BackendDep, page: FormDep, provider: str) -> Response:
    """A code for the store's app."""
    begun = await qr_sign_in.begin(backend, page.owner, provider)
    page.qr_state, page.qr_store = begun.state, provider
    return await go(backend, page, f"/sign-in/{provider}/qr")


@router.get("/sign-in/{provider}/qr")
async def show_qr(backend: BackendDep, page: PageDep, provider: str) -> Response:
    """The code, and how far it is; once the player agreed on the phone, on to what comes next."""
    store = _known(backend, provider)
    if page.qr_store != provider:
        return await go(backend, page, f"/auth/{provider}/login")
    told, text = await _poll(backend, page, provider)
    if isinstance(told, SignedInAccount):
        return await _finish(backend, page, provider, told)
    facts = _followed(backend, provider, told, text)
    return await show(backend, page, "qr.html", **facts, store=store, refresh_s=math.ceil(told.poll_every_s))


@router.get("/sign-in/{provider}/qr/state")
async def follow_qr(backend: BackendDep, page: PageDep, provider: str) -> Response:
    """The same for the page's script: what to show, or where to go."""
    if page.qr_store != provider:
        return JSONResponse({"next": f"/auth/{_known(backend, provider).slug}/login"}, headers=HEADERS)
    try:
        told, text = await _poll(backend, page, provider)
        if isinstance(told, SignInPending):
            return JSONResponse(_followed(backend, provider, told, text), headers=HEADERS)
        page = await _take_in(backend, page, provider, told)
        where = _next(page)
    except IntegError as error:
        page.failure, where = failure_text(error), f"/sign-in/{provider}/failed"
    answer = JSONResponse({"next": where}, headers=HEADERS)
    await keep(backend, page, answer)
    return answer


@router.get("/sign-in/{provider}/qr.svg")
async def draw_qr(backend: BackendDep, page: PageDep, provider: str) -> Response:
    """The code as a picture."""
    told = await qr_sign_in.peek(backend, page.owner, provider, page.qr_state)
    return Response(_svg(told.address), media_type="image/svg+xml", headers=HEADERS)


@router.get("/sign-in/{provider}/failed")
async def tell_failure(backend: BackendDep, page: PageDep, provider: str) -> Response:
    """What the page's script came upon."""
    again = f"/auth/{_known(backend, provider).slug}/login"
    if not page.failure:
        return await go(backend, page, again)
    message, page.failure, page.qr_store, page.qr_state = page.failure, "", "", ""
    facts: dict[str, Any] = {"title": "That did not work", "message": message, "hint": "", "again": again, "again_text": "Try again"}
    return await show(backend, page, "error.html", **facts)


# --- what they have in common --------------------------------------------------------------------------------------


async def _store_page(backend: Backend, page: PageSession, provider: str, error: IntegError | None = None) -> Response:
    store = _known(backend, provider)
    address = ""
    if SignInWay.CODE in store.ways:
        shown = backend.get_store(provider).sign_in_address(SignInWay.CODE, "", "")
        address = rewritten(shown, backend.settings.upstream_url)
    failure, status = (failure_text(error), error.status) if error is not None else ("", 200)
    return await show(backend, page, "store.html", status=status, store=store, address=address, failure=failure)


def _known(backend: Backend, provider: str) -> ProviderInfo:
    """
    The store, for its page.

    Raises:
        NotFoundError: There is none of that name, or none that says who somebody is.
    """
    backend.get_store(provider)
    store = next(each for each in accounts.provider_infos(backend) if each.slug == provider)
    if not _PROVES & set(store.ways):
        raise NotFoundError(f"{store.title} does not say who somebody is", hint="choose another store")
    return store


async def _take_in(backend: Backend, page: PageSession, provider: str, told: SignedInAccount) -> PageSession:
    """
    The account becomes one of the user's, who may be known by it or be a new one.

    Raises:
        PermissionDeniedError: It belongs to somebody else than who is signed in here; or it is nobody's, and nobody new is taken.
    """
    await user_name(backend, page)
    async with backend.db.writing.begin() as session:  # stored before the browser hears that it is signed in
        user_id = page.user_id
        if user_id is None:
            user_id = await users.sign_in_with(backend, session, provider, told)
        else:
            await accounts.link(backend, session, user_id, provider, told)
        session_id = page.session_id or await device_sessions.begin_browser(backend, session, user_id, browser_name(page.agent))
    return await signed_in(backend, page, user_id, session_id)


async def _finish(backend: Backend, page: PageSession, provider: str, told: SignedInAccount) -> Response:
    page = await _take_in(backend, page, provider, told)
    return await go(backend, page, _next(page))


def _next(page: PageSession) -> str:
    return "/device/confirm" if page.user_code else "/account"


async def _poll(backend: Backend, page: PageSession, provider: str) -> tuple[SignInPending | SignedInAccount, str]:
    """How far it is, with a text for it. A store that does not answer for a moment ends nothing: the code may be scanned all the same."""
    try:
        told = await qr_sign_in.poll(backend, page.owner, provider, page.qr_state)
    except ProviderError as error:
        return await qr_sign_in.peek(backend, page.owner, provider, page.qr_state), sentence(error.message)
    return told, _STAGES[told.stage] if isinstance(told, SignInPending) else ""


def _followed(backend: Backend, provider: str, told: SignInPending, text: str) -> dict[str, Any]:
    number = hashlib.sha256(told.address.encode()).hexdigest()[:12]
    return {
        "text": text,
        "picture": f"/sign-in/{provider}/qr.svg?n={number}",
        "address": rewritten(told.address, backend.settings.upstream_url),
        "every_ms": int(told.poll_every_s * 1000),
    }


def _svg(text: str) -> bytes:
    import segno

    drawn = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(drawn, kind="svg", border=4, scale=8, dark="#000", light="#fff", svgclass=None, lineclass=None)
    return drawn.getvalue()
