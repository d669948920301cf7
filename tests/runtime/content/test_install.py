"""Galaxy builds on their way to the disk, and what happens when something goes wrong on it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.content import chunks as chunk_module
from integ_runtime.content.games import InstallOptions
from integ_runtime.content.installed import InstalledGame
from integ_runtime.launch.run import play_lock
from integ_runtime.locks import only_one
from integ_runtime.progress import Progress
from integ_server.contract.errors import (
    BusyError,
    IntegError,
    IntegrityError,
    NotFoundError,
    ProviderError,
    ProviderUnavailableError,
    StorageError,
    UsageError,
    WouldLoseDataError,
)
from integ_server.contract.types import Changes, ReleaseRecord, TitleRecord, UserPreferences
from tests.runtime.content.cdn import FILES, HOST, SPARE, Shop, md5, small_build, unixed
from tests.runtime.launch.stage import until


@pytest.fixture
def offered(shop: Shop) -> Shop:
    shop.backend.offers(("1", small_build(shop.cdn)))
    return shop


async def test_a_build_arrives_whole_and_can_be_started(offered: Shop) -> None:
    heard: list[Progress] = []
    done = await offered.games.install("gog:1", report=heard.append)
    assert offered.tree() == unixed(FILES)
    assert (offered.folder / "saves" / "old").is_dir()
    assert os.access(offered.folder / "bin" / "Tea.exe", os.X_OK)
    assert not os.access(offered.folder / "data" / "water.pak", os.X_OK)
    plan = offered.backend.plan
    assert plan is not None
    assert done == {
        "key": "gog:1",
        "path": str(offered.folder),
        "build": "b1",
        "files": len(FILES),
        "bytes_fetched": plan.download_bytes,
        "bytes_on_disk": plan.disk_bytes,
    }
    game = offered.installed.get("gog:1")
    assert game.executable == offered.folder / "bin" / "Tea.exe", "found as Windows would, whatever the case"
    assert game.working_dir == offered.folder / "bin"
    assert game.arguments == ("-w", "two words")
    assert game.platform == "windows"
    assert [each for each in offered.folder.iterdir() if each.name.startswith(".")] == []
    assert heard[-1].done_bytes == heard[-1].total_bytes == plan.download_bytes
    (fact,) = offered.installed.local_facts()
    assert (fact.installed, fact.install_path, fact.platforms) == (True, str(offered.folder), ("windows",))


async def test_installing_again_fetches_nothing(offered: Shop) -> None:
    await offered.games.install("gog:1")
    before = list(offered.cdn.asked)
    again = await offered.games.install("gog:1")
    assert again["bytes_fetched"] == 0
    assert offered.cdn.asked == before


async def test_a_dry_run_says_everything_and_does_nothing(offered: Shop) -> None:
    plan = offered.backend.plan
    assert plan is not None
    assert await offered.games.plan("gog:1", InstallOptions(directory=Path("/somewhere"))) == {
        "key": "gog:1",
        "build": "b1",
        "platform": "windows",
        "language": "en-US",
        "dlc": [],
        "download_bytes": plan.download_bytes,
        "disk_bytes": plan.disk_bytes,
        "path": "/somewhere/Tea Time",
    }
    assert offered.cdn.asked == []
    assert not offered.settings.games_root.exists()
    assert not offered.settings.paths.data.exists()


async def test_a_dry_run_is_refused_where_the_install_would_be(offered: Shop) -> None:
    offered.folder.mkdir(parents=True)
    (offered.folder / "mine.txt").write_text("mine")
    for way in (offered.games.plan, offered.games.install):
        with pytest.raises(WouldLoseDataError, match="holds files that Integ did not put there"):
            await way("gog:1")


async def test_what_was_asked_for_reaches_the_backend_and_an_update_asks_for_the_same(offered: Shop) -> None:
    options = InstallOptions(platform="windows", language="fr-FR", dlc=["5"], branch="beta")
    assert offered.backend.plan is not None
    offered.backend.plan = offered.backend.plan.model_copy(update={"language": "fr-FR"})
    await offered.games.install("gog:1", options)
    await offered.games.install("gog:1")
    first, second = offered.backend.asked
    assert (first.platform, first.language, first.dlc, first.branch, first.build) == ("windows", "fr-FR", ["5"], "beta", None)
    assert (second.platform, second.language, second.dlc, second.branch, second.build) == ("windows", "fr-FR", ["5"], "beta", None)
    await offered.games.install("gog:1", InstallOptions(dlc="none"))
    await offered.games.install("gog:1")
    await offered.games.install("gog:1", InstallOptions(dlc="all"))
    await offered.games.install("gog:1")
    assert [each.dlc for each in offered.backend.asked[2:]] == ["none", "none", "all", "all"]


@pytest.mark.parametrize(
    ("wished", "platforms", "options", "asked"),
    [
        ({"platform": "windows", "language": "de-DE"}, ["linux", "windows"], InstallOptions(), ("windows", "de-DE")),
        ({"platform": "windows"}, ["linux"], InstallOptions(), (None, None)),
        ({"platform": "linux"}, ["linux", "windows"], InstallOptions(), (None, None)),
        (
            {"platform": "windows", "language": "de-DE"},
            ["linux", "windows"],
            InstallOptions(platform="linux", language="fr-FR"),
            ("linux", "fr-FR"),
        ),
    ],
)
async def test_the_players_wishes_for_all_games_count_where_nothing_else_was_asked_for(
    offered: Shop, wished: dict[str, Any], platforms: list[str], options: InstallOptions, asked: tuple[str | None, str | None]
) -> None:
    release = ReleaseRecord(key="gog:1", provider="gog", provider_game_id="1", title_id="tea", title="Tea", platforms=platforms)
    told = [TitleRecord(id="tea", title="Tea")], [release], UserPreferences(**wished)
    await offered.library.apply(Changes(revision=1, titles=told[0], releases=told[1], preferences=told[2]))
    await offered.games.plan("gog:1", options)
    (request,) = offered.backend.asked
    assert (request.platform, request.language) == asked


async def test_wishes_of_later_change_no_game_that_is_installed(offered: Shop) -> None:
    await offered.games.install("gog:1")
    await offered.library.apply(Changes(revision=1, preferences=UserPreferences(language="de-DE")))
    await offered.games.install("gog:1")
    assert [each.language for each in offered.backend.asked] == [None, "en-US"]


async def test_small_files_come_in_one_piece(shop: Shop) -> None:
    files = {f"txt\\{number}.txt": f"number {number}".encode() * 3 for number in range(20)}
    shop.backend.offers(("1", shop.cdn.packed("1", files)))
    done = await shop.games.install("gog:1")
    assert shop.tree() == unixed(files)
    assert sum(shop.cdn.chunks_asked().values()) == 1
    assert done["files"] == 20


async def test_support_files_go_to_a_folder_of_their_own(shop: Shop) -> None:
    items = [shop.cdn.file("1", "a.txt", b"a"), shop.cdn.file("1", "a.txt", b"helper", flags=["support"])]
    shop.backend.offers(("1", {"items": items}))
    await shop.games.install("gog:1")
    assert shop.tree() == {"a.txt": b"a"}
    support = shop.installed.folder("gog:1") / "support"
    assert shop.tree(support) == {"1/a.txt": b"helper"}
    await shop.games.uninstall("gog:1")
    assert not support.exists()


async def test_a_later_depot_wins_and_case_makes_no_second_file(shop: Shop) -> None:
    base = {"items": [shop.cdn.file("1", "Data\\Tea.txt", b"green"), shop.cdn.file("1", "DATA\\cup.txt", b"cup")]}
    dlc = {"items": [shop.cdn.file("2", "data\\TEA.txt", b"black"), shop.cdn.file("2", "data\\milk.txt", b"milk")]}
    shop.backend.offers(("1", base), ("2", dlc), dlc=["2"])
    await shop.games.install("gog:1")
    assert shop.tree() == {"Data/Tea.txt": b"black", "Data/cup.txt": b"cup", "Data/milk.txt": b"milk"}


async def test_links_inside_the_game_are_made(shop: Shop) -> None:
    items = [shop.cdn.file("1", "lib\\a.so.1", b"elf"), {"type": "DepotLink", "path": "lib\\a.so", "target": "a.so.1"}]
    shop.backend.offers(("1", {"items": items}))
    await shop.games.install("gog:1")
    assert (shop.folder / "lib" / "a.so").read_bytes() == b"elf"
    await shop.games.uninstall("gog:1")
    assert not shop.folder.exists()


def hostile(path: str, **more: Any) -> dict[str, Any]:
    return {"type": "DepotFile", "path": path, "chunks": [], **more}


@pytest.mark.parametrize(
    "items",
    [
        [hostile("..\\evil")],
        [hostile("a\\..\\..\\evil")],
        [hostile("a/../../evil")],
        [hostile("/etc/evil")],
        [hostile("C:\\evil")],
        [hostile("\\c:evil")],
        [hostile("\\\\server\\share\\evil")],
        [hostile("")],
        [hostile(".")],
        [hostile("nul\0byte")],
        [hostile("line\nbreak")],
        [hostile("x" * 256)],
        [hostile("a\\" * 2000 + "b")],
        [hostile(".integ-staging\\x")],
        [hostile(".INTEG-TRASH\\x")],
        [hostile("..", flags=["support"])],
        [hostile("a"), hostile("a\\b")],
        [{"type": "DepotDirectory", "path": "..\\evil"}],
        [{"type": "DepotLink", "path": "l", "target": "/etc"}],
        [{"type": "DepotLink", "path": "l", "target": "..\\.."}],
        [{"type": "DepotLink", "path": "l", "target": ""}],
        [{"type": "DepotLink", "path": "l", "target": "x"}, hostile("l\\evil")],
        [{"type": "DepotLink", "path": "L", "target": "x"}, hostile("l\\evil")],
        [{"type": "DepotLink", "path": "a\\up", "target": ".."}, {"type": "DepotLink", "path": "l", "target": "a\\up\\..\\evil"}],
        [{"type": "DepotLink", "path": "a", "target": "b"}, {"type": "DepotLink", "path": "b", "target": "a"}],
    ],
)
async def test_a_build_that_would_leave_its_folder_is_refused_before_anything_is_written(shop: Shop, items: list[Any]) -> None:
    good = shop.cdn.file("1", "good.txt", b"good")
    shop.backend.offers(("1", {"items": [good, *items]}))
    with pytest.raises(IntegrityError):
        await shop.games.install("gog:1")
    assert not shop.settings.games_root.exists()
    assert shop.installed.find("gog:1") is None
    assert shop.cdn.chunks_asked() == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"version": 1, "depot": {}}',
        b'{"version": 2}',
        b"\x78\x9cgarbage",
        b'{"version":2,"depot":{"items":[{"type":"DepotDiff","path":"x"}]}}',
        b'{"version":2,"depot":{"items":[{"type":"DepotDirectory","path":"\\ud800"}]}}',
    ],
)
async def test_an_odd_manifest_is_the_store_s_failure(shop: Shop, body: bytes) -> None:
    shop.backend.offers(("1", {"items": []}))
    shop.cdn.fault = lambda path: body if "/meta/" in path else None
    with pytest.raises(ProviderError):
        await shop.games.install("gog:1")
    assert shop.installed.find("gog:1") is None


@pytest.mark.parametrize("wrong", [{"size": -1}, {"size": 1 << 40}, {"md5": "../../x"}, {"compressedMd5": "zz"}, {"compressedSize": None}])
async def test_chunks_with_odd_numbers_are_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    item = shop.cdn.file("1", "a.txt", b"a")
    item["chunks"][0] |= wrong
    with pytest.raises(ProviderError):
        shop.backend.offers(("1", {"items": [item]}))
        await shop.games.install("gog:1")


async def test_a_cut_off_attempt_is_gone_on_with_and_does_not_count_as_installed(offered: Shop) -> None:
    assert offered.backend.plan is not None
    missing = md5_of_last_chunk(offered, "data\\leaves.pak")
    offered.cdn.fault = lambda path: 404 if path.endswith(missing) else None
    with pytest.raises(ProviderError, match=missing[:8]):
        await offered.games.install("gog:1")
    with pytest.raises(NotFoundError, match="not fully") as caught:
        offered.installed.get("gog:1")
    assert caught.value.hint == "integ install gog:1"
    assert [fact.installed for fact in offered.installed.local_facts()] == []
    assert not (offered.folder / "data" / "leaves.pak").exists(), "a file has its name only when it is whole"
    asked = offered.cdn.chunks_asked()
    assert asked[missing] == 2, "each endpoint was asked once"
    offered.cdn.asked.clear()
    offered.cdn.fault = lambda path: None
    done = await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)
    assert done["bytes_fetched"] < offered.backend.plan.download_bytes


def md5_of_last_chunk(shop: Shop, path: str) -> str:
    import zlib

    data = FILES[path]
    last = data[(len(data) - 1) // 1000 * 1000 :]
    return md5(zlib.compress(last))


KILLED = """
import asyncio, sys
from pathlib import Path
from integ_server.contract.types import DownloadPlan
from tests.runtime.content.cdn import Cdn, make_shop
async def main():
    cdn = Cdn(url=sys.argv[2])
    shop = make_shop(Path(sys.argv[1]), cdn)
    shop.backend.plan = DownloadPlan.model_validate_json(sys.stdin.read())
    await shop.games.install("gog:1")
asyncio.run(main())
"""


@pytest.mark.parametrize("held_after", [1, 3, 6, 9])
async def test_a_killed_install_does_not_fetch_again_what_was_whole(offered: Shop, home: Path, held_after: int) -> None:
    """The store stops answering after some chunks; then the process is killed, and a new one finishes the work."""
    hold, held = threading.Event(), threading.Event()
    answered: set[str] = set()
    lock = threading.Lock()

    def fault(path: str) -> None:
        if "/store/" not in path:
            return
        with lock:
            through = len(answered) < held_after
            if through:
                answered.add(path.rsplit("/", 1)[1])
        if not through:
            held.set()
            hold.wait(30)

    offered.cdn.fault = fault
    root = Path(__file__).resolve().parents[3]
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(root)}
    assert offered.backend.plan is not None
    with subprocess.Popen([sys.executable, "-c", KILLED, str(home), offered.cdn.url], env=env, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(offered.backend.plan.model_dump_json().encode())
        process.stdin.close()
        await asyncio.to_thread(held.wait, 30)
        await until(lambda: _settled(offered, held_after))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    hold.set()
    with pytest.raises(NotFoundError):
        offered.installed.get("gog:1")
    await asyncio.sleep(0)
    offered.cdn.fault = lambda path: None
    offered.cdn.asked.clear()
    done = await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)
    again = set(offered.cdn.chunks_asked()) & answered
    assert not again, "what was on the disk, checked, is not fetched again"
    assert done["bytes_fetched"] > 0


def _settled(shop: Shop, chunks: int) -> bool:
    """Whether what the store handed out so far is on the disk: in the files put together, and in those that have their names."""
    sizes = {md5(raw): len(raw) for data in FILES.values() for raw in (data[at : at + 1000] for at in range(0, len(data), 1000))}
    found = 0
    for file in shop.folder.rglob("*") if shop.folder.is_dir() else ():
        if file.is_file():
            try:
                data = file.read_bytes()
            except FileNotFoundError:
                return False
            found += sum(md5(data[at : at + 1000]) in sizes for at in range(0, len(data), 1000))
    return found >= chunks


async def test_a_damaged_chunk_is_fetched_again(offered: Shop) -> None:
    spoilt: set[str] = set()

    def fault(path: str) -> bytes | None:
        if "/store/" in path and path not in spoilt:
            spoilt.add(path)
            body = bytearray(offered.cdn.bodies[path.partition("/")[2].partition("/")[2]])
            body[len(body) // 2] ^= 0xFF
            return bytes(body)
        return None

    offered.cdn.fault = fault
    await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)
    assert len(spoilt) > 5


async def test_a_chunk_that_stays_damaged_is_an_integrity_failure(offered: Shop) -> None:
    bad = md5_of_last_chunk(offered, "data\\water.pak")
    for body in (b"", b"damaged", zip_bomb()):
        offered.cdn.fault = lambda path, body=body: body if path.endswith(bad) else None
        with pytest.raises(IntegrityError):
            await offered.games.install("gog:1")
        assert not (offered.folder / "data" / "water.pak").exists()
    with pytest.raises(NotFoundError):
        offered.installed.get("gog:1")


async def test_a_web_page_in_place_of_a_chunk_is_the_store_s_fault(offered: Shop) -> None:
    bad = md5_of_last_chunk(offered, "data\\water.pak")
    offered.cdn.fault = lambda path: b"<html>blocked</html>" if path.endswith(bad) else None
    with pytest.raises(ProviderUnavailableError, match="a web page"):
        await offered.games.install("gog:1")
    offered.cdn.fault = lambda path: None
    await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)


def zip_bomb() -> bytes:
    import zlib

    return zlib.compress(bytes(50_000_000))


async def test_links_that_ran_out_are_renewed_once(offered: Shop) -> None:
    count = 0

    def fault(path: str) -> None:
        nonlocal count
        count += "/store/" in path
        if count == 4:
            offered.cdn.token = "t1"

    offered.cdn.fault = fault
    await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)
    assert len(offered.backend.asked) == 2
    assert offered.backend.asked[1].build == "b1"


async def test_a_store_that_refuses_fresh_links_too_is_told_and_not_asked_for_ever(offered: Shop) -> None:
    offered.cdn.fault = lambda path: 403 if "/store/" in path else None
    with pytest.raises(ProviderError, match="refuses") as caught:
        await offered.games.install("gog:1")
    assert type(caught.value) is ProviderError
    assert len(offered.backend.asked) == 2


async def test_a_build_that_was_replaced_meanwhile_is_told(offered: Shop) -> None:
    offered.cdn.fault = lambda path: 401 if "/store/" in path else None
    plan = offered.backend.plan
    assert plan is not None
    real = offered.backend.download_plan

    async def other(key: str, wanted: Any) -> Any:
        found = await real(key, wanted)
        return found if len(offered.backend.asked) == 1 else found.model_copy(update={"build": "b2"})

    offered.backend.download_plan = other  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match="replaced"):
        await offered.games.install("gog:1")


async def test_the_next_endpoint_is_asked_for_what_the_first_has_not(offered: Shop) -> None:
    offered.cdn.fault = lambda path: 404 if path.startswith(f"{HOST}/token") else None
    await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)
    assert any(path.startswith(SPARE) for path in offered.cdn.asked)


async def test_a_store_that_is_down_for_a_moment_is_waited_for(offered: Shop) -> None:
    seen: set[str] = set()

    def fault(path: str) -> int | None:
        first = path not in seen
        seen.add(path)
        return 503 if first and len(seen) % 3 == 0 else None

    offered.cdn.fault = fault
    await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)


async def test_a_store_that_stays_down_is_unavailable(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_module, "_TRIES", 1)
    shop.backend.offers(("1", {"items": [shop.cdn.file("1", "a", b"a")]}))
    shop.cdn.fault = lambda path: 500 if "/store/" in path else None
    with pytest.raises(ProviderUnavailableError):
        await shop.games.install("gog:1")


async def test_a_format_that_names_an_unknown_key_is_the_store_s_failure(offered: Shop) -> None:
    real = offered.backend.download_plan

    async def odd(key: str, wanted: Any) -> Any:
        found = await real(key, wanted)
        for each in found.endpoints["1"]:
            each.url_format = "{base}/{what}/{path}"
        return found

    offered.backend.download_plan = odd  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match="what"):
        await offered.games.install("gog:1")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_disk_that_fails_is_told_and_what_is_whole_is_kept(offered: Shop, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real, count = os.pwrite, 0

    def pwrite(handle: int, data: Any, at: int) -> int:
        nonlocal count
        count += 1
        if count > 5:
            raise OSError(number, os.strerror(number))
        return real(handle, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(StorageError):
        await offered.games.install("gog:1")
    monkeypatch.setattr(os, "pwrite", real)
    with pytest.raises(NotFoundError):
        offered.installed.get("gog:1")
    offered.cdn.asked.clear()
    await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)


async def test_without_room_nothing_is_begun(shop: Shop) -> None:
    chunk = shop.cdn.add_chunks("1", b"x")[0] | {"size": 256 << 20}
    shop.backend.offers(("1", {"items": [{"type": "DepotFile", "path": "huge", "chunks": [chunk] * 100_000}]}))
    with pytest.raises(StorageError, match="needed"):
        await shop.games.install("gog:1")
    assert shop.cdn.chunks_asked() == {}
    assert shop.installed.find("gog:1") is None
    assert not shop.folder.exists()


async def test_a_folder_with_something_else_in_it_is_left_alone(offered: Shop) -> None:
    offered.folder.mkdir(parents=True)
    (offered.folder / "notes.txt").write_text("mine")
    with pytest.raises(WouldLoseDataError) as caught:
        await offered.games.install("gog:1")
    assert "integ import gog:1" in caught.value.hint
    assert offered.tree() == {"notes.txt": b"mine"}
    (offered.folder / "notes.txt").unlink()
    await offered.games.install("gog:1")


async def test_a_link_or_a_file_in_the_folder_s_place_is_left_alone(offered: Shop, tmp_path: Path) -> None:
    offered.settings.games_root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    offered.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WouldLoseDataError):
        await offered.games.install("gog:1")
    offered.folder.unlink()
    offered.folder.write_text("mine")
    with pytest.raises(WouldLoseDataError):
        await offered.games.install("gog:1")


async def test_two_games_never_share_a_folder(offered: Shop) -> None:
    other = InstalledGame("gog:2", "Other", offered.folder / "inner", "linux", "integ")
    offered.installed.save(other)
    with pytest.raises(WouldLoseDataError, match="Other"):
        await offered.games.install("gog:1")


async def test_a_game_is_put_where_it_is_asked_to_be_and_stays_there(offered: Shop, tmp_path: Path) -> None:
    done = await offered.games.install("gog:1", InstallOptions(directory=tmp_path / "big disk"))
    assert done["path"] == str(tmp_path / "big disk" / "Tea Time")
    with pytest.raises(UsageError) as caught:
        await offered.games.install("gog:1", InstallOptions(directory=tmp_path / "other"))
    assert caught.value.hint.startswith("integ uninstall gog:1")
    assert (await offered.games.install("gog:1"))["path"] == done["path"]


async def test_one_process_at_a_time_works_on_a_game_and_none_while_it_is_played(offered: Shop) -> None:
    folder = offered.installed.folder("gog:1")
    async with only_one(folder / ".lock", wait_s=0):
        with pytest.raises(BusyError):
            await offered.games.install("gog:1")
    with play_lock(folder, shared=True), pytest.raises(BusyError):
        await offered.games.install("gog:1")
    await offered.games.install("gog:1")


async def test_a_cancelled_install_stops_and_can_be_gone_on_with(offered: Shop) -> None:
    hold = threading.Event()

    def fault(path: str) -> None:
        if "/store/" in path:
            hold.wait(20)

    offered.cdn.fault = fault
    task = asyncio.create_task(offered.games.install("gog:1"))
    await until(offered.cdn.chunks_asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.set()
    assert not offered.installed.find("gog:1") or not offered.installed.find("gog:1").whole  # type: ignore[union-attr]
    await offered.games.install("gog:1")
    assert offered.tree() == unixed(FILES)


async def test_a_wrong_key_is_wrong_usage(shop: Shop) -> None:
    for key in ("tea", "gog:../x", "gog:", "../gog:1", "gog:1/2", "gog:1\n"):
        with pytest.raises(IntegError):
            await shop.games.install(key)


async def test_a_folder_by_way_of_another_is_known_by_its_own_name(offered: Shop, tmp_path: Path) -> None:
    done = await offered.games.install("gog:1", InstallOptions(directory=tmp_path / "no" / ".." / "disk"))
    assert done["path"] == str(tmp_path / "disk" / "Tea Time")
    await offered.games.install("gog:1", InstallOptions(directory=tmp_path / "disk" / "." / "x" / ".."))


async def test_an_install_that_comes_to_nothing_leaves_nothing(offered: Shop) -> None:
    offered.cdn.fault = lambda path: 404
    before = offered.installed.fingerprint()
    with pytest.raises(ProviderError):
        await offered.games.install("gog:1")
    assert list(offered.settings.paths.games_dir.iterdir()) == []
    assert offered.installed.fingerprint() == before
    offered.cdn.fault = lambda path: None
    await offered.games.install("gog:1")
    await offered.games.uninstall("gog:1")
    assert list(offered.settings.paths.games_dir.iterdir()) == []
