"""The backend as typed methods. Its failures come out as the classes they went in as."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import NoneType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from integ_runtime.client.events import listen
from integ_runtime.settings import shown_address
from integ_server.contract.achievements import AchievementList
from integ_server.contract.errors import BackendUnreachableError, IntegError, from_envelope
from integ_server.contract.events import Event
from integ_server.contract.proton import ProtonVersionInfo
from integ_server.contract.sessions import DeviceCode, DevicePoll, DeviceStart, NewToken, TokenInfo, TokenRequest, Tokens
from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import (
    AccountInfo,
    Changes,
    DownloadPlan,
    DownloadRequest,
    Envelope,
    JobInfo,
    Page,
    ProviderInfo,
    SignedIn,
    SignInAnswer,
    SignInPage,
    SignInStart,
    SignInWay,
    SyncRequest,
    SyncStatus,
    UserInfo,
    Wire,
)
from integ_server.contract.user_data import UserExport

T = TypeVar("T")
_MOST_VERSIONS = 10_000
EMBEDDED_HOST = "integ.embedded"
"""What a backend in this process is called in addresses; a name that nobody can register."""


class ApiClient:
    """
    One method an endpoint.

    Every method raises the IntegError that the backend answered, and BackendUnreachableError when nothing answered.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._where = shown_address(str(http.base_url))

    async def providers(self) -> list[ProviderInfo]:
        return await self._ask(list[ProviderInfo], "GET", "/auth/providers")

    async def begin_sign_in(self, provider: str, way: SignInWay, return_to: str = "") -> SignInPage:
        return await self._ask(SignInPage, "POST", f"/auth/{_part(provider)}/login", SignInStart(way=way, return_to=return_to))

    async def finish_sign_in(self, provider: str, answer: SignInAnswer) -> SignedIn:
        return await self._ask(SignedIn, "POST", f"/auth/{_part(provider)}/callback", answer)

    async def poll_sign_in(self, provider: str, state: str) -> SignedIn | SignInPending:
        """For a sign-in by QR code: how far it is, or whose account it became."""
        answer = SignInAnswer(way=SignInWay.QR, state=state)
        told: SignedIn | SignInPending = await self._ask(SignedIn | SignInPending, "POST", f"/auth/{_part(provider)}/callback", answer)  # type: ignore[arg-type]
        return told

    async def sign_out(self, provider: str | None = None, account: str | None = None) -> list[AccountInfo]:
        """Forget one account, all of a store, or all; what is left out means all. Answers those that were forgotten."""
        return await self._ask(list[AccountInfo], "POST", "/auth/logout", {"provider": provider, "account": account})

    async def begin_device(self, name: str) -> DeviceCode:
        return await self._ask(DeviceCode, "POST", "/auth/device", DeviceStart(device=name))

    async def poll_device(self, device_code: str) -> Tokens:
        """Raises with the RFC's word in `data["error"]` until the player has said yes."""
        return await self._ask(Tokens, "POST", "/auth/device/token", DevicePoll(device_code=device_code))

    async def end_session(self) -> None:
        """Of this device; the store accounts stay signed in."""
        await self._ask(list[AccountInfo], "POST", "/auth/logout", {"session": True})

    async def tokens(self) -> list[TokenInfo]:
        return await self._ask(list[TokenInfo], "GET", "/auth/tokens")

    async def make_token(self, wanted: TokenRequest) -> NewToken:
        return await self._ask(NewToken, "POST", "/auth/tokens", wanted)

    async def revoke_token(self, token_id: str) -> None:
        await self._ask(NoneType, "DELETE", f"/auth/tokens/{_part(token_id)}")

    async def me(self) -> UserInfo:
        return await self._ask(UserInfo, "GET", "/users/me")

    async def owner(self) -> str:
        """The id of the user whose library the backend tells; empty for an embedded one, which has a single user."""
        return "" if self._http.base_url.host == EMBEDDED_HOST else (await self.me()).id

    async def accounts(self) -> list[AccountInfo]:
        return await self._ask(list[AccountInfo], "GET", "/users/me/accounts")

    async def start_sync(self, providers: Sequence[str] = (), *, full: bool = False) -> list[JobInfo]:
        return await self._ask(list[JobInfo], "POST", "/games/sync", SyncRequest(providers=list(providers), full=full))

    async def sync_status(self) -> SyncStatus:
        return await self._ask(SyncStatus, "GET", "/games/sync-status")

    async def job(self, job_id: str) -> JobInfo:
        return await self._ask(JobInfo, "GET", f"/jobs/{_part(job_id)}")

    async def cancel_job(self, job_id: str) -> JobInfo:
        """Want it no more; what it says of itself may be that it still runs, until its next step."""
        return await self._ask(JobInfo, "DELETE", f"/jobs/{_part(job_id)}")

    async def changes(self, since: int) -> Changes:
        return await self._ask(Changes, "GET", "/games/changes", params={"since": since})

    async def achievements(self, key: str, *, again: bool = False) -> AchievementList:
        return await self._ask(AchievementList, "GET", f"/games/{_part(key)}/achievements", params={"again": again})

    async def download_plan(self, key: str, wanted: DownloadRequest) -> DownloadPlan:
        return await self._ask(DownloadPlan, "POST", f"/games/{_part(key)}/download", wanted)

    async def change(self, method: str, path: str, body: dict[str, Any], *, key: str) -> None:
        """A decision about games, which may be sent again with the same *key* and is done once."""
        await self._ask(dict[str, Any], method, quote(path, safe="/:"), body, key=key)

    async def export(self) -> UserExport:
        """Every row that is the user's, by table, without secrets."""
        return await self._ask(UserExport, "GET", "/users/me/export")

    async def events(self) -> AsyncIterator[Event]:
        """What happens at a backend for many, as it happens; one in this process tells nothing."""
        if self._http.base_url.host == EMBEDDED_HOST:
            return
        async for event in listen(self._http, self._where):
            yield event

    async def proton_versions(self, family: str) -> list[ProtonVersionInfo]:
        """The whole catalogue of *family*; a backend for many has one."""
        found: list[ProtonVersionInfo] = []
        asked: dict[str, Any] = {"family": family, "limit": 200}
        while len(found) < _MOST_VERSIONS:
            page = await self._ask(Page[ProtonVersionInfo], "GET", "/proton/versions", params=asked)
            found += page.items
            if page.next_cursor is None:
                break
            asked["cursor"] = page.next_cursor
        return found

    @asynccontextmanager
    async def proton_archive(self, version: str, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        """The backend's copy of an archive from byte *start* on, in pieces."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            async with self._http.stream("GET", f"/proton/versions/{_part(version)}/archive", headers=headers) as answer:
                if answer.status_code not in {200, 206} or (start and answer.status_code != 206):
                    await answer.aread()
                    raise error_in(answer)
                yield answer.aiter_bytes(1 << 20)
        except httpx.HTTPError as error:
            raise BackendUnreachableError(f"no answer from {self._where}", hint="integ doctor") from error

    async def _ask(
        self,
        kind: type[T],
        method: str,
        path: str,
        body: Wire | dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        *,
        key: str = "",
    ) -> T:
        sent = body.model_dump(mode="json") if isinstance(body, Wire) else body
        try:
            answer = await self._http.request(method, path, json=sent, params=params, headers={"Idempotency-Key": key} if key else None)
        except httpx.HTTPError as error:
            raise BackendUnreachableError(f"no answer from {self._where}", hint="integ doctor") from error
        if not answer.is_success:
            raise error_in(answer)
        try:
            return TypeAdapter(Envelope[kind]).validate_json(answer.content).data  # type: ignore[valid-type]
        except ValidationError as error:
            raise BackendUnreachableError(f"{self._where} answered, but not as an Integ backend does", hint="integ config list") from error


def _part(text: str) -> str:
    return quote(text, safe=":")


def error_in(answer: httpx.Response) -> IntegError:
    """The failure in *answer*, or a plain one for somebody else's error page."""
    try:
        envelope = answer.json()
    except ValueError:
        envelope = None
    if isinstance(envelope, dict) and envelope.get("status") == "error":
        return from_envelope(envelope)
    return BackendUnreachableError(f"the backend answered {answer.status_code}, not in Integ's form", hint="integ config list")
