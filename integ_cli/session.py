"""Open the runtime for one command, and close it after; the light ways into the library that need no runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from integ_cli.output import Output
from integ_server.contract.errors import AmbiguousError, StorageError

if TYPE_CHECKING:
    from integ_runtime.cache.records import ReleaseRow
    from integ_runtime.runtime import Runtime
    from integ_runtime.settings import RuntimeSettings

T = TypeVar("T")


def run(out: Output, work: Callable[[Runtime], Awaitable[T]], settings: RuntimeSettings | None = None) -> T:
    """What *work* answers, run inside an open runtime."""
    import asyncio

    from integ_runtime.runtime import open_runtime
    from integ_runtime.settings import read_settings

    in_force = settings or read_settings()
    tell_logs(out, in_force)

    async def inside() -> T:
        async with open_runtime(in_force) as runtime:
            return await work(runtime)

    return asyncio.run(inside())


def run_at_once(out: Output, work: Callable[[Runtime], Awaitable[T]], settings: RuntimeSettings) -> T:
    """As `run`, but the event loop comes where *work* first has to wait: until then nothing of asyncio is loaded, nor of logging."""
    from integ_runtime import late_loop
    from integ_runtime.runtime import open_runtime

    def tell() -> None:
        tell_logs(out, settings)

    async def inside() -> T:
        async with open_runtime(settings) as runtime:
            return await work(runtime)

    if out.verbose or settings.log_level in {"DEBUG", "INFO"}:
        tell()
    return late_loop.run(inside(), before_the_loop=tell)


def tell_logs(out: Output, settings: RuntimeSettings) -> None:
    """Log lines go to stderr, without secrets: with `-v` more of them than the settings say."""
    import logging

    from integ_server.redaction import install_redaction

    level = {0: settings.log_level, 1: "INFO"}.get(out.verbose, "DEBUG")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    install_redaction()


def light_settings(out: Output) -> RuntimeSettings:
    """The settings, and the library brought up to date with this machine's files, for commands that only read the cache."""
    from integ_runtime.freshness import bring_up_to_date
    from integ_runtime.settings import read_settings

    settings = read_settings()
    try:
        bring_up_to_date(settings.paths)
    except StorageError as error:  # a full disk is no reason not to show what is known
        out.warn(error.message)
    return settings


@contextmanager
def cache_errors() -> Iterator[None]:
    """Raise Integ's errors in place of what SQLite raised while the cache was read."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        from integ_runtime.cache.store import cache_trouble

        raise cache_trouble(error) from error


def one_of_several(out: Output, look: Callable[[str], T], game: str) -> T:
    """
    What *look* finds for *game*; where several fit, the player chooses on a terminal.

    Raises:
        AmbiguousError: Several fit and nobody can be asked; `data["candidates"]` names them.
    """
    for _ in range(3):  # a title first, then one of its releases
        try:
            with cache_errors():
                return look(game)
        except AmbiguousError as several:
            candidates: list[dict[str, Any]] = (several.data or {}).get("candidates", [])
            if not candidates or not out.can_ask:
                raise
            out.note(several.message + ":")
            at = out.choose("Which one?", [f"{each['title']}  ({each['key']})" for each in candidates])
            game = str(candidates[at]["key"])
    with cache_errors():
        return look(game)


def get_release(out: Output, settings: RuntimeSettings, game: str, *, prefer_installed: bool = True) -> ReleaseRow:
    """The one release that *game* means, asking the player where several fit."""
    from integ_runtime.cache import rows

    return one_of_several(out, lambda text: rows.get_release(settings.paths.cache_db, text, prefer_installed=prefer_installed), game)
