"""Where a serving backend's settings come from: variables, files that they name, systemd's credentials, and `.env`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from integ_server.contract.errors import UsageError

MOST_SECRET_BYTES = 64 << 10
_NEVER_FROM_FILE = {"upstream_url"}
"""A file in the folder one happens to stand in must not be able to send everybody's credentials elsewhere."""


def found_values(names: Mapping[str, Sequence[str]], secrets: Collection[str], env_file: Path | None) -> dict[str, str]:
    """
    The text of each setting that is set somewhere; *names* holds the spellings of each, the one that counts most first.

    The environment counts over systemd's credentials, and both over *env_file*. In the environment and in *env_file* each of *secrets* may
    instead be named by a file (`INTEG_SECRET_KEY_FILE`), so that it stands in no listing of processes or containers; systemd hands it over
    as a credential of the setting's own name (`LoadCredential=secret_key:…`).

    Raises:
        UsageError: A file that is named can't be read or holds no text, or a secret is given twice.
    """
    from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

    class Source(BaseSettings):  # 0.1 s of imports that the embedded backend does without
        model_config = {"extra": "ignore"}

    from_environ = EnvSettingsSource(Source).env_vars
    from_file = DotEnvSettingsSource(Source, env_file=env_file, env_file_encoding="utf-8").env_vars
    found: dict[str, str] = {}
    for name, spellings in names.items():
        is_secret = name in secrets
        value = _given(from_environ, spellings, is_secret)
        if value is None and is_secret:
            value = _credential(name)
        if value is None and name not in _NEVER_FROM_FILE:
            value = _given(from_file, spellings, is_secret)
        if value is not None:
            found[name] = value
    return found


def with_password(database_url: str, password: str) -> str:
    """*database_url* with *password* in the place of its own; for a password that lies in a file by itself."""
    parts = urlsplit(database_url)
    user, _, place = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}"))


def _given(source: Mapping[str, str | None], spellings: Sequence[str], is_secret: bool) -> str | None:
    for spelling in spellings:
        value, file = source.get(spelling), source.get(f"{spelling}_file") if is_secret else None
        if value and file:
            setting = spelling.upper()
            raise UsageError(f"{setting} and {setting}_FILE are both set", hint="unset one of them")
        if file:
            return _secret_in(Path(file), f"{spelling.upper()}_FILE")
        if value:
            return value
    return None


def _credential(name: str) -> str | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder, name) if folder else None
    return _secret_in(file, f"the credential {name}") if file is not None and file.exists() else None


def _secret_in(file: Path, setting: str) -> str:
    """The file's text without the line end that editors leave. No message repeats the path: a secret may stand there by mistake."""
    hint = f"let {setting} name a file that holds nothing but the secret"
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "that is no path"
        raise UsageError(f"{setting} is wrong: the file can't be read: {said}", hint=hint) from None
    if len(content) > MOST_SECRET_BYTES:
        raise UsageError(f"{setting} is wrong: the file is too large for a secret", hint=hint)
    try:
        text = content.decode().strip("\r\n \t")
    except UnicodeDecodeError:
        raise UsageError(f"{setting} is wrong: the file holds no text", hint=hint) from None
    if not text:
        raise UsageError(f"{setting} is wrong: the file is empty", hint=hint)
    return text
