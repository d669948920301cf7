from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.conftest_sandbox import RunningSandbox

REPO = "https://api.github.com/repos/GloriousEggroll/proton-ge-custom"
RELEASES = f"{REPO}/releases"


@pytest.fixture
async def http(sandbox: RunningSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(headers={"user-agent": "a test"}) as client:
        yield client


async def all_releases(sandbox: RunningSandbox, http: httpx.AsyncClient, first: str = f"{RELEASES}?per_page=100") -> list[dict[str, Any]]:
    """By following `Link`, as the contract wants it."""
    found: list[dict[str, Any]] = []
    address: str | None = first
    while address is not None:
        answer = await http.get(sandbox.at(address))
        assert answer.status_code == 200, answer.text
        found += answer.json()
        address = answer.links.get("next", {}).get("url")
    return found


async def asset(sandbox: RunningSandbox, http: httpx.AsyncClient, tag: str, end: str) -> dict[str, Any]:
    release = (await http.get(sandbox.at(f"{RELEASES}/tags/{tag}"))).json()
    return next(one for one in release["assets"] if one["name"].endswith(end))


async def signed(sandbox: RunningSandbox, http: httpx.AsyncClient, one: dict[str, Any]) -> str:
    answer = await http.get(sandbox.at(one["browser_download_url"]))
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def fetch(sandbox: RunningSandbox, http: httpx.AsyncClient, one: dict[str, Any], **headers: str) -> httpx.Response:
    return await http.get(sandbox.at(await signed(sandbox, http, one)), headers=headers)


ARCHIVE = ("GE-Proton11-6", "-x86_64.tar.gz")


# --- the list ------------------------------------------------------------------------------------------------------


async def test_there_are_130_releases_over_two_pages_newest_first(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    releases = await all_releases(sandbox, http)
    assert len(releases) == len({release["tag_name"] for release in releases}) == 130
    assert len([seen for seen in sandbox.requests if seen.path.endswith("/releases")]) == 2
    days = [release["published_at"] for release in releases if release["published_at"]]
    assert days == sorted(days, reverse=True)


async def test_the_pages_are_linked_by_the_repositorys_number(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    first = await http.get(sandbox.at(RELEASES))
    assert len(first.json()) == 30
    assert first.links["next"]["url"] == "https://api.github.com/repositories/110000001/releases?per_page=30&page=2"
    assert first.links["last"]["url"].endswith("page=5") and "prev" not in first.links
    last = await http.get(sandbox.at(first.links["last"]["url"]))
    assert len(last.json()) == 10 and {"prev", "first"} <= last.links.keys() and "next" not in last.links
    beyond = await http.get(sandbox.at(f"{RELEASES}?page=99"))
    assert beyond.json() == []
    assert len((await http.get(sandbox.at(f"{RELEASES}?per_page=1000"))).json()) == 100
    assert len((await http.get(sandbox.at(f"{RELEASES}?per_page=many&page=-1"))).json()) == 30


async def test_a_list_that_fits_on_one_page_has_no_link(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    answer = await http.get(sandbox.at("https://api.github.com/repos/Open-Wine-Components/umu-proton/releases"))
    assert answer.json() and "link" not in answer.headers


async def test_every_era_of_names_and_every_odd_release_is_there(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    releases = {release["tag_name"]: release for release in await all_releases(sandbox, http)}
    assert {"7.3-GE-1", "6.21-GE-2", "7.0rc6-GE-1", "GE=Proton7-50", "GE-Proton7-51-diablo_4_beta", "GE-Proton8-26"} <= releases.keys()
    assert "GE-Proton10-5" not in releases and "GE-Proton7-50" not in releases
    assert [tag for tag, release in releases.items() if release["draft"]] == ["GE-Proton11-8"]
    assert [tag for tag, release in releases.items() if release["prerelease"]] == ["GE-Proton11-7"]
    assert [tag for tag, release in releases.items() if not release["assets"]] == ["GE-Proton9-12"]

    def names(tag: str) -> list[str]:
        return [one["name"] for one in releases[tag]["assets"]]

    assert names("7.3-GE-1") == ["Proton-7.3-GE-1.sha512sum", "Proton-7.3-GE-1.tar.gz"]
    assert names("GE-Proton8-26") == ["GE-Proton8-26.sha512sum", "GE-Proton8-26.tar.gz"]
    assert names("GE-Proton11-2") == [
        "GE-Proton11-2-aarch64.sha512sum", "GE-Proton11-2-aarch64.tar.gz", "GE-Proton11-2.sha512sum", "GE-Proton11-2.tar.gz",
    ]  # fmt: skip
    assert names("GE-Proton11-6") == [
        "GE-Proton11-6-aarch64.sha512sum", "GE-Proton11-6-aarch64.tar.gz",
        "GE-Proton11-6-x86_64.sha512sum", "GE-Proton11-6-x86_64.tar.gz",
    ]  # fmt: skip


async def test_only_newer_uploads_have_a_digest(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    new, old = await asset(sandbox, http, *ARCHIVE), await asset(sandbox, http, "GE-Proton8-26", ".tar.gz")
    assert new["digest"].startswith("sha256:") and old["digest"] is None and new["state"] == "uploaded"


async def test_the_newest_stable_release_is_neither_the_draft_nor_the_pre_release(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    assert (await http.get(sandbox.at(f"{RELEASES}/latest"))).json()["tag_name"] == "GE-Proton11-6"


async def test_a_tag_is_found_percent_encoded_and_a_missing_one_or_a_draft_is_an_object(
    sandbox: RunningSandbox, http: httpx.AsyncClient
) -> None:
    odd = (await http.get(sandbox.at(f"{RELEASES}/tags/GE%3DProton7-50"))).json()
    assert odd["tag_name"] == "GE=Proton7-50" and "GE%3DProton7-50" in odd["assets"][0]["browser_download_url"]
    for tag in ("GE-Proton99-1", "GE-Proton11-8"):
        missing = await http.get(sandbox.at(f"{RELEASES}/tags/{tag}"))
        assert missing.status_code == 404 and missing.json()["message"] == "Not Found"


async def test_an_unknown_repository_is_a_404_object(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    for address in ("https://api.github.com/repos/nobody/nothing/releases", "https://api.github.com/repositories/1/releases"):
        answer = await http.get(sandbox.at(address))
        assert answer.status_code == 404 and isinstance(answer.json(), dict)


async def test_other_families_have_their_own_names_and_packing(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    umu = (await http.get(sandbox.at("https://api.github.com/repos/Open-Wine-Components/umu-proton/releases/latest"))).json()
    cachyos = (await http.get(sandbox.at("https://api.github.com/repos/CachyOS/proton-cachyos/releases/latest"))).json()
    assert [one["name"] for one in umu["assets"]] == ["UMU-Proton-9.0-4e.sha512sum", "UMU-Proton-9.0-4e.tar.gz"]
    packed = [one for one in cachyos["assets"] if one["name"].endswith(".tar.xz")]
    assert {one["name"].partition("-slr-")[2] for one in packed} == {"arm64.tar.xz", "x86_64.tar.xz", "x86_64_v3.tar.xz"}
    answer = await fetch(sandbox, http, packed[1])
    assert answer.content.startswith(b"\xfd7zXZ\x00") and len(answer.content) == packed[1]["size"]
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert tar.getnames()[0] == packed[1]["name"].removesuffix(".tar.xz")


# --- quota, caching, failures --------------------------------------------------------------------------------------


async def test_sixty_calls_an_hour_then_403_until_the_reset_time(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    now = 1_795_000_000.0
    sandbox.sandbox.state.clock = lambda: now
    left = [int((await http.get(sandbox.at(f"{RELEASES}/latest"))).headers["x-ratelimit-remaining"]) for _ in range(59)]
    assert left == list(range(59, 0, -1))
    refused = await http.get(sandbox.at(f"{RELEASES}/latest"))
    assert refused.status_code == 403 and "rate limit" in refused.json()["message"]
    assert refused.headers["x-ratelimit-remaining"] == "0" and refused.headers["x-ratelimit-reset"] == str(int(now) + 3_600)
    with_token = await http.get(sandbox.at(f"{RELEASES}/latest"), headers={"authorization": "Bearer t"})
    assert with_token.status_code == 200 and with_token.headers["x-ratelimit-limit"] == "5000"
    now += 3_601
    assert (await http.get(sandbox.at(f"{RELEASES}/latest"))).status_code == 200


async def test_asking_for_the_quota_costs_nothing(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    for _ in range(3):
        answer = await http.get(sandbox.at("https://api.github.com/rate_limit"))
        assert answer.json()["resources"]["core"]["remaining"] == 60
    await http.get(sandbox.at(RELEASES))
    assert (await http.get(sandbox.at("https://api.github.com/rate_limit"))).json()["rate"]["used"] == 1


async def test_an_unchanged_list_is_a_304_that_still_counts_and_differs_by_token(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    first = await http.get(sandbox.at(RELEASES))
    again = await http.get(sandbox.at(RELEASES), headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == first.headers["etag"]
    assert again.headers["x-ratelimit-used"] == "2"
    other = await http.get(sandbox.at(RELEASES), headers={"if-none-match": first.headers["etag"], "authorization": "Bearer t"})
    assert other.status_code == 200 and other.headers["etag"] != first.headers["etag"]
    sandbox.faults.on("feed.no_assets")
    assert (await http.get(sandbox.at(RELEASES), headers={"if-none-match": first.headers["etag"]})).status_code == 200


async def test_nobody_without_a_user_agent_is_answered(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    answer = await http.get(sandbox.at(RELEASES), headers={"user-agent": ""})
    assert answer.status_code == 403 and "User-Agent" in answer.text


async def test_the_feed_can_be_limited_down_or_a_page(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    async def struck(fault: str) -> httpx.Response:
        sandbox.faults.on(fault, times=1)
        return await http.get(sandbox.at(RELEASES))

    limited = await struck("feed.rate_limited")
    assert (limited.status_code, limited.headers["x-ratelimit-remaining"]) == (403, "0") and int(limited.headers["x-ratelimit-reset"])
    second = await struck("feed.secondary_limit")
    assert second.status_code == 429 and second.headers["retry-after"] == "60" and "secondary" in second.json()["message"]
    down = await struck("feed.down")
    assert down.status_code == 502 and isinstance(down.json(), dict)
    page = await struck("feed.html")
    assert page.status_code == 200 and "<html" in page.text
    assert isinstance((await http.get(sandbox.at(RELEASES))).json(), list)


async def test_releases_can_be_empty_all_or_only_the_newest(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    sandbox.faults.on("feed.newest_empty")
    releases = {release["tag_name"]: len(release["assets"]) for release in await all_releases(sandbox, http)}
    assert releases["GE-Proton11-6"] == 0 and releases["GE-Proton11-5"] == 4
    sandbox.faults.on("feed.no_assets")
    assert not any(release["assets"] for release in await all_releases(sandbox, http))


async def test_addresses_can_be_plain_http(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    assert (await asset(sandbox, http, *ARCHIVE))["browser_download_url"].startswith("https://github.com/")
    sandbox.faults.on("feed.insecure_address")
    assert (await asset(sandbox, http, *ARCHIVE))["browser_download_url"].startswith("http://github.com/")


# --- bytes ---------------------------------------------------------------------------------------------------------


async def test_a_download_is_a_redirect_to_a_signed_address_on_another_host(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    one = await asset(sandbox, http, *ARCHIVE)
    address = urlsplit(await signed(sandbox, http, one))
    assert (address.scheme, address.netloc) == ("https", "release-assets.githubusercontent.com")
    assert len(parse_qs(address.query)["sig"][0]) == 64
    assert await signed(sandbox, http, one) != await signed(sandbox, http, one)


@pytest.mark.parametrize(
    "tag", ["GE-Proton11-6", "GE-Proton11-2", "GE-Proton8-26", "GE%3DProton7-50", "7.3-GE-1", "GE-Proton7-51-diablo_4_beta"]
)
async def test_sizes_digests_and_checksum_files_fit_the_bytes(sandbox: RunningSandbox, http: httpx.AsyncClient, tag: str) -> None:
    release = (await http.get(sandbox.at(f"{RELEASES}/tags/{tag}"))).json()
    assets = {one["name"]: one for one in release["assets"]}
    for name, one in assets.items():
        body = (await fetch(sandbox, http, one)).content
        assert len(body) == one["size"]
        assert one["digest"] in (None, f"sha256:{hashlib.sha256(body).hexdigest()}")
        if name.endswith(".tar.gz"):
            line = (await fetch(sandbox, http, assets[f"{name.removesuffix('.tar.gz')}.sha512sum"])).text
            assert line == f"{hashlib.sha512(body).hexdigest()}  {name}\n"
            with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                assert {member.partition("/")[0] for member in tar.getnames()} == {name.removesuffix(".tar.gz")}


async def test_a_signed_address_runs_out_after_five_minutes(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    now = 1_795_000_000.0
    sandbox.sandbox.state.clock = lambda: now
    address = await signed(sandbox, http, await asset(sandbox, http, *ARCHIVE))
    now += 299
    assert (await http.get(sandbox.at(address))).status_code == 200
    now += 2
    assert (await http.get(sandbox.at(address))).status_code == 403


async def test_the_asset_host_takes_no_token_no_head_and_no_other_files_signature(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    address = await signed(sandbox, http, await asset(sandbox, http, *ARCHIVE))
    assert (await http.get(sandbox.at(address), headers={"authorization": "Bearer t"})).status_code == 400
    assert (await http.head(sandbox.at(address))).status_code == 403
    other = await signed(sandbox, http, await asset(sandbox, http, "GE-Proton11-6", "-aarch64.tar.gz"))
    mixed = f"{other.partition('?')[0]}?{address.partition('?')[2]}"
    assert (await http.get(sandbox.at(mixed))).status_code == 403
    assert (await http.get(sandbox.at(address.partition("?")[0]))).status_code == 403


async def test_a_part_is_a_206_and_beyond_the_end_a_416(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    one = await asset(sandbox, http, *ARCHIVE)
    whole = (await fetch(sandbox, http, one)).content
    for wanted, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=1000-", 1000, len(whole)),
        ("bytes=10-19", 10, 20),
        ("bytes=-5", len(whole) - 5, len(whole)),
    ):
        part = await fetch(sandbox, http, one, range=wanted)
        assert part.status_code == 206 and part.content == whole[start:end]
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole)}"
    beyond = await fetch(sandbox, http, one, range=f"bytes={len(whole)}-")
    assert beyond.status_code == 416 and beyond.headers["content-range"] == f"bytes */{len(whole)}" and beyond.content == b""
    for nonsense in ("bytes=-", "bytes=5-2", "lines=1-2", "bytes=0-1,5-6"):
        assert (await fetch(sandbox, http, one, range=nonsense)).status_code == 200


async def test_the_host_can_ignore_range(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    one = await asset(sandbox, http, *ARCHIVE)
    sandbox.faults.on("feed.range_off")
    answer = await fetch(sandbox, http, one, range="bytes=1000-")
    assert answer.status_code == 200 and len(answer.content) == one["size"] and "accept-ranges" not in answer.headers


async def test_a_cut_download_has_40_percent_and_the_rest_can_be_asked_for(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    one = await asset(sandbox, http, *ARCHIVE)
    whole = (await fetch(sandbox, http, one)).content
    sandbox.faults.on("feed.cut_body", times=1)
    got = b""
    with pytest.raises(httpx.RemoteProtocolError):
        async with http.stream("GET", sandbox.at(await signed(sandbox, http, one))) as answer:
            async for piece in answer.aiter_raw():
                got += piece
    assert got == whole[: len(whole) * 4 // 10]
    rest = await fetch(sandbox, http, one, range=f"bytes={len(got)}-")
    assert got + rest.content == whole


async def test_a_stalled_download_goes_on_when_the_fault_is_turned_off(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    one = await asset(sandbox, http, *ARCHIVE)
    address = await signed(sandbox, http, one)
    sandbox.faults.on("feed.stall")
    got = 0
    async with http.stream("GET", sandbox.at(address)) as answer:
        async for piece in answer.aiter_raw():
            got += len(piece)
            if got == one["size"] * 4 // 10:
                sandbox.faults.off("feed.stall")
    assert got == one["size"]


async def test_a_slow_download_comes_in_small_pieces_and_whole(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    one = await asset(sandbox, http, *ARCHIVE)
    address = await signed(sandbox, http, one)
    sandbox.faults.on("feed.slow")
    async with http.stream("GET", sandbox.at(address)) as answer:
        pieces = [len(piece) async for piece in answer.aiter_raw()]
    assert sum(pieces) == one["size"] and len(pieces) >= 10


async def test_an_asset_can_be_gone_and_a_link_can_have_run_out(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    one = await asset(sandbox, http, *ARCHIVE)
    sandbox.faults.on("feed.asset_gone", times=1)
    assert (await http.get(sandbox.at(one["browser_download_url"]))).status_code == 404
    sandbox.faults.on("feed.link_expired", times=1)
    assert (await fetch(sandbox, http, one)).status_code == 403
    assert (await fetch(sandbox, http, one)).status_code == 200
    elsewhere = one["browser_download_url"].replace("x86_64", "riscv64")
    assert (await http.get(sandbox.at(elsewhere))).status_code == 404


async def test_the_checksum_can_be_missing_wrong_or_nonsense(sandbox: RunningSandbox, http: httpx.AsyncClient) -> None:
    honest = await asset(sandbox, http, *ARCHIVE)
    body = (await fetch(sandbox, http, honest)).content
    sandbox.faults.on("feed.no_checksum")
    release = (await http.get(sandbox.at(f"{RELEASES}/latest"))).json()
    assert [one["name"][-7:] for one in release["assets"]] == [".tar.gz"] * 2 and {one["digest"] for one in release["assets"]} == {None}
    sandbox.faults.clear()
    sandbox.faults.on("feed.wrong_checksum")
    line = (await fetch(sandbox, http, await asset(sandbox, http, "GE-Proton11-6", "-x86_64.sha512sum"))).text
    wrong = await asset(sandbox, http, *ARCHIVE)
    assert len(line.split()[0]) == 128 and hashlib.sha512(body).hexdigest() not in line
    assert wrong["digest"] not in (None, honest["digest"]) and (await fetch(sandbox, http, wrong)).content == body
    sandbox.faults.clear()
    sandbox.faults.on("feed.checksum_garbage")
    nonsense = await asset(sandbox, http, "GE-Proton11-6", "-x86_64.sha512sum")
    answer = await fetch(sandbox, http, nonsense)
    assert "<html" in answer.text and len(answer.content) == nonsense["size"]
