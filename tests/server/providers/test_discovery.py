"""Stores are found: in the folder, and where other distributions say they have one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any, ClassVar

import pytest

from integ_server import providers as package
from integ_server.contract.types import SignInWay
from integ_server.providers import providers
from integ_server.providers.steam import Steam


@pytest.fixture(autouse=True)
def _found_anew() -> Iterator[None]:
    providers.cache_clear()
    yield
    providers.cache_clear()


class Itch:
    slug: ClassVar[str] = "itch"
    title: ClassVar[str] = "itch.io"
    ways: ClassVar[tuple[SignInWay, ...]] = (SignInWay.API_KEY,)

    def __init__(self, http: object, config: object = None) -> None: ...

    def sign_in_address(self, way: SignInWay, return_to: str, state: str) -> str:
        return ""

    async def sign_in(self, answer: object, *, return_to: str) -> None: ...

    def owned_games(self, login: object) -> None: ...


def offering(monkeypatch: pytest.MonkeyPatch, **offers: object) -> None:
    """Let other distributions name *offers* in the entry-point group; an exception is raised when its module is imported."""
    entries = []
    for name, offer in offers.items():
        module = ModuleType(f"integ_test_store_{name}")
        if isinstance(offer, Exception):
            module.__getattr__ = _raising(offer)  # type: ignore[method-assign]
        else:
            module.STORE = offer  # type: ignore[attr-defined]
            module.PROVIDER = offer  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        value = f"{module.__name__}:STORE" if name != "module" else module.__name__
        entries.append(EntryPoint(name, value, package.GROUP))
    monkeypatch.setattr(package, "entry_points", lambda group: entries if group == package.GROUP else [])


def _raising(error: Exception) -> Any:
    def give(_name: str) -> object:
        raise error

    return give


def test_the_folder_holds_steam_and_gog() -> None:
    found = providers()
    assert list(found) == ["gog", "steam"]
    assert found["steam"] is Steam


def test_it_is_looked_for_once() -> None:
    assert providers() is providers()


@pytest.mark.parametrize("name", ["class", "module"])
def test_another_distribution_adds_a_store_by_class_or_by_module(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    offering(monkeypatch, **{name: Itch})
    found: dict[str, object] = dict(providers())
    assert found["itch"] is Itch


@pytest.mark.parametrize(
    "offer",
    [
        ImportError("no module named itch_client"),
        RuntimeError("boom"),
        SyntaxError("bad"),
        7,
        object(),
        type("Nameless", (), {}),
        type("Half", (), {"slug": "half", "title": "Half"}),
        type("Shouting", (Itch,), {"slug": "ITCH!"}),
        type("Numbered", (Itch,), {"slug": 7}),
        type("Impostor", (Itch,), {"slug": "steam"}),
    ],
    ids=lambda offer: getattr(offer, "__name__", type(offer).__name__),
)
def test_a_broken_store_is_warned_about_and_takes_nothing_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, offer: object
) -> None:
    offering(monkeypatch, broken=offer, itch=Itch)
    with caplog.at_level(logging.WARNING):
        found = providers()
    assert list(found) == ["gog", "steam", "itch"]
    assert found["steam"] is Steam
    assert "broken" in caplog.text


def test_the_group_is_the_one_that_is_promised() -> None:
    assert package.GROUP == "integ.providers"
