from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.content.cdn import Cdn, Shop, make_shop, serving


@pytest.fixture
def shop(home: Path) -> Iterator[Shop]:
    """A store that answers on a loopback port, and nothing installed."""
    with serving(Cdn()) as cdn:
        yield make_shop(home, cdn)
