from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from integ_server.api.limits import client_address
from integ_server.services import limits
from integ_server.settings import ServerSettings
from tests.server.conftest import KEY, OpenServed, Served


def address_of(client: str | None, forwarded: tuple[str, ...], trusted: tuple[str, ...]) -> str:
    networks = tuple(ip_network(each) for each in trusted)
    settings = ServerSettings(database_url="sqlite+aiosqlite:////x", secret_key=KEY, trusted_proxies=networks)
    scope: dict[str, Any] = {
        "client": (client, 1) if client is not None else None,
        "headers": [(b"x-forwarded-for", each.encode()) for each in forwarded],
    }
    return client_address(scope, settings)


@pytest.mark.parametrize(
    ("client", "forwarded", "trusted", "expected"),
    [
        ("192.0.2.7", (), (), "192.0.2.7"),
        ("192.0.2.7", ("198.51.100.1",), (), "192.0.2.7"),  # anybody can write a header
        ("192.0.2.7", ("198.51.100.1",), ("10.0.0.0/8",), "192.0.2.7"),
        ("10.0.0.1", ("198.51.100.1",), ("10.0.0.0/8",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1",), ("10.0.0.0/8",), "198.51.100.1"),  # what stands left of the proxy's own word
        ("10.0.0.1", ("1.1.1.1", "198.51.100.1, 10.0.0.2"), ("10.0.0.0/8",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, evil, 10.0.0.2",), ("10.0.0.0/8",), "10.0.0.2"),
        ("10.0.0.1", ("",), ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), ("10.0.0.0/8",), "10.0.0.3"),
        ("::ffff:10.0.0.1", ("2001:db8::1",), ("10.0.0.0/8",), "2001:db8::1"),
        ("::1", ("2001:db8::1",), ("::1/128",), "2001:db8::1"),
        (None, ("198.51.100.1",), ("10.0.0.0/8",), ""),
        ("", ("198.51.100.1",), ("10.0.0.0/8",), ""),
    ],
)
def test_an_address_is_believed_as_far_as_the_proxies_are_ours(
    client: str | None, forwarded: tuple[str, ...], trusted: tuple[str, ...], expected: str
) -> None:
    assert address_of(client, forwarded, trusted) == expected


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
    ],
)
def test_whoever_has_a_whole_network_of_addresses_counts_once(one: str, other: str, is_same: bool) -> None:
    assert (limits.network_of(one) == limits.network_of(other)) == is_same


@pytest.mark.parametrize(
    ("path", "body", "most"),
    [
        ("/auth/refresh", {"refresh_token": "x"}, 300),
        ("/auth/device", {}, 30),
        ("/auth/device/token", {"device_code": "x"}, 300),
        ("/auth/fake/login", {"way": "code"}, 120),
    ],
)
async def test_an_address_that_tries_too_often_is_asked_for_a_pause_and_others_are_not(
    open_served: OpenServed, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, str], most: int
) -> None:
    monkeypatch.setattr(limits.time, "time", lambda: 2_000_000_010.0)
    served: Served = await open_served(requests_per_min=0)
    http = await served.http(address="192.0.2.7")
    statuses = [(await http.post(path, json=body)).status_code for _ in range(most)]
    assert 429 not in statuses
    refused = await http.post(path, json=body)
    assert (refused.status_code, refused.json()["error"], refused.headers["retry-after"]) == (429, "RateLimitedError", "30")
    assert (await (await served.http(address="192.0.2.8")).post(path, json=body)).status_code != 429
    monkeypatch.setattr(limits.time, "time", lambda: 2_000_000_041.0)
    assert (await http.post(path, json=body)).status_code != 429
