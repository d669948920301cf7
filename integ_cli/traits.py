"""What a command function says about itself beside its parameters: its examples, and which common options it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Traits(NamedTuple):
    examples: tuple[str, ...]
    long: bool
    asks: bool


_TRAITS: dict[Callable[..., Any], Traits] = {}


def command(*examples: str, long: bool = False, asks: bool = False) -> Callable[[F], F]:
    """
    Mark a function as a command, with *examples* that a player could type as they stand.

    *long* adds `--events`; *asks* adds `--yes`. `--json`, `--no-input`, `-q` and `-v` are everywhere.
    """

    def mark(function: F) -> F:
        _TRAITS[function] = Traits(examples, long, asks)
        return function

    return mark


def traits_of(function: Callable[..., Any]) -> Traits:
    """Those of *function*, or of the function that it wraps."""
    return _TRAITS[inspect.unwrap(function)]
