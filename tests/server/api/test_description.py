"""The API against its own description: whatever the description lets a caller send, the answer is one that it promises, and never a bug."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from integ_server.auth import tokens
from integ_server.auth.caller import Caller
from integ_server.contract.scopes import ALL_SCOPES
from integ_server.contract.sessions import TokenRequest
from integ_server.opening import open_backend
from integ_server.services.backend import LOCAL_USER
from tests.backends import served
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import player_on, settings_for

EXAMPLES = 20
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
    return made.token, {"key": "steam:7", "job_id": job_id, "token_id": other.id, "provider": "steam"}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """A backend that serves on SQLite, with no limits on how often it is asked and nothing outside that answers."""
    folder: Path = tmp_path_factory.mktemp("described")
    with served(folder / "backend", "http://127.0.0.1:9", INTEG_REQUESTS_PER_MIN="0") as backend:
        token, known = asyncio.run(_fill(backend.environ["INTEG_DATABASE_URL"]))
        yield Described(backend.url, token, known)


@pytest.mark.integration
def test_every_answer_is_one_that_the_description_promises(described: Described) -> None:
    document = httpx.get(f"{described.url}/openapi.json").json()
    statuses: Counter[int] = Counter()
    for found in _schema(document).get_all_operations():
        operation = found.ok()
        if operation.label not in _LEFT_OUT:
            _ask(operation, described, statuses)
    assert statuses[200] > 100 and statuses[404] > 100 and statuses[400] > 50, statuses


def _schema(document: dict[str, Any]) -> Any:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(with_security_parameters=False)  # the one token that is good; `test_every_route` brings others
    return schema


def _ask(operation: Any, described: Described, statuses: Counter[int]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters = {name: described.known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        answer = case.call(base_url=described.url, headers={"Authorization": f"Bearer {described.token}"}, timeout=30)
        statuses[answer.status_code] += 1
        if answer.status_code not in {502, 503}:  # the stores are away, and that is said so
            case.validate_response(answer, checks=_CHECKS)
        else:
            case.validate_response(answer, checks=_CHECKS[1:])

    ask()
