from __future__ import annotations

import io
import re
import stat
import subprocess
import tarfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from integ_server.sandbox.gog_downloads import checksum_xml
from integ_server.sandbox.world import make_world
from tests.conftest_sandbox import RunningSandbox
from tests.server.sandbox.gog_player import CLIENT, Player, gog_player, md5

GAME, DLC, UNOWNED, WINDOWS = 1_900_000_101, 1_900_000_102, 1_900_000_103, 1_900_000_201
MIB = 1 << 20


@pytest.fixture
async def player() -> AsyncIterator[Player]:
    async with gog_player() as player:
        yield player


async def offered(player: Player, product: int) -> dict[str, Any]:
    found: dict[str, Any] = (await player.json(f"https://api.gog.com/products/{product}?expand=downloads"))["downloads"]
    return found


async def installer(player: Player, product: int = GAME) -> bytes:
    answer = await player.ask((await player.downlink(product))["downlink"], signed_in=False)
    assert answer.status_code == 200
    return answer.content


def entries(body: bytes) -> dict[str, zipfile.ZipInfo]:
    return {entry.filename: entry for entry in zipfile.ZipFile(io.BytesIO(body)).infolist()}


async def test_installers_are_listed_by_system_with_sizes_rounded_to_a_mebibyte(player: Player) -> None:
    found = await offered(player, GAME)
    by_system = {entry["os"]: entry for entry in found["installers"]}
    assert by_system.keys() == {"linux", "windows"}
    linux, windows = by_system["linux"], by_system["windows"]
    assert linux["files"][0]["id"] == "en3installer0" and linux["version"] == "1.0.3 (70003)"
    assert [file["id"] for file in windows["files"]] == ["en1installer0", "en1installer1"]
    assert all(file["size"] % MIB == 0 and file["size"] > 0 for entry in by_system.values() for file in entry["files"])
    assert linux["total_size"] != len(await installer(player)) < linux["total_size"]
    assert [patch["version"] for patch in found["patches"]] == ["1.0 to 1.1"]


async def test_extras_have_numbers_for_ids_and_some_are_placeholders(player: Player) -> None:
    extras = (await offered(player, GAME))["bonus_content"]
    assert [(extra["id"], extra["count"], extra["total_size"]) for extra in extras] == [(88001, 1, MIB), (88002, 0, 0)]
    link = await player.downlink(GAME, "88001", "product_bonus")
    assert (await player.ask(link["downlink"])).status_code == 200
    assert (await player.ask(link["checksum"])).status_code == 404


async def test_a_dlc_repeats_the_file_ids_of_its_game_and_may_have_no_version(player: Player) -> None:
    found = (await offered(player, DLC))["installers"]
    assert {file["id"] for entry in found for file in entry["files"]} >= {"en1installer0", "en3installer0"}
    assert any(entry["version"] is None for entry in found)


async def test_a_product_without_content_offers_nothing(player: Player) -> None:
    assert not any((await offered(player, 1_900_000_301)).values())
    assert [entry["os"] for entry in (await offered(player, WINDOWS))["installers"]] == ["windows"]


async def test_a_downlink_is_signed_for_its_folder(player: Player) -> None:
    link = await player.downlink(GAME)
    assert re.fullmatch(
        rf"https://gog-cdn-fastly\.gog\.com/token=nva=\d+~dirs=6~token=[0-9a-f]+/secure/offline/{GAME}/{GAME}/(\d+)/\1/lantern_keep_1_0_3_\1\.sh",
        link["downlink"],
    )
    assert link["checksum"] == f"{link['downlink']}.xml"


async def test_a_name_with_brackets_is_quoted_in_the_address(player: Player) -> None:
    address = (await player.downlink(WINDOWS, "en1installer0"))["downlink"]
    assert "%2864bit%29" in address
    answer = await player.ask(address)
    assert answer.content[:2] == b"MZ"
    assert unquote(urlsplit(address).path).endswith("setup_brasswater_drift_1.1_(64bit)_(70003).exe")


@pytest.mark.parametrize(
    "wrong", [f"{UNOWNED}/downlink/installer/en1installer0", f"{GAME}/downlink/installer/en9installer0", "7/downlink/installer/x"]
)
async def test_what_is_not_owned_or_not_there_is_404(player: Player, wrong: str) -> None:
    assert (await player.ask(f"https://api.gog.com/products/{wrong}")).status_code == 404


async def test_a_signed_download_runs_out_and_cannot_be_forged(player: Player) -> None:
    address = (await player.downlink(GAME))["downlink"]
    assert (await player.ask(address.replace(f"/{GAME}/{GAME}/", f"/{WINDOWS}/{WINDOWS}/"))).status_code == 403
    player.now += 6 * 3600
    assert (await player.ask(address)).status_code == 403
    player.token = (await player.refresh()).json()
    assert (await player.ask((await player.downlink(GAME))["downlink"])).status_code == 200


async def test_the_checksum_file_is_exact(player: Player) -> None:
    body = await installer(player)
    told = ET.fromstring((await player.ask((await player.downlink(GAME))["checksum"])).text)
    assert (told.get("md5"), told.get("total_size"), told.get("chunks")) == (md5(body), str(len(body)), "1")
    [chunk] = told
    assert (chunk.get("from"), chunk.get("to"), chunk.text) == ("0", str(len(body) - 1), md5(body))


def test_a_large_file_has_a_digest_for_each_piece_of_ten_mebibytes() -> None:
    body = bytes(10_485_760) + b"x" * 5
    chunks = list(ET.fromstring(checksum_xml('a "b" & c.exe', body)))
    assert [(chunk.get("from"), chunk.get("to")) for chunk in chunks] == [("0", "10485759"), ("10485760", "10485764")]
    assert [chunk.text for chunk in chunks] == [md5(bytes(10_485_760)), md5(b"xxxxx")]


async def test_a_download_can_be_resumed(player: Player) -> None:
    address, body = (await player.downlink(GAME))["downlink"], await installer(player)
    rest = await player.ask(address, headers={"range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, body[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(body) - 1}/{len(body)}"
    part = await player.ask(address, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, body[10:20])
    beyond = await player.ask(address, headers={"range": f"bytes={len(body)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(body)}")


async def test_a_cdn_can_ignore_ranges(player: Player) -> None:
    address, body = (await player.downlink(GAME))["downlink"], await installer(player)
    player.faults.on("gog.range_off")
    answer = await player.ask(address, headers={"range": "bytes=1000-"})
    assert (answer.status_code, answer.content) == (200, body)


# --- what is inside ------------------------------------------------------------------------------------------------


async def test_the_zip_begins_where_the_script_says(player: Player) -> None:
    body = await installer(player)
    lines = re.search(rb'^offset=`head -n (\d+) "\$0"', body, re.MULTILINE)
    size = re.search(rb'^filesizes="(\d+)"$', body, re.MULTILINE)
    assert body.startswith(b"#!/bin/sh\n") and lines and size
    header = sum(len(line) for line in body.splitlines(keepends=True)[: int(lines[1])])
    start = header + int(size[1])
    assert body[start : start + 4] == b"PK\x03\x04" and body.index(b"PK\x03\x04") == start
    with tarfile.open(fileobj=io.BytesIO(body[header:start]), mode="r:gz") as mojosetup:
        assert "startmojo.sh" in mojosetup.getnames()
    with zipfile.ZipFile(io.BytesIO(body[start:])) as alone:
        assert alone.testzip() is None


async def test_the_installer_tells_about_itself_when_it_is_run(player: Player, tmp_path: Path) -> None:
    script = tmp_path / "lantern.sh"
    script.write_bytes(await installer(player))
    told = subprocess.run(["/bin/sh", script, "--info"], check=True, capture_output=True, text=True)
    assert told.stdout.startswith("Lantern Keep (GOG.com)")
    listed = subprocess.run(["/bin/sh", script, "--list"], check=True, capture_output=True, text=True)
    assert "bin/linux/x86_64/mojosetup" in listed.stdout
    assert subprocess.run(["/bin/sh", script], check=False, capture_output=True).returncode == 1


async def test_the_installer_holds_modes_a_symlink_and_a_split_file(player: Player) -> None:
    body = await installer(player)
    found = entries(body)
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert found["data/noarch/start.sh"].external_attr >> 16 == stat.S_IFREG | 0o755
    link = found["data/noarch/game/lantern-keep"]
    assert stat.S_ISLNK(link.external_attr >> 16) and archive.read(link) == b"bin/lantern_keep.py"
    assert archive.read("data/noarch/support/split_files") == b"game/charts/nights.txt\n"
    assert {"data/noarch/game/charts/nights.txt.split00", "data/noarch/game/charts/nights.txt.split01"} <= found.keys()
    assert {entry.compress_type for entry in found.values()} == {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    assert any(not name.startswith("data/") for name in found)
    gameinfo = archive.read("data/noarch/gameinfo").decode().splitlines()
    assert (gameinfo[0], gameinfo[1], gameinfo[3], gameinfo[4]) == ("Lantern Keep", "1.0.3 (70003)", "en-US", str(GAME))
    assert len(gameinfo[6]) == 17


async def test_the_dlc_adds_files_to_the_same_folder(player: Player) -> None:
    dlc = entries(await installer(player, DLC))
    assert "data/noarch/game/charts/winter.txt" in dlc and f"data/noarch/game/goggame-{DLC}.info" in dlc
    shared = {
        name for name in dlc.keys() & entries(await installer(player)).keys() if name.startswith("data/noarch/game/") and name[-1] != "/"
    }
    assert shared == set()


async def test_an_update_changes_some_entries_and_the_version(player: Player) -> None:
    before = entries(await installer(player))
    player.faults.on("gog.update_out")
    linux = next(entry for entry in (await offered(player, GAME))["installers"] if entry["os"] == "linux")
    after = entries(await installer(player))
    assert linux["version"] == "1.0.4 (70104)"
    changed = {name for name in before if before[name].CRC != after[name].CRC}
    assert "data/noarch/game/bin/lantern_keep.py" not in changed
    assert "data/noarch/game/charts/nights.txt.split01" in changed


@pytest.mark.parametrize(
    ("fault", "extra"),
    [
        ("gog.hostile_path", {"data/noarch/../../../evil.txt", "data/noarch/game/../../../evil.txt"}),
        ("gog.hostile_absolute", {"data/noarch//evil.txt"}),
        ("gog.hostile_link", {"data/noarch/game/leak", "data/noarch/game/leak/evil.txt"}),
    ],
)
async def test_a_hostile_installer_has_a_matching_checksum(player: Player, fault: str, extra: set[str]) -> None:
    honest = entries(await installer(player)).keys()
    player.faults.on(fault)
    body = await installer(player)
    assert entries(body).keys() - honest == extra
    told = ET.fromstring((await player.ask((await player.downlink(GAME))["checksum"])).text)
    assert told.get("md5") == md5(body)


async def test_innoextract_and_unzip_agree_that_it_is_a_zip(player: Player, need: Callable[[str], str], tmp_path: Path) -> None:
    unzip = need("unzip")
    script = tmp_path / "lantern.sh"
    script.write_bytes(await installer(player))
    told = subprocess.run([unzip, "-q", "-o", script, "-d", tmp_path / "out"], check=False, capture_output=True)
    assert told.returncode in (0, 1), "1: it warns about the script in front"
    assert (tmp_path / "out/data/noarch/game/lantern-keep").is_symlink()


# --- faults --------------------------------------------------------------------------------------------------------


async def test_checksum_files_can_be_missing_broken_or_of_another_file(player: Player) -> None:
    link, body = await player.downlink(GAME), await installer(player)
    player.faults.on("gog.xml_404", times=1)
    assert (await player.ask(link["checksum"])).status_code == 404
    player.faults.on("gog.xml_malformed", times=1)
    with pytest.raises(ET.ParseError):
        ET.fromstring((await player.ask(link["checksum"])).text)
    player.faults.on("gog.xml_mismatch", times=1)
    told = ET.fromstring((await player.ask(link["checksum"])).text)
    assert told.get("total_size") == str(len(body)) and told.get("md5") != md5(body)
    assert ET.fromstring((await player.ask(link["checksum"])).text).get("md5") == md5(body)


async def test_a_page_can_come_where_the_installer_belongs(player: Player) -> None:
    link = await player.downlink(GAME)
    player.faults.on("gog.html_installer", times=1)
    page = await player.ask(link["downlink"])
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html") and page.content[:1] == b"<"
    assert (await player.ask(link["checksum"])).status_code == 200


async def test_an_expired_download_is_mended_by_resolving_it_again(player: Player) -> None:
    link = await player.downlink(GAME)
    player.faults.on("gog.link_expired")
    assert (await player.ask(link["downlink"])).status_code == 403
    assert (await player.ask((await player.downlink(GAME))["downlink"])).status_code == 200


async def test_the_other_cdn_signs_the_one_address(player: Player) -> None:
    player.faults.on("gog.gcdn")
    link = await player.downlink(GAME)
    assert link["downlink"].startswith("https://gog-cdn.gcdn.co/secure/offline/") and "wsSecret=" in link["downlink"]
    path, _, query = link["downlink"].partition("?")
    assert (await player.ask(link["downlink"])).status_code == 200
    assert (await player.ask(link["checksum"])).status_code == 200
    assert (await player.ask(f"{path}.xml?{query}")).status_code == 403, "nothing may be appended"
    assert (await player.ask(f"{path}.xml?{query.replace('.sh', '.sh.xml')}")).status_code == 403


async def test_a_download_can_take_one_more_hop_over_another_host(player: Player) -> None:
    player.faults.on("gog.redirected")
    link = await player.downlink(GAME)
    assert link["downlink"].startswith("http://cdn.gog.com/")
    hop = await player.ask(link["downlink"])
    assert hop.status_code == 302 and hop.headers["location"].startswith("https://gog-cdn.gcdn.co/")
    assert (await player.ask(hop.headers["location"], signed_in=False)).content[:9] == b"#!/bin/sh"
    player.faults.off("gog.redirected")
    assert (await player.ask(link["downlink"])).status_code == 404


def test_over_a_socket_a_body_breaks_off_where_the_fault_says(sandbox: RunningSandbox) -> None:
    with httpx.Client() as http:
        asked = {
            "client_id": CLIENT["client_id"],
            "redirect_uri": "https://embed.gog.com/on_login_success?origin=client",
            "response_type": "code",
        }
        landing = http.get(sandbox.at("https://auth.gog.com/auth"), params=asked).headers["location"]
        assert landing.startswith(f"{sandbox.url}/embed.gog.com/on_login_success")
        grant = {**CLIENT, "grant_type": "authorization_code", "code": landing.partition("code=")[2]}
        token = http.get(sandbox.at("https://auth.gog.com/token"), params=grant).json()
        http.headers["authorization"] = f"Bearer {token['access_token']}"
        link = http.get(sandbox.at(f"https://api.gog.com/products/{DLC}/downlink/installer/en3installer0")).json()
        whole = http.get(sandbox.at(link["downlink"])).content
        for fault, address in (
            ("gog.cut_body", "https://embed.gog.com/account/getFilteredProducts?mediaType=1"),
            ("gog.cut_download", link["downlink"]),
        ):
            sandbox.faults.on(fault, times=1)
            with pytest.raises(httpx.RemoteProtocolError):
                http.get(sandbox.at(address))
            assert http.get(sandbox.at(address)).status_code == 200
        sandbox.faults.on("gog.slow")
        assert http.get(sandbox.at(link["downlink"])).content == whole


def test_both_demo_games_are_in_every_world() -> None:
    for name in ("small", "demo"):
        world = make_world(name)
        assert world.with_content("native-game").os == ("windows", "linux")
        assert world.with_content("windows-game").os == ("windows",)
