"""Signing in and out of the stores, as a front end asks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from integ_runtime.client.api import ApiClient
from integ_server.contract.errors import AuthenticationError, BackendUnreachableError, ProviderError, UsageError
from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import AccountInfo, ProviderInfo, SignedIn, SignInAnswer, SignInPage, SignInWay

_DONE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Integ</title><body style="font:1.1rem system-ui;margin:3rem auto;max-width:32rem;padding:0 1rem">
<h1>{title}</h1><p>{text}</p></body></html>"""
_LONGEST_REQUEST = 16_384
_POLL_S = 5.0
_PATIENCE_S = 60.0


class Accounts:
    def __init__(self, api: Callable[[], Awaitable[ApiClient]]) -> None:
        self._api = api

    async def providers(self) -> list[ProviderInfo]:
        """The stores that can be signed in to, Integ's own and others'."""
        return await (await self._api()).providers()

    async def get_provider(self, slug: str) -> ProviderInfo:
        known = await self.providers()
        for provider in known:
            if provider.slug == slug.lower():
                return provider
        raise UsageError(f"there is no store {slug!r}", hint=f"integ login {'|'.join(each.slug for each in known)}")

    async def all(self) -> list[AccountInfo]:
        return await (await self._api()).accounts()

    async def sign_in_with_key(self, provider: str, api_key: str, account: str) -> SignedIn:
        """By the player's own key; *account* is the store's id, a profile address or a name."""
        answer = SignInAnswer(way=SignInWay.API_KEY, api_key=api_key.strip(), account=account.strip())
        return await self.finish(provider, answer)

    async def begin(self, provider: str, way: SignInWay, return_to: str = "") -> SignInPage:
        """The page for the player's browser."""
        return await (await self._api()).begin_sign_in(provider, way, return_to)

    async def finish(self, provider: str, answer: SignInAnswer) -> SignedIn:
        return await (await self._api()).finish_sign_in(provider, answer)

    async def sign_in_with_code(self, provider: str, pasted: str, state: str = "") -> SignedIn:
        """By what the player pasted: the address where the store's page ended, or the code in it."""
        return await self.finish(provider, SignInAnswer(way=SignInWay.CODE, code=pasted.strip(), state=state))

    async def sign_in_by_browser(
        self, provider: str, *, show: Callable[[str], None], api_key: str = "", timeout_s: float = 300
    ) -> SignedIn:
        """
        By a page that comes back to a listener on this machine.

        *show* is called once, with the address to open in a browser on this machine.

        Raises:
            AuthenticationError: Nobody came back within *timeout_s*, or the store said no.
        """
        came_back: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answer_browser(reader, writer, came_back)

        listener = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_LONGEST_REQUEST)
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            page = await self.begin(provider, SignInWay.OPENID, f"http://127.0.0.1:{port}/callback")
            show(page.address)
            try:
                async with asyncio.timeout(timeout_s):
                    query = await came_back
            except TimeoutError:
                raise AuthenticationError("nobody came back from the sign-in page", hint=f"integ login {provider}") from None
        answer = SignInAnswer(way=SignInWay.OPENID, state=page.state, query=query, api_key=api_key)
        return await self.finish(provider, answer)

    async def sign_in_by_qr(self, provider: str, *, show: Callable[[SignInPending], None]) -> SignedIn:
        """
        By a code that the store's app on the player's phone scans.

        *show* is called with the code's address at first, and whenever the address or the stage changes.

        Raises:
            AuthenticationError: The player said no on the phone, or nobody scanned the code in time.
            ProviderError: The store did not answer for a minute.
            BackendUnreachableError: The backend did not.
        """
        api = await self._api()
        page = await api.begin_sign_in(provider, SignInWay.QR)
        shown = SignInPending(stage="waiting", address=page.address, poll_every_s=page.poll_every_s or _POLL_S)
        show(shown)
        answered_at = time.monotonic()
        while True:
            await asyncio.sleep(shown.poll_every_s)
            try:
                told = await api.poll_sign_in(provider, page.state)
            except (
                ProviderError,
                BackendUnreachableError,
            ) as error:  # the store's trouble, or a backend that starts anew; the code on the screen may be scanned all the same
                if time.monotonic() - answered_at > _PATIENCE_S:
                    raise
                await asyncio.sleep(min(error.retry_after_s or 0.0, _PATIENCE_S))
                continue
            if isinstance(told, SignedIn):
                return told
            answered_at = time.monotonic()
            if (told.stage, told.address) != (shown.stage, shown.address):
                show(told)
            shown = told

    async def sign_out(self, provider: str | None = None, account: str | None = None) -> list[AccountInfo]:
        """Forget one account, all of a store, or all; answers those that were forgotten."""
        return await (await self._api()).sign_out(provider, account)


async def _answer_browser(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, came_back: asyncio.Future[str]) -> None:
    """One request of the browser: the callback ends the waiting, anything else (a favicon, a prefetch) does not."""
    try:
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.split(b"\r\n", 1)[0].decode("ascii").partition(" ")
        path, _, query = rest.partition(" ")[0].partition("?")
        ours = method == "GET" and path == "/callback" and query != ""
        title, text = (
            ("Back to the terminal", "Integ has what it needs. You can close this page.") if ours else ("Not here", "Nothing to see.")
        )
        body = _DONE.format(title=title, text=text).encode()
        status = "200 OK" if ours else "404 Not Found"
        kind = "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer"
        writer.write(f"HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        if ours and not came_back.done():
            came_back.set_result(query)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever that was, it was not the player's browser coming back
    finally:
        writer.close()
