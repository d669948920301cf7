"""No key, code, token or secret in anything that a person or a log sees."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.redaction import install_log_redaction
from integ_server.transport import UpstreamTransport
from integ_server.upstream import install_redaction, open_upstream, redact

SECRET = "s3cretS3cretValue-_9"
JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSJ9.eyJzdWIiOiI3NjU2MTE5ODAwMDAwMDAwMSJ9.c2lnbmF0dXJl-_X"
SPACED_JWT = "eyAidHlwIjogIkpXVCIsICJhbGciOiAiRWREU0EiIH0.eyAiaXNzIjogInI6MDAwRCIgfQ.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _factory_back() -> Iterator[None]:
    before, hook = logging.getLogRecordFactory(), sys.excepthook
    import threading

    thread_hook = threading.excepthook
    yield
    logging.setLogRecordFactory(before)
    sys.excepthook, threading.excepthook = hook, thread_hook


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://api.steampowered.com/IPlayerService/GetOwnedGames/v1/?key={SECRET}&steamid=7",
        f"GET https://api.steampowered.com/x?steamid=7&access_token={SECRET}",
        f"https://auth.gog.com/token?client_id=1&client_secret={SECRET}&grant_type=refresh_token",
        f"https://auth.gog.com/token?grant_type=refresh_token&refresh_token={SECRET}",
        f"https://embed.gog.com/on_login_success?origin=client&code={SECRET}",
        f"back=https%3A%2F%2Fembed.gog.com%2Fon_login_success%3Forigin%3Dclient%26code%3D{SECRET}",
        f"/cb?state=x&openid.sig={SECRET}%2B%3D&openid.mode=id_res",
        f"openid.response_nonce=2026-11-03T18%3A22%3A41Z{SECRET}",
        f"redir=x&nonce={SECRET}",
        f"https://gog-cdn.gcdn.co/a?wsSecret={SECRET}&wsTime=6a",
        f"https://gog-cdn-fastly.gog.com/token=nva=1785355909~dirs=4~token={SECRET}/content-system/v2/store/1",
        f"Authorization: Bearer {SECRET}",
        f"the token integ_pat_{SECRET} was refused",
        f"?user_code=x%20integ_rt_0123456789abcdef0123456789abcdef.{SECRET}",
        f"'integ_dc_{SECRET}'",
        f"signs with whsec_ab+/{SECRET}=",
        f'{{"grant": 1, "device_code": "{SECRET}"}}',
        f"Authorization: Basic {SECRET}",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f"[(b'Authorization', b'Bearer {SECRET}'), (b'Accept', b'*/*')]",
        f"Headers({{'authorization': 'Bearer {SECRET}'}})",
        f"curl -H 'Authorization: Bearer {SECRET}' https://x.example",
        f"X-GOG-Library-Cert: {SECRET}",
        f"{{'X-GOG-Library-Cert': '{SECRET}'}}",
        f"(b'X-GOG-Library-Cert', b'{SECRET}')",
        f"Cookie: gog-al={SECRET}; other=1",
        f"(b'Set-Cookie', b'steamLoginSecure=7%7C%7C{SECRET}; path=/')",
        f'{{"access_token":"{SECRET}","expires_in":3600}}',
        f'{{"refresh_token": "{SECRET}"}}',
        f"{{'client_secret': '{SECRET}'}}",
        f'{{"clientSecret":"{SECRET}"}}',
        f"refresh_token='{SECRET}'",
        f"http://bob:{SECRET}@proxy.example:3128/",
        f"cannot reach proxy http://{SECRET}@proxy.example",
        JWT,
        f"pasted {SPACED_JWT} here",
        "key 0123456789ABCDEF0123456789ABCDEF was refused",
        f"ghp_{SECRET.replace('-_', '')}1234",
    ],
)
def test_a_secret_is_gone_and_stays_gone(text: str) -> None:
    clean = redact(text)
    assert SECRET not in clean
    assert JWT not in clean
    assert SPACED_JWT not in clean
    assert "0123456789ABCDEF" not in clean
    assert "S3cretValue" not in clean
    assert redact(clean) == clean


def test_a_doubly_encoded_secret_and_one_with_an_ampersand_in_it_are_gone() -> None:
    assert SECRET not in redact(f"goto=https%253A%252F%252Fa.example%253Fx%253D1%2526code%253D{SECRET}")
    assert SECRET not in redact(f"https://a.example/?refresh_token=abc%26{SECRET}")


@pytest.mark.parametrize(
    "text",
    [
        "key='steam:620' is installed",
        "exit code=5, key=steam:620",
        "token bucket: 20 tokens, code 404",
        "https://gamesdb.gog.com/platforms/gog/external_releases/1207658924",
        "https://gog-cdn-fastly.gog.com/content-system/v2/meta/3a/7f/3a7f0123456789abcdef0123456789ab",
        "sha512 of GE-Proton8-26.tar.gz matches",
        "76561198000000001 signed in as Ana <ana@example.org>",
        "INTEG_STEAM_API_KEY is not set",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@given(
    st.text("abcdefXYZ0189-_", min_size=8, max_size=40), st.sampled_from(["key", "code", "access_token", "refresh_token", "client_secret"])
)
def test_a_value_in_a_query_is_hidden_whatever_it_is(value: str, name: str) -> None:
    secret = f"Qq{value}"
    assert secret not in redact(f"HTTP Request: GET https://a.example/b?x=1&{name}={secret}&y=2")
    assert secret not in redact("next=" + quote(f"https://a.example/b?x=1&{name}={secret}", safe=""))


@given(st.text(max_size=300))
def test_redaction_of_any_text_ends_and_does_not_grow_when_repeated(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_long_text_is_redacted_in_no_time() -> None:
    blob = "key=" * 50_000 + "&code=" * 50_000 + "eyJ" * 50_000 + "Bearer " * 50_000
    assert isinstance(redact(blob), str)


async def test_httpx_and_httpcore_log_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    install_redaction()
    caplog.set_level(logging.DEBUG)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["key"] == SECRET
        return httpx.Response(200, json={"ok": 1})

    transport = UpstreamTransport(open_transport=lambda _proxy: httpx.MockTransport(answer))
    async with httpx.AsyncClient(transport=transport) as http:
        await http.get("https://api.steampowered.com/x", params={"key": SECRET}, headers={"Authorization": f"Bearer {SECRET}"})
    assert "api.steampowered.com" in caplog.text
    assert SECRET not in caplog.text


async def test_opening_the_outside_is_enough_for_clean_logs(caplog: pytest.LogCaptureFixture, sandbox) -> None:  # type: ignore[no-untyped-def]
    caplog.set_level(logging.DEBUG)
    async with open_upstream(sandbox.url) as http:
        await http.get(
            "https://api.steampowered.com/ISteamUser/GetPlayerSummaries/v2/", params={"key": SECRET}, headers={"Cookie": f"a={SECRET}"}
        )
    assert "httpcore" in {record.name.partition(".")[0] for record in caplog.records}
    assert SECRET not in caplog.text
    assert all(SECRET not in str(record.args) for record in caplog.records)


def test_a_traceback_in_a_log_is_redacted() -> None:
    install_log_redaction()
    seen = io.StringIO()
    handler = logging.StreamHandler(seen)
    log = logging.getLogger("integ_server.test_redaction")
    log.addHandler(handler)
    try:
        raise RuntimeError(f"for url 'https://auth.gog.com/token?refresh_token={SECRET}'")
    except RuntimeError:
        log.exception("a call failed")
    finally:
        log.removeHandler(handler)
    assert "RuntimeError" in seen.getvalue()
    assert SECRET not in seen.getvalue()


def test_uvicorns_access_log_keeps_its_arguments_and_loses_the_secret() -> None:
    install_log_redaction()
    record = logging.getLogger("uvicorn.access").makeRecord(
        "uvicorn.access",
        logging.INFO,
        __file__,
        1,
        '%s - "%s %s HTTP/%s" %d',
        ("127.0.0.1:5", "GET", f"/cb?code={SECRET}", "1.1", 200),
        None,
    )
    assert isinstance(record.args, tuple)
    assert len(record.args) == 5
    assert record.args[4] == 200
    assert SECRET not in record.getMessage()


def test_a_secret_split_between_message_and_argument_is_found() -> None:
    install_log_redaction()
    record = logging.getLogger("integ").makeRecord("integ", logging.INFO, __file__, 1, "asked ?key=%s&x=1", (SECRET,), None)
    assert SECRET not in record.getMessage()


def test_a_wrong_call_of_a_logger_is_left_to_its_handler() -> None:
    install_log_redaction()
    record = logging.getLogger("integ").makeRecord("integ", logging.INFO, __file__, 1, "%d of %d", ("one",), None)
    assert record.args == ("one",)


@pytest.mark.parametrize("where", ["raise RuntimeError(said)", "import threading; t = threading.Thread(target=fail); t.start(); t.join()"])
def test_an_uncaught_exception_shows_no_secret(where: str) -> None:
    program = (
        "from integ_server.upstream import install_redaction\n"
        f"install_redaction(); install_redaction()\nsaid = 'https://a.example/?access_token={SECRET}'\n"
        f"def fail():\n    raise RuntimeError(said)\n{where}\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "RuntimeError" in ended.stderr
    assert SECRET not in ended.stderr.replace(program, "")


def test_importing_the_door_loads_nothing_heavy() -> None:
    ask = "import sys, integ_server.upstream; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", ask], text=True).split())
    assert not {"httpx", "urllib3", "fastapi", "sqlmodel", "sqlalchemy", "pydantic", "asyncio", "ssl"} & loaded
