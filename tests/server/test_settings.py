from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integ_server.contract.errors import UsageError
from integ_server.settings import ServerSettings, split_keys

SECRET = "k1:5f0c9a7be2d14836af907c1d3e8b6452"
GOOD = {"INTEG_DATABASE_URL": "postgresql+asyncpg://integ@/integ", "INTEG_SECRET_KEY": SECRET}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_embedded_settings_read_no_environment(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ.setenv("DATABASE_URL", "postgresql+asyncpg://somebody@else/db")
    environ.setenv("INTEG_UPSTREAM_URL", "https://elsewhere.example")
    settings = ServerSettings.embedded(tmp_path, secret_key=SECRET)
    assert settings.sqlite_path == tmp_path / "integ.db"
    assert (settings.is_embedded, settings.upstream_url, settings.redis_url) == (True, None, None)


def test_the_environment_counts_over_the_file_and_the_prefix_over_none(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INTEG_STEAM_API_KEY=file\nREDIS_URL=redis://file\nSTEAM_API_KEY=bare\n")
    environ.setenv("STEAM_API_KEY", "environment")
    settings = ServerSettings.from_environment()
    assert (settings.steam_api_key, settings.redis_url) == ("environment", "redis://file")
    environ.setenv("INTEG_STEAM_API_KEY", "prefixed")
    assert ServerSettings.from_environment().steam_api_key == "prefixed"


def test_a_file_in_the_working_folder_can_not_send_requests_elsewhere(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INTEG_UPSTREAM_URL=https://evil.example\nUPSTREAM_URL=https://evil.example\nIS_EMBEDDED=true\n")
    settings = ServerSettings.from_environment()
    assert (settings.upstream_url, settings.is_embedded) == (None, False)
    environ.setenv("INTEG_UPSTREAM_URL", "https://mirror.example/")
    assert ServerSettings.from_environment().upstream_url == "https://mirror.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTEG_DATABASE_URL", "mysql://u:hunter2@host/db"),
        ("INTEG_DATABASE_URL", "sqlite+aiosqlite:///relative-hunter2.db"),
        ("INTEG_REDIS_URL", "http://hunter2"),
        ("INTEG_SECRET_KEY", "hunter2"),
        ("INTEG_SECRET_KEY", "a b:hunter2hunter2hunter2"),
        ("INTEG_UPSTREAM_URL", "http://hunter2.example"),
        ("INTEG_UPSTREAM_URL", "ftp://hunter2"),
        ("INTEG_LOG_LEVEL", "hunter2"),
    ],
)
def test_a_wrong_value_is_told_by_its_name_and_never_repeated(environ: pytest.MonkeyPatch, name: str, value: str) -> None:
    environ.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        ServerSettings.from_environment()
    assert name in caught.value.message and "hunter2" not in caught.value.message + caught.value.hint
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_missing_value_is_told_by_its_name(environ: pytest.MonkeyPatch) -> None:
    environ.delenv("INTEG_SECRET_KEY")
    with pytest.raises(UsageError, match="INTEG_SECRET_KEY"):
        ServerSettings.from_environment()


def test_settings_show_no_secret() -> None:
    secret = ServerSettings.embedded(
        Path("/x"), secret_key="k:topsecret-topsecret", steam_api_key="topsecret", gog_client_secret="topsecret"
    )
    assert "topsecret" not in repr(secret) and "topsecret" not in str(secret)


def test_a_worker_of_its_own_gets_its_settings_as_json(tmp_path: Path) -> None:
    given: dict[str, Any] = {"data_dir": str(tmp_path), "secret_key": SECRET, "steam_api_key": "s"}
    assert ServerSettings.from_json(json.dumps(given)) == ServerSettings.embedded(tmp_path, secret_key=SECRET, steam_api_key="s")
    for odd in ("", "[]", "{}", '{"data_dir": 1}', '{"data_dir": "/x", "colour": 1}', "null"):
        with pytest.raises(UsageError):
            ServerSettings.from_json(odd)


def test_keys_come_newest_first() -> None:
    assert split_keys(f" b:{'y' * 16} , {'x' * 16},") == [("b", "y" * 16), ("", "x" * 16)]
