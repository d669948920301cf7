"""Limits on requests, and what every answer tells a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest

from integ_server.services import library
from tests.server.api.test_health import opened_app
from tests.server.conftest import OpenServed, Served

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


async def test_every_answer_is_protected_whatever_it_says(open_served: OpenServed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object) -> None:
        raise RuntimeError

    served: Served = await open_served(public_url="https://integ.example")
    http = await served.signed_in()
    nobody = await served.http()
    monkeypatch.setattr(library, "user_info", broken)
    answers = [
        await nobody.get("/healthz"),
        await nobody.get("/nothing"),
        await nobody.get("/games"),
        await nobody.post("/games/sync", content=b" " * (2 << 20)),
        await http.get("/games"),
        await http.get("/users/me"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 401, 413, 200, 500]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] in {"no-store", "private, no-cache"}
        assert "access-control-allow-origin" not in answer.headers and "server" not in answer.headers


async def test_without_https_browsers_are_not_told_to_insist_on_it(open_served: OpenServed) -> None:
    served: Served = await open_served(public_url="http://localhost:8000")
    assert "strict-transport-security" not in (await (await served.http()).get("/healthz")).headers


async def test_an_address_that_nobody_signed_in_from_is_slowed_down(open_served: OpenServed) -> None:
    served: Served = await open_served(requests_per_min=20)
    http = await served.http(address="203.0.113.7")
    statuses = [(await http.get("/games")).status_code for _ in range(22)]
    assert statuses == [401] * 20 + [429] * 2
    refused = await http.get("/games")
    assert refused.json()["error"] == "RateLimitedError" and 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-request-id"] and refused.headers["x-content-type-options"] == "nosniff"
    assert (await http.get("/healthz")).status_code == 200
    assert (await (await served.http(address="203.0.113.8")).get("/games")).status_code == 401
    # who has signed in from there goes on
    token = (await served.new_personal_token(await served.new_user())).token
    assert (await (await served.http(token, address="203.0.113.7")).get("/games")).status_code == 200


async def test_a_user_is_slowed_down_from_wherever_the_requests_come(open_served: OpenServed) -> None:
    served: Served = await open_served(requests_per_min=20)
    token = (await served.new_personal_token(await served.new_user())).token
    there, elsewhere = await served.http(token, address="203.0.113.7"), await served.http(token, address="198.51.100.1")
    statuses = [(await client.get("/games")).status_code for _ in range(12) for client in (there, elsewhere)]
    assert statuses == [200] * 20 + [429] * 4
    other = (await served.new_personal_token(await served.new_user("Bob"))).token
    assert (await (await served.http(other, address="203.0.113.7")).get("/games")).status_code == 200


async def test_the_embedded_backend_limits_and_labels_nothing(sqlite_url: str) -> None:
    async with opened_app(sqlite_url, requests_per_min=5) as (_, http):
        answers = [await http.get("/games") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200} and "x-frame-options" not in answers[0].headers


def preflight(origin: str) -> dict[str, str]:
    return {"origin": origin, "access-control-request-method": "GET", "access-control-request-headers": "authorization"}


async def test_pages_elsewhere_may_call_only_by_setting_and_never_with_cookies(open_served: OpenServed) -> None:
    closed: Served = await open_served()
    http = await closed.signed_in()
    assert "access-control-allow-origin" not in (await http.options("/games", headers=preflight("https://games.example"))).headers
    assert "access-control-allow-origin" not in (await http.get("/games", headers={"origin": "https://games.example"})).headers


@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        ("https://games.example", "https://games.example", "https://games.example"),
        ("https://games.example", "https://evil.example", None),
        ("*", "https://any.example", "*"),
    ],
)
async def test_a_named_origin_may(open_served: OpenServed, setting: str, origin: str, allowed: str | None) -> None:
    served: Served = await open_served(cors_origins=setting)
    http = await served.signed_in()
    for answer in (await http.options("/games", headers=preflight(origin)), await http.get("/games", headers={"origin": origin})):
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers


async def test_the_description_needs_nothing_from_elsewhere_and_names_every_endpoint(sqlite_url: str) -> None:
    class Reader(HTMLParser):
        tags: set[str] = set()
        links: set[str] = set()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.add(tag)
            self.links |= {str(value) for name, value in attrs if name in {"href", "src", "action"}}

    async with opened_app(sqlite_url) as (_, http):
        page: httpx.Response = await http.get("/docs")
        described = (await http.get("/openapi.json")).json()
    reader = Reader()
    reader.feed(page.text)
    assert reader.links == {"/openapi.json"} and "script" not in reader.tags
    assert re.search(r"style-src 'sha256-[A-Za-z0-9+/=]+'", page.headers["content-security-policy"])
    missing = [path for path in described["paths"] if path not in page.text]
    assert missing == []
