"""The outside for tests: a running sandbox with the small world, which nothing points at until the test does so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from integ_server.sandbox.app import Sandbox, create_sandbox
from integ_server.sandbox.faults import Faults
from integ_server.sandbox.serve import serve
from integ_server.sandbox.state import Seen
from integ_server.sandbox.world import World, make_world


@dataclass(frozen=True)
class RunningSandbox:
    url: str
    """What INTEG_UPSTREAM_URL would be."""
    sandbox: Sandbox
    running: ExitStack = field(default_factory=ExitStack)

    def stop(self) -> None:
        """From here on nothing answers, as without a network."""
        self.running.close()

    @property
    def world(self) -> World:
        return self.sandbox.world

    @property
    def faults(self) -> Faults:
        return self.sandbox.faults

    @property
    def requests(self) -> deque[Seen]:
        """What was asked, oldest first: (method, host, path), with `.query` and `.headers`."""
        return self.sandbox.requests

    def at(self, address: str) -> str:
        """Where the sandbox answers for an address of the outside."""
        return f"{self.url}/{address.removeprefix('https://')}"


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """Steam, GOG and the release feed on a port of their own, with no faults, and nothing remembered of earlier tests."""
    made = create_sandbox(make_world("small"))
    with ExitStack() as running:
        yield RunningSandbox(running.enter_context(serve(made)), made, running)
