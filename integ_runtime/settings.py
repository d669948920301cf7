"""What the player set: INTEG_* variables over `config.toml` over the defaults. Light on purpose: every command reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from integ_runtime.paths import Paths, read_paths
from integ_server.contract.errors import UsageError

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class RuntimeSettings(NamedTuple):
    """One value a setting; the name in `config.toml` is the field's, in the environment `INTEG_` and the field's in capitals."""

    paths: Paths
    backend_url: str | None = None
    """A backend for many; None runs it embedded."""
    plain_http: str = "refuse"
    """Whether a backend on another machine may be asked without encryption: refuse or allow."""
    upstream_url: str | None = None
    """Where all requests to the outside go instead: a sandbox, a mirror, a proxy. https, or loopback."""
    token: str = ""
    """A personal token for the backend."""
    library_dirs: tuple[Path, ...] = ()
    """Where games are installed; the first is the default. Empty: `~/Games`."""
    bandwidth_limit: int | None = None
    """Bytes a second for all downloads of one process together; None is no limit. Written as 4M, 500K or plain bytes."""
    github_token: str = ""
    """Lifts GitHub's 60 requests an hour."""
    steam_api_key: str = ""
    gog_client_id: str = ""
    gog_client_secret: str = ""
    log_level: str = "WARNING"
    runner: str = "auto"
    """How Windows games run: auto, umu, runtime (Proton in a Steam runtime) or bare (Proton on the host)."""
    default_proton: str = ""
    """The Proton version for games with no choice of their own; empty is the newest that is installed."""
    save_manifest: Path | None = None
    """A ludusavi manifest on this disk, which says where games keep their saves."""

    def __repr__(self) -> str:
        """Without secrets, and without addresses, which may hold some."""
        shown = (f"{name}={value!r}" for name, value in self._asdict().items() if name not in SECRET_SETTINGS | ADDRESSES)
        return f"RuntimeSettings({', '.join(shown)})"

    @property
    def games_root(self) -> Path:
        return self.library_dirs[0] if self.library_dirs else self.paths.home / "Games"


SECRET_SETTINGS = {"token", "github_token", "steam_api_key", "gog_client_secret"}
ADDRESSES = {"backend_url", "upstream_url"}
SETTING_NAMES = tuple(name for name in RuntimeSettings._fields if name != "paths")
_WITHOUT_PREFIX = {"backend_url", "steam_api_key", "gog_client_id", "gog_client_secret"}
_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
_RUNNERS = {"auto", "umu", "runtime", "bare"}
_REFUSE_OR_ALLOW = {"refuse", "allow"}


def read_settings(environ: Mapping[str, str] = os.environ, declared: Mapping[str, Any] | None = None) -> RuntimeSettings:
    """
    The settings in force, or those that would be with *declared* written over what `config.toml` holds.

    Raises:
        UsageError: A value makes no sense; the message names the setting and where it stands.
    """
    paths = read_paths(environ)
    values: dict[str, Any] = {}
    written = read_config_file(paths.config_file)
    for name, value in (declared or {}).items():
        written[name] = value
        if value is None or value == "":
            del written[name]
    for name in SETTING_NAMES:
        raw, where = _raw_value(name, environ, written, paths.config_file)
        if raw is not None:
            values[name] = parse_setting(name, raw, where)
    backend_url = values.get("backend_url")
    if backend_url is not None:  # the library cache belongs to one backend; another one's is another file, as good as new or as it was left
        import hashlib  # most players have no backend, and every command comes by here

        mark = hashlib.sha256(backend_url.encode()).hexdigest()[:12]
        paths = paths._replace(cache_name=f"library-{mark}.db")
    return RuntimeSettings(paths=paths, **values)


def read_config_file(config_file: Path) -> dict[str, Any]:
    """What `config.toml` holds; an absent file holds nothing."""
    try:
        text = config_file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{config_file} can't be read: {error}", hint="integ config path") from error
    import tomllib  # most players have no such file, and every command comes by here

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{config_file} is not TOML: {error}", hint=f"mend or remove {config_file}") from error


def parse_setting(name: str, raw: object, where: str) -> object:
    """
    The value of setting *name*, from the environment's text or from TOML.

    Raises:
        UsageError: It makes no sense; *where* says in which file or variable it stands.
    """
    reader: Callable[[object], object] = _READERS.get(name, _text)
    try:
        return reader(raw)
    except ValueError as error:
        hint = f"unset {where}" if where.isupper() else f"integ config set {name} VALUE"  # a variable wins over the file
        raise UsageError(f"{where} is wrong: {error}", hint=hint) from error


def setting_source(name: str, environ: Mapping[str, str], config_file: Path) -> str:
    """Where the value in force comes from: a variable's name, `config.toml`, or `default`."""
    raw, where = _raw_value(name, environ, read_config_file(config_file), config_file)
    return "default" if raw is None else "config.toml" if " in " in where else where


def shown_address(url: str) -> str:
    """*url* for people: a name and password in it are nobody's business."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl() if "@" in parts.netloc else url


def _raw_value(name: str, environ: Mapping[str, str], written: dict[str, Any], config_file: Path) -> tuple[object, str]:
    spellings = [f"INTEG_{name.upper()}"] + ([name.upper()] if name in _WITHOUT_PREFIX else [])
    if name == "github_token":
        spellings += ["GITHUB_TOKEN", "GH_TOKEN"]
    for variable in spellings:
        if environ.get(variable):
            return environ[variable], variable
    return written.get(name), f"{name} in {config_file}"


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("text is expected")
    return raw.strip()


def check_upstream_url(raw: object) -> str | None:
    """*raw* without a trailing slash; only https, or http on loopback, may carry other people's credentials."""
    text = _text(raw)
    if not text:
        return None
    parts = urlsplit(text)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError("an address such as https://mirror.example is expected")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("it has to be https, or on this machine (http://127.0.0.1:PORT)")
    return text.rstrip("/")


def _backend_url(raw: object) -> str | None:
    text = _text(raw)
    if not text:
        return None
    parts = urlsplit(text)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError("an address such as https://integ.example is expected")
    return text.rstrip("/")


def _folders(raw: object) -> tuple[Path, ...]:
    each = raw.split(":") if isinstance(raw, str) else raw
    if not isinstance(each, list) or not all(isinstance(one, str) for one in each):
        raise ValueError("a list of folders is expected")
    found = tuple(Path(one).expanduser() for one in each if one)
    for folder in found:
        if not folder.is_absolute():
            raise ValueError(f"{folder} is not an absolute folder")
    return found


def _file(raw: object) -> Path | None:
    text = _text(raw)
    if text and not Path(text).expanduser().is_absolute():
        raise ValueError(f"{text} is not an absolute path")
    return Path(text).expanduser() if text else None


def _bytes_a_second(raw: object) -> int | None:
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError("a number of bytes a second is expected, such as 4M")
    text = str(raw).strip().upper().removesuffix("B").removesuffix("I")
    factor = {"K": 1024, "M": 1024**2, "G": 1024**3}.get(text[-1:], 1)
    number = text[:-1] if factor > 1 else text
    try:
        wanted = int(float(number) * factor)
    except (ValueError, OverflowError):
        raise ValueError("a number of bytes a second is expected, such as 4M") from None
    if wanted < 0:
        raise ValueError("a limit can't be negative")
    return wanted or None


def _one_of(allowed: set[str]) -> Callable[[object], str]:
    def read(raw: object) -> str:
        text = _text(raw)
        for value in allowed:
            if value.lower() == text.lower():
                return value
        raise ValueError(f"one of {', '.join(sorted(allowed))} is expected")

    return read


_READERS: dict[str, Callable[[object], object]] = {
    "backend_url": _backend_url,
    "plain_http": _one_of(_REFUSE_OR_ALLOW),
    "upstream_url": check_upstream_url,
    "library_dirs": _folders,
    "bandwidth_limit": _bytes_a_second,
    "log_level": _one_of(_LEVELS),
    "runner": _one_of(_RUNNERS),
    "save_manifest": _file,
}
