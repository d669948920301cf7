"""Whatever a player pastes after signing in at GOG."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import AuthenticationError
from integ_server.providers._pasted import code_from

CODE = "AbC-123_def456ghi789"
codes = st.text("ABCabc019-_", min_size=6, max_size=120)


@pytest.mark.parametrize(
    "pasted",
    [
        CODE,
        f"  {CODE}\r\n",
        f'"{CODE}"',
        f"\u201c{CODE}\u201d",
        f"<{CODE}>",
        f"`{CODE}`",
        f"{CODE[:8]}\n{CODE[8:]}",
        f"\ufeff{CODE}\u200b",
        f"?code={CODE}",
        f"code={CODE}",
        f"&code={CODE}",
        f"?origin=client&code={CODE}",
        f"origin=client&code={CODE}&state=x",
        f"https://embed.gog.com/on_login_success?origin=client&code={CODE}",
        f"https://www.gog.com/on_login_success?origin=client&code={CODE}",
        f"https://EMBED.gog.com/on_login_success/?code={CODE}#",
        f"http://embed.gog.com/on_login_success?code={CODE}",
        f"embed.gog.com/on_login_success?origin=client&code={CODE}",
        f"'https://embed.gog.com/on_login_success?origin=client&code={CODE}'",
        f"https://embed.gog.com/on_login_success?origin=client\n  &code={CODE}",
        f"https://embed.gog.com/on_login_success?code={CODE}&code={CODE}",
        f"http://127.0.0.1:4321/embed.gog.com/on_login_success?origin=client&code={CODE}",
        f"https://mirror.example/www.gog.com/on_login_success?origin=client&code={CODE}",
    ],
)
def test_a_code_is_found_in_whatever_is_pasted(pasted: str) -> None:
    assert code_from(pasted) == CODE


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "   ",
        '""',
        "abc",
        "https://embed.gog.com/on_login_success?origin=client",
        "https://embed.gog.com/on_login_success?code=",
        "https://embed.gog.com/on_login_success",
        f"https://evil.example/on_login_success?code={CODE}",
        f"https://embed.gog.com.evil.example/on_login_success?code={CODE}",
        f"https://evil.example/x/embed.gog.com/on_login_success?code={CODE}",
        f"https://embed.gog.com/account?code={CODE}",
        f"https://auth.gog.com/auth?client_id=1&code={CODE}",
        "https://[embed.gog.com/on_login_success?code=abcdefgh",
        f"https://embed.gog.com/on_login_success?code={CODE}&code=another{CODE}",
        "?state=abcdefgh",
        f"code={CODE}%00",
        "code=" + quote("a b c d e f/../"),
        "hunter2!",
        "x" * 20_000,
        "a=b&" * 400,
    ],
)
def test_what_holds_no_code_is_told_with_a_hint(pasted: str) -> None:
    with pytest.raises(AuthenticationError) as told:
        code_from(pasted)
    assert told.value.hint
    assert CODE not in told.value.message


def test_a_refusal_is_told_in_gogs_own_words() -> None:
    landed = "https://embed.gog.com/on_login_success?error=access_denied&error_description=The+user+said+no%1b%5b31m&code=abcdefgh"
    with pytest.raises(AuthenticationError, match="The user said no") as told:
        code_from(landed)
    assert "\x1b" not in told.value.message


@given(
    codes,
    st.sampled_from(["", " ", "\n", '"', "'"]),
    st.sampled_from(["{}", "?code={}", "https://embed.gog.com/on_login_success?origin=client&code={}"]),
)
def test_every_code_is_found_in_every_form(code: str, around: str, form: str) -> None:
    assert code_from(around + form.format(code) + around) == code


@given(st.text(max_size=200))
def test_any_text_is_a_code_or_a_refusal(pasted: str) -> None:
    try:
        found = code_from(pasted)
    except AuthenticationError:
        return
    assert found.isascii()
    assert 6 <= len(found) <= 4096
    assert not set(found) & set(" /?&=\r\n")
