"""Settings: what is written, what stays as the player wrote it, and where a secret never stands."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from integ_runtime.config_file import write_setting
from integ_runtime.settings import SECRET_SETTINGS, read_settings
from integ_server.contract.errors import StorageError, UsageError
from tests.cli.conftest import Integ


@pytest.fixture
def file(home: Path) -> Path:
    return home / ".config/integ/config.toml"


def test_a_setting_is_written_beside_the_player_s_own_words(integ: Integ, file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text('# mine\nrunner = "umu"  # works best\n')
    assert integ("config", "set", "bandwidth_limit", "500K").out == "bandwidth_limit is now 512000.\n"
    assert file.read_text() == '# mine\nrunner = "umu"  # works best\nbandwidth_limit = "500K"\n'
    assert integ("config", "set", "runner", "").out == "runner is forgotten.\n"
    assert "runner" not in file.read_text()
    assert "# mine" in file.read_text()


def test_the_file_is_the_owner_s_alone_and_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "integ.toml"
    real.parent.mkdir()
    file.parent.mkdir(parents=True)
    file.symlink_to(real)
    write_setting(file, "runner", "bare")
    assert file.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert real.read_text() == 'runner = "bare"\n'


def test_folders_become_a_list(integ: Integ, home: Path) -> None:
    assert integ("config", "set", "library_dirs", f"/mnt/games:{home}/Games").code == 0
    assert read_settings({"HOME": str(home)}).library_dirs == (Path("/mnt/games"), home / "Games")
    assert integ("config", "get", "library_dirs").out == f"/mnt/games:{home}/Games\n"


@pytest.mark.parametrize("name", sorted(SECRET_SETTINGS))
def test_a_secret_comes_by_stdin_and_is_never_shown(integ: Integ, file: Path, name: str) -> None:
    refused = integ("config", "set", name, "on-the-command-line")
    assert refused.code == 2
    assert "on-the-command-line" not in refused.err
    assert integ("config", "set", name, given="from-stdin\n").out == f"{name} is now set.\n"
    assert "from-stdin" in file.read_text()
    assert integ("config", "get", name).out == "set\n"
    for words in (["list"], ["list", "--json"], ["get", name, "--json"]):
        assert "from-stdin" not in integ("config", *words).out
    assert integ("config", "set", name, "").code == 0
    assert integ("config", "get", name).out == "unset\n"


def test_a_value_that_makes_no_sense_is_not_written(integ: Integ, file: Path) -> None:
    told = integ("config", "set", "upstream_url", "http://mirror.example")
    assert told.code == 2
    assert "upstream_url" in told.err
    assert not file.exists()


def test_a_variable_that_wins_is_told(integ: Integ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTEG_RUNNER", "umu")
    told = integ("config", "set", "runner", "bare")
    assert told.err == "warning: INTEG_RUNNER is set and wins over the file\n"
    assert "INTEG_RUNNER" in integ("config", "list").out


def test_a_damaged_file_is_told_and_kept(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text("runner = ")
    with pytest.raises(UsageError, match="is not TOML"):
        write_setting(file, "runner", "umu")
    assert file.read_text() == "runner = "


def test_a_folder_that_can_t_be_is_told(home: Path) -> None:
    (home / ".config").write_text("a file")
    with pytest.raises(StorageError):
        write_setting(home / ".config/integ/config.toml", "runner", "umu")


def test_two_writers_at_once_lose_nothing(file: Path) -> None:
    names = {"runner": "umu", "bandwidth_limit": "4M", "log_level": "INFO", "default_proton": "GE-Proton9-1", "gog_client_id": "46"}
    writers = [threading.Thread(target=write_setting, args=(file, name, value)) for name, value in names.items()]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    written = file.read_text()
    assert all(f'{name} = "{value}"' in written for name, value in names.items())
