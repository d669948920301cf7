"""What the backend is told: from the runtime when it is embedded, from INTEG_* variables and `.env` when it serves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from integ_server.contract.errors import UsageError

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_DATABASES = ("sqlite+aiosqlite://", "postgresql+asyncpg://")
_WITHOUT_PREFIX = ("database_url", "redis_url", "steam_api_key", "gog_client_id", "gog_client_secret")


def _named(name: str) -> Any:
    """The spellings of a setting that works without the prefix too."""
    return AliasChoices(f"integ_{name}", name)


class ServerSettings(BaseModel):
    """One value a setting. Built by `embedded()` or `from_environment()`, which turn wrong values into a `UsageError`."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True)

    is_embedded: bool = False
    """One local user in process, no Integ sign-in; never set from the environment."""
    database_url: str = Field(validation_alias=_named("database_url"), repr=False)
    """`sqlite+aiosqlite:///ABSOLUTE/PATH` or `postgresql+asyncpg://…`."""
    redis_url: str | None = Field(default=None, validation_alias=_named("redis_url"), repr=False)
    """None: a stand-in in this process."""
    secret_key: str = Field(validation_alias=AliasChoices("integ_secret_key", "secret_key"), repr=False)
    """Keys, newest first, separated by commas; each is `ID:SECRET` or a bare secret of 16 characters or more."""
    public_url: str = Field(default="", validation_alias=AliasChoices("integ_public_url", "public_url"))
    """Where browsers reach this backend."""
    upstream_url: str | None = Field(default=None, validation_alias=AliasChoices("integ_upstream_url", "upstream_url"))
    """Where all requests to the outside go instead; https, or loopback."""
    steam_api_key: str = Field(default="", validation_alias=_named("steam_api_key"), repr=False)
    gog_client_id: str = Field(default="", validation_alias=_named("gog_client_id"))
    gog_client_secret: str = Field(default="", validation_alias=_named("gog_client_secret"), repr=False)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="WARNING", validation_alias=AliasChoices("integ_log_level", "log_level")
    )
    retry_for_s: float = 300.0
    """How long a job goes on asking a store that is down; a player who waits at a terminal waits a few seconds only."""

    @classmethod
    def embedded(  # noqa: PLR0917 - the runtime names them all
        cls,
        data_dir: Path,
        upstream_url: str | None = None,
        steam_api_key: str = "",
        gog_client_id: str = "",
        gog_client_secret: str = "",
        secret_key: str = "",
    ) -> ServerSettings:
        """
        Settings for one local user with the database in *data_dir*; reads no environment: the runtime has done that.

        Raises:
            UsageError: A value makes no sense; the message names it.
        """
        return _checked(
            cls,
            {
                "is_embedded": True,
                "database_url": f"sqlite+aiosqlite:///{data_dir.absolute() / 'integ.db'}",
                "secret_key": secret_key,
                "upstream_url": upstream_url,
                "steam_api_key": steam_api_key,
                "gog_client_id": gog_client_id,
                "gog_client_secret": gog_client_secret,
                "retry_for_s": 4.0,
            },
        )

    @classmethod
    def from_json(cls, text: str) -> ServerSettings:
        """
        The arguments of `embedded()` as a JSON object, for a process of its own.

        Raises:
            UsageError: It is none, or a value makes no sense.
        """
        try:
            given = json.loads(text)
            return cls.embedded(**{**given, "data_dir": Path(given["data_dir"])})
        except (ValueError, TypeError, KeyError):
            raise UsageError("the settings on stdin are no JSON object of embedded settings") from None

    @classmethod
    def from_environment(cls, env_file: Path | None = Path(".env")) -> ServerSettings:
        """
        Settings of a backend that serves: the environment over *env_file*.

        `upstream_url` is never read from *env_file*: a file in the folder one happens to stand in must not be able to send
        everybody's credentials elsewhere.

        Raises:
            UsageError: A value is missing or makes no sense; the message names it.
        """
        from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

        class Source(BaseSettings):  # 0.1 s of imports that the embedded backend does without
            model_config = {"extra": "ignore"}

        names = {
            name: [alias for alias in field.validation_alias.choices if isinstance(alias, str)]
            for name, field in cls.model_fields.items()
            if isinstance(field.validation_alias, AliasChoices)
        }
        from_file: Mapping[str, str | None] = DotEnvSettingsSource(Source, env_file=env_file, env_file_encoding="utf-8").env_vars
        from_environ: Mapping[str, str | None] = EnvSettingsSource(Source).env_vars
        values: dict[str, object] = {}
        for name, spellings in names.items():
            sources = [from_environ] if name == "upstream_url" else [from_environ, from_file]
            found = [source[spelling] for source in sources for spelling in spellings if source.get(spelling)]
            if found:
                values[name] = found[0]
        return _checked(cls, values)

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if not value.startswith(_DATABASES):
            raise ValueError(f"it has to begin with {' or '.join(_DATABASES)}")
        path = value.removeprefix("sqlite+aiosqlite:///")
        if path != value and not path.startswith("/"):
            raise ValueError("the path of the SQLite file has to be absolute: sqlite+aiosqlite:////var/lib/integ/integ.db")
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, value: str | None) -> str | None:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("it has to begin with redis://, rediss:// or unix://")
        return value or None

    @field_validator("secret_key")
    @classmethod
    def _check_keys(cls, value: str) -> str:
        split_keys(value)
        return value

    @field_validator("upstream_url")
    @classmethod
    def _check_upstream(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if not parts.hostname or parts.scheme not in {"http", "https"}:
            raise ValueError("an address such as https://mirror.example is expected")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("it has to be https, or on this machine (http://127.0.0.1:PORT)")
        return value.rstrip("/")

    @property
    def sqlite_path(self) -> Path | None:
        """The database file; None for PostgreSQL."""
        path = self.database_url.removeprefix("sqlite+aiosqlite:///")
        return Path(path) if path != self.database_url else None


def split_keys(secret_key: str) -> list[tuple[str, str]]:
    """
    (id, secret) of each key, newest first; the id is empty for a bare secret.

    Raises:
        ValueError: There is none, or one of them is malformed or too short.
    """
    found: list[tuple[str, str]] = []
    for each in filter(None, (part.strip() for part in secret_key.split(","))):
        key_id, colon, secret = each.partition(":")
        if not colon:
            key_id, secret = "", each
        elif not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", key_id):
            raise ValueError("a key's id has to be 1 to 32 letters, digits, _ or -")
        if len(secret) < 16:
            raise ValueError("each key has to have at least 16 characters")
        found.append((key_id, secret))
    if not found:
        raise ValueError("at least one key is needed")
    return found


def _checked(kind: type[ServerSettings], values: Mapping[str, object]) -> ServerSettings:
    """Names the setting that is wrong and never its value, which may be a secret."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0]).lower().removeprefix("integ_") if first["loc"] else "?"
        said = "it is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        raise UsageError(f"INTEG_{name.upper()} is wrong: {said}", hint=f"set INTEG_{name.upper()} and try again") from None
