"""What a Tab offers, asked like the shells ask it, and in the shells themselves where they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from integ_cli.command_table import COMMANDS
from integ_cli.completion import SCRIPTS, offered
from integ_runtime.launch.supervisor import boot_id, started_at_tick
from integ_server.releases.families import FAMILIES
from tests.cli.conftest import Integ


def values(before: list[str], typed: str) -> list[str]:
    return [value for value, _ in offered(before, typed)]


def test_commands_and_their_parts() -> None:
    assert values([], "") == list(COMMANDS)
    assert values([], "lo") == ["login", "logout"]
    assert values(["proton"], "") == ["list", "available", "use", "update", "remove", "prune", "verify"]
    assert values([], "--ver") == ["--version"]
    assert values(["nope"], "") == []


def test_options_and_their_values() -> None:
    assert values(["list"], "--s") == ["--store", "--sort"]
    assert "--json" in values(["proton", "list"], "--")
    assert values(["list", "--store"], "") == ["steam", "gog"]
    assert values(["list", "--sort"], "pl") == ["playtime"]
    assert values(["list", "--by"], "r") == ["release"]
    assert values(["list", "--filter"], "x") == []
    assert values(["config", "get"], "lib") == ["library_dirs"]
    assert values(["--install-completion"], "z") == ["zsh"]


def test_games_come_from_the_cache(library: Path) -> None:
    assert values(["launch"], "lant") == ["lantern-keep"]
    assert values(["launch"], "steam:7000") == ["steam:70001", "steam:70002", "steam:70003"]
    assert values(["launch", "--proton", "x"], "lant") == ["lantern-keep"]
    assert values(["launch", "lantern-keep"], "") == []
    assert values(["launch", "x", "--"], "lan") == []
    assert ("lantern-keep", "Lantern Keep") in offered(["show"], "")


def test_no_cache_or_a_damaged_one_offers_nothing(home: Path) -> None:
    assert values(["launch"], "") == []
    cache = home / ".cache/integ/library.db"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"not a database" * 100)
    assert values(["launch"], "") == []


def test_versions_come_from_the_disk(home: Path) -> None:
    folder = home / ".cache/integ/proton"
    for name in ("GE-Proton9-1", ".hidden"):
        (folder / name).mkdir(parents=True)
    (folder / "latest").symlink_to("GE-Proton9-1")
    assert values(["proton", "use"], "") == ["latest", "GE-Proton9-1"]
    assert values(["launch", "x", "--proton"], "GE") == ["GE-Proton9-1"]
    assert values(["install-proton"], "") == values(["proton", "update"], "") == [*FAMILIES, "latest", "GE-Proton9-1"]
    assert values(["proton", "available", "--family"], "") == list(FAMILIES)
    variants = {variant for family in FAMILIES.values() for variant in family.variants}
    assert set(values(["proton", "available", "--variant"], "")) == variants
    assert values(["proton", "prune", "--keep"], "") == []
    assert values(["install-proton", "--to"], "") == values(["proton", "remove", "--from"], "") == ["steam"]


def test_stop_offers_what_runs(home: Path) -> None:
    assert values(["stop"], "") == []
    folder = home / ".local/share/integ/games/gog-7/playing"
    folder.mkdir(parents=True)
    body = {"id": "1", "key": "gog:7", "title": "Tea", "pid": os.getpid(), "pid_start": started_at_tick(os.getpid()), "boot_id": boot_id()}
    (folder / "1.json").write_text(json.dumps(body))
    (folder / "2.json").write_text(json.dumps({**body, "id": "2", "key": "gog:8", "pid_start": 1}))
    assert offered(["stop"], "") == [("gog:7", "Tea")]
    assert values(["stop"], "steam") == []


def answers(home: Path, shell: str, *words: str, **more: str) -> list[str]:
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "_INTEG_COMPLETE": shell, **more}
    done = subprocess.run([sys.executable, "-m", "integ_cli", *words], env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_each_shell_gets_its_own_form(home: Path, library: Path) -> None:
    line = "integ show steam:7000"
    assert answers(home, "bash", COMP_LINE=line, COMP_POINT=str(len(line))) == ["70001", "70002", "70003"]
    assert answers(home, "zsh", "show", "steam:70001") == [r"steam\:70001:Lantern Keep"]
    assert answers(home, "fish", "show", "lant") == ["lantern-keep\tLantern Keep"]
    assert answers(home, "fish", "show", "steam:70003") == ["steam:70003\tLoud [31m  Title "]


def test_a_tab_loads_nothing_heavy(home: Path, library: Path) -> None:
    ask = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); from integ_cli.__main__ import main; main()"
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "_INTEG_COMPLETE": "fish"}
    done = subprocess.run([sys.executable, "-c", ask, "show", "lant"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "lantern-keep\tLantern Keep\n"
    assert not {"typer", "asyncio", "pydantic", "httpx", "rich"} & set(done.stderr.split())


@pytest.fixture
def on_the_path(home: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which `integ` is a program."""
    program = tmp_path / "bin" / "integ"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m integ_cli "$@"\n')
    program.chmod(0o755)
    return {"HOME": str(home), "PATH": f"{program.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def test_bash_really_completes(on_the_path: dict[str, str], library: Path, need: Callable[[str], str]) -> None:
    ask = """
    complete() { builtin complete "$@" 2>/dev/null; }
    eval "$(integ --show-completion bash)"
    COMP_LINE='integ show lan' COMP_POINT=14; COMP_WORDS=(integ show lan); COMP_CWORD=2
    _integ_complete integ lan show
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run([need("bash"), "--norc", "-c", ask], env=on_the_path, capture_output=True, text=True, check=True)
    assert done.stdout == "lantern-keep\n", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_understands(on_the_path: dict[str, str], shell: str, need: Callable[[str], str]) -> None:
    done = subprocess.run([need(shell), "-n"], env=on_the_path, input=SCRIPTS[shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_really_completes(on_the_path: dict[str, str], library: Path, need: Callable[[str], str]) -> None:
    ask = "integ --show-completion fish | source; complete -C 'integ show lan'"
    done = subprocess.run([need("fish"), "--no-config", "-c", ask], env=on_the_path, capture_output=True, text=True, check=True)
    assert done.stdout == "lantern-keep\tLantern Keep\n", done.stderr


@pytest.mark.parametrize(
    ("shell", "file"),
    [("bash", ".local/share/bash-completion/completions/integ"), ("zsh", ".zfunc/_integ"), ("fish", ".config/fish/completions/integ.fish")],
)
def test_it_is_installed_where_the_shell_looks_and_only_once(process: Integ, home: Path, shell: str, file: str) -> None:
    for _ in range(2):
        told = process("--install-completion", shell)
        assert (told.code, told.err) == (0, "")
    assert (home / file).read_text() == SCRIPTS[shell]
    if shell == "zsh":
        assert (home / ".zshrc").read_text().count("fpath") == 1


def test_an_unknown_shell_is_wrong_usage(process: Integ) -> None:
    told = process("--show-completion", "tcsh")
    assert told.code == 2
    assert told.err.splitlines()[-1].startswith("hint: ")
