"""What to fetch of a game at GOG: which build, which parts, which installer; and nothing that is not GOG's."""

from __future__ import annotations

import json
import zlib
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UsageError,
)
from integ_server.contract.types import DownloadPlan, DownloadRequest
from integ_server.providers._gog_installer import Checksum, file_name_of, read_checksum
from integ_server.providers._gog_languages import choose_language, language_code
from integ_server.providers._http import inflated
from integ_server.providers.base import Credentials
from integ_server.providers.gog import Gog
from integ_server.upstream import BulkDoor, rewritten
from tests.server.providers.outside import over, through
from tests.server.providers.test_gog import signed_in

LOGIN = Credentials("51", "r3fresh", "acc3ss")
BASE, DLC, OTHER = "1900000101", "1900000102", "1900000103"
CDN = "https://gog-cdn-fastly.gog.com"
FASTLY: dict[str, Any] = {
    "endpoint_name": "fastly",
    "url_format": "{base_url}/token=nva={expires_at}~dirs={dirs}~token={token}{path}",
    "parameters": {"base_url": CDN, "path": f"/content-system/v2/store/{BASE}", "token": "0a1b", "expires_at": 1785355909, "dirs": 4},
    "priority": 10,
    "supports_generation": [1, 2],
    "fallback_only": False,
}
GCORE = {**FASTLY, "endpoint_name": "gcore", "priority": 20, "fallback_only": True}
MD5 = "0123456789abcdef0123456789abcdef"


def depot(product: str, number: int, *languages: str, **more: Any) -> dict[str, Any]:
    manifest = f"{number:032x}"
    return {"productId": product, "languages": list(languages or ("*",)), "manifest": manifest, "size": 100, "compressedSize": 60, **more}


def meta(*depots: dict[str, Any], **more: Any) -> dict[str, Any]:
    products = [{"productId": each, "name": f"Product {each}"} for each in dict.fromkeys([BASE, *(one["productId"] for one in depots)])]
    whole = {
        "version": 2,
        "baseProductId": BASE,
        "buildId": "58",
        "depots": list(depots),
        "installDirectory": "Lantern",
        "products": products,
    }
    return {**whole, "offlineDepot": depot(BASE, 99), **more}


def build(number: int, generation: int = 2, branch: str | None = None, **more: Any) -> dict[str, Any]:
    whole = {"build_id": str(number), "branch": branch, "version_name": f"1.{number}", "generation": generation}
    return {**whole, "link": f"{CDN}/content-system/v2/meta/{number}", **more}


class Outside:
    """GOG's content system and installers, as far as a test sets them up."""

    def __init__(self) -> None:
        self.owned: Any = {"owned": [int(BASE), int(DLC)]}
        self.builds: Any = {"items": [build(2), build(1)]}
        self.meta: Any = meta(depot(BASE, 1), depot(DLC, 2))
        self.links: dict[str, Any] = {each: {"urls": [FASTLY, GCORE]} for each in (BASE, DLC)}
        self.cards: dict[str, Any] = {}
        self.downlinks: dict[str, Any] = {}
        self.files: dict[str, Any] = {}
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path, host = request.url.path, request.url.host
        last = path.rpartition("/")[2]
        reply: Any = None
        if path == "/user/data/games":
            reply = self.owned
        elif path.endswith("/builds"):
            reply = self.builds
        elif path.endswith("/secure_link"):
            reply = self.links.get(path.split("/")[2], httpx.Response(403, json={"error": "invalid_licence"}))
        elif host == "api.gog.com":
            reply = self.downlinks.get(last) if "/downlink/" in path else self.cards.get(last)
        elif "/v2/meta/" in path:
            reply = (
                self.meta
                if isinstance(self.meta, httpx.Response)
                else httpx.Response(200, content=zlib.compress(json.dumps(self.meta).encode()))
            )
        else:
            reply = self.files.get(last)
        if reply is None:
            reply = httpx.Response(404, json={})
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)


async def plan(outside: Outside, **wanted: Any) -> DownloadPlan:
    return await Gog(over(outside)).download_plan(LOGIN, BASE, DownloadRequest(**wanted))


# --- builds --------------------------------------------------------------------------------------------------------


async def test_a_windows_build_is_planned_with_the_owned_dlc() -> None:
    found = await plan(Outside())
    assert (found.key, found.kind, found.build, found.version, found.platform) == (f"gog:{BASE}", "galaxy", "2", "1.2", "windows")
    assert (found.title, found.folder_name, found.language, found.dlc) == (f"Product {BASE}", "Lantern", "en-US", [DLC])
    assert (found.download_bytes, found.disk_bytes) == (120, 200)
    assert [each.product_id for each in found.depots] == [BASE, DLC]
    hashed = f"{1:032x}"
    assert found.depots[0].manifest_url == f"{CDN}/content-system/v2/meta/{hashed[:2]}/{hashed[2:4]}/{hashed}"
    assert [each.endpoint_name for each in found.endpoints[BASE]] == ["fastly", "gcore"]
    assert set(found.endpoints) == {BASE, DLC}


async def test_the_token_goes_to_gogs_hosts_and_not_to_the_cdn() -> None:
    outside = Outside()
    await plan(outside)
    hosts = {request.url.host: "Authorization" in request.headers for request in outside.asked}
    assert hosts["gog-cdn-fastly.gog.com"] is False
    assert hosts["content-system.gog.com"] is True
    assert "acc3ss" not in str(await plan(Outside()))


@pytest.mark.parametrize(
    ("wanted", "dlc"),
    [({"dlc": "none"}, []), ({"dlc": "all"}, [DLC]), ({"dlc": [DLC]}, [DLC]), ({"dlc": []}, [])],
)
async def test_only_the_dlc_that_is_wanted_comes_along(wanted: dict[str, Any], dlc: list[str]) -> None:
    found = await plan(Outside(), **wanted)
    assert found.dlc == dlc
    assert {each.product_id for each in found.depots} == {BASE, *dlc}
    assert set(found.endpoints) == {BASE, *dlc}


async def test_a_dlc_that_is_not_owned_is_not_in_all_and_is_refused_by_name() -> None:
    outside = Outside()
    outside.meta = meta(depot(BASE, 1), depot(OTHER, 2))
    assert (await plan(outside)).dlc == []
    with pytest.raises(PermissionDeniedError, match=OTHER):
        await plan(outside, dlc=[OTHER])
    with pytest.raises(NotFoundError, match="1234") as told:
        await plan(outside, dlc=["1234"])
    assert OTHER in told.value.hint


async def test_a_dlc_without_a_licence_is_left_out_of_all_and_refused_by_name() -> None:
    outside = Outside()
    del outside.links[DLC]
    found = await plan(outside)
    assert found.dlc == []
    assert {each.product_id for each in found.depots} == {BASE}
    assert found.download_bytes == 60
    with pytest.raises(PermissionDeniedError):
        await plan(outside, dlc=[DLC])


async def test_a_game_without_a_licence_is_refused() -> None:
    outside = Outside()
    del outside.links[BASE]
    with pytest.raises(PermissionDeniedError):
        await plan(outside)


async def test_a_dlcs_parts_come_after_the_games_since_its_copy_wins() -> None:
    outside = Outside()
    outside.meta = meta(depot(DLC, 1), depot(BASE, 2), depot(DLC, 3), depot(BASE, 4))
    assert [each.product_id for each in (await plan(outside)).depots] == [BASE, BASE, DLC, DLC]


@pytest.mark.parametrize(
    ("wanted", "language", "numbers"),
    [
        (None, "en-US", [1, 2]),
        ("fr", "fr-FR", [1, 3]),
        ("French", "fr-FR", [1, 3]),
        ("fr-FR", "fr-FR", [1, 3]),
        ("br", "pt-BR", [1, 4]),
        ("ja-JP", "en-US", [1, 2]),
        ("Klingon", "en-US", [1, 2]),
    ],
)
async def test_a_language_is_found_by_any_of_its_names_and_english_stands_in(wanted: str | None, language: str, numbers: list[int]) -> None:
    outside = Outside()
    outside.meta = meta(depot(BASE, 1), depot(BASE, 2, "en-US"), depot(BASE, 3, "fr-FR"), depot(BASE, 4, "br"))
    found = await plan(outside, language=wanted)
    assert found.language == language
    assert [int(each.manifest_url[-32:], 16) for each in found.depots] == numbers


async def test_a_game_without_english_comes_in_a_language_it_has() -> None:
    outside = Outside()
    outside.meta = meta(depot(BASE, 1), depot(BASE, 2, "German"), depot(BASE, 3, "Neutral"), depot(BASE, 4, "*", "fr-FR"))
    found = await plan(outside)
    assert found.language == "de-DE"
    assert len(found.depots) == 4


@pytest.mark.parametrize(
    ("marks", "numbers"),
    [
        ([None, ["64"], ["32"]], [1, 2]),
        ([["32"], ["64"], ["32", "64"]], [2, 3]),
        ([["!32"], ["!64"], []], [1, 3]),
        ([["32"], ["32"], ["32"]], [1, 2, 3]),
    ],
)
async def test_parts_are_for_64_bits_unless_there_are_none(marks: list[list[str] | None], numbers: list[int]) -> None:
    outside = Outside()
    outside.meta = meta(*(depot(BASE, number, osBitness=mark) for number, mark in enumerate(marks, 1)))
    assert [int(each.manifest_url[-32:], 16) for each in (await plan(outside)).depots] == numbers


async def test_the_newest_build_of_the_default_channel_is_taken_unless_another_is_named() -> None:
    outside = Outside()
    outside.builds = {"items": [build(9, branch="beta"), build(8), build(7), build(3, 1)]}
    assert (await plan(outside)).build == "8"
    assert (await plan(outside, build="7")).build == "7"
    assert (await plan(outside, branch="beta")).build == "9"
    for wanted in ({"build": "5"}, {"branch": "nightly"}):
        with pytest.raises(NotFoundError) as told:
            await plan(outside, **wanted)
        assert told.value.hint


async def test_a_list_with_branches_only_gives_its_first_build() -> None:
    outside = Outside()
    outside.builds = {"items": [build(9, branch="beta"), build(8, branch="old")]}
    assert (await plan(outside)).build == "9"


async def test_builds_in_the_oldest_format_are_passed_over_or_told() -> None:
    outside = Outside()
    outside.builds = {"items": [build(9, 1), build(8)]}
    assert (await plan(outside)).build == "8"
    with pytest.raises(UsageError, match="oldest format"):
        await plan(outside, build="9")
    outside.builds = {"items": [build(9, 1)]}
    with pytest.raises(UsageError) as told:
        await plan(outside)
    assert "--platform linux" in told.value.hint


@pytest.mark.parametrize("builds", [httpx.Response(404, json={"error": "not_found"}), {"total_count": 0, "items": []}, {"items": None}])
async def test_a_game_without_builds_is_told(builds: Any) -> None:
    outside = Outside()
    outside.builds = builds
    with pytest.raises(NotFoundError):
        await plan(outside)


async def test_a_build_is_described_by_the_best_endpoint_that_answers() -> None:
    ways = [
        {"endpoint_name": "c", "url": f"{CDN}/content-system/v2/meta/c", "priority": 1, "fallback_only": True},
        {"endpoint_name": "a", "url": "https://gog-cdn.gcdn.co/gone", "priority": 10},
        {"endpoint_name": "b", "url": f"{CDN}/content-system/v2/meta/b", "priority": 5},
    ]
    outside = Outside()
    outside.builds = {"items": [{**build(2), "link": "", "urls": ways}]}
    outside.files["gone"] = httpx.Response(503)
    assert (await plan(outside)).build == "2"
    assert [request.url.path.rpartition("/")[2] for request in outside.asked if request.url.host.startswith("gog-cdn")][-1] == "b"


@pytest.mark.parametrize(
    "body", [json.dumps(meta(depot(BASE, 1))).encode(), zlib.compress(json.dumps(meta(depot(BASE, 1))).encode())], ids=["plain", "zlib"]
)
async def test_a_description_comes_packed_or_plain(body: bytes) -> None:
    outside = Outside()
    outside.meta = httpx.Response(200, content=body)
    assert (await plan(outside)).build == "2"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ProviderUnavailableError),
        (b"<html>", ProviderUnavailableError),
        (zlib.compress(b'{"version":2}')[:-4], ProviderUnavailableError),
        (zlib.compress(b'{"version":2}'), ProviderError),
        (zlib.compress(json.dumps(meta(depot("x", 1))).encode()), ProviderError),
        (zlib.compress(json.dumps(meta(depot(BASE, 1, manifest="../../etc/passwd"))).encode()), ProviderError),
        (zlib.compress(json.dumps(meta(depot(BASE, 1, manifest=MD5.upper()))).encode()), ProviderError),
    ],
)
async def test_a_description_that_is_none_is_told(body: bytes, kind: type[IntegError]) -> None:
    outside = Outside()
    outside.meta = httpx.Response(200, content=body)
    with pytest.raises(kind):
        await plan(outside)


@pytest.mark.parametrize(
    "link", ["http://gog-cdn-fastly.gog.com/content-system/v2/meta/x", "https://127.0.0.1/v2/meta/x", "file:///etc/passwd", ""]
)
async def test_a_description_at_no_public_https_address_is_not_asked_for(link: str) -> None:
    outside = Outside()
    outside.builds = {"items": [{**build(2), "link": link}]}
    with pytest.raises(ProviderError):
        await plan(outside)
    assert all("meta" not in request.url.path for request in outside.asked)


@pytest.mark.parametrize(
    "way",
    [
        {**FASTLY, "url_format": ""},
        {**FASTLY, "parameters": {}},
        {**FASTLY, "parameters": {**FASTLY["parameters"], "base_url": "http://gog-cdn-fastly.gog.com"}},
        {**FASTLY, "parameters": {**FASTLY["parameters"], "path": ["x"]}},
        {**FASTLY, "parameters": {**FASTLY["parameters"], "token": {"a": 1}}},
        {**FASTLY, "supports_generation": [1]},
    ],
)
async def test_a_way_that_integ_cannot_follow_is_passed_over_or_told(way: dict[str, Any]) -> None:
    outside = Outside()
    outside.links[BASE] = {"urls": [way, GCORE]}
    assert [each.endpoint_name for each in (await plan(outside)).endpoints[BASE]] == ["gcore"]
    outside.links[BASE] = {"urls": [way]}
    with pytest.raises(ProviderError):
        await plan(outside)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (httpx.Response(401, json={"error": "access_denied"}), AuthenticationError),
        (httpx.Response(403, text="<html>"), PermissionDeniedError),
        (httpx.Response(429, headers={"Retry-After": "60"}), RateLimitedError),
        (httpx.Response(503), ProviderUnavailableError),
    ],
)
async def test_trouble_with_a_dlcs_links_is_told_and_is_no_missing_licence(reply: httpx.Response, kind: type[IntegError]) -> None:
    outside = Outside()
    outside.links[DLC] = reply
    with pytest.raises(kind) as told:
        await plan(outside)
    assert type(told.value) is kind


async def test_a_plan_shows_no_signed_link_when_it_is_printed() -> None:
    assert "0a1b" not in repr(await plan(Outside()))


# --- Linux installers ----------------------------------------------------------------------------------------------


def native(number: str = BASE, *languages: str, **more: Any) -> dict[str, Any]:
    installers = [
        {
            "id": f"installer_linux_{language}",
            "os": "linux",
            "language": language,
            "version": "1.2 (70001)",
            "total_size": 3 << 20,
            "files": [
                {
                    "id": "en3installer0",
                    "size": 3 << 20,
                    "downlink": f"https://api.gog.com/products/{number}/downlink/installer/{language}{number}",
                }
            ],
        }
        for language in languages or ("en",)
    ]
    windows = {"os": "windows", "language": "en", "version": "1.2", "files": [{"id": "en1installer0", "downlink": "https://api.gog.com/x"}]}
    return {
        "id": int(number),
        "title": "Lantern Keep",
        "slug": "lantern_keep",
        "dlcs": [],
        "downloads": {"installers": [windows, *installers]},
        **more,
    }


def resolved(name: str, **more: Any) -> dict[str, Any]:
    return {
        "downlink": f"{CDN}/token=nva=1~dirs=6~token=0a1b/secure/offline/1/1/1/1/{name}",
        "checksum": f"{CDN}/checksums/{name}.xml",
        **more,
    }


def checksum(name: str, md5: str = MD5, size: int = 3_000_001) -> httpx.Response:
    return httpx.Response(
        200,
        text=f'<file name="{name}" available="1" md5="{md5}" chunks="1" total_size="{size}"><chunk id="0" from="0" to="1">a</chunk></file>',
    )


def on_linux(*languages: str) -> Outside:
    outside = Outside()
    outside.cards[BASE] = native(BASE, *languages)
    for language in languages or ("en",):
        outside.downlinks[f"{language}{BASE}"] = resolved(f"lantern_{language}.sh")
        outside.files[f"lantern_{language}.sh.xml"] = checksum(f"lantern_{language}.sh")
    return outside


async def test_a_native_installer_comes_first() -> None:
    found = await plan(on_linux())
    assert (found.kind, found.platform, found.build, found.version, found.language) == (
        "linux_installer",
        "linux",
        "1.2 (70001)",
        "1.2 (70001)",
        "en-US",
    )
    assert found.installer is not None
    assert found.installer.file_name == "lantern_en.sh"
    assert (found.installer.size_bytes, found.installer.md5) == (3_000_001, MD5)
    assert found.download_bytes == 3_000_001
    assert "0a1b" not in repr(found)


async def test_windows_is_had_on_demand_and_by_branch() -> None:
    assert (await plan(on_linux(), platform="windows")).kind == "galaxy"
    assert (await plan(on_linux(), build="2")).kind == "galaxy"
    assert (await plan(on_linux(), build="1.2 (70001)")).kind == "linux_installer"
    outside = on_linux()
    outside.builds = {"items": [build(9, branch="beta")]}
    assert (await plan(outside, branch="beta")).kind == "galaxy"


async def test_linux_on_demand_is_had_or_told() -> None:
    with pytest.raises(NotFoundError, match="Linux"):
        await plan(Outside(), platform="linux")
    with pytest.raises(NotFoundError, match="7"):
        await plan(on_linux(), platform="linux", build="7")
    with pytest.raises(UsageError):
        await plan(on_linux(), platform="linux", branch="beta")


@pytest.mark.parametrize(("wanted", "taken"), [(None, "en"), ("German", "de"), ("jp", "en"), ("fr-FR", "fr")])
async def test_the_installer_of_the_language_is_taken_else_english(wanted: str | None, taken: str) -> None:
    found = await plan(on_linux("de", "en", "fr"), language=wanted)
    assert found.installer is not None
    assert found.installer.file_name == f"lantern_{taken}.sh"


async def test_an_owned_dlc_with_an_installer_of_its_own_comes_along() -> None:
    outside = on_linux()
    outside.cards[BASE]["dlcs"] = {"products": [{"id": int(DLC)}, {"id": int(OTHER)}]}
    outside.cards[DLC] = native(DLC)
    outside.downlinks[f"en{DLC}"] = resolved("winter.sh", checksum="")
    found = await plan(outside)
    assert found.dlc == [DLC]
    assert [each.file_name for each in found.dlc_installers] == ["winter.sh"]
    assert found.download_bytes == 3_000_001 + (3 << 20)
    assert (await plan(outside, dlc="none")).dlc_installers == []
    with pytest.raises(PermissionDeniedError):
        await plan(outside, dlc=[OTHER])
    with pytest.raises(NotFoundError):
        await plan(outside, dlc=["1234"])


async def test_a_dlc_without_a_linux_installer_is_part_of_the_game() -> None:
    outside = on_linux()
    outside.cards[BASE]["dlcs"] = {"products": [{"id": int(DLC)}]}
    found = await plan(outside)
    assert (found.dlc, found.dlc_installers) == ([], [])


async def test_a_dlc_is_not_installed_by_itself() -> None:
    outside = on_linux()
    outside.cards[BASE]["game_type"] = "dlc"
    with pytest.raises(UsageError, match="DLC"):
        await plan(outside)


async def test_a_game_that_is_not_owned_is_refused() -> None:
    outside = on_linux()
    outside.owned = {"owned": [1]}
    with pytest.raises(PermissionDeniedError):
        await plan(outside)


@pytest.mark.parametrize(
    "downlink",
    [
        "https://evil.example/downlink/x",
        "http://api.gog.com/x",
        "https://api.gog.com.evil.example/x",
        "https://u:p@api.gog.com/x",
        "file:///x",
    ],
)
async def test_the_token_is_never_sent_to_another_host(downlink: str) -> None:
    outside = on_linux()
    outside.cards[BASE]["downloads"]["installers"][1]["files"][0]["downlink"] = downlink
    with pytest.raises(ProviderError):
        await plan(outside)
    assert all(request.url.host.endswith(".gog.com") for request in outside.asked)


@pytest.mark.parametrize("address", ["ftp://cdn.gog.com/x.sh", "https://127.0.0.1/x.sh", "https://localhost/x.sh", "/etc/passwd", ""])
async def test_an_installer_at_no_public_https_address_is_refused(address: str) -> None:
    outside = on_linux()
    outside.downlinks[f"en{BASE}"] = {"downlink": address}
    with pytest.raises(ProviderError):
        await plan(outside)


async def test_a_plain_http_address_of_the_cdn_is_asked_by_https() -> None:
    outside = on_linux()
    outside.downlinks[f"en{BASE}"] = {
        "downlink": "http://cdn.gog.com/redirect/lantern.sh",
        "checksum": "http://cdn.gog.com/lantern_en.sh.xml",
    }
    found = await plan(outside)
    assert found.installer is not None
    assert found.installer.url == "https://cdn.gog.com/redirect/lantern.sh"
    assert found.installer.md5 == MD5


@pytest.mark.parametrize(
    "told",
    [
        httpx.Response(404),
        httpx.Response(200, text=""),
        httpx.Response(200, text="<file name="),
        httpx.Response(503),
        checksum("x", md5="none", size=0).text[:30],
        None,
    ],
    ids=["404", "empty", "cut", "503", "broken", "missing"],
)
async def test_an_installer_without_a_usable_checksum_is_unverified_and_still_there(told: Any) -> None:
    outside = on_linux()
    outside.files["lantern_en.sh.xml"] = httpx.Response(200, text=told) if isinstance(told, str) else told
    found = await plan(outside)
    assert found.installer is not None
    assert (found.installer.size_bytes, found.installer.md5) == (None, None)
    assert found.download_bytes == 3 << 20


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFoundError), (403, PermissionDeniedError), (401, AuthenticationError), (302, ProviderError), (503, ProviderUnavailableError)],
)
async def test_an_installer_that_gog_does_not_hand_out_is_told(status: int, kind: type[IntegError]) -> None:
    outside = on_linux()
    outside.downlinks[f"en{BASE}"] = httpx.Response(status, json={})
    with pytest.raises(kind):
        await plan(outside)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (f"{CDN}/a/setup_lantern_1.2_%2864bit%29.sh", "setup_lantern_1.2_(64bit).sh"),
        (f"{CDN}/a/x.sh?", "x.sh"),
        ("https://cdn.gog.com/secure/?path=/a/b/real.sh&access_token=1", "real.sh"),
        (f"{CDN}/a/..%2F..%2Fetc%2Fpasswd", "passwd"),
        (f"{CDN}/a/..%5C..%5Cevil.sh", "evil.sh"),
        (f"{CDN}/a/%00evil%0A.sh", "evil.sh"),
        (f"{CDN}/a/..", "installer.sh"),
        (f"{CDN}/", "installer.sh"),
        (f"{CDN}/a/...", "installer.sh"),
    ],
)
def test_a_file_name_is_harmless(address: str, name: str) -> None:
    assert file_name_of(address) == name


@given(st.text(max_size=60))
def test_any_file_name_is_harmless(text: str) -> None:
    name = file_name_of(f"{CDN}/a/{text}")
    assert name not in {"", ".", ".."}
    assert not set(name) & set("/\\\x00\n")
    assert len(name) <= 200


@pytest.mark.parametrize(
    "document",
    [
        b'<?xml version="1.0"?><!DOCTYPE file [<!ENTITY a "aaaa">]><file md5="0123456789abcdef0123456789abcdef" total_size="1"/>',
        b'<!DOCTYPE file SYSTEM "file:///etc/passwd"><file md5="0123456789abcdef0123456789abcdef" total_size="1"/>',
        b'<other md5="0123456789abcdef0123456789abcdef" total_size="1"/>',
        b'<file md5="xyz" total_size="-5"/>',
        b"\x00\x01",
        b"",
    ],
)
def test_a_checksum_file_that_is_more_or_less_than_one_says_nothing(document: bytes) -> None:
    assert read_checksum(document) == Checksum(None, None)


@given(st.binary(max_size=200))
def test_any_checksum_file_is_read_without_a_failure(document: bytes) -> None:
    read_checksum(document)


# --- languages, packing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("br", "pt-BR"),
        ("jp", "ja-JP"),
        ("cn", "zh-Hans"),
        ("zh_Hant", "zh-Hant"),
        ("CZ", "cs-CZ"),
        ("gk", "el-GR"),
        ("no", "nb-NO"),
        ("sb", "sr-SP"),
        ("English", "en-US"),
        ("EN-us", "en-US"),
        ("es_mx", "es-MX"),
        ("Klingon", "Klingon"),
        (" de ", "de-DE"),
    ],
)
def test_old_and_new_codes_and_names_are_one_language(name: str, code: str) -> None:
    assert language_code(name) == code


def test_a_near_language_is_better_than_english() -> None:
    assert choose_language("es-MX", {"es-ES", "en-US"}) == "es-ES"
    assert choose_language("en-GB", {"en-US", "de-DE"}) == "en-US"
    assert choose_language(None, set()) == "en-US"
    assert choose_language("pl", set()) == "pl-PL"


def test_a_stream_that_swells_is_given_up() -> None:
    bomb = zlib.compress(b"0" * 10_000_000)
    with pytest.raises(ProviderError):
        inflated(bomb, "GOG", most_bytes=1_000_000)
    assert inflated(b"{plain}", "GOG") == b"{plain}"


# --- the stand-in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, "gog.plain_json_meta"])
async def test_the_stand_ins_build_is_planned_and_its_parts_are_there(sandbox, fault: str | None) -> None:  # type: ignore[no-untyped-def]
    if fault:
        sandbox.faults.on(fault)
    product = next(each for each in sandbox.world.owned_gog if each.content and each.type == "game" and "linux" not in each.os)
    async with through(sandbox.url) as http:
        login = await signed_in(sandbox, http)
        found = await Gog(http).download_plan(login, str(product.id), DownloadRequest())
        assert found.kind == "galaxy"
        assert found.depots
        for each in found.depots:
            assert (await http.get(each.manifest_url)).status_code == 200
    assert {each.product_id for each in found.depots} == set(found.endpoints)


@pytest.mark.parametrize("fault", [None, "gog.gcdn", "gog.redirected", "gog.xml_404", "gog.xml_malformed"])
async def test_the_stand_ins_linux_installer_is_planned_and_can_be_fetched(sandbox, fault: str | None) -> None:  # type: ignore[no-untyped-def]
    if fault:
        sandbox.faults.on(fault)
    product = next(each for each in sandbox.world.owned_gog if each.content and each.type == "game" and "linux" in each.os)
    async with through(sandbox.url) as http:
        login = await signed_in(sandbox, http)
        found = await Gog(http).download_plan(login, str(product.id), DownloadRequest())
    assert found.kind == "linux_installer"
    for file in [found.installer, *found.dlc_installers]:
        assert file is not None
        assert rewritten(file.url, sandbox.url).startswith(sandbox.url)
        assert (file.md5 is None) is (fault in {"gog.xml_404", "gog.xml_malformed"})
        with BulkDoor(sandbox.url) as door, door.open(file.url) as answer:
            body = b"".join(answer.raise_for_status().chunks())
        assert body.startswith(b"#!/bin/sh")
        assert file.size_bytes in {None, len(body)}
