"""The pages of a signed-in browser: a device's code, the yes or no to it, and the player's stores."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import RedirectResponse

from integ_server.api.deps import BackendDep
from integ_server.api.limits import limited
from integ_server.api.page_drawing import HEADERS, PageRoute, asset, failure_text, go, sentence, show, user_name
from integ_server.api.page_session import FormDep, PageDep, left
from integ_server.auth import device
from integ_server.auth import session as device_sessions
from integ_server.contract.errors import NotFoundError, RateLimitedError
from integ_server.contract.scopes import EXPLAINED, Scope
from integ_server.services import accounts

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[limited("page", 240, 60)])
assets = APIRouter(include_in_schema=False)
Code = Annotated[str, Form(max_length=200)]


@assets.get("/pages/{name}")
async def get_asset(name: str) -> Response:
    """What the pages are drawn with."""
    return asset(name)


@router.get("/device")
async def enter_code(backend: BackendDep, page: PageDep, user_code: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Where a device sends its player: to type its code, or to compare the one that the address brought."""
    return await show(backend, page, "device.html", user_code=user_code[:40], failure="")


@router.post("/device")
async def take_code(backend: BackendDep, page: FormDep, user_code: Code = "") -> Response:
    """The code as the player typed it."""
    try:
        found = await device.look_up(backend, user_code, address=page.address, page_session=page.secret)
    except (NotFoundError, RateLimitedError) as error:
        return await show(backend, page, "device.html", status=error.status, user_code=user_code[:40], failure=failure_text(error))
    page.user_code = found.user_code
    await user_name(backend, page)
    return await go(backend, page, "/device/confirm" if page.user_id else "/sign-in")


@router.get("/device/confirm")
async def ask(backend: BackendDep, page: PageDep) -> Response:
    """Which device it is, and what it may do."""
    if not page.user_code:
        return await go(backend, page, "/device")
    if not await user_name(backend, page):
        return await go(backend, page, "/sign-in")
    found = await _request(backend, page)
    may = [sentence(EXPLAINED[scope]) for scope in Scope if scope in found.scopes]
    return await show(backend, page, "confirm.html", request=found, may=may)


@router.post("/device/decision")
async def decide(
    backend: BackendDep, page: FormDep, decision: Annotated[Literal["approve", "deny"], Form()], user_code: Code = ""
) -> Response:
    """The player's yes or no, to the device that the page showed and no other."""
    await user_name(backend, page)
    if page.user_id is None or not page.user_code or user_code != page.user_code:
        return await go(backend, page, "/device/confirm")
    code, page.user_code = page.user_code, ""
    where = {"address": page.address, "page_session": page.secret}
    if decision == "deny":
        refused = await device.deny(backend, code, **where)
        return await show(backend, page, "done.html", title="Refused", text=f"{refused.device} was not signed in. You can close this page.")
    taken = await device.approve(backend, code, page.user_id, **where)
    told = f"{taken.device} goes on by itself within a few seconds. You can close this page."
    return await show(backend, page, "done.html", title="Your device is signed in", text=told)


@router.get("/account")
async def account(backend: BackendDep, page: PageDep) -> Response:
    """The player's stores, and where they are signed in."""
    await user_name(backend, page)
    if page.user_id is None:
        return await go(backend, page, "/sign-in")
    async with backend.db.reading() as session:
        linked = await accounts.infos(session, page.user_id)
        sessions = await device_sessions.infos(session, page.user_id, page.session_id)
    titles = {slug: store.title for slug, store in backend.stores.items()}
    return await show(backend, page, "account.html", accounts=linked, titles=titles, sessions=sessions)


@router.post("/account/sessions/end")
async def end_session(backend: BackendDep, page: FormDep, session_id: Annotated[str, Form(max_length=100)] = "") -> Response:
    """Sign a device out, or another browser; one that is out already is fine too."""
    if page.user_id is not None:
        with suppress(NotFoundError):
            async with backend.db.writing.begin() as session:
                await device_sessions.end(backend, session, page.user_id, session_id)
    return await go(backend, page, "/account")


@router.post("/account/leave-everywhere")
async def leave_everywhere(backend: BackendDep, page: FormDep) -> Response:
    """Sign every device and browser out, this one last."""
    if page.user_id is not None:
        async with backend.db.writing.begin() as session:
            await device_sessions.end_all(backend, session, page.user_id)
    return await leave(backend, page)


@router.post("/account/leave")
async def leave(backend: BackendDep, page: FormDep) -> Response:
    """Sign this browser out; devices stay."""
    answer = RedirectResponse("/sign-in", 303, headers=HEADERS)
    await left(backend, page, answer)
    return answer


async def _request(backend: BackendDep, page: PageDep) -> device.Request:
    try:
        return await device.look_up(backend, page.user_code, address=page.address, page_session=page.secret)
    except NotFoundError:
        page.user_code = ""
        raise
