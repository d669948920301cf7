"""GOG's Linux installers: unpacked, never run; and what a hostile one would like to do."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from typing import Any

import pytest

from integ_runtime.content import linux_installer as module
from integ_server.contract.errors import IntegrityError, NotFoundError, ProviderError, ProviderUnavailableError, StorageError
from tests.runtime.content.cdn import LINK, PROGRAM, REGULAR, Shop, linux_installer

GAMEINFO = b"Tea Time\n1.5\n\nen-US\n1\n\n70001\n"
GOOD = [
    ("meta/menu.png", b"png", REGULAR),
    ("scripts/install.sh", b"#!/bin/sh\nrm -rf /\n", PROGRAM),
    ("data/noarch/start.sh", b"#!/bin/sh\necho tea\n", PROGRAM),
    ("data/noarch/gameinfo", GAMEINFO, REGULAR),
    ("data/noarch/docs/", b"", stat.S_IFDIR | 0o755),
    ("data/noarch/game/Tea", b"\x7fELF" + os.urandom(5000), PROGRAM),
    ("data/noarch/game/data.txt", b"leaf " * 1000, REGULAR),
    ("data/noarch/game/Data.txt", b"another file on Linux", REGULAR),
    ("data/noarch/game/back\\slash", b"a letter like any other", REGULAR),
    ("data/noarch/game/libtea.so", b"libtea.so.1", LINK),
    ("data/noarch/game/libtea.so.1", b"\x7fELF", REGULAR),
    ("data/noarch/support/split_files", b"./game/big.pak\n", REGULAR),
    ("data/noarch/support/postinst.sh", b"#!/bin/sh\nrm -rf /\n", PROGRAM),
    ("data/noarch/game/big.pak.split01", b"second", REGULAR),
    ("data/noarch/game/big.pak.split00", b"first ", REGULAR),
    ("data/noarch/game/other.split00", b"a name that only looks split", REGULAR),
]


async def test_an_installer_s_game_arrives_with_modes_links_and_joined_files(shop: Shop) -> None:
    shop.backend.offers_installer(linux_installer(GOOD))
    done = await shop.games.install("gog:1")
    names = set(shop.tree())
    assert names == {
        *("start.sh", "gameinfo", "game/Tea", "game/data.txt", "game/Data.txt", "game/back\\slash", "game/libtea.so.1"),
        *("support/split_files", "support/postinst.sh", "game/big.pak", "game/other.split00"),
    }
    assert shop.tree()["game/big.pak"] == b"first second"
    assert os.readlink(shop.folder / "game" / "libtea.so") == "libtea.so.1"
    assert os.access(shop.folder / "game" / "Tea", os.X_OK)
    assert not os.access(shop.folder / "game" / "data.txt", os.X_OK)
    game = shop.installed.get("gog:1")
    assert game.executable == shop.folder / "start.sh"
    assert (game.platform, game.working_dir) == ("linux", shop.folder)
    assert done["bytes_fetched"] == len(shop.cdn.bodies["tea.sh"])
    assert done["files"] == len(names)
    again = await shop.games.install("gog:1")
    assert again["bytes_fetched"] == 0
    await shop.games.uninstall("gog:1")
    assert not shop.folder.exists()


async def test_a_changed_and_an_added_file_survive_the_uninstall(shop: Shop) -> None:
    shop.backend.offers_installer(linux_installer(GOOD))
    await shop.games.install("gog:1")
    (shop.folder / "game" / "data.txt").write_text("edited")
    (shop.folder / "game" / "mine.txt").write_text("mine")
    (shop.folder / "game" / "libtea.so").unlink()
    (shop.folder / "game" / "libtea.so").symlink_to("somewhere else")
    done = await shop.games.uninstall("gog:1")
    assert done["trashed"] == ["game/data.txt", "game/libtea.so"]
    assert shop.tree() == {"game/mine.txt": b"mine"}


def member(name: str, data: bytes = b"x", mode: int = REGULAR) -> tuple[str, bytes, int]:
    return f"data/noarch/{name}", data, mode


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("game/../../../evil")],
        [member("/etc/evil")],
        [member("link", b"/etc/passwd", LINK)],
        [member("link", b"../../outside", LINK)],
        [member("link", b"", LINK)],
        [member("link", b"\xff\xfe", LINK)],
        [member("link", b"a" * 5000, LINK)],
        [member("link", b"game", LINK), member("link/evil")],
        [member("a", b"..", LINK), member("a/evil")],
        [member("a/up", b"..", LINK), member("l", b"a/up/../evil", LINK)],
        [member("device", b"", stat.S_IFCHR | 0o666)],
        [member("pipe", b"", stat.S_IFIFO | 0o666)],
        [member("twice"), member("twice", b"y")],
        [member("a"), member("a/b")],
        [member(".integ-staging/x")],
        [member("x" * 300)],
        [member("bell\x07")],
        [member("support/split_files", b"big"), member("big.split00"), member("big.split02")],
        [member("support/split_files", b"big"), member("big.split00"), member("big")],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_an_installer_that_would_leave_its_folder_is_refused_before_anything_is_written(shop: Shop, members: list[Any]) -> None:
    shop.backend.offers_installer(linux_installer([member("start.sh", b"#!/bin/sh\n", PROGRAM), *members]))
    with pytest.raises(IntegrityError):
        await shop.games.install("gog:1")
    assert not shop.folder.exists()
    assert shop.installed.find("gog:1") is None


async def test_special_modes_are_not_taken_over(shop: Shop) -> None:
    shop.backend.offers_installer(linux_installer([member("start.sh", b"#!/bin/sh\n", stat.S_IFREG | 0o6777)]))
    await shop.games.install("gog:1")
    assert stat.S_IMODE((shop.folder / "start.sh").stat().st_mode) == 0o755


async def test_a_bomb_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    body = linux_installer([member("zeros", bytes(80 << 20))])
    shop.backend.offers_installer(body)
    with pytest.raises(IntegrityError, match="far more"):
        await shop.games.install("gog:1")
    assert not shop.folder.exists()


async def test_packing_that_nobody_uses_is_refused(shop: Shop) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as out:
        out.writestr("data/noarch/start.sh", b"#!/bin/sh\n" * 100)
    shop.backend.offers_installer(b"#!/bin/sh\n" + archive.getvalue())
    with pytest.raises(IntegrityError, match="packed"):
        await shop.games.install("gog:1")


@pytest.mark.parametrize("body", [b"#!/bin/sh\nno archive", b"#!/bin/sh\n" + linux_installer([("meta/x", b"x", REGULAR)])])
async def test_an_installer_without_a_game_is_refused(shop: Shop, body: bytes) -> None:
    shop.backend.offers_installer(body)
    with pytest.raises(IntegrityError):
        await shop.games.install("gog:1")
    assert shop.installed.find("gog:1") is None


async def test_a_member_whose_content_is_damaged_gets_no_name(shop: Shop) -> None:
    body = bytearray(linux_installer([member("start.sh", b"#!/bin/sh\n", PROGRAM), member("tea.bin", bytes(range(256)) * 40)]))
    at = body.index(b"tea.bin") + 60
    body[at] ^= 0xFF
    shop.backend.offers_installer(bytes(body))
    with pytest.raises(IntegrityError):
        await shop.games.install("gog:1")
    assert not (shop.folder / "tea.bin").exists()
    with pytest.raises(NotFoundError):
        shop.installed.get("gog:1")


async def test_a_web_page_in_place_of_the_installer_is_refused_and_not_kept(shop: Shop) -> None:
    good = linux_installer(GOOD)
    shop.backend.offers_installer(good, checked=False)
    shop.cdn.fault = lambda path: b"\n<!DOCTYPE html><p>temporarily blocked</p>"
    with pytest.raises(ProviderUnavailableError, match="web page"):
        await shop.games.install("gog:1")
    shop.cdn.fault = lambda path: b"MZ no script"
    with pytest.raises(ProviderError, match="no Linux installer"):
        await shop.games.install("gog:1")
    assert not shop.folder.exists()
    shop.cdn.fault = lambda path: None
    await shop.games.install("gog:1")
    assert "game/Tea" in shop.tree()


async def test_another_content_than_the_published_one_is_refused(shop: Shop) -> None:
    good = linux_installer(GOOD)
    shop.backend.offers_installer(good)
    shop.cdn.fault = lambda path: good[:-1] + b"!"
    with pytest.raises(IntegrityError):
        await shop.games.install("gog:1")
    assert not shop.folder.exists()


async def test_an_address_that_ran_out_is_renewed_once(shop: Shop) -> None:
    shop.backend.offers_installer(linux_installer(GOOD))
    asked = 0

    def once(path: str) -> int | None:
        nonlocal asked
        asked += 1
        return 403 if asked == 1 else None

    shop.cdn.fault = once
    await shop.games.install("gog:1")
    assert len(shop.backend.asked) == 2
    shop.backend.offers_installer(linux_installer(GOOD), version="1.1")
    shop.cdn.fault = lambda path: 403
    with pytest.raises(ProviderError):
        await shop.games.install("gog:1")
    assert len(shop.backend.asked) == 4


async def test_a_cut_off_unpacking_is_gone_on_with_without_fetching_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.backend.offers_installer(linux_installer(GOOD))
    real, count = module.Tree.place, 0

    def failing(self: Any, *args: Any, **more: Any) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise StorageError("the disk is full")
        real(self, *args, **more)

    monkeypatch.setattr(module.Tree, "place", failing)
    with pytest.raises(StorageError):
        await shop.games.install("gog:1")
    with pytest.raises(NotFoundError, match="not fully"):
        shop.installed.get("gog:1")
    count = 100
    placed = len(shop.tree())
    assert placed >= 4
    done = await shop.games.install("gog:1")
    assert done["bytes_fetched"] == 0
    assert len([path for path in shop.cdn.asked if path.endswith("tea.sh")]) == 1
    assert "game/big.pak" in shop.tree()
    assert not (shop.folder / ".integ-staging").exists()


async def test_a_new_version_replaces_the_old_one(shop: Shop) -> None:
    shop.backend.offers_installer(linux_installer(GOOD))
    await shop.games.install("gog:1")
    newer = [member("start.sh", b"#!/bin/sh\necho new\n", PROGRAM), member("game/Tea", b"\x7fELF new", PROGRAM)]
    shop.backend.offers_installer(linux_installer(newer), version="1.1")
    await shop.games.install("gog:1")
    assert shop.tree() == {"start.sh": b"#!/bin/sh\necho new\n", "game/Tea": b"\x7fELF new"}
    assert shop.installed.get("gog:1").version == "1.1"
