"""Updates and uninstalls: ours goes, what somebody changed goes to the trash, what is not ours stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from integ_runtime.content import tree as tree_module
from integ_runtime.content.installed import InstalledGame
from integ_runtime.content.ledger import LEDGER
from integ_runtime.launch.run import play_lock
from integ_runtime.prefix.snapshots import take_snapshot
from integ_server.contract.errors import BusyError, IntegrityError, NotFoundError, ProviderError, StorageError
from tests.runtime.content.cdn import FILES, Shop, small_build, unixed


@pytest.fixture
async def played(shop: Shop) -> Shop:
    """The small build, installed."""
    shop.backend.offers(("1", small_build(shop.cdn)))
    await shop.games.install("gog:1")
    return shop


def trashed(shop: Shop) -> dict[str, bytes]:
    """What the trash holds of the game, by path."""
    return {path.partition("/")[2]: data for path, data in shop.tree(shop.settings.games_root / ".integ-trash").items() if "/" in path}


async def test_uninstall_removes_all_that_was_installed_and_nothing_else(played: Shop) -> None:
    folder = played.installed.folder("gog:1")
    (folder / "prefix" / "pfx").mkdir(parents=True)
    (folder / "saves").mkdir()
    done = await played.games.uninstall("gog:1")
    assert not played.folder.exists()
    assert played.settings.games_root.is_dir()
    assert played.installed.find("gog:1") is None
    assert sorted(each.name for each in folder.iterdir()) == [".lock", "play.lock", "prefix", "saves"]
    assert (done["trashed"], done["kept"], done["bytes_freed"]) == ([], False, sum(map(len, FILES.values())))
    with pytest.raises(NotFoundError):
        await played.games.uninstall("gog:1")


async def test_what_the_player_added_stays(played: Shop) -> None:
    (played.folder / "data" / "mod.pak").write_text("mod")
    (played.folder / "mods").mkdir()
    done = await played.games.uninstall("gog:1")
    assert played.tree() == {"data/mod.pak": b"mod"}
    assert (played.folder / "mods").is_dir()
    assert done["kept"] is True
    assert trashed(played) == {}


async def test_a_changed_file_goes_to_the_trash_whatever_its_size_and_date_say(played: Shop) -> None:
    longer, same = played.folder / "data" / "water.pak", played.folder / "data" / "leaves.pak"
    longer.write_bytes(b"more")
    facts = same.stat()
    body = bytearray(same.read_bytes())
    body[7] ^= 1
    same.write_bytes(body)
    os.utime(same, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    done = await played.games.uninstall("gog:1")
    assert done["trashed"] == ["data/leaves.pak", "data/water.pak"]
    assert (Path(done["trash"]) / "data" / "water.pak").read_bytes() == b"more"
    assert trashed(played) == {"data/leaves.pak": bytes(body), "data/water.pak": b"more"}
    (about,) = (played.settings.games_root / ".integ-trash").glob("*.json")
    assert json.loads(about.read_text())["key"] == "gog:1"
    assert not played.folder.exists()


async def test_a_file_that_was_touched_but_not_changed_is_ours(played: Shop) -> None:
    os.utime(played.folder / "data" / "water.pak")
    played.folder.joinpath("data", "leaves.pak").chmod(0o600)
    assert (await played.games.uninstall("gog:1"))["trashed"] == []
    assert not played.folder.exists()


async def test_nothing_behind_a_link_of_the_player_s_is_touched(played: Shop, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (played.folder / "data").rename(elsewhere)
    (played.folder / "data").symlink_to(elsewhere)
    await played.games.uninstall("gog:1")
    assert sorted(each.name for each in elsewhere.iterdir()) == ["leaves.pak", "water.pak"]
    assert (played.folder / "data").is_symlink()


async def test_purge_takes_prefix_and_saves_too_and_leaves_the_play_record(played: Shop, tmp_path: Path) -> None:
    folder = played.installed.folder("gog:1")
    drives = folder / "prefix" / "pfx" / "dosdevices"
    drives.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").touch()
    (drives / "z:").symlink_to(tmp_path / "outside")
    (folder / "saves").mkdir()
    (folder / "sessions.jsonl").write_text('{"seconds": 60}\n')
    drives.chmod(0o500)
    take_snapshot(folder, "asked")
    (folder / ".prefix-gone-1" / "half").mkdir(parents=True)
    await played.games.uninstall("gog:1", purge=True)
    assert sorted(each.name for each in folder.iterdir()) == [".lock", "play.lock", "sessions.jsonl"]
    assert (tmp_path / "outside" / "precious").exists()


async def test_a_prefix_without_a_game_can_be_purged(played: Shop) -> None:
    (played.installed.folder("gog:1") / "prefix").mkdir()
    await played.games.uninstall("gog:1")
    done = await played.games.uninstall("gog:1", purge=True)
    assert done["path"] is None
    with pytest.raises(NotFoundError):
        await played.games.uninstall("gog:1", purge=True)


async def test_a_half_installed_game_can_be_uninstalled_and_a_stranger_s_file_in_it_stays(shop: Shop) -> None:
    shop.backend.offers(("1", small_build(shop.cdn)))
    shop.cdn.fault = lambda path: 404 if "/store/" in path else None
    with pytest.raises(ProviderError):
        await shop.games.install("gog:1")
    (shop.folder / "data").mkdir(exist_ok=True)
    (shop.folder / "data" / "water.pak").write_text("put here by somebody else, under a name that was planned")
    await shop.games.uninstall("gog:1")
    assert list(shop.tree()) == ["data/water.pak"]
    assert trashed(shop) == {}


async def test_a_cut_off_uninstall_is_gone_on_with_and_meanwhile_nothing_launches(played: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = tree_module.Tree._remove_one, 0

    def failing(self: tree_module.Tree, entry: object) -> int:
        nonlocal count
        count += 1
        if count == 3:
            raise StorageError("the disk fails")
        return real(self, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(tree_module.Tree, "_remove_one", failing)
    with pytest.raises(StorageError):
        await played.games.uninstall("gog:1")
    with pytest.raises(NotFoundError, match="half removed") as caught:
        played.installed.get("gog:1")
    assert caught.value.hint == "integ uninstall gog:1"
    await played.games.uninstall("gog:1")
    assert not played.folder.exists()


async def test_a_half_removed_game_can_be_installed_again(played: Shop) -> None:
    game = played.installed.get("gog:1")
    played.installed.set_state(game, "removing")
    (played.folder / "data" / "water.pak").unlink()
    played.cdn.asked.clear()
    await played.games.install("gog:1")
    assert played.tree() == unixed(FILES)
    assert sum(played.cdn.chunks_asked().values()) == 3


async def test_a_game_that_is_played_stays(played: Shop) -> None:
    with play_lock(played.installed.folder("gog:1"), shared=True), pytest.raises(BusyError):
        await played.games.uninstall("gog:1")
    assert played.tree() == unixed(FILES)


async def test_without_its_drive_nothing_is_forgotten(played: Shop) -> None:
    played.settings.games_root.rename(played.settings.games_root.with_name("unplugged"))
    with pytest.raises(StorageError, match="mounted"):
        await played.games.uninstall("gog:1")
    assert played.installed.get("gog:1")


async def test_a_damaged_ledger_is_told_and_removes_nothing(played: Shop) -> None:
    (played.installed.folder("gog:1") / LEDGER).write_bytes(b"no database" * 1000)
    for end in ("-wal", "-shm"):
        (played.installed.folder("gog:1") / f"{LEDGER}{end}").unlink(missing_ok=True)
    with pytest.raises(IntegrityError, match="ledger"):
        await played.games.uninstall("gog:1")
    assert played.tree() == unixed(FILES)


async def test_a_game_that_was_taken_over_keeps_all_its_files(shop: Shop, tmp_path: Path) -> None:
    game = InstalledGame("gog:9", "Old", tmp_path / "old", "linux", "imported")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a").touch()
    shop.installed.save(game)
    await shop.games.uninstall("gog:9")
    assert (tmp_path / "old" / "a").exists()
    assert shop.installed.find("gog:9") is None


async def test_an_update_fetches_what_differs_and_trashes_what_somebody_changed(played: Shop) -> None:
    changed = played.folder / "data" / "water.pak"
    changed.write_bytes(b"edited by the player")
    kept = played.folder / "data" / "leaves.pak"
    kept.write_bytes(b"edited too, and not part of the game any more")
    (played.folder / "data" / "mod.pak").write_text("mod")
    cdn = played.cdn
    new = {
        "items": [
            cdn.file("1", "bin\\Tea.exe", FILES["bin\\Tea.exe"], flags=["executable"]),
            cdn.file("1", "Data\\WATER.pak", b"new water" * 100),
            cdn.file("1", "goggame-1.info", FILES["goggame-1.info"]),
            cdn.file("1", "empty.txt", b"no longer"),
            cdn.file("1", "data\\milk.pak", b"milk"),
        ]
    }
    played.backend.offers(("1", new), build="b2")
    cdn.asked.clear()
    done = await played.games.install("gog:1")
    assert done["build"] == "b2"
    assert sum(cdn.chunks_asked().values()) == 3, "the program and its description were there already"
    expected = {
        "bin/Tea.exe": FILES["bin\\Tea.exe"],
        "data/water.pak": b"new water" * 100,
        "goggame-1.info": FILES["goggame-1.info"],
        "empty.txt": b"no longer",
        "data/milk.pak": b"milk",
        "data/mod.pak": b"mod",
    }
    assert played.tree() == expected
    assert sorted(trashed(played).values()) == [b"edited by the player", b"edited too, and not part of the game any more"]
    assert not (played.folder / "saves").exists(), "an empty folder of the old build"


async def test_a_half_updated_game_does_not_launch_and_the_update_is_gone_on_with(played: Shop) -> None:
    new = {"items": [played.cdn.file("1", "data\\water.pak", b"new"), played.cdn.file("1", "data\\milk.pak", b"milk")]}
    played.backend.offers(("1", new), build="b2")
    played.cdn.fault = lambda path: 404 if "/store/" in path else None
    with pytest.raises(ProviderError):
        await played.games.install("gog:1")
    with pytest.raises(NotFoundError, match="not fully"):
        played.installed.get("gog:1")
    played.cdn.fault = lambda path: None
    await played.games.install("gog:1")
    assert played.backend.asked[-1].build == "b2", "the same build is gone on with"
    assert played.tree() == {"data/water.pak": b"new", "data/milk.pak": b"milk"}


async def test_a_build_that_turns_a_file_into_a_folder_is_no_trouble(played: Shop) -> None:
    played.backend.offers(("1", {"items": [played.cdn.file("1", "empty.txt\\now\\deep.txt", b"deep")]}), build="b2")
    await played.games.install("gog:1")
    assert played.tree() == {"empty.txt/now/deep.txt": b"deep"}
    played.backend.offers(("1", {"items": [played.cdn.file("1", "empty.txt", b"flat")]}), build="b3")
    (played.folder / "empty.txt" / "mine").write_text("mine")
    await played.games.install("gog:1")
    assert played.tree() == {"empty.txt": b"flat"}
    assert trashed(played) == {"empty.txt/mine": b"mine"}
