"""Settings: variables over config.toml over defaults; a wrong value names the setting."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.settings import SETTING_NAMES, parse_setting, read_settings, shown_address
from integ_server.contract.errors import BackendUnreachableError, UsageError


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), **more}


def write_config(home: Path, text: str) -> None:
    file = home / ".config" / "integ" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_an_empty_home_has_the_defaults_and_nothing_is_created(home: Path) -> None:
    settings = read_settings(environ(home))
    assert settings.backend_url is None
    assert settings.games_root == home / "Games"
    assert list(home.iterdir()) == []


def test_a_variable_wins_over_the_file(home: Path) -> None:
    write_config(home, 'bandwidth_limit = "2M"\nlog_level = "info"\n')
    assert read_settings(environ(home)).bandwidth_limit == 2 * 1024 * 1024
    settings = read_settings(environ(home, INTEG_BANDWIDTH_LIMIT="500k"))
    assert (settings.bandwidth_limit, settings.log_level) == (500 * 1024, "INFO")


def test_core_names_work_without_the_prefix(home: Path) -> None:
    assert read_settings(environ(home, BACKEND_URL="https://integ.example/")).backend_url == "https://integ.example"


def test_the_folders_obey_xdg_and_ignore_relative_values(home: Path) -> None:
    paths = read_settings(environ(home, XDG_CACHE_HOME="/var/tmp/c", XDG_DATA_HOME="relative")).paths
    assert paths.cache == Path("/var/tmp/c/integ")
    assert paths.data == home / ".local/share/integ"
    assert paths.game_dir("gog:1207658924") == home / ".local/share/integ/games/gog-1207658924"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTEG_UPSTREAM_URL", "http://mirror.example"),
        ("INTEG_UPSTREAM_URL", "ftp://127.0.0.1"),
        ("INTEG_UPSTREAM_URL", "mirror"),
        ("INTEG_BACKEND_URL", "integ.example"),
        ("INTEG_BANDWIDTH_LIMIT", "fast"),
        ("INTEG_BANDWIDTH_LIMIT", "-4M"),
        ("INTEG_LIBRARY_DIRS", "games"),
        ("INTEG_LOG_LEVEL", "LOUD"),
        ("INTEG_RUNNER", "wine"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_setting(home: Path, name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(environ(home, **{name: value}))
    assert name in caught.value.message
    assert caught.value.hint == f"unset {name}", "the file's value would not count beside it"


def test_loopback_may_be_plain_http(home: Path) -> None:
    assert read_settings(environ(home, INTEG_UPSTREAM_URL="http://127.0.0.1:8080/")).upstream_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize("text", ["backend_url = 7", "not toml at all [", "library_dirs = 'a:b'", "\x00"])
def test_a_wrong_file_is_an_error_that_names_it(home: Path, text: str) -> None:
    write_config(home, text)
    with pytest.raises(UsageError) as caught:
        read_settings(environ(home))
    assert "config.toml" in caught.value.message


def test_no_home_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        read_settings({})


def test_secrets_are_not_in_the_settings_text(home: Path) -> None:
    secrets = {"INTEG_STEAM_API_KEY": "0123456789ABCDEF", "INTEG_TOKEN": "integ_pat_x", "GITHUB_TOKEN": "ghp_x"}
    shown = repr(read_settings(environ(home, **secrets, INTEG_BACKEND_URL="https://ana:hunter2@integ.example")))
    assert "hunter2" not in shown
    assert "0123456789ABCDEF" not in shown
    assert "integ_pat_x" not in shown
    assert "ghp_x" not in shown


def test_an_address_is_shown_without_the_login_in_it() -> None:
    assert shown_address("https://ana:hunter2@integ.example:8443/x?y=@") == "https://***@integ.example:8443/x?y=@"
    assert shown_address("https://integ.example/@ana") == "https://integ.example/@ana"


async def test_a_backend_that_does_not_answer_is_named_without_the_login_to_it(home: Path) -> None:
    from integ_runtime.client.api import ApiClient
    from integ_runtime.client.transport import open_http

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = read_settings(environ(home, INTEG_BACKEND_URL=f"http://ana:hunter2@127.0.0.1:{nobody.getsockname()[1]}"))
        async with open_http(settings) as http:
            with pytest.raises(BackendUnreachableError) as caught:
                await ApiClient(http).accounts()
    assert "hunter2" not in caught.value.message
    assert "127.0.0.1" in caught.value.message


@given(
    st.sampled_from(SETTING_NAMES),
    st.one_of(st.text(max_size=30), st.integers(), st.booleans(), st.none(), st.lists(st.text(max_size=5), max_size=3)),
)
def test_no_value_at_all_breaks_the_reading(name: str, raw: object) -> None:
    try:
        parse_setting(name, raw, "test")
    except UsageError as error:
        assert error.message.startswith("test is wrong")
