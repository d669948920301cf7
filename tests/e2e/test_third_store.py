"""Another distribution adds a store as one module: it is found, signed in to, synced and listed with no file of ours touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Player

pytestmark = pytest.mark.integration

TOYBOX = '''
"""A store of its own: two games for everybody with the right word."""

from integ_server.contract.errors import AuthenticationError
from integ_server.contract.types import SignInWay
from integ_server.providers.base import Credentials, OwnedGame, ProviderConfig, SignedInAccount


class Toybox:
    slug, title, ways = "toybox", "Toybox", (SignInWay.API_KEY,)

    def __init__(self, http, config=ProviderConfig()):
        self._http = http

    def sign_in_address(self, way, return_to, state):
        return ""

    async def sign_in(self, answer, *, return_to):
        if answer.api_key != "open sesame":
            raise AuthenticationError("Toybox does not know that word", hint="integ login toybox")
        return SignedInAccount(Credentials("ann", answer.api_key), "Ann")

    async def owned_games(self, login):
        yield OwnedGame("top", "Spinning Top", playtime_min=12)
        yield OwnedGame("kite", "Paper Kite", platforms=("linux",))


PROVIDER = Toybox
'''


@pytest.fixture
def with_toybox(player: Player, tmp_path: Path) -> Player:
    site = tmp_path / "site"
    info = site / "toybox_store-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "toybox_store.py").write_text(TOYBOX)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toybox-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[integ.providers]\ntoybox = toybox_store\n")
    player.more["PYTHONPATH"] = str(site)
    return player


def test_a_third_store_is_one_module(with_toybox: Player, sandbox: Any) -> None:
    player = with_toybox
    refused = player.integ("login", "toybox", "--api-key-stdin", "--steam-id", "ann", given="wrong")
    assert refused.code == 4
    player.done("login", "toybox", "--api-key-stdin", "--steam-id", "ann", given="open sesame")
    assert [(each["provider"], each["display_name"]) for each in player.done("accounts", "--json").data["items"]] == [("toybox", "Ann")]
    assert player.done("sync", "--json").data["accounts"][0]["added"] == 2
    assert [item["title"] for item in player.done("list", "--store", "toybox", "--json").data["items"]] == ["Paper Kite", "Spinning Top"]
    assert player.done("show", "spinning top", "--json").data["playtime_min"] == 12
