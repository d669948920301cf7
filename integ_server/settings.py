"""What the backend is told: from the runtime when it is embedded, from INTEG_* variables and `.env` when it serves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from integ_server.contract.errors import UsageError

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_DATABASES = ("sqlite+aiosqlite://", "postgresql+asyncpg://")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-]+(?::\d{1,5})?|https?://\[[0-9A-Fa-f:]+\](?::\d{1,5})?")


def _own(name: str) -> Any:
    """The one spelling of a setting that needs the prefix."""
    return AliasChoices(f"integ_{name}")


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
    database_pool: int = Field(default=20, ge=5, le=50, validation_alias=_own("database_pool"))
    """The most connections of one process to PostgreSQL: 20 to 50, or less where many processes share a small server."""
    database_statement_timeout_s: float = Field(default=30.0, ge=1, le=600, validation_alias=_own("database_statement_timeout_s"))
    """How long PostgreSQL may work on one statement."""
    redis_url: str | None = Field(default=None, validation_alias=_named("redis_url"), repr=False)
    """None: a stand-in in this process."""
    secret_key: str = Field(validation_alias=AliasChoices("integ_secret_key", "secret_key"), repr=False)
    """Keys, newest first, separated by commas; each is `ID:SECRET` or a bare secret of 16 characters or more."""
    public_url: str = Field(default="", validation_alias=AliasChoices("integ_public_url", "public_url"))
    """Where browsers reach this backend."""
    registration: Literal["open", "closed"] = Field(default="open", validation_alias=_own("registration"))
    """Whether somebody whose store account nobody has becomes a new user by signing in with it."""
    upstream_url: str | None = Field(default=None, validation_alias=AliasChoices("integ_upstream_url", "upstream_url"))
    """Where all requests to the outside go instead; https, or loopback."""
    upstream_unpaced: bool = Field(default=False, validation_alias=_own("upstream_unpaced"))
    """Ask an `upstream_url` on this machine as fast as it answers: for a stand-in of the stores, never for the stores."""
    steam_api_key: str = Field(default="", validation_alias=_named("steam_api_key"), repr=False)
    gog_client_id: str = Field(default="", validation_alias=_named("gog_client_id"))
    gog_client_secret: str = Field(default="", validation_alias=_named("gog_client_secret"), repr=False)
    github_token: str = Field(default="", validation_alias=AliasChoices("integ_github_token", "github_token"), repr=False)
    """Lifts the 60 requests an hour that GitHub's release feed allows."""
    proton_mirror_dir: Path | None = Field(default=None, validation_alias=_own("proton_mirror_dir"))
    """Where archives of Proton builds are kept for clients: a volume that API and workers share. None: this backend keeps no mirror."""
    proton_mirror_max_bytes: int = Field(default=20 << 30, ge=1, validation_alias=_own("proton_mirror_max_bytes"))
    """Those that nobody asked for the longest go before more than this is kept."""
    webhook_allow_private: bool = Field(default=False, validation_alias=_own("webhook_allow_private"))
    """Let webhooks go to this machine and to private networks too, there also without TLS and to any port: for a household of one's own."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="WARNING", validation_alias=AliasChoices("integ_log_level", "log_level")
    )
    """From the environment INFO unless it is named, which is a line a request."""
    log_format: Literal["auto", "json", "text"] = Field(default="auto", validation_alias=_own("log_format"))
    """`json` is an object a line; `auto` that, unless somebody reads along at a terminal."""
    metrics_token: str = Field(default="", validation_alias=_own("metrics_token"), repr=False)
    """Who brings it as a bearer token may read /metrics from elsewhere; without one this machine alone may."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535, validation_alias=_own("metrics_port"))
    """Where a worker answers for its figures; None: nowhere."""
    metrics_host: str = Field(default="127.0.0.1", validation_alias=_own("metrics_host"))
    """Where `metrics_port` listens: loopback, unless scrapers of another machine are let in on purpose."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(default=(), validation_alias=_own("trusted_proxies"))
    """Addresses or networks, separated by commas, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    cors_origins: tuple[str, ...] = Field(default=(), validation_alias=_own("cors_origins"))
    """Origins of pages, separated by commas, whose scripts may call the API with a token of their own; `*` is any. Never with cookies."""
    requests_per_min: int = Field(default=1200, ge=0, validation_alias=_own("requests_per_min"))
    """How many requests one user may make in a minute, and one address that nobody signed in from; 0: any number."""
    sync_every_h: float = Field(default=12.0, ge=0, le=24 * 30, validation_alias=_own("sync_every_h"))
    """How often each library is read without anybody asking; 0: never."""
    achievements_every_h: float = Field(default=24.0, ge=0, le=24 * 30, validation_alias=_own("achievements_every_h"))
    """How often the achievements of what was played since are read without anybody asking; 0: never."""
    retry_for_s: float = Field(default=300.0, ge=0, le=86_400, validation_alias=_own("retry_for_s"))
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
        Settings of a backend that serves: the environment over systemd's credentials over *env_file*.

        What is not shown by `repr` is a secret, and may be handed over as a file (`INTEG_…_FILE`) or a credential too.

        Raises:
            UsageError: A value is missing or makes no sense, or the newest key could be guessed; the message names it.
        """
        from integ_server.environment import found_values, with_password
        from integ_server.key_strength import weakness

        names = {
            name: [alias for alias in field.validation_alias.choices if isinstance(alias, str)]
            for name, field in cls.model_fields.items()
            if isinstance(field.validation_alias, AliasChoices)
        }
        secrets = {name for name, field in cls.model_fields.items() if not field.repr}
        password = {"database_password": ["integ_database_password"]}
        values = found_values(names | password, secrets | password.keys(), env_file)
        if "database_password" in values and "database_url" in values:
            values["database_url"] = with_password(values["database_url"], values.pop("database_password"))
        settings = _checked(cls, {"log_level": "INFO", **values})
        if said := weakness(split_keys(settings.secret_key)[0][1]):  # those behind it may be old ones, which only open what they sealed
            raise UsageError(
                f"INTEG_SECRET_KEY is wrong: the key in front {said}, and could be guessed",
                hint="openssl rand -hex 32 makes one; one that is in use stays behind it (k2:NEW,k1:OLD) until integ keys rotate",
            )
        return settings

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if not value.startswith(_DATABASES):
            raise ValueError(f"it has to begin with {' or '.join(_DATABASES)}")
        path = value.removeprefix("sqlite+aiosqlite:///")
        if path != value and not path.startswith("/"):
            raise ValueError("the path of the SQLite file has to be absolute: sqlite+aiosqlite:////var/lib/integ/integ.db")
        return value

    @field_validator("trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("origins such as https://games.example are expected, without a path")
        return value

    @field_validator("proton_mirror_dir")
    @classmethod
    def _check_mirror(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("an absolute folder is expected, such as /srv/integ/proton")
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

    @field_validator("upstream_unpaced")
    @classmethod
    def _check_unpaced(cls, value: bool, info: ValidationInfo) -> bool:
        if value and urlsplit(info.data.get("upstream_url") or "").hostname not in LOOPBACK:
            raise ValueError("stores are asked politely; it is for an INTEG_UPSTREAM_URL on this machine alone")
        return value

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
