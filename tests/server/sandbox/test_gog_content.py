from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from integ_server.sandbox.gog_depots import CHUNK_BYTES
from integ_server.sandbox.gog_recipes import BRANCH_PASSWORD
from tests.server.sandbox.gog_player import Player, chunk_address, gog_player, md5

GAME, DLC = 1_900_000_201, 1_900_000_202
OTHER, UNOWNED = 1_900_000_101, 1_900_000_103
SYSTEM = "https://content-system.gog.com"
BUILDS = f"{SYSTEM}/products/{GAME}/os/windows/builds"


@pytest.fixture
async def player() -> AsyncIterator[Player]:
    async with gog_player() as player:
        yield player


async def builds(player: Player, more: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await player.json(f"{BUILDS}?generation=2{more}"))["items"]
    return items


def depot_of(meta: dict[str, Any], product: int = GAME, language: str = "*") -> str:
    """The manifest of the depot that is for this language alone."""
    wanted = [depot for depot in meta["depots"] if depot["productId"] == str(product) and depot["languages"] == [language]]
    return str(next(depot for depot in wanted if "osBitness" not in depot)["manifest"])


def named(items: list[dict[str, Any]], path: str) -> dict[str, Any]:
    return next(item for item in items if item["path"] == path)


async def test_builds_come_newest_first_with_a_branch_and_an_old_generation_among_them(player: Player) -> None:
    items = await builds(player)
    assert [item["branch"] for item in items] == ["beta", None, None, None]
    assert [item["generation"] for item in items] == [2, 2, 2, 1]
    assert [item["version_name"] for item in items] == ["1.3 beta", "1.1", "", "0.9"]
    assert all(len(item["build_id"]) == 17 and item["product_id"] == str(GAME) for item in items)
    assert isinstance(items[-1]["legacy_build_id"], int)
    assert items[0]["date_published"][-5:] == "+0200"
    only_old = (await player.json(f"{BUILDS}?generation=1"))["items"]
    assert [item["generation"] for item in only_old] == [1]


async def test_version_two_of_the_list_has_ways_instead_of_a_link(player: Player) -> None:
    plain, ways = await builds(player), await builds(player, "&_version=2")
    for one, other in zip(plain, ways, strict=True):
        assert "link" not in other
        assert [way["url"] for way in other["urls"] if not way["fallback_only"]] == [one["link"]]
    assert await player.unpacked(ways[1]["urls"][1]["url"]) == await player.unpacked(plain[1]["link"])


async def test_a_private_branch_needs_its_password_and_a_sign_in(player: Player) -> None:
    assert "preview" not in [item["branch"] for item in await builds(player, "&password=low-tide")]
    stranger = await player.json(f"{BUILDS}?generation=2&password={BRANCH_PASSWORD}", signed_in=False)
    assert "preview" not in [item["branch"] for item in stranger["items"]]
    private = (await builds(player, f"&password={BRANCH_PASSWORD}"))[0]
    assert (private["branch"], private["public"]) == ("preview", False)


async def test_an_update_is_a_newer_build_on_the_default_branch(player: Player) -> None:
    before, _ = await player.current_build(GAME)
    player.faults.on("gog.update_out")
    after, _ = await player.current_build(GAME)
    assert (before["version_name"], after["version_name"]) == ("1.1", "1.2")
    assert int(after["build_id"]) > int(before["build_id"])
    assert before["build_id"] in [item["build_id"] for item in await builds(player)]


async def test_there_are_no_builds_for_linux_nor_for_other_products(player: Player) -> None:
    assert (await player.ask(f"{SYSTEM}/products/{OTHER}/os/linux/builds?generation=2")).status_code == 404
    assert (await player.json(f"{SYSTEM}/products/1900000502/os/windows/builds?generation=2"))["total_count"] == 0
    assert (await player.ask(f"{SYSTEM}/products/7/os/windows/builds?generation=2")).status_code == 404


async def test_a_meta_tells_all_about_a_build(player: Player) -> None:
    item, meta = await player.current_build(GAME)
    assert (meta["version"], meta["baseProductId"], meta["buildId"]) == (2, str(GAME), item["build_id"])
    assert meta["installDirectory"] == "Brasswater Drift"
    assert [product["productId"] for product in meta["products"]] == [str(GAME), str(DLC)]
    assert {language for depot in meta["depots"] for language in depot["languages"]} == {"*", "en-US", "de-DE", "fr-FR", "pl-PL"}
    assert ["*", "pl-PL"] in [depot["languages"] for depot in meta["depots"]]
    assert [depot["osBitness"] for depot in meta["depots"] if "osBitness" in depot] == [["32"], ["64"]]
    assert meta["offlineDepot"]["manifest"] not in [depot["manifest"] for depot in meta["depots"]]
    assert len(meta["clientSecret"]) == 64


async def test_a_meta_is_not_sent_twice(player: Player) -> None:
    link = (await builds(player))[1]["link"]
    etag = (await player.ask(link)).headers["etag"]
    assert (await player.ask(link, headers={"if-none-match": etag})).status_code == 304


async def test_sizes_of_depots_are_the_sums_of_their_chunks(player: Player) -> None:
    _, meta = await player.current_build(GAME)
    for depot in meta["depots"]:
        chunks = [chunk for item in await player.manifest(depot["manifest"]) for chunk in item.get("chunks", ())]
        assert depot["size"] == sum(chunk["size"] for chunk in chunks)
        assert depot["compressedSize"] == sum(chunk["compressedSize"] for chunk in chunks)


async def test_a_manifest_holds_every_kind_of_item(player: Player) -> None:
    _, meta = await player.current_build(GAME)
    items = await player.manifest(depot_of(meta))
    assert {item["type"] for item in items} == {"DepotDirectory", "DepotFile", "DepotLink"}
    assert named(items, "saves\\templates")["type"] == "DepotDirectory"
    assert named(items, "bin\\brasswater.exe")["flags"] == ["executable"]
    assert named(items, "setup\\folder.ico")["flags"] == ["support"]
    assert named(items, "data\\.stamp")["flags"] == ["hidden"]
    assert named(items, "data\\empty.txt")["chunks"] == []
    assert named(items, "data/current.map")["target"] == "levels/north/lock_one.map"
    assert named(items, "DATA\\Levels\\South\\Basin.map"), "one folder in two spellings"
    large = named(items, "data\\canals.dat")
    assert len(large["chunks"]) > 2 and len(large["md5"]) == 32 and len(large["sha256"]) == 64
    assert all(chunk["size"] == CHUNK_BYTES for chunk in large["chunks"][:-1])
    assert named(items, "data\\mirror.dat")["chunks"] == large["chunks"][:1]


async def test_small_files_lie_in_the_container_too(player: Player) -> None:
    _, meta = await player.current_build(GAME)
    name = depot_of(meta)
    depot = (await player.unpacked(f"https://cdn.gog.com/content-system/v2/meta/{name[:2]}/{name[2:4]}/{name}"))["depot"]
    endpoint = (await player.endpoints(GAME))["fastly"]
    container = b"".join([await player.chunk(endpoint, chunk) for chunk in depot["smallFilesContainer"]["chunks"]])
    assert md5(container) == depot["smallFilesContainer"]["md5"]
    small = [item for item in depot["items"] if "sfcRef" in item]
    assert len(small) > 3
    for item in small:
        start, size = item["sfcRef"]["offset"], item["sfcRef"]["size"]
        assert container[start : start + size] == await player.chunk(endpoint, item["chunks"][0])


@pytest.mark.parametrize("endpoint", ["fastly", "gcore_cdn"])
async def test_a_whole_build_can_be_fetched_and_checked(player: Player, endpoint: str) -> None:
    _, meta = await player.current_build(GAME)
    for depot in meta["depots"]:
        door = (await player.endpoints(int(depot["productId"])))[endpoint]
        for item in await player.manifest(depot["manifest"]):
            body = b"".join([await player.chunk(door, chunk) for chunk in item.get("chunks", ())])
            assert "md5" not in item or md5(body) == item["md5"]
            assert "sha256" not in item or hashlib.sha256(body).hexdigest() == item["sha256"]


async def test_the_play_task_names_the_program_in_another_spelling(player: Player) -> None:
    _, meta = await player.current_build(GAME)
    items = await player.manifest(depot_of(meta))
    endpoint = (await player.endpoints(GAME))["fastly"]
    body = b"".join([await player.chunk(endpoint, chunk) for chunk in named(items, f"goggame-{GAME}.info")["chunks"]])
    assert body.startswith(b"\xef\xbb\xbf")
    info = json.loads(body.decode("utf-8-sig"))
    task = next(task for task in info["playTasks"] if task.get("isPrimary"))
    assert (task["path"], task["arguments"]) == ("Bin\\Brasswater.exe", '-profile "Night Owl"')
    assert info["buildId"] == meta["buildId"]


async def test_a_dlc_depot_brings_its_own_copy_of_a_file_of_the_game(player: Player) -> None:
    _, meta = await player.current_build(GAME)
    base, extra = await player.manifest(depot_of(meta)), await player.manifest(depot_of(meta, DLC))
    shared = {item["path"] for item in base} & {item["path"] for item in extra}
    assert shared == {"data\\banner.txt"}
    assert named(base, "data\\banner.txt")["chunks"] != named(extra, "data\\banner.txt")["chunks"]


async def test_a_newer_build_shares_most_chunks_with_the_one_before(player: Player) -> None:
    _, old = await player.current_build(GAME)
    player.faults.on("gog.update_out")
    _, new = await player.current_build(GAME)
    before, after = await player.manifest(depot_of(old)), await player.manifest(depot_of(new))
    old_chunks, new_chunks = ({chunk["md5"] for chunk in named(items, "data\\canals.dat")["chunks"]} for items in (before, after))
    assert old_chunks & new_chunks and new_chunks - old_chunks
    assert {item["path"] for item in before} - {item["path"] for item in after} == {"data\\retired.txt"}
    assert {item["path"] for item in after} - {item["path"] for item in before} == {"data\\levels\\west\\weir.map"}


async def test_a_secure_link_has_two_endpoints_with_shapes_of_their_own(player: Player) -> None:
    doors = await player.endpoints(GAME)
    fastly, gcore = doors["fastly"]["parameters"], doors["gcore_cdn"]["parameters"]
    assert (fastly["path"], fastly["dirs"]) == (f"/content-system/v2/store/{GAME}", 4)
    assert fastly["expires_at"] == int(player.now) + 24 * 3600
    assert int(gcore["time"], 16) == fastly["expires_at"] and not gcore["path"].startswith("/")
    assert doors["fastly"]["priority"] > doors["gcore_cdn"]["priority"] and doors["gcore_cdn"]["fallback_only"]


async def test_a_secure_link_is_for_owners(player: Player) -> None:
    refused = await player.ask(f"{SYSTEM}/products/{UNOWNED}/secure_link?_version=2&generation=2&path=/")
    said = f"User #{player.user} does not have the license for product #{UNOWNED}."
    assert (refused.status_code, refused.json()) == (403, {"error": "invalid_licence", "error_description": said})
    unknown = await player.ask(f"{SYSTEM}/products/7/secure_link?_version=2&generation=2&path=/")
    assert unknown.status_code == 403


@pytest.mark.parametrize("endpoint", ["fastly", "gcore_cdn"])
async def test_a_chunk_wants_a_good_signature_of_its_own_product_in_time(player: Player, endpoint: str) -> None:
    _, meta = await player.current_build(GAME)
    chunk = named(await player.manifest(depot_of(meta)), "data\\canals.dat")["chunks"][0]["compressedMd5"]
    door = (await player.endpoints(GAME))[endpoint]
    good = chunk_address(door, chunk)
    assert (await player.ask(good, signed_in=False)).status_code == 200
    token = door["parameters"]["token"]
    forged = good.replace(token, ("0" if token[0] != "0" else "1") + token[1:])
    other = good.replace(f"store/{GAME}", f"store/{OTHER}")
    plain = f"https://gog-cdn-fastly.gog.com/content-system/v2/store/{GAME}/{chunk[:2]}/{chunk[2:4]}/{chunk}"
    for bad in (forged, other, plain):
        assert (await player.ask(bad)).status_code == 403, bad
    player.now += 24 * 3600
    assert (await player.ask(good)).status_code == 403


async def test_an_expiry_cannot_be_moved(player: Player) -> None:
    _, meta = await player.current_build(GAME)
    chunk = named(await player.manifest(depot_of(meta)), "data\\canals.dat")["chunks"][0]["compressedMd5"]
    doors = await player.endpoints(GAME)
    for door, key in ((doors["fastly"], "expires_at"), (doors["gcore_cdn"], "time")):
        value = str(door["parameters"][key])
        later = f"{int(value, 16) + 1:x}" if key == "time" else str(int(value) + 1)
        assert (await player.ask(chunk_address(door, chunk).replace(value, later))).status_code == 403
    odd = chunk_address(doors["gcore_cdn"], chunk).replace("wsTime=", "wsTime=zz")
    assert (await player.ask(odd)).status_code == 403


async def test_an_unknown_chunk_or_meta_is_404(player: Player) -> None:
    door = (await player.endpoints(GAME))["fastly"]
    assert (await player.ask(chunk_address(door, "0" * 32))).status_code == 404
    zeros = "0" * 32
    for tail in (f"00/00/{zeros}", f"11/00/{zeros}", "x"):
        assert (await player.ask(f"https://gog-cdn-fastly.gog.com/content-system/v2/meta/{tail}")).status_code == 404


async def test_the_old_build_is_one_blob_read_by_ranges(player: Player) -> None:
    item = (await builds(player))[-1]
    repository = (await player.ask(item["link"], signed_in=False)).json()
    depot, redist = repository["product"]["depots"]
    assert isinstance(depot["size"], str) and depot["languages"] == ["Neutral"] and redist["redist"] == "MSVC2010"
    manifest = (await player.ask(item["link"].replace("repository.json", depot["manifest"]))).json()
    stamp = repository["product"]["timestamp"]
    link = await player.json(f"{SYSTEM}/products/{GAME}/secure_link?_version=2&type=depot&path=/windows/{stamp}/")
    door = next(entry for entry in link["urls"] if entry["endpoint_name"] == "fastly")
    assert door["parameters"]["dirs"] == 6
    address = door["url_format"]
    for key, value in {**door["parameters"], "path": f"{door['parameters']['path']}/main.bin"}.items():
        address = address.replace(f"{{{key}}}", str(value))
    files = [file for file in manifest["depot"]["files"] if file.get("size")]
    assert {"executable", "hidden", "support"} <= {key for file in files for key in file}
    for file in files:
        wanted = f"bytes={file['offset']}-{file['offset'] + file['size'] - 1}"
        part = await player.ask(address, headers={"range": wanted}, signed_in=False)
        assert part.status_code == 206 and md5(part.content) == file["hash"]
    assert any(file.get("directory") for file in manifest["depot"]["files"])
    assert (await player.ask(item["link"].replace("repository", "nothing"))).status_code == 404


async def test_redistributables_have_a_repository_and_open_links(player: Player) -> None:
    repository = await player.json(f"{SYSTEM}/dependencies/repository?generation=2", signed_in=False)
    [depot] = (await player.unpacked(repository["repository_manifest"]))["depots"]
    name = depot["manifest"]
    base = repository["repository_manifest"].partition("/meta/")[0]
    [item] = (await player.unpacked(f"{base}/meta/{name[:2]}/{name[2:4]}/{name}"))["depot"]["items"]
    link = await player.json(f"{SYSTEM}/open_link?generation=2&_version=2&path=/dependencies/store/", signed_in=False)
    chunk = item["chunks"][0]["compressedMd5"]
    answer = await player.ask(f"{link['urls'][0]['url']}/{chunk[:2]}/{chunk[2:4]}/{chunk}", signed_in=False)
    assert md5(answer.content) == chunk


async def test_there_are_no_patches(player: Player) -> None:
    assert (await player.ask(f"{SYSTEM}/products/{GAME}/patches?_version=4&from_build_id=1&to_build_id=2")).status_code == 404


async def any_chunk(player: Player) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    _, meta = await player.current_build(GAME)
    chunk: dict[str, Any] = named(await player.manifest(depot_of(meta)), "data\\canals.dat")["chunks"][0]
    return await player.endpoints(GAME), chunk


async def test_a_corrupt_chunk_has_its_size_but_not_its_digest(player: Player) -> None:
    doors, chunk = await any_chunk(player)
    player.faults.on("gog.chunk_corrupt", times=1)
    body = (await player.ask(chunk_address(doors["fastly"], chunk["compressedMd5"]))).content
    assert len(body) == chunk["compressedSize"] and md5(body) != chunk["compressedMd5"]
    await player.chunk(doors["fastly"], chunk)


async def test_a_missing_chunk_is_missing_on_every_endpoint(player: Player) -> None:
    doors, chunk = await any_chunk(player)
    player.faults.on("gog.chunk_404")
    for door in doors.values():
        assert (await player.ask(chunk_address(door, chunk["compressedMd5"]))).status_code == 404


@pytest.mark.parametrize("born", ["before", "under"])
async def test_an_expired_link_is_mended_by_a_new_one(player: Player, born: str) -> None:
    doors, chunk = await any_chunk(player)
    player.faults.on("gog.link_expired")
    if born == "under":
        doors = await player.endpoints(GAME)
    address = chunk_address(doors["fastly"], chunk["compressedMd5"])
    assert (await player.ask(address)).status_code == 403
    player.now += 1
    await player.chunk((await player.endpoints(GAME))["fastly"], chunk)
    assert (await player.ask(address)).status_code == 403


async def test_metas_and_manifests_can_be_plain_json(player: Player) -> None:
    link = (await builds(player))[1]["link"]
    zipped = await player.unpacked(link)
    player.faults.on("gog.plain_json_meta")
    plain = await player.ask(link)
    assert plain.content[:1] == b"{" and plain.json() == zipped


@pytest.mark.parametrize(
    ("fault", "paths"),
    [
        ("gog.hostile_path", {"..\\evil.txt", "data\\..\\..\\evil.txt"}),
        ("gog.hostile_absolute", {"C:\\evil.txt"}),
        ("gog.hostile_link", {"data/leak", "data\\leak\\evil.txt"}),
    ],
)
async def test_a_hostile_depot_is_whole_and_can_be_fetched(player: Player, fault: str, paths: set[str]) -> None:
    _, honest = await player.current_build(GAME)
    player.faults.on(fault)
    _, meta = await player.current_build(GAME)
    items = await player.manifest(depot_of(meta))
    extra = {item["path"] for item in items} - {item["path"] for item in await player.manifest(depot_of(honest))}
    assert extra == paths
    evil = next(item for item in items if item["path"].endswith("evil.txt"))
    await player.chunk((await player.endpoints(GAME))["fastly"], evil["chunks"][0])
    player.faults.off(fault)
    _, again = await player.current_build(GAME)
    assert again == honest


async def test_every_build_packs_to_the_same_bytes_everywhere(player: Player) -> None:
    async with gog_player() as other:
        assert await builds(player) == await builds(other)
