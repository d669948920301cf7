"""One call to a store: bounded in time and size, read as what it claims to be, its failures renamed once."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    PermissionDeniedError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
)
from integ_server.pacing import retry_after_s
from integ_server.shared_gates import TurnTooFarError

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

MOST_BYTES = 64 << 20
"""No answer of a store is bigger; a library of 50,000 games is a third of it."""
LONGEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    store: str
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def looks_like_html(self) -> bool:
        return self.body[:512].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"

    def model(self, kind: type[M]) -> M:
        """
        The body of a 200 as *kind*.

        Raises:
            ProviderUnavailableError: It is a web page, or ends in the middle.
            ProviderError: It is JSON of another shape.
        """
        if self.status != 200:
            raise error_for(self)
        document = self._document()
        try:
            return kind.model_validate(document)
        except ValidationError as error:
            raise ProviderError(f"{self.store} answered in a form Integ does not know: {_where(error)}") from None

    def find_model(self, kind: type[M]) -> M | None:
        """The body as *kind*, whatever the status; None when it is anything else."""
        try:
            return kind.model_validate_json(self.body)
        except ValidationError:
            return None

    def _document(self) -> Any:
        if self.looks_like_html:
            raise ProviderUnavailableError(f"{self.store} answered with a web page instead of data", hint="try again later")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):  # not told apart from a body that was cut: both go away when asked again
            raise ProviderUnavailableError(f"{self.store} sent an answer that can't be read to its end", hint="try again later") from None


@contextmanager
def store_errors(store: str) -> Iterator[None]:
    """Raise Integ's errors in place of whatever talking to *store* raised; addresses and bodies stay out of the messages."""
    try:
        yield
    except TurnTooFarError as error:
        data = {"in_line": True} if error.in_line else None
        raise RateLimitedError(
            f"{store} can't be asked yet: {error}", retry_after_s=error.wait_s, hint="try again later", data=data
        ) from error
    except (httpx.TransportError, TimeoutError) as error:
        raise ProviderUnavailableError(f"{store} did not answer", hint="check the network, or try again later") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ProviderError(f"{store} answered in a way that can't be followed") from error
    except ValidationError as error:
        raise ProviderError(f"{store} answered in a form Integ does not know: {_where(error)}") from None


async def ask(
    http: httpx.AsyncClient,
    store: str,
    url: str,
    *,
    method: str = "GET",
    params: Mapping[str, str | int] | None = None,
    data: Mapping[str, str] | None = None,
    bearer: str = "",
    retries: str = "",
    time_limit_s: float = LONGEST_S,
    most_bytes: int | None = None,
) -> Answer:
    """
    Ask *store* once (the transport tries again where that is safe) and read the whole answer, whatever its status. Redirects are answers.

    Raises:
        ProviderUnavailableError: No answer, or none in time.
        ProviderError: The answer is bigger than *most_bytes*, `MOST_BYTES` when none is given.
    """
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    most_bytes = MOST_BYTES if most_bytes is None else most_bytes
    extensions = {"integ_retries": retries} if retries else {}
    body = bytearray()
    with store_errors(store):
        async with asyncio.timeout(time_limit_s):
            request = http.build_request(method, url, params=params, data=data, headers=headers, extensions=extensions)
            answer = await http.send(request, stream=True, follow_redirects=False)
            try:
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > most_bytes:
                        raise ProviderError(f"{store} sent more than {most_bytes >> 20} MiB in one answer")
            finally:
                await answer.aclose()
    return Answer(store, answer.status_code, answer.headers, bytes(body))


def error_for(answer: Answer) -> IntegError:
    """What an answer other than 200 means, where nothing more is known about it."""
    store, status = answer.store, answer.status
    pause = retry_after_s(answer.headers.get("Retry-After"))
    if status == 429:
        return RateLimitedError(f"{store} asks for a pause", retry_after_s=pause, hint="try again later")
    if status == 401:
        return AuthenticationError(f"{store} refused the sign-in")
    if status == 403:
        return PermissionDeniedError(f"{store} does not allow that to this account")
    if status == 408 or status >= 500:
        return ProviderUnavailableError(f"{store} is not available at the moment ({status})", retry_after_s=pause, hint="try again later")
    return ProviderError(f"{store} answered {status}")


async def all_of(*calls: Awaitable[T]) -> list[T]:
    """Every result in order; at the first failure the others are cancelled, and that failure is raised as itself."""
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(_as_coroutine(call)) for call in calls)
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


async def _as_coroutine(call: Awaitable[T]) -> T:
    return await call


def inflated(body: bytes, store: str, *, most_bytes: int = MOST_BYTES) -> bytes:
    """*body*, unpacked if it is a zlib stream, as it is if it is not; a ProviderError when it would unpack to more than *most_bytes*."""
    unpacker = zlib.decompressobj()
    try:
        out = unpacker.decompress(body, most_bytes)
    except zlib.error:
        return body
    if unpacker.unconsumed_tail:
        raise ProviderError(f"{store} sent more than {most_bytes >> 20} MiB in one answer")
    if not unpacker.eof:
        raise ProviderUnavailableError(f"{store} sent an answer that can't be read to its end", hint="try again later")
    return out


def _where(error: ValidationError) -> str:
    """The first thing that did not fit, by its place only: values may be private."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(each) for each in first['loc'][:6]) or 'the whole'}: {first['msg'][:80]}"
