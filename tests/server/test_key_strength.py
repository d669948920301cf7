"""Keys that people type are refused, and keys that machines make are not."""

from __future__ import annotations

import base64
import random
import uuid

import pytest

from integ_server.contract.errors import UsageError
from integ_server.key_strength import weakness
from integ_server.settings import ServerSettings


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("changeme-changeme", "less than 32"),
        ("9f8e7d6c5b4a39281706f5e4d3c2b1a", "less than 32"),
        ("a" * 64, "repeats"),
        ("hunter2" * 6, "repeats"),
        ("0123456789abcdef" * 2, "repeats"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", "neighbours"),
        ("correct horse battery staple correct", "words"),
        ("Correct-Horse-Battery-Staple-Correct", "words"),
        ("my-super-secret-integ-key-2026-please", "words"),
        ("thisisaverylongpassphrasethatnobodyguesses", "words"),
        ("THIS_IS_THE_SECRET_KEY_OF_OUR_HOUSE", "words"),
    ],
)
def test_what_people_type_is_refused(secret: str, said: str) -> None:
    assert said in weakness(secret)


def test_what_machines_make_is_taken() -> None:
    made = random.Random(7)
    for _ in range(2_000):
        raw = made.randbytes(32)
        for secret in (raw.hex(), raw.hex().upper(), raw[:16].hex(), base64.b64encode(raw).decode(), str(uuid.UUID(bytes=raw[:16]))):
            assert weakness(secret) == "", secret
    refused = sum(bool(weakness(base64.urlsafe_b64encode(made.randbytes(32)).decode())) for _ in range(2_000))
    assert refused <= 10, "a text of many dashes and no digit is rare"


def test_a_backend_that_serves_wants_a_strong_key_in_front_and_takes_old_ones_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTEG_DATABASE_URL", "sqlite+aiosqlite:////x")
    old, new = "k1:hunter2hunter2hunter2", "k2:" + random.Random(7).randbytes(32).hex()
    monkeypatch.setenv("INTEG_SECRET_KEY", old)
    with pytest.raises(UsageError, match="INTEG_SECRET_KEY") as refused:
        ServerSettings.from_environment(None)
    assert "openssl rand -hex 32" in refused.value.hint and "hunter2" not in refused.value.message + refused.value.hint
    monkeypatch.setenv("INTEG_SECRET_KEY", f"{new},{old}")
    assert ServerSettings.from_environment(None).secret_key == f"{new},{old}"
