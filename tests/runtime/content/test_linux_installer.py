"""GOG's Linux installers: unpacked, never run; and what a hostile one would like to do."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from typing import Any

import pytest

from integ_runtime.content import linux_installer as module
from integ_runtime.progress import Progress
from integ_server.contract.errors import IntegrityError, NotFoundError, ProviderError, StorageError
from tests.runtime.content.cdn import HOST, LINK, PROGRAM, REGULAR, Shop, linux_installer

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
    with pytest.raises(ProviderError, match="GOG sent a web page instead of the installer"):
        await shop.games.install("gog:1")
    shop.backend.offers_installer(good)
    with pytest.raises(ProviderError, match="GOG sent a web page instead of the installer"):
        await shop.games.install("gog:1")
    shop.backend.offers_installer(good, checked=False)
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
    with pytest.raises(IntegrityError, match=r"tea\.sh came twice") as caught:
        await shop.games.install("gog:1")
    assert caught.value.hint.endswith("integ install gog:1 --platform windows")
    assert shop.cdn.asked == [f"{HOST}/tea.sh"] * 2
    assert not shop.folder.exists()


async def test_content_that_is_right_the_second_time_is_taken(shop: Shop) -> None:
    good = linux_installer(GOOD)
    shop.backend.offers_installer(good)
    shop.cdn.fault = lambda path: good[:-1] + b"!" if len(shop.cdn.asked) == 1 else None
    await shop.games.install("gog:1")
    assert "game/Tea" in shop.tree()
    assert len(shop.backend.asked) == 2, "links and checksums are asked for anew in between"


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


MILK = linux_installer(
    [
        member("game/milk.txt", b"milk"),
        member("game/data.txt", b"leaf with milk"),
        member("game/milk.so", b"data.txt", LINK),
        member("docs/milk.md", b"white"),
    ]
)
SUGAR = linux_installer([member("game/sugar.txt", b"sugar"), member("game/milk.txt", b"sweet milk")])
EXTRAS = {"milk.sh": MILK, "sugar.sh": SUGAR}


async def test_dlc_are_laid_over_the_game_in_order_and_go_with_it(shop: Shop) -> None:
    heard: list[Progress] = []
    shop.backend.offers_installer(linux_installer(GOOD), dlc=EXTRAS)
    done = await shop.games.install("gog:1", report=heard.append)
    tree = shop.tree()
    assert tree["game/data.txt"] == b"leaf with milk"
    assert tree["game/milk.txt"] == b"sweet milk"
    assert {"game/Tea", "game/sugar.txt", "docs/milk.md", "start.sh"} <= tree.keys()
    assert (shop.folder / "game" / "milk.so").read_bytes() == b"leaf with milk"
    whole = sum(map(len, shop.cdn.bodies.values()))
    assert done["bytes_fetched"] == whole
    assert done["files"] == len([path for path in shop.folder.rglob("*") if path.is_file() and not path.is_symlink()])
    downloads = [each for each in heard if each.stage == "download"]
    assert {each.total_bytes for each in downloads} == {whole}
    assert downloads[-1].done_bytes == whole
    assert shop.installed.get("gog:1").dlc == ("dlc1", "dlc2")
    assert (await shop.games.install("gog:1"))["bytes_fetched"] == 0
    await shop.games.uninstall("gog:1")
    assert not shop.folder.exists()


async def test_a_dlc_that_is_replaced_or_dropped_changes_the_game(shop: Shop) -> None:
    game = linux_installer(GOOD)
    shop.backend.offers_installer(game, dlc=EXTRAS)
    await shop.games.install("gog:1")
    shop.backend.offers_installer(game, dlc={"milk.sh": MILK, "sugar_1_1.sh": linux_installer([member("game/cane.txt", b"cane")])})
    await shop.games.install("gog:1")
    tree = shop.tree()
    assert tree["game/milk.txt"] == b"milk"
    assert "game/sugar.txt" not in tree
    assert tree["game/cane.txt"] == b"cane"
    shop.backend.offers_installer(game)
    await shop.games.install("gog:1")
    assert shop.tree()["game/data.txt"] == b"leaf " * 1000
    assert not {"game/milk.txt", "game/cane.txt", "docs/milk.md"} & shop.tree().keys()


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("game/link", b"../../outside", LINK)],
        [member("game/libtea.so/evil")],
        [member("game", b"a file")],
        [member("game/data.txt/evil")],
        [member("game/out", b"up/../../evil", LINK)],
    ],
)
async def test_a_hostile_dlc_is_refused_before_anything_is_written(shop: Shop, members: list[Any]) -> None:
    up = member("game/up", b"..", LINK)
    shop.backend.offers_installer(linux_installer([*GOOD, up]), dlc={"milk.sh": linux_installer(members)})
    with pytest.raises(IntegrityError):
        await shop.games.install("gog:1")
    assert not shop.folder.exists()
    assert shop.installed.find("gog:1") is None


async def test_a_dlc_that_can_not_be_had_costs_no_second_fetch_of_the_game(shop: Shop) -> None:
    shop.backend.offers_installer(linux_installer(GOOD), dlc=EXTRAS)
    shop.cdn.fault = lambda path: 404 if path.endswith("sugar.sh") else None
    with pytest.raises(ProviderError):
        await shop.games.install("gog:1")
    assert shop.tree().keys() & {"start.sh", "game/milk.txt"} == set()
    shop.cdn.fault = lambda path: None
    done = await shop.games.install("gog:1")
    assert done["bytes_fetched"] == len(SUGAR)
    assert shop.tree()["game/sugar.txt"] == b"sugar"


async def test_a_game_can_be_played_as_long_as_its_update_only_downloads(shop: Shop) -> None:
    shop.backend.offers_installer(linux_installer(GOOD))
    await shop.games.install("gog:1")
    shop.backend.offers_installer(linux_installer([member("start.sh", b"#!/bin/sh\necho new\n", PROGRAM)]), version="1.1")
    shop.cdn.fault = lambda path: 404
    with pytest.raises(ProviderError):
        await shop.games.install("gog:1")
    assert shop.installed.get("gog:1").version == "1.0"
    shop.cdn.fault = lambda path: None
    await shop.games.install("gog:1")
    assert shop.installed.get("gog:1").version == "1.1"
    assert shop.tree() == {"start.sh": b"#!/bin/sh\necho new\n"}
