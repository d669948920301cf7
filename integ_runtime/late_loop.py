"""
A coroutine that begins without an event loop and gets one where it first has to wait: asyncio takes a third of what a launch may take.

What is awaited on the way there is small: a few files of some kilobytes are read where they stand, since nobody else waits meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio

P = ParamSpec("P")
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], *, before_the_loop: Callable[[], None] = lambda: None) -> T:
    """What *work* returns. It is run as it stands up to its first `needed()`, and from there in a new event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    before_the_loop()
    import asyncio

    return asyncio.run(_on_with(_Begun(work)))


async def needed() -> None:
    """From here on there is an event loop."""
    if not is_here():
        await _Wanted()


async def in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """What *work* returns, which blocks for a moment: run in a thread where a loop has others to serve, at once where there is none yet."""
    if not is_here():
        return work(*args, **options)
    import asyncio

    return await asyncio.to_thread(work, *args, **options)


@asynccontextmanager
async def meanwhile() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """What is given to what this yields is begun, once there is a loop, and has ended when this ends."""
    begun: list[asyncio.Task[None]] = []

    def begin(work: Coroutine[Any, Any, None]) -> None:
        import asyncio

        begun.append(asyncio.create_task(work))

    try:
        yield begin
    finally:
        for each in begun:
            await each


def is_here() -> bool:
    """Whether an event loop runs in this thread."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Wanted:
    def __await__(self) -> Generator[None, None, None]:
        yield


class _Begun(Awaitable[T]):
    """A coroutine that waits at its `needed()`: it can't be awaited itself, its iterator goes on where it stands."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        return self._work.__await__()


async def _on_with(begun: _Begun[T]) -> T:
    return await begun
