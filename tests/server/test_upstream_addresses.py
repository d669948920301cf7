"""Which addresses may be asked, and where they go when INTEG_UPSTREAM_URL is set."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import ProviderError
from integ_server.upstream import check_outside, original, rewritten

UPSTREAM = "http://127.0.0.1:4321"

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
hosts = st.lists(labels, min_size=1, max_size=3).map(".".join).map(lambda name: f"{name}.com")
segments = st.text("abcXYZ019._~=-%20()", min_size=1, max_size=8).map(lambda text: text.replace("%", "%25"))
paths = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))
queries = st.one_of(st.just(""), st.text("abc=&%3D/:?-", max_size=20).map(lambda text: "?" + text))
upstreams = st.sampled_from([UPSTREAM, UPSTREAM + "/", "https://mirror.example", "https://mirror.example/under/here"])


def test_an_outside_address_becomes_a_path_of_the_upstream() -> None:
    assert rewritten("https://api.gog.com/products/1?expand=downloads", UPSTREAM) == f"{UPSTREAM}/api.gog.com/products/1?expand=downloads"
    assert rewritten("https://gog.com", UPSTREAM + "/") == f"{UPSTREAM}/gog.com/"
    assert rewritten("https://Example.com:8443?a=b#c", UPSTREAM) == f"{UPSTREAM}/example.com:8443/?a=b#c"


@pytest.mark.parametrize(
    "url", ["steam://install/620", "http://127.0.0.1:9/callback?state=1", "", "mailto:a@b.c", "https://", "not an address"]
)
def test_what_is_no_outside_address_is_left_alone(url: str) -> None:
    assert rewritten(url, UPSTREAM) == url


def test_without_an_upstream_nothing_is_rewritten() -> None:
    assert rewritten("https://gog.com/a", None) == "https://gog.com/a"
    assert rewritten("https://gog.com/a", "") == "https://gog.com/a"


@given(hosts, paths, queries, upstreams)
def test_rewriting_keeps_host_path_and_query_and_happens_once(host: str, path: str, query: str, upstream: str) -> None:
    url = f"https://{host}{path}{query}"
    there = rewritten(url, upstream)
    assert there.startswith(f"{upstream.rstrip('/')}/{host}/")
    assert urlsplit(there).query == urlsplit(url).query
    assert rewritten(there, upstream) == there


@given(hosts, st.lists(st.sampled_from(["a", "b%20c", "d=e~f"]), max_size=4), queries, upstreams)
def test_rewriting_can_be_undone(host: str, parts: list[str], query: str, upstream: str) -> None:
    url = f"https://{host}/{'/'.join(parts)}{query}"
    assert original(rewritten(url, upstream), upstream) == url


@given(hosts, st.lists(st.sampled_from(["..", ".", "a", "%2e%2e", "%2E.", ""]), max_size=8))
def test_no_path_leaves_its_hosts_part_of_the_upstream(host: str, parts: list[str]) -> None:
    there = urlsplit(rewritten(f"https://{host}/{'/'.join(parts)}", UPSTREAM)).path
    kept = there.split("/")
    assert kept[1] == host
    assert not {".", ".."} & {each.lower().replace("%2e", ".") for each in kept}


def test_credentials_in_an_address_do_not_reach_the_upstream() -> None:
    assert rewritten("https://bob:secret@gog.com/a", UPSTREAM) == f"{UPSTREAM}/gog.com/a"


@pytest.mark.parametrize("url", ["https://api.gog.com/x", "https://gog-cdn.gcdn.co/a?b=c", "https://example.com:8443/"])
def test_the_public_internet_may_be_asked(url: str) -> None:
    assert check_outside(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.gog.com/x",
        "ftp://api.gog.com/x",
        "file:///etc/passwd",
        "//api.gog.com/x",
        "api.gog.com/x",
        "https:///x",
        "https://",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[fe80::1%25eth0]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://1.2.3.0x4/",
        "https://localhost/x",
        "https://LOCALHOST./x",
        "https://db.localhost/x",
        "https://nas.local/x",
        "https://metadata.google.internal/x",
        "https://intranet/x",
        "https://bob:pw@api.gog.com/x",
        "https://api.gog.com\\@evil.com/x",
        "https://api.gog.com/a b",
        "https://api.gog.com/a\r\nHost: evil",
        "https://api.gog.com:99999/",
        "https://[broken/",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ProviderError) as refused:
        check_outside(url)
    assert "pw" not in str(refused.value).split("(")[0]
    assert "bob" not in str(refused.value)


@given(st.text(max_size=60))
def test_no_text_gets_anything_but_a_refusal_or_itself(text: str) -> None:
    for url in (text, f"https://{text}", f"https://gog.com/{text}"):
        try:
            assert check_outside(url) == url
        except ProviderError:
            continue
        assert urlsplit(url).scheme == "https"
