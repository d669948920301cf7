"""GOG's Linux installers: a shell script with a zip behind it. The zip is unpacked; nothing of the script is ever run."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from integ_runtime.content.ledger import Entry, Root
from integ_runtime.content.names import Parts, check_links, unix_parts
from integ_runtime.content.sums import crc_sum, link_sum
from integ_runtime.content.tree import Tree, make_executable
from integ_runtime.downloads.fetch import storage_errors
from integ_server.contract.errors import IntegrityError, ProviderError

PREFIX = "data/noarch/"
_SPLIT_LIST = "support/split_files"
_MAX_MEMBERS = 1_000_000
_MAX_TARGET = 4096
_MAX_RATIO = 200
"""Deflate reaches a thousand; no real game as a whole comes near this."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file or link of the game; a file may come in several pieces of the archive."""

    parts: Parts
    pieces: tuple[zipfile.ZipInfo, ...]
    executable: bool = False
    target: str | None = None
    """Of a link."""

    @property
    def size_bytes(self) -> int:
        return sum(piece.file_size for piece in self.pieces) if self.target is None else 0

    def entry(self) -> Entry:
        if self.target is not None:
            return Entry("game", self.parts, "link", link_sum(self.target))
        return Entry("game", self.parts, "file", crc_sum([(piece.file_size, piece.CRC) for piece in self.pieces]))


def check_head(installer: Path) -> None:
    """
    Raises:
        ProviderError: It is no installer.
    """
    with storage_errors(installer), installer.open("rb") as source:
        head = source.read(512)
    if not head.startswith(b"#!"):
        raise ProviderError("what GOG sent is no Linux installer", hint="try again later")


@contextmanager
def opened(installer: Path) -> Iterator[zipfile.ZipFile]:
    """
    Raises:
        IntegrityError: There is no sound archive in it, found at once or while it is read.
    """
    try:
        with zipfile.ZipFile(installer) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise IntegrityError(f"the installer's archive is damaged: {error}", hint="install again: it is fetched anew") from error


def members(archive: zipfile.ZipFile, archive_bytes: int) -> list[Member]:
    """
    What of the archive belongs to the game; its own installer, with all its scripts, is left out.

    Raises:
        IntegrityError: Something in it would not stay in the game's folder, or is no honest archive.
    """
    infos = [info for info in archive.infolist() if info.filename.startswith(PREFIX) and not info.is_dir()]
    total = sum(info.file_size for info in infos)
    if len(infos) > _MAX_MEMBERS or total > _MAX_RATIO * archive_bytes + (64 << 20):
        raise IntegrityError("the installer unpacks to far more than any real game", hint="nothing was written")
    if not infos:
        raise IntegrityError("the installer holds no game", hint="nothing was written")
    found: dict[Parts, Member] = {}
    for info in infos:
        member = _member(archive, info)
        if member.parts in found:
            raise IntegrityError(f"{'/'.join(member.parts)!a} stands in the installer twice", hint="nothing was written")
        found[member.parts] = member
    joined = _joined(found, _split_bases(archive))
    _check_together(joined)
    return joined


def laid_over(layers: Sequence[list[Member]]) -> list[list[Member]]:
    """
    What of each archive is left to see when the next ones are laid over it: a later file wins.

    Raises:
        IntegrityError: Together they would not stay in the game's folder, or one needs a folder where another has a file.
    """
    top = {member.parts: at for at, members_of_one in enumerate(layers) for member in members_of_one}
    visible = [[member for member in members_of_one if top[member.parts] == at] for at, members_of_one in enumerate(layers)]
    _check_together([member for members_of_one in visible for member in members_of_one])
    return visible


def unpack(
    archive: zipfile.ZipFile,
    wanted: Iterable[Member],
    planned: Mapping[tuple[Root, Parts], Entry],
    *,
    tree: Tree,
    moved: Callable[[int], None],
    check: Callable[[], None],
) -> None:
    """
    Put every file of *wanted* where it belongs, each checked by its CRC before it gets its name; links come after the files.

    What stands already, from an attempt that was cut short, is left; *moved* hears the bytes either way.
    """
    links = []
    for member in wanted:
        check()
        entry = planned["game", member.parts]
        if tree.stands(entry):
            moved(member.size_bytes)
            if member.executable:
                make_executable(tree.path(entry))
        elif member.target is not None:
            links.append(entry)
        else:
            part = tree.part(entry)
            with storage_errors(part), part.open("wb") as out:
                for piece in member.pieces:
                    written = 0
                    with archive.open(piece) as source:
                        while block := source.read(_BLOCK):  # the CRC is compared at the end
                            check()
                            out.write(block)
                            written += len(block)
                            moved(len(block))
                    if written != piece.file_size:
                        raise IntegrityError(f"{'/'.join(member.parts)!a} is cut short in the installer", hint="install again")
            tree.place(entry, part, executable=member.executable)
    for entry in links:
        tree.make_link(entry)


def _check_together(all_members: Sequence[Member]) -> None:
    check_links(
        {each.parts: each.target for each in all_members if each.target is not None},
        [each.parts for each in all_members if each.target is None],
    )
    files = {each.parts for each in all_members}
    for each in all_members:
        if any(each.parts[:depth] in files for depth in range(1, len(each.parts))):
            raise IntegrityError(f"{'/'.join(each.parts)!a} lies below a file", hint="nothing was written")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    parts = unix_parts(info.filename.removeprefix(PREFIX))
    if info.flag_bits & 0x1 or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise IntegrityError(f"{'/'.join(parts)!a} is packed in a way that Integ does not unpack", hint="nothing was written")
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        if info.file_size > _MAX_TARGET:
            raise IntegrityError(f"the link {'/'.join(parts)!a} is far too long", hint="nothing was written")
        try:
            target = archive.read(info).decode()
        except UnicodeDecodeError as error:
            raise IntegrityError(f"the link {'/'.join(parts)!a} can't be read", hint="nothing was written") from error
        return Member(parts, (info,), target=target)
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        raise IntegrityError(f"{'/'.join(parts)!a} is neither a file nor a link", hint="nothing was written")
    return Member(parts, (info,), executable=bool(mode & 0o111) or parts == ("start.sh",))


def _split_bases(archive: zipfile.ZipFile) -> list[str]:
    try:
        info = archive.getinfo(PREFIX + _SPLIT_LIST)
    except KeyError:
        return []
    if info.file_size > 4 << 20:
        raise IntegrityError("the installer's list of split files is far too long", hint="nothing was written")
    lines = archive.read(info).decode("utf-8", "replace").splitlines()
    return [line.strip().removeprefix("./").removeprefix(PREFIX).lstrip("/") for line in lines if line.strip()]


def _joined(found: dict[Parts, Member], bases: list[str]) -> list[Member]:
    """Files over 2 GB come as NAME.split00, NAME.split01…; the list names them, from one folder or another."""
    pieces: dict[str, dict[int, Member]] = {}
    for parts, member in found.items():
        match = re.fullmatch(r"(.+)\.split(\d{2,4})", "/".join(parts))
        if match and member.target is None and any(_same_file(match[1], base) for base in bases):
            pieces.setdefault(match[1], {})[int(match[2])] = member
    result = dict(found)
    for name, numbered in pieces.items():
        base = tuple(name.split("/"))
        if sorted(numbered) != list(range(len(numbered))) or base in found:
            raise IntegrityError(f"the pieces of {name!a} in the installer do not fit", hint="install again")
        for member in numbered.values():
            del result[member.parts]
        ordered = [numbered[number] for number in range(len(numbered))]
        result[base] = Member(base, tuple(each.pieces[0] for each in ordered), executable=any(each.executable for each in ordered))
    return list(result.values())


def _same_file(name: str, listed: str) -> bool:
    return name == listed or name.endswith("/" + listed) or listed.endswith("/" + name)
