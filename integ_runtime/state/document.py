"""
A declared state: how a player wants Integ to be, as `integ export` writes it and `integ apply` reads it, in JSON or TOML.

It is hostile until it was read: limited in size, of known fields only, and of the types that are expected.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from integ_runtime.settings import SECRET_SETTINGS, SETTING_NAMES, parse_setting
from integ_server.contract.errors import BuildNotFoundError, IntegError, NotFoundError, StorageError, UsageError
from integ_server.contract.preferences import LONGEST_NOTES, LONGEST_OPTIONS, MOST_MERGED, MOST_TAGS, GameName, Tag, UserWishes, Version
from integ_server.contract.text import clean_lines, clean_name, clean_options
from integ_server.releases.families import FAMILIES, parse_version

SCHEMA = "integ/export@1"
LARGEST_BYTES = 32 << 20
"""Twice the export of a library of 50,000 games."""
_LARGEST_TOML = 4 << 20
"""What people write; its reader is a slow one."""
MOST_GAMES = 100_000


def _options(text: str) -> str:
    shlex.split(cleaned := clean_options(text))
    return cleaned


def _tag(text: str) -> str:
    if not (cleaned := clean_name(text)):
        raise ValueError("a tag needs a character that can be seen")
    return cleaned


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("no program takes a NUL")
    return text


Words = Annotated[str, StringConstraints(max_length=LONGEST_OPTIONS), AfterValidator(_plain)]


class Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DeclaredOptions(Declared):
    """How a game is started on this machine; what is left out stays as it is, and what is empty is taken back."""

    wrappers: list[Words] = Field(default=[], max_length=100)
    env: dict[Words, Words] = Field(default={}, max_length=1_000)
    """All of them, but for secrets, which no such file may hold."""
    arguments: Words = ""
    cwd: Words = ""
    before: Words = ""
    after: Words = ""


class DeclaredGame(Declared):
    """What is left out stays as it is; null or an empty text takes a version or launch options back."""

    title: str = Field(default="", max_length=1_000)
    """For people alone."""
    favourite: bool = False
    hidden: bool = False
    tags: list[Annotated[Tag, AfterValidator(_tag)]] = Field(default=[], max_length=MOST_TAGS)
    """All of them."""
    notes: Annotated[str, StringConstraints(max_length=LONGEST_NOTES), AfterValidator(clean_lines)] = ""
    proton: Version | Literal[""] | None = None
    launch_options: Annotated[str, StringConstraints(max_length=LONGEST_OPTIONS), AfterValidator(_options)] | None = None
    options: DeclaredOptions | None = None
    loose: bool = False
    """A game that no store tells of, on whichever device's disk it is."""

    @property
    def wishes(self) -> dict[str, Any]:
        """The fields that are declared, as `GameWishes` calls them."""
        declared = {name: getattr(self, name) for name in self.model_fields_set - {"title", "loose", "options"}}
        return {name: value or None if name in {"proton", "launch_options"} else value for name, value in declared.items()}


class FamilyVersion(Declared):
    version: Version
    family: str


class DeclaredProton(Declared):
    versions: list[Version | FamilyVersion] = Field(default=[], max_length=100)
    """To be installed; their names say which family they are of, where it is not said beside."""
    default: Version | None = None
    """This machine's, for games without a choice of their own."""


class DeclaredState(Declared):
    settings: dict[str, str | int | list[str] | None] = {}
    """By name, as `config.toml` has them; null or an empty text forgets one."""
    preferences: UserWishes = UserWishes()
    proton: DeclaredProton = DeclaredProton()
    splits: list[GameName] = Field(default=[], max_length=MOST_GAMES)
    """Releases that have a title of their own."""
    merges: list[Annotated[list[GameName], Field(min_length=2, max_length=MOST_MERGED)]] = Field(default=[], max_length=MOST_GAMES)
    """Games that are one title, the first one's."""
    games: dict[GameName, DeclaredGame] = Field(default={}, max_length=MOST_GAMES)
    """By key, title id, or any text that fits one title."""
    backend: dict[str, Any] = {}
    """All that the backend has of the user, which an export brings along; nothing is applied of it."""

    @property
    def needs_the_library(self) -> bool:
        return bool(self.preferences.model_fields_set or self.splits or self.merges or self.games)

    def without_the_library(self) -> DeclaredState:
        """What of it this machine can do by itself."""
        return DeclaredState(settings=self.settings, proton=self.proton)


def read_state(file: Path) -> DeclaredState:
    """
    The state that *file* declares.

    Raises:
        NotFoundError: There is no such file.
        StorageError: It can't be read.
        UsageError: It is too large, no JSON or TOML, or declares what Integ does not know; the message names the first such place.
    """
    return parse_state(_content(file), str(file))


def parse_state(content: bytes, name: str) -> DeclaredState:
    """As `read_state`, from the *content* of the file called *name*."""
    if len(content) > LARGEST_BYTES:
        raise UsageError(f"{name} is larger than {LARGEST_BYTES >> 20} MiB", hint="integ apply --help")
    try:
        text = content.decode("utf-8-sig")
        raw = json.loads(text) if text.lstrip()[:1] == "{" else _toml(text)
    except (ValueError, RecursionError) as error:  # a date of the year 10000 in TOML is a ValueError too
        told = "its values lie too deep in one another" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{name} is neither JSON nor TOML: {told}", hint="integ apply --help") from error
    state = _validated(_inner(raw, name), name)
    for setting, value in state.settings.items():
        _check_setting(setting, value, name)
    for version, family in wanted_versions(state):
        _check_version(version, family, name)
    for game, declared in state.games.items():
        if declared.options is not None:
            _check_options(game, declared.options, name)
    default, other = state.proton.default, state.settings.get("default_proton")
    if default and other and default != other:
        raise UsageError(f"{name} declares two defaults: proton.default and settings.default_proton", hint="leave one out")
    return state


def wanted_versions(state: DeclaredState) -> Iterator[tuple[str, str | None]]:
    """The Proton versions to be installed, each with its family; None where its name says it."""
    for each in state.proton.versions:
        yield (each, None) if isinstance(each, str) else (each.version, each.family)


def setting_text(value: str | int | list[str] | None) -> str:
    """*value* the way the environment would hold it; empty when it is to be forgotten."""
    return ":".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no file {file}", hint=f"integ export {shlex.quote(str(file))} writes one") from error
    except IsADirectoryError as error:
        raise UsageError(f"{file} is a folder", hint="integ apply FILE") from error
    except OSError as error:
        raise StorageError(f"{file} can't be read: {error.strerror}", hint="integ doctor") from error


def _toml(text: str) -> Any:
    import tomllib

    if len(text) > _LARGEST_TOML:
        raise ValueError(f"there is more than {_LARGEST_TOML >> 20} MiB of it")
    return tomllib.loads(text)


def _inner(raw: Any, name: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise UsageError(f"{name} declares no state", hint="integ apply --help")
    if "schema" not in raw:
        return raw
    if raw["schema"] != SCHEMA or not isinstance(raw.get("data"), dict):
        raise UsageError(f"{name} is another document than an export of this version of Integ", hint=f"integ export {shlex.quote(name)}")
    data: dict[str, Any] = raw["data"]
    return data


def _validated(raw: dict[str, Any], name: str) -> DeclaredState:
    try:
        return DeclaredState.model_validate(raw)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = [str(each) for each in wrong["loc"] if not str(each).startswith(("function-", "constrained-"))]
        told = wrong["msg"]
        if wrong["type"] == "extra_forbidden":
            told = f"Integ knows no {place[-1]!r} there"
            near = get_close_matches(place[-1], _names_beside(place), 1)
            told += f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{name}: {'.'.join(place[:3])}: {told}", hint="integ apply --help") from error


def _names_beside(place: list[str]) -> list[str]:
    kinds: dict[str, type[BaseModel]] = {"games": DeclaredGame, "proton": DeclaredProton, "preferences": UserWishes}
    return list((DeclaredState if len(place) == 1 else kinds.get(place[0], DeclaredState)).model_fields)


def _check_setting(setting: str, value: str | int | list[str] | None, name: str) -> None:
    if setting in SECRET_SETTINGS:
        raise UsageError(f"{name}: settings.{setting} is a secret, which no such file may hold", hint=f"integ config set {setting} < FILE")
    if setting not in SETTING_NAMES:
        near = get_close_matches(setting, SETTING_NAMES, 1)
        told = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{name}: there is no setting {setting!r}{told}", hint="integ config list")
    if isinstance(value, list) and any(":" in each for each in value):
        raise UsageError(f"{name}: settings.{setting}: no folder may have a colon in its name", hint="integ config list")
    if setting_text(value):
        parse_setting(setting, setting_text(value), f"{name}: settings.{setting}")


def _check_options(game: str, declared: DeclaredOptions, name: str) -> None:
    from integ_runtime.launch.environment import is_secret
    from integ_runtime.launch.options import GameOptions
    from integ_runtime.state.options import merged

    secret = next((each for each in declared.env if is_secret(each)), None)
    if secret is not None:
        told = f"{name}: games.{game}.options: {secret} looks like a secret, which no such file may hold"
        raise UsageError(told, hint=f"integ options {shlex.quote(game)} --env {secret}=...")
    try:
        merged(GameOptions(), declared.model_dump(exclude_unset=True))
    except IntegError as error:
        raise UsageError(f"{name}: games.{game}.options: {error.message}", hint=error.hint) from error


def _check_version(version: str, family: str | None, name: str) -> None:
    if family is not None and family not in FAMILIES:
        raise UsageError(f"{name}: proton.versions: there is no family {family!r}", hint="integ proton available")
    try:
        wanted = parse_version(version, family=family)
    except BuildNotFoundError as error:
        raise UsageError(f"{name}: proton.versions: {error.message}", hint=error.hint) from error
    if not wanted.tags:
        raise UsageError(f"{name}: proton.versions: {version} is another build every few weeks: name one", hint="integ proton available")
