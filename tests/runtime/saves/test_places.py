"""Where a manifest's paths lead: to what its author meant, and never off the game's own ground."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integ_runtime.saves.manifest import Rule
from integ_runtime.saves.places import Ground, Looking, find, patterns
from integ_runtime.saves.registry import find_key
from tests.runtime.saves.samples import write


@dataclass(slots=True)
class Watched(Looking):
    """Notes the folders that are read."""

    folders: list[Path] = field(default_factory=list)

    def names_in(self, folder: Path) -> list[os.DirEntry[str]]:
        self.folders.append(folder)
        return Looking.names_in(self, folder)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, a library with a game, a prefix, each with links that lead out; and what is none of the game's beside them."""
    top = tmp_path_factory.mktemp("places").resolve()
    home, base, pfx = top / "home", top / "library" / "Tea [1]", top / "compat" / "pfx"
    write(top / "outside" / "secret.sav", "not yours")
    write(top / "library" / "Other" / "other.sav")
    write(home / ".local/share/Tea/a.sav", "12345")
    write(home / ".config/Tea.ini", "123")
    write(home / ".ssh/id_ed25519")
    write(base / "config.ini", "12")
    write(base / "saves/1/one.sav", "1")
    write(base / "saves/2/two.SAV", "22")
    user = pfx / "drive_c/users/steamuser"
    write(user / "Documents/My Games/Tea/Slot 1.sav", "1234567")
    write(user / "AppData/Roaming/Tea/r.dat", "1")
    write(user / "AppData/LocalLow/Tea/l.dat", "1")
    write(pfx / "drive_c/users/Public/Tea/p.dat", "1")
    write(pfx / "drive_c/ProgramData/Tea/d.dat", "1")
    (user / "My Documents").symlink_to("Documents")
    (user / "Away").symlink_to(top / "outside")
    (user / "AppData/Local").symlink_to(top / "outside")
    (user / "Up").symlink_to("..")
    (user / "Loop").symlink_to("Loop")
    (pfx / "dosdevices").mkdir()
    (pfx / "dosdevices/z:").symlink_to("/")
    (pfx / "dosdevices/c:").symlink_to("../drive_c")
    (pfx / "drive_c/z:").symlink_to("/")
    (base / "away").symlink_to(top / "outside")
    (base / "library").symlink_to("..")
    (base / "pipe").parent.mkdir(exist_ok=True)
    os.mkfifo(base / "pipe")
    (home / "away").symlink_to(top / "outside")
    (home / "all").symlink_to("/")
    return top


def native(top: Path, *, store: str = "gog") -> Ground:
    home = top / "home"
    return Ground(
        store=store, game_id="77", home=home, user="ann", bases=(top / "library/Tea [1]",), roots=(top / "library",),
        xdg_data=home / ".local/share", xdg_config=home / ".config", private=(home / ".ssh",),
    )  # fmt: skip


def in_wine(top: Path, *, store: str = "gog") -> Ground:
    return replace(native(top, store=store), pfx=top / "compat/pfx")


def found(path: str, ground: Ground, *, install_dirs: tuple[str, ...] = ()) -> list[tuple[str, int, int]]:
    """What is there, as the end of its path, its files and its bytes."""
    top = ground.home.parent
    places = {place.path: place for each in patterns(Rule(path), ground, install_dirs) for place in find(each, ground, Looking())}
    return [(str(path.relative_to(top)), place.files, place.size_bytes) for path, place in sorted(places.items())]


USER = "compat/pfx/drive_c/users/steamuser"
BASE = "library/Tea [1]"


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("<xdgData>/Tea", [("home/.local/share/Tea", 1, 5)]),
        ("<xdgConfig>/Tea.ini", [("home/.config/Tea.ini", 1, 3)]),
        ("<home>/.local/share/Tea/*.sav", [("home/.local/share/Tea/a.sav", 1, 5)]),
        ("<base>/config.ini", [(f"{BASE}/config.ini", 1, 2)]),
        ("<base>", [(BASE, 3, 5)]),
        ("<base>/saves", [(f"{BASE}/saves", 2, 3)]),
        ("<base>/saves/**/*.sav", [(f"{BASE}/saves/1/one.sav", 1, 1)]),
        ("<base>/saves/[12]/*", [(f"{BASE}/saves/1/one.sav", 1, 1), (f"{BASE}/saves/2/two.SAV", 1, 2)]),
        ("<base>/./saves/../config.ini", [(f"{BASE}/config.ini", 1, 2)]),
        ("<root>/<game>/config.ini", [(f"{BASE}/config.ini", 1, 2)]),
        ("<base>/saves/<storeUserId>/one.sav", [(f"{BASE}/saves/1/one.sav", 1, 1)]),
    ],
)
def test_on_linux_each_placeholder_is_the_folder_that_a_native_game_uses(stage: Path, path: str, there: list[tuple[str, int, int]]) -> None:
    assert found(path, native(stage)) == there


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("<winDocuments>/my games/TEA/*.sav", [(f"{USER}/Documents/My Games/Tea/Slot 1.sav", 1, 7)]),
        ("<winDocuments>\\My Games\\Tea", [(f"{USER}/Documents/My Games/Tea", 1, 7)]),
        ("<home>/My Documents/My Games/Tea/Slot ?.sav", [(f"{USER}/Documents/My Games/Tea/Slot 1.sav", 1, 7)]),
        ("<winAppData>/tea", [(f"{USER}/AppData/Roaming/Tea", 1, 1)]),
        ("<winLocalAppDataLow>/Tea/l.dat", [(f"{USER}/AppData/LocalLow/Tea/l.dat", 1, 1)]),
        ("<winPublic>/Tea", [("compat/pfx/drive_c/users/Public/Tea", 1, 1)]),
        ("<winProgramData>/Tea", [("compat/pfx/drive_c/ProgramData/Tea", 1, 1)]),
        ("C:/users/<osUserName>/appdata/roaming/Tea", [(f"{USER}/AppData/Roaming/Tea", 1, 1)]),
        ("<base>/SAVES/*/*.sav", [(f"{BASE}/saves/1/one.sav", 1, 1), (f"{BASE}/saves/2/two.SAV", 1, 2)]),
    ],
)
def test_in_a_prefix_they_are_wines_and_case_means_nothing(stage: Path, path: str, there: list[tuple[str, int, int]]) -> None:
    assert found(path, in_wine(stage)) == there


def test_signs_in_a_folders_own_name_are_no_wildcards(stage: Path) -> None:
    assert found("<root>/<game>", native(stage)) == [(BASE, 3, 5)], "`[1]` is no set of letters"
    assert found("<root>/<game>", native(stage), install_dirs=("*", "T?a [1]", "../library/Other", "Other/..")) == []


@pytest.mark.parametrize("path", ["<xdgData>/Tea", "<xdgConfig>/Tea.ini", "<root>/Tea [[]1]/config.ini"])
def test_what_means_nothing_in_a_prefix_is_left_out(stage: Path, path: str) -> None:
    assert patterns(Rule(path), in_wine(stage)) == []


@pytest.mark.parametrize(
    "path", ["<winDocuments>/x", "<winAppData>/x", "C:/x", "<unknown>/x", "<base>/<winDir>/x", "/etc/passwd", "~/x", "x", ""]
)
def test_what_means_nothing_on_linux_is_left_out(stage: Path, path: str) -> None:
    assert patterns(Rule(path), native(stage)) == []


@pytest.mark.parametrize(
    "path",
    [
        "<home>", "<home>/", "<home>/.", "<home>/*/..", "<xdgData>", "<home>/.local", "<home>/.local/share", "<home>/.config",
        "<root>", "<root>/.",
        "<base>/..", "<base>/../Other/other.sav", "<base>/saves/../../Other", "<home>/../outside/*", "<root>/../outside/secret.sav",
        "<base>/away/secret.sav", "<base>/away", "<base>/library", "<home>/away/*", "<home>/all/etc/hostname", "<home>/all",
        "<home>/.ssh/*",
        "<home>/.ssh", "<base>/pipe",
    ],
)  # fmt: skip
def test_a_native_games_manifest_gets_at_nothing_else(stage: Path, path: str) -> None:
    assert found(path, native(stage)) == []


@pytest.mark.parametrize(
    "path",
    [
        "<home>", "<winDocuments>", "<winAppData>", "<winDir>", "<winProgramData>", "C:", "C:/", "C:/*", "C:/users", "C:/users/*",
        "<home>/*",
        "<home>/AppData", "<home>/appdata/ROAMING", "<home>/Away/*", "<home>/Up", "<home>/Loop/x", "<winLocalAppData>/secret.sav",
        "C:/z:/etc/hostname",
        "C:/z:", "C:/../dosdevices/z:/etc/hostname", "D:/x", "Z:/etc/hostname", "<home>/../../..",
        "<winDocuments>/../../../../../outside/secret.sav",
        "<base>/away/secret.sav",
    ],
)  # fmt: skip
def test_a_windows_games_manifest_gets_at_nothing_else(stage: Path, path: str) -> None:
    assert [place for place in found(path, in_wine(stage)) if place[0] not in {f"{USER}/AppData/Roaming/Tea"}] == []


def test_a_drive_that_is_a_link_to_somewhere_else_is_no_ground(tmp_path: Path) -> None:
    write(tmp_path / "outside/users/steamuser/Documents/x.sav")
    (tmp_path / "compat/pfx").mkdir(parents=True)
    (tmp_path / "compat/pfx/drive_c").symlink_to(tmp_path / "outside")
    assert patterns(Rule("<winDocuments>/x.sav"), in_wine(tmp_path)) == []


def test_umus_link_from_pfx_to_the_folder_itself_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "compat/drive_c/users/steamuser/Documents/x.sav", "abc")
    (tmp_path / "compat/pfx").symlink_to(".")
    assert found("<winDocuments>/x.sav", in_wine(tmp_path)) == [("compat/drive_c/users/steamuser/Documents/x.sav", 1, 3)]


def test_plain_wines_user_is_looked_at_too(tmp_path: Path) -> None:
    write(tmp_path / "compat/pfx/drive_c/users/ann/Saved Games/x.sav", "abc")
    assert found("<home>/Saved Games", in_wine(tmp_path)) == [("compat/pfx/drive_c/users/ann/Saved Games", 1, 3)]


def test_looking_ends_where_there_is_too_much_to_look_at(tmp_path: Path) -> None:
    for number in range(60):
        write(tmp_path / f"library/Tea [1]/{number}/x")
    looking = Looking(left=50)
    (every,) = patterns(Rule("<base>/**/x"), native(tmp_path))
    assert len(find(every, native(tmp_path), looking)) < 60 and looking.is_over


_PARTS = st.sampled_from(
    ["..", ".", "", "*", "**", "?", "[!a]*", "[", "[]", "a", "away", "Away", "library", "all", "Up", "Loop", "z:", "dosdevices", "outside",
     "Other", "saves",
     "secret.sav", "users", "steamuser", "AppData", "Local", "<game>", "<storeUserId>", "<osUserName>", "<storeGameId>", "<home>",
     "x<game>y", "\\..\\..", ".ssh"]
)  # fmt: skip
_HEADS = st.sampled_from(
    ["<base>", "<home>", "<root>", "<xdgData>", "<xdgConfig>", "<winDocuments>", "<winAppData>", "<winLocalAppData>", "<winDir>",
     "<winPublic>",
     "C:", "Z:", "",
     "~", "..", "\\\\?\\", "<winProgramData>", "<winLocalAppDataLow>"]
)  # fmt: skip
_PATHS = st.one_of(
    st.builds(lambda head, parts: "/".join([head, *parts]), _HEADS, st.lists(_PARTS | st.text(max_size=4), max_size=6)), st.text()
)
_DIRS = st.lists(st.one_of(_PARTS, st.text(max_size=6)), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=400)
@given(path=_PATHS, install_dirs=_DIRS, wine=st.booleans())
def test_whatever_a_manifest_says_nothing_outside_is_found_or_read(stage: Path, path: str, install_dirs: list[str], wine: bool) -> None:
    ground = in_wine(stage) if wine else native(stage)
    looking = Watched()
    places = [place for each in patterns(Rule(path), ground, install_dirs) for place in find(each, ground, looking)]
    game, home, drive = stage / BASE, stage / "home", stage / "compat/pfx/drive_c"
    mine = [game, drive] if wine else [game, home, stage / "library"]
    for place in places:
        assert place.path == place.path.resolve(), "no link is left in it"
        assert any(place.path.is_relative_to(each) for each in mine)
        assert place.path not in {home, home / ".local", home / ".local/share", home / ".config", stage / "library", drive, drive / "users"}
        assert not any(each.is_relative_to(place.path) for each in (home, drive, drive / "users/steamuser/Documents"))
        assert not place.path.is_relative_to(home / ".ssh")
    for folder in looking.folders:
        assert folder == folder.resolve() and any(folder.is_relative_to(each) for each in mine), "not even looked at"


# --- the registry ---

REGISTRY = """WINE REGISTRY Version 2
;; All keys relative to \\\\User\\\\S-1-5-21

[Software\\\\Sample] 1700000000
"a"="1"

[Software\\\\Sample\\\\Quest] 1700000000
#time=1d
"slot"="three"

[Software\\\\Sample\\\\Quest\\\\Deep] 1700000000
"b"=dword:00000001

[Software\\\\Sample\\\\Quest2] 1700000000
"c"="2"
"""


def test_a_key_is_found_with_what_is_below_it_and_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "user.reg", REGISTRY)
    key = find_key(tmp_path, "HKEY_CURRENT_USER/software/SAMPLE/Quest")
    begin, end = REGISTRY.index("[Software\\\\Sample\\\\Quest]"), REGISTRY.index("[Software\\\\Sample\\\\Quest2]")
    assert key is not None and (key.file, key.size_bytes) == (tmp_path / "user.reg", end - begin)
    for other in ("HKEY_CURRENT_USER/Software/Sample/Que", "HKCU\\Software\\Nobody", "HKEY_LOCAL_MACHINE/Software/Sample/Quest"):
        missing = find_key(tmp_path, other)
        assert missing is not None and missing.size_bytes == 0
    assert find_key(tmp_path, "HKEY_CURRENT_USER") is None and find_key(tmp_path, "HKEY_CLASSES_ROOT/x") is None


def test_a_32_bit_programs_key_is_found_and_a_link_is_no_registry(tmp_path: Path) -> None:
    write(tmp_path / "real.reg", '[Software\\\\Wow6432Node\\\\Sample] 1\n"a"="1"\n')
    (tmp_path / "user.reg").symlink_to("real.reg")
    (tmp_path / "real.reg").rename(tmp_path / "system.reg")
    key = find_key(tmp_path, "HKEY_LOCAL_MACHINE\\SOFTWARE\\Sample")
    assert key is not None and key.size_bytes > 0
    linked = find_key(tmp_path, "HKCU/Software/Wow6432Node/Sample")
    assert linked is not None and linked.size_bytes == 0
