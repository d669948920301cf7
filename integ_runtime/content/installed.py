"""The games that are on this disk through Integ: one record a game, kept beside its ledger and its play record."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from integ_runtime.launch.playtime import SESSIONS, read_plays
from integ_runtime.paths import Paths
from integ_server.contract.errors import IntegrityError, NotFoundError, StorageError, UsageError

if TYPE_CHECKING:
    from integ_runtime.cache.records import LocalFact

SCHEMA = "integ/installed@1"
RECORD = "install.json"
LEFT = "left.json"
USED = "prefix.json"
"""Names the build that used the prefix last. Beside the prefix, not in it: Proton keeps no usable record of its own."""
KEY_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}:[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

State = Literal["installing", "installed", "removing"]


class InstalledGame(NamedTuple):
    """
    What was put where, and what starts it. Paths are absolute.

    Only a game in the state `installed` may be launched; `installing` covers a first install and an update alike.
    """

    key: str
    title: str
    path: Path
    """The game's own folder."""
    platform: Literal["linux", "windows"]
    source: Literal["integ", "imported"]
    """`imported`: the files were there before Integ, and are never removed by it."""
    state: State = "installed"
    executable: Path | None = None
    """None when nothing in the game said what starts it."""
    arguments: tuple[str, ...] = ()
    working_dir: Path | None = None
    """None: the folder of the executable."""
    build: str = ""
    version: str = ""
    language: str = ""
    dlc: tuple[str, ...] = ()
    dlc_asked: tuple[str, ...] = ()
    """What the player chose: ids, or `none`; empty or `all` is all of them, those of tomorrow too."""
    installers: tuple[str, ...] = ()
    """File names of the offline installers that it came from: the game's own, then its DLC's."""
    branch: str = ""
    library_root: Path | None = None
    """The folder that holds the trash for this game; on the same file system."""
    installed_at: str = ""
    """RFC 3339, UTC."""
    size_bytes: int = 0

    @property
    def whole(self) -> bool:
        return self.state == "installed"


class DamagedRecord(NamedTuple):
    file: Path
    reason: str


class InstalledGames:
    """Reads and writes the records. Blocking, but each call reads a few small files at most."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def folder(self, key: str) -> Path:
        """Where Integ keeps what belongs to *key*: record, ledger, prefix, play record."""
        return self._paths.game_dir(check_key(key))

    def find(self, key: str) -> InstalledGame | None:
        """
        The record of *key* in whatever state, or None.

        Raises:
            IntegrityError: There is a record, but it can't be read.
        """
        return self._read(self.folder(key) / RECORD)

    def get(self, key: str) -> InstalledGame:
        """
        The record of a game that is wholly installed.

        Raises:
            NotFoundError: It is not installed, or only half.
            IntegrityError: Its record is damaged.
        """
        game = self.find(key)
        if game is None:
            raise NotFoundError(f"{key} is not installed", hint=f"integ install {key}")
        if game.state == "installing":
            raise NotFoundError(f"{game.title} is not fully installed", hint=f"integ install {key}")
        if game.state == "removing":
            raise NotFoundError(f"{game.title} is half removed", hint=f"integ uninstall {key}")
        return game

    def all(self) -> list[InstalledGame]:
        """Every readable record, by key; damaged ones are told by `damaged()`."""
        return [each for each in self._scan() if isinstance(each, InstalledGame)]

    def damaged(self) -> list[DamagedRecord]:
        return [each for each in self._scan() if isinstance(each, DamagedRecord)]

    def save(self, game: InstalledGame) -> None:
        """Write the record in one step: a reader sees the old one or the new one."""
        body = {"schema": SCHEMA, **game._asdict()}
        file = self.folder(game.key) / RECORD
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(body, default=str, indent=1))  # ASCII: odd file names survive as escapes

    def set_state(self, game: InstalledGame, state: State) -> InstalledGame:
        changed = game._replace(state=state)
        self.save(changed)
        return changed

    def remove(self, key: str) -> None:
        """Forget the record; prefix, saves and play record stay."""
        (self.folder(key) / RECORD).unlink(missing_ok=True)

    def note_left(self, key: str, path: Path) -> None:
        """Remember that an uninstall left files of the player's in *path*: the game may come back to them."""
        write_whole(self.folder(key) / LEFT, json.dumps({"path": str(path)}))

    def left_of(self, key: str) -> Path | None:
        """The folder in which an uninstall left files of the player's; None when there is none, or nobody knows any more."""
        try:
            path = json.loads((self.folder(key) / LEFT).read_text("utf-8"))["path"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Path(path) if isinstance(path, str) and Path(path).is_absolute() else None

    def fingerprint(self) -> str:
        """Changes whenever `local_facts()` may; costs two `stat` calls a game."""
        import hashlib  # neither it nor what `local_facts` needs is for those who read one record

        seen = []
        for folder, key in self._folders():
            for name in (RECORD, SESSIONS, USED):
                with contextlib.suppress(OSError):
                    facts = (folder / name).stat()
                    seen.append(f"{key}/{name}:{facts.st_mtime_ns}:{facts.st_size}:{facts.st_ino}")
        return hashlib.sha256("\n".join(seen).encode()).hexdigest()

    def local_facts(self) -> list[LocalFact]:
        """What the library cache is to know: installs, and Integ's own play record, which outlives the install."""
        from integ_runtime.cache.records import LocalFact

        facts = []
        records = {game.key: game for game in self.all()}
        for folder, key in self._folders():
            game = records.get(key)
            plays = read_plays(folder)
            if (game is None or not game.whole) and not plays.sessions:
                continue
            facts.append(
                LocalFact(
                    key=key,
                    title=game.title if game else "",
                    platforms=(game.platform,) if game else (),
                    installed=game is not None and game.whole,
                    install_path=os.fsencode(game.path).decode("utf-8", "replace") if game and game.whole else None,
                    playtime_min=plays.minutes,
                    last_played_at=plays.last_played_at,
                    proton=_last_proton(folder / USED) if game and game.platform == "windows" else None,
                )
            )
        return facts

    def _scan(self) -> Iterator[InstalledGame | DamagedRecord]:
        for folder, _ in self._folders():
            file = folder / RECORD
            try:
                game = self._read(file)
            except IntegrityError as error:
                yield DamagedRecord(file, error.message)
                continue
            if game is not None:
                yield game

    def _folders(self) -> Iterator[tuple[Path, str]]:
        try:
            names = sorted(each.name for each in self._paths.games_dir.iterdir())
        except FileNotFoundError:
            return
        for name in names:
            key = name.replace("-", ":", 1)
            if KEY_PATTERN.fullmatch(key):
                yield self._paths.games_dir / name, key

    def _read(self, file: Path) -> InstalledGame | None:
        try:
            text = file.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(file, str(error)) from error
        try:
            body = json.loads(text)
            if not isinstance(body, dict) or body.get("schema") != SCHEMA:
                raise ValueError(f"not {SCHEMA}")
            return _game(body)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(file, str(error) or type(error).__name__) from error


def _last_proton(file: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        body = json.loads(file.read_text("utf-8"))
        found = body.get("proton") if isinstance(body, dict) else None
        return found if isinstance(found, str) else None
    return None


def check_key(key: str) -> str:
    """
    *key* itself, once it can be the name of a folder.

    Raises:
        UsageError: It is no `provider:id`.
    """
    if not is_key(key):
        raise UsageError(f"{key!r} is not a game's key", hint="a key looks like gog:1207658924")
    return key


def is_key(text: str) -> bool:
    return KEY_PATTERN.fullmatch(text) is not None and ".." not in text


def write_whole(file: Path, text: str) -> None:
    """
    Replace *file* by *text* in one step, on the disk before it returns.

    Raises:
        StorageError: The disk is full or fails.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise StorageError(f"{file} can't be written: {error.strerror}") from error


def _game(body: dict[str, Any]) -> InstalledGame:
    def text(name: str) -> str:
        value = body.get(name) or ""
        if not isinstance(value, str):
            raise ValueError(f"{name} is no text")
        return value

    def path(name: str) -> Path | None:
        value = text(name)
        if value and not Path(value).is_absolute():
            raise ValueError(f"{name} is not absolute")
        return Path(value) if value else None

    def texts(name: str) -> tuple[str, ...]:
        value = body.get(name) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"{name} is no list of texts")
        return tuple(value)

    def one_of(name: str, *allowed: str) -> str:
        if body.get(name) not in allowed:
            raise ValueError(f"{name} is none of {', '.join(allowed)}")
        return str(body[name])

    place = path("path")
    if place is None or not KEY_PATTERN.fullmatch(text("key")):
        raise ValueError("key or path is missing")
    size = body.get("size_bytes", 0)
    return InstalledGame(
        key=text("key"),
        title=text("title"),
        path=place,
        platform=cast(Literal["linux", "windows"], one_of("platform", "linux", "windows")),
        source=cast(Literal["integ", "imported"], one_of("source", "integ", "imported")),
        state=cast(State, one_of("state", "installing", "installed", "removing")),
        executable=path("executable"),
        arguments=texts("arguments"),
        working_dir=path("working_dir"),
        build=text("build"),
        version=text("version"),
        language=text("language"),
        dlc=texts("dlc"),
        dlc_asked=texts("dlc_asked"),
        installers=texts("installers"),
        branch=text("branch"),
        library_root=path("library_root"),
        installed_at=text("installed_at"),
        size_bytes=size if isinstance(size, int) else 0,
    )


def _damaged(file: Path, reason: str) -> IntegrityError:
    return IntegrityError(f"the record {file} can't be read: {reason}", hint=f"move {file} away, then install or import the game again")
