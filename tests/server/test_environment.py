from __future__ import annotations

from pathlib import Path

import pytest

from integ_server.contract.errors import UsageError
from integ_server.environment import MOST_SECRET_BYTES
from integ_server.settings import ServerSettings

SECRET = "k1:5f0c9a7be2d14836af907c1d3e8b6452"
DATABASE = "postgresql+asyncpg://integ@/integ"


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTEG_DATABASE_URL", DATABASE)
    monkeypatch.setenv("INTEG_SECRET_KEY", SECRET)
    return monkeypatch


def secret_file(tmp_path: Path, content: str | bytes) -> str:
    file = tmp_path / "secret"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(file)


SECRETS = sorted(name for name, field in ServerSettings.model_fields.items() if not field.repr)


def test_every_secret_setting_is_found_by_looking() -> None:
    assert {"database_url", "redis_url", "secret_key", "steam_api_key", "gog_client_secret", "metrics_token"} <= set(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_may_lie_in_a_file_or_be_a_credential(environ: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    values = {
        "database_url": "postgresql+asyncpg://somebody@/else",
        "redis_url": "redis://other",
        "secret_key": "k2:8b6452af907c1d3e5f0c9a7be2d14836",
    }
    value = values.get(name, "a-secret-of-the-test")
    environ.delenv(f"INTEG_{name.upper()}", raising=False)
    environ.setenv(f"INTEG_{name.upper()}_FILE", secret_file(tmp_path, f"{value}\n"))
    assert getattr(ServerSettings.from_environment(), name) == value

    environ.delenv(f"INTEG_{name.upper()}_FILE")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / name).write_text(value)
    environ.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert getattr(ServerSettings.from_environment(), name) == value


def test_the_environment_counts_over_credentials_and_these_over_the_file(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INTEG_STEAM_API_KEY=dotenv\nINTEG_GOG_CLIENT_SECRET=dotenv\nINTEG_METRICS_TOKEN=dotenv\n")
    environ.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "steam_api_key").write_text("credential")
    (tmp_path / "gog_client_secret").write_text("credential")
    environ.setenv("INTEG_STEAM_API_KEY_FILE", secret_file(tmp_path, "variable"))
    settings = ServerSettings.from_environment()
    assert (settings.steam_api_key, settings.gog_client_secret, settings.metrics_token) == ("variable", "credential", "dotenv")


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "empty"), (" \n", "empty"), (b"\xff\xfe\x00", "no text"), ("x" * (MOST_SECRET_BYTES + 1), "too large"), (None, "can't be read")],
)
def test_a_wrong_file_is_told_by_the_settings_name(environ: pytest.MonkeyPatch, tmp_path: Path, content: str | bytes, said: str) -> None:
    environ.setenv("INTEG_STEAM_API_KEY_FILE", secret_file(tmp_path, content) if content is not None else str(tmp_path / "missing"))
    with pytest.raises(UsageError, match=f"INTEG_STEAM_API_KEY_FILE is wrong.*{said}"):
        ServerSettings.from_environment()


def test_a_secret_in_the_place_of_a_files_name_is_not_repeated(environ: pytest.MonkeyPatch) -> None:
    for mistaken in ("hunter2-hunter2", "hunter2\0hunter2"):
        environ.setattr("os.environ", {"INTEG_DATABASE_URL": DATABASE, "INTEG_SECRET_KEY_FILE": mistaken})
        with pytest.raises(UsageError) as caught:
            ServerSettings.from_environment()
        assert "INTEG_SECRET_KEY_FILE" in caught.value.message and "hunter2" not in caught.value.message + caught.value.hint


def test_a_secret_that_is_given_twice_is_refused(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ.setenv("INTEG_SECRET_KEY_FILE", secret_file(tmp_path, SECRET))
    with pytest.raises(UsageError, match="INTEG_SECRET_KEY and INTEG_SECRET_KEY_FILE are both set"):
        ServerSettings.from_environment()


def test_what_is_no_secret_is_not_read_from_files(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ.setenv("INTEG_UPSTREAM_URL_FILE", secret_file(tmp_path, "https://evil.example"))
    environ.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "upstream_url").write_text("https://evil.example")
    assert ServerSettings.from_environment().upstream_url is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+asyncpg://integ@db:5432/integ", "postgresql+asyncpg://integ:p%40ss%2Fword@db:5432/integ"),
        ("postgresql+asyncpg://integ:old@db/integ?ssl=require", "postgresql+asyncpg://integ:p%40ss%2Fword@db/integ?ssl=require"),
        ("postgresql+asyncpg://integ@/integ?host=/run/pg", "postgresql+asyncpg://integ:p%40ss%2Fword@/integ?host=/run/pg"),
    ],
)
def test_the_databases_password_may_be_kept_apart(environ: pytest.MonkeyPatch, tmp_path: Path, url: str, expected: str) -> None:
    environ.setenv("INTEG_DATABASE_URL", url)
    environ.setenv("INTEG_DATABASE_PASSWORD_FILE", secret_file(tmp_path, "p@ss/word\n"))
    assert ServerSettings.from_environment().database_url == expected


def test_lists_are_separated_by_commas(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("INTEG_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    environ.setenv("INTEG_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    settings = ServerSettings.from_environment()
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert [str(each) for each in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTEG_CORS_ORIGINS", "a.example"),
        ("INTEG_CORS_ORIGINS", "https://a.example/path"),
        ("INTEG_TRUSTED_PROXIES", "everybody"),
        ("INTEG_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("INTEG_METRICS_PORT", "99999"),
        ("INTEG_LOG_FORMAT", "xml"),
        ("INTEG_REQUESTS_PER_MIN", "-1"),
    ],
)
def test_what_makes_no_sense_is_told_by_its_name(environ: pytest.MonkeyPatch, name: str, value: str) -> None:
    environ.setenv(name, value)
    with pytest.raises(UsageError, match=name):
        ServerSettings.from_environment()


def test_every_setting_stands_in_the_example() -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    names = [alias for field in ServerSettings.model_fields.values() for alias in getattr(field.validation_alias, "choices", [])]
    missing = {name.upper() for name in names if name.startswith("integ_") and f"{name.upper()}=" not in example}
    assert missing == {"INTEG_UPSTREAM_URL"}, "it is for the environment alone"
