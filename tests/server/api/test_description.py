"""The API against its own description: whatever the description lets a caller send, the answer is one that it promises, and never a bug."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from integ_server.auth import tokens
from integ_server.auth.caller import Caller
from integ_server.contract.scopes import ALL_SCOPES
from integ_server.contract.sessions import TokenRequest
from integ_server.contract.webhooks import WebhookRequest
from integ_server.opening import open_backend
from integ_server.services import webhooks
from integ_server.services.backend import LOCAL_USER
from tests.backends import served
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import player_on, settings_for

EXAMPLES, MANY_EXAMPLES, A_ROUND = 20, 300, 10
_CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]
_LEFT_OUT = {
    "GET /events": "does not end by itself",
    "DELETE /users/me": "ends the sign-in that the others need",
}


@dataclass(frozen=True)
class Described:
    url: str
    token: str
    known: dict[str, str]
    """Values of path parameters that exist, beside those that are made up."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


async def _fill(url: str) -> tuple[str, dict[str, str]]:
    """A user with games, a personal token, and an address for events."""
    shelf = Shelf(games={"ann": [owned(str(number), f"Game {number}", playtime_min=number) for number in range(60)]})
    shelf.metadata = {str(number): told(str(number), year=2000 + number) for number in range(60)}
    async with player_on(url, {"steam": fake_store(shelf, "steam")}) as player:
        await player.sign_in("steam", "ann")
        job_id = (await player.start())[0]
        await player.claim(job_id)
        await player.read_metadata()
    async with open_backend(settings_for(url, is_embedded=False), {}) as backend, backend.db.writing.begin() as session:
        wanted = TokenRequest(name="a script", scopes=sorted(ALL_SCOPES))
        made, other = [await tokens.make(session, Caller(LOCAL_USER, ALL_SCOPES), wanted) for _ in range(2)]
        hooks = [
            await webhooks.create(backend, session, LOCAL_USER, WebhookRequest(url=f"https://hooks.example/{number}"))
            for number in range(10)
        ]
    return made.token, {"key": "steam:7", "job_id": job_id, "token_id": other.id, "webhook_id": hooks[0].id, "provider": "steam"}


@contextmanager
def a_described(folder: Path, *where: str) -> Iterator[Described]:
    """A backend that serves, with no limits on how often it is asked and nothing outside that answers."""
    with served(folder, "http://127.0.0.1:9", *where, INTEG_REQUESTS_PER_MIN="0") as backend:
        token, known = asyncio.run(_fill(backend.environ["INTEG_DATABASE_URL"]))
        yield Described(backend.url, token, known)


@pytest.fixture
def described(tmp_path: Path) -> Iterator[Described]:
    """On SQLite without a Redis."""
    with a_described(tmp_path / "backend") as found:
        yield found


@pytest.fixture
def described_for_many(tmp_path: Path, empty_postgres: str, redis_url: str) -> Iterator[Described]:
    """On PostgreSQL and Redis, with a worker."""
    with a_described(tmp_path / "backend", empty_postgres, redis_url) as found:
        yield found


@pytest.mark.integration
def test_every_answer_is_one_that_the_description_promises(described: Described) -> None:
    statuses = _ask_all(described, EXAMPLES)
    assert statuses[200] > 100 and statuses[404] > 100 and statuses[400] > 50, statuses


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_great_many_requests_on_postgresql_are_answered_as_promised(described_for_many: Described) -> None:
    statuses = _ask_all(described_for_many, MANY_EXAMPLES)
    print(dict(statuses))
    assert statuses[200] > 500 and statuses[404] > 500 and statuses[400] > 200, statuses


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_requests_that_build_on_earlier_answers_are_answered_as_promised(described_for_many: Described) -> None:
    """What one answer calls a webhook, a token or a job is what the next request asks about, changes or takes away."""
    described, statuses, broken = described_for_many, Counter[str](), list[Exception]()
    schema = _schema(described)
    for label in _LEFT_OUT:
        method, _, path = label.partition(" ")
        schema = schema.exclude(method=method, path=path)

    class Following(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": described.url, "headers": described.headers, "timeout": 30}

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            statuses[f"{case.operation.label} {response.status_code}"] += 1
            try:
                _check(case, response)
            except Exception as error:
                broken.append(error)
                raise

    short = settings(Following.TestCase.settings, max_examples=A_ROUND, stateful_step_count=20, database=None)
    for _ in range(MANY_EXAMPLES // A_ROUND):
        with suppress(Flaky):  # one chain leaves its traces for the next, which Hypothesis takes for chance
            Following.run(settings=short)
    print(dict(statuses))
    assert broken == []
    chained = {label for label in statuses if "{" in label and label[-3] == "2"}
    linked = {"GET /jobs/{job_id} 200", "DELETE /auth/tokens/{token_id} 200"}
    assert {*linked, "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver 202"} <= chained, statuses


def _ask_all(described: Described, examples: int) -> Counter[int]:
    """How often each status was answered."""
    statuses: Counter[int] = Counter()
    for found in _schema(described).get_all_operations():
        operation = found.ok()
        if operation.label not in _LEFT_OUT:
            _ask(operation, described, statuses, examples)
    return statuses


def _schema(described: Described) -> Any:
    schema = schemathesis.openapi.from_dict(httpx.get(f"{described.url}/openapi.json").json())
    schema.config.generation.update(with_security_parameters=False)  # the one token that is good; `test_every_route` brings others
    return schema


def _ask(operation: Any, described: Described, statuses: Counter[int], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters = {name: described.known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        answer = case.call(base_url=described.url, headers=described.headers, timeout=30)
        statuses[answer.status_code] += 1
        _check(case, answer)

    ask()


def _check(case: Any, answer: Any) -> None:
    is_outside = answer.status_code in {502, 503}  # the stores are away, and that is said so
    case.validate_response(answer, checks=_CHECKS[1:] if is_outside else _CHECKS)
