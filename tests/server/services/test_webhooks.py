from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from integ_server.callbacks import CallbackSender, open_callbacks
from integ_server.contract.scopes import Scope
from integ_server.models.tables import webhook_deliveries, webhooks
from integ_server.services import deliveries, events
from integ_server.services import webhooks as webhook_service
from tests.server.conftest import OpenServed, Served
from tests.server.test_callbacks import Receiver


@dataclass
class House:
    """A backend of a household, a user with a client, and where the user's webhook goes."""

    served: Served
    user: str
    http: httpx.AsyncClient
    sender: CallbackSender
    receiver: Receiver
    secret: str = ""
    webhook_id: str = ""
    bodies: list[Any] = field(default_factory=list)

    async def make(self, **more: Any) -> str:
        answer = await self.http.post("/webhooks", json={"url": f"http://127.0.0.1:{self.receiver.port}/hook", **more})
        assert answer.status_code == 201, answer.text
        self.secret, self.webhook_id = answer.json()["data"]["secret"], answer.json()["data"]["id"]
        return self.webhook_id

    async def happen(self, revision: int = 1) -> None:
        async with self.served.backend.db.writing.begin() as session:
            events.library_changed(session, self.user, revision)

    async def deliver(self) -> int:
        return await deliveries.deliver_due(self.served.backend, self.sender)

    async def make_due(self) -> None:
        async with self.served.backend.db.writing.begin() as session:
            now = datetime.now(UTC)
            await session.execute(update(webhook_deliveries).where(webhook_deliveries.c.state == "waiting").values(due_at=now))

    async def log(self, **asked: Any) -> list[dict[str, Any]]:
        answer = await self.http.get(f"/webhooks/{self.webhook_id}/deliveries", params=asked)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["data"]["items"]
        return items

    async def webhook(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(f"/webhooks/{self.webhook_id}")).json()["data"]
        return found


@pytest.fixture
async def house(open_served: OpenServed, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr("integ_server.app.open_scheduler", lambda backend: nullcontext())  # the tests say when
    served = await open_served({}, webhook_allow_private=True)
    user = await served.new_user()
    http = await served.http((await served.new_tokens(user)).access_token)
    async with Receiver().listening() as receiver, open_callbacks(allow_private=True) as sender:
        yield House(served, user, http, sender, receiver)


def _parts(heard: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = heard.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}, body


async def test_an_event_reaches_the_webhook_signed_as_the_standard_says(house: House) -> None:
    await house.make()
    await house.happen(7)
    assert await house.deliver() == 1
    (heard,) = house.receiver.heard
    headers, body = _parts(heard)
    told = json.loads(body)
    assert (told["type"], told["data"]) == ("library.changed", {"revision": 7})
    assert datetime.fromisoformat(told["timestamp"]).tzinfo is not None
    key = base64.b64decode(house.secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    assert not {"authorization", "cookie"} & headers.keys() and headers["content-type"] == "application/json"
    (sent,) = await house.log()
    assert (sent["id"], sent["state"], sent["status"], sent["attempts"]) == (headers["webhook-id"], "done", 204, 1)
    assert await house.deliver() == 0


def test_the_signature_is_that_of_the_specifications_example() -> None:
    made = deliveries.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_secret_is_shown_once_and_sealed(house: House) -> None:
    await house.make()
    assert house.secret.startswith("whsec_") and len(base64.b64decode(house.secret[6:])) == 32
    told = (await house.http.get("/webhooks")).text + (await house.http.get(f"/webhooks/{house.webhook_id}")).text
    assert "secret" not in told
    async with house.served.backend.db.reading() as session:
        (stored,) = (await session.execute(select(webhooks.c.secret))).scalars()
    assert stored.startswith("v1.") and house.secret not in stored


async def test_what_is_undone_is_never_delivered(house: House) -> None:
    await house.make()
    with suppress(ZeroDivisionError):
        async with house.served.backend.db.writing.begin() as session:
            events.library_changed(session, house.user, 7)
            raise ZeroDivisionError
    assert await house.log() == [] and await house.deliver() == 0


async def test_a_webhook_hears_what_it_asked_for_of_its_own_user(house: House) -> None:
    await house.make(events=["account.changed"])
    await house.happen()
    stranger = await house.served.new_user("Ben")
    async with house.served.backend.db.writing.begin() as session:
        events.account_changed(session, stranger, "steam", "1", "ok")
        events.account_changed(session, house.user, "steam", "2", "ok")
    assert [each["payload"]["data"]["account"] for each in await house.log()] == ["2"]
    assert (await house.http.post("/webhooks", json={"url": "https://hooks.example/", "events": ["reset"]})).status_code == 422


async def test_a_failure_is_tried_again_under_the_same_id_with_growing_pauses(house: House) -> None:
    await house.make()
    await house.happen()
    house.receiver.answer = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    pauses = []
    for attempt in range(1, len(deliveries.PAUSES_S) + 1):
        assert await house.deliver() == 1
        assert await house.deliver() == 0, "not before its pause is over"
        (sent,) = await house.log()
        assert (sent["state"], sent["attempts"], sent["status"], sent["error"]) == ("waiting", attempt, 500, "it answered 500")
        pauses.append((datetime.fromisoformat(sent["due_at"]) - datetime.now(UTC)).total_seconds())
        await house.make_due()
    assert pauses == sorted(pauses) and 0.8 * 86_400 < sum(deliveries.PAUSES_S) < 1.2 * 86_400
    assert await house.deliver() == 1
    (sent,) = await house.log()
    assert (sent["state"], sent["due_at"], (await house.webhook())["failures"]) == ("failed", None, 1)
    assert len({_parts(each)[0]["webhook-id"] for each in house.receiver.heard}) == 1
    house.receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    again = await house.http.post(f"/webhooks/{house.webhook_id}/deliveries/{sent['id']}/redeliver")
    assert (again.status_code, again.json()["data"]["state"]) == (202, "waiting")
    assert await house.deliver() == 1
    assert ((await house.log())[0]["state"], (await house.webhook())["failures"]) == ("done", 0)


async def test_a_receiver_that_asks_for_a_pause_gets_it(house: House) -> None:
    await house.make()
    await house.happen()
    house.receiver.answer = b"HTTP/1.1 503 Later\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n"
    await house.deliver()
    (sent,) = await house.log()
    assert datetime.fromisoformat(sent["due_at"]) > datetime.now(UTC) + timedelta(seconds=500)


async def test_a_webhook_that_fails_and_fails_is_switched_off_and_can_be_switched_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "PAUSES_S", ())
    await house.make()
    house.receiver.answer = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    for number in range(deliveries.MOST_FAILURES):
        assert (await house.webhook())["enabled"], number
        await house.happen(number)
        await house.deliver()
    off = await house.webhook()
    assert (off["enabled"], off["failures"]) == (False, deliveries.MOST_FAILURES)
    assert "5 deliveries in a row failed" in off["disabled_reason"]
    await house.happen()
    assert len(await house.log()) == deliveries.MOST_FAILURES
    assert (await house.http.post(f"/webhooks/{house.webhook_id}/test")).status_code == 400
    on = (await house.http.patch(f"/webhooks/{house.webhook_id}", json={"enabled": True})).json()["data"]
    assert (on["enabled"], on["failures"], on["disabled_reason"]) == (True, 0, "")


async def test_an_address_that_is_gone_is_left_alone_at_once(house: House) -> None:
    await house.make()
    await house.happen(1)
    await house.happen(2)
    house.receiver.answer = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
    await house.deliver()
    webhook = await house.webhook()
    assert not webhook["enabled"] and "410" in webhook["disabled_reason"]
    assert {each["state"] for each in await house.log()} == {"failed"}


async def test_a_redirect_is_a_failure_that_leads_nowhere(house: House) -> None:
    inner = Receiver()
    await house.make()
    await house.happen()
    async with inner.listening():
        house.receiver.answer = f"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:{inner.port}/\r\nContent-Length: 0\r\n\r\n".encode()
        await house.deliver()
    assert inner.heard == [] and "redirects" in (await house.log())[0]["error"]


async def test_a_name_that_became_private_is_refused_when_it_is_delivered_to(house: House) -> None:
    await house.make()
    await house.happen()
    async with open_callbacks(allow_private=False) as strict:
        assert await deliveries.deliver_due(house.served.backend, strict) == 1
    assert house.receiver.heard == []
    assert (await house.log())[0]["error"].startswith("refused")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://2130706433/", "https://a@b.example/"],
)
async def test_a_private_address_can_not_even_be_entered(open_served: OpenServed, url: str) -> None:
    served = await open_served({})
    http = await served.signed_in()
    refused = await http.post("/webhooks", json={"url": url})
    assert (refused.status_code, refused.json()["error"]) == (400, "UsageError")
    assert (await http.get("/webhooks")).json()["data"] == []


async def test_many_workers_send_each_delivery_once(house: House) -> None:
    await house.make()
    for number in range(40):
        await house.happen(number)
    sent = await asyncio.gather(*(house.deliver() for _ in range(4)))
    assert sum(sent) == len(house.receiver.heard) == 40
    assert len({_parts(each)[0]["webhook-id"] for each in house.receiver.heard}) == 40


async def test_what_a_killed_worker_was_sending_is_due_again(house: House) -> None:
    await house.make()
    await house.happen()
    assert len(await deliveries._claim(house.served.backend)) == 1
    assert await house.deliver() == 0
    async with house.served.backend.db.writing.begin() as session:
        late = datetime.now(UTC) - deliveries._LEASE
        await session.execute(update(webhook_deliveries).values(due_at=late))
    assert await house.deliver() == 1


async def test_no_more_than_so_many_wait_for_a_webhook(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MOST_WAITING", 3)
    monkeypatch.setattr(webhook_service, "MOST_WAITING", 3)
    await house.make()
    for number in range(5):
        await house.happen(number)
    assert len(await house.log()) == 3
    assert (await house.http.post(f"/webhooks/{house.webhook_id}/test")).status_code == 400


async def test_a_test_is_sent_and_the_log_comes_in_pages(house: House) -> None:
    await house.make(events=["account.changed"])
    for _ in range(5):
        assert (await house.http.post(f"/webhooks/{house.webhook_id}/test")).status_code == 202
    assert await house.deliver() == 5
    first = (await house.http.get(f"/webhooks/{house.webhook_id}/deliveries?limit=3")).json()["data"]
    rest = (await house.http.get(f"/webhooks/{house.webhook_id}/deliveries?limit=3&cursor={first['next_cursor']}")).json()["data"]
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 2, None)
    assert len({each["id"] for each in first["items"] + rest["items"]}) == 5
    assert (await house.http.get(f"/webhooks/{house.webhook_id}/deliveries?cursor=x")).status_code == 400


async def test_a_webhook_is_its_owners_alone(house: House) -> None:
    webhook_id = await house.make()
    await house.happen()
    (sent,) = await house.log()
    narrow = await house.served.signed_in("Cid", scopes={Scope.LIBRARY_READ})
    other = await house.served.signed_in("Ben")
    calls = [
        ("GET", f"/webhooks/{webhook_id}"),
        ("PATCH", f"/webhooks/{webhook_id}"),
        ("DELETE", f"/webhooks/{webhook_id}"),
        ("GET", f"/webhooks/{webhook_id}/deliveries"),
        ("POST", f"/webhooks/{webhook_id}/test"),
        ("POST", f"/webhooks/{webhook_id}/deliveries/{sent['id']}/redeliver"),
    ]
    for method, path in calls:
        body = {"json": {}} if method == "PATCH" else {}
        assert (await other.request(method, path, **body)).status_code == 404, path
        assert (await narrow.request(method, path, **body)).status_code == 403, path
    assert (await house.http.delete(f"/webhooks/{webhook_id}")).status_code == 204
    assert (await house.http.get("/webhooks")).json()["data"] == []


async def test_a_user_has_only_so_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_service, "MOST_WEBHOOKS", 2)
    await house.make()
    await house.make()
    refused = await house.http.post("/webhooks", json={"url": f"http://127.0.0.1:{house.receiver.port}/"})
    assert refused.status_code == 400


@asynccontextmanager
async def _heard(receiver: Receiver) -> AsyncIterator[None]:
    yield
    async with asyncio.timeout(15):
        while not receiver.heard:
            await asyncio.sleep(0.05)


async def test_workers_deliver_without_being_asked(open_served: OpenServed, monkeypatch: pytest.MonkeyPatch) -> None:
    from integ_server.worker.scheduler import open_scheduler

    monkeypatch.setattr("integ_server.worker.scheduler.DELIVER_EVERY_S", 0.1)
    served = await open_served({}, webhook_allow_private=True)
    http = await served.signed_in()
    async with Receiver().listening() as receiver, open_scheduler(served.backend):
        made = (await http.post("/webhooks", json={"url": f"http://127.0.0.1:{receiver.port}/"})).json()["data"]
        async with _heard(receiver):
            sent = (await http.post(f"/webhooks/{made['id']}/test")).json()["data"]
    assert f"webhook-id: {sent['id']}".encode() in receiver.heard[0].lower()
