"""Where a sign-in to a backend lies: with the keyring, in memory that has a name, or in this process; never on a disk."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integ_runtime.paths import Paths, read_paths
from integ_runtime.session_store import Session, SessionStore

URL = "https://ana:hunter2@integ.example"


def session(name: str = "a") -> Session:
    return Session(f"jwt-{name}", f"integ_rt_{name}", time.time() + 1800, "u1", "s1")


def lies_on(folder: Path, secret: str) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and secret in file.read_text(errors="replace")]


@pytest.fixture
def in_memory(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An $XDG_RUNTIME_DIR as a login makes it: a tmpfs folder of the user's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    return runtime_dir


async def test_without_a_keyring_it_lies_in_memory_that_every_process_of_the_player_s_reads(home: Path, in_memory: Path) -> None:
    assert await SessionStore(read_paths(), URL).save(session()) == "runtime-folder"
    [file] = lies_on(in_memory, "integ_rt_a")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "hunter2" not in file.read_text() + file.name
    found = await SessionStore(read_paths(), URL).load()
    assert found is not None and found.refresh_token == "integ_rt_a"
    assert lies_on(home, "jwt-a") == lies_on(home, "integ_rt_a") == []
    await SessionStore(read_paths(), URL).forget()
    assert await SessionStore(read_paths(), URL).load() is None
    assert not file.exists()


async def test_each_backend_has_its_own(in_memory: Path) -> None:
    one, other = SessionStore(read_paths(), URL), SessionStore(read_paths(), "https://other.example")
    await one.save(session())
    assert await other.load() is None
    await other.save(session("b"))
    assert await one.load(again=True) == await one.load() != await other.load()
    assert one.lock != other.lock


async def test_what_another_process_saved_is_seen_when_it_is_looked_for_again(in_memory: Path) -> None:
    mine, others = SessionStore(read_paths(), URL), SessionStore(read_paths(), URL)
    await mine.save(session())
    await others.save(session("b"))
    assert (await mine.load() or session("?")).access_token == "jwt-a"
    assert (await mine.load(again=True) or session("?")).access_token == "jwt-b"


def shared(folder: Path) -> None:
    folder.chmod(0o755)


def a_link(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.rmdir()
    folder.symlink_to(elsewhere)


@pytest.mark.parametrize("spoil", [shared, a_link], ids=lambda spoil: spoil.__name__)
async def test_a_folder_that_is_not_the_player_s_alone_is_not_used(in_memory: Path, spoil: Callable[[Path], None]) -> None:
    (in_memory / "integ").mkdir(mode=0o700)
    spoil(in_memory / "integ")
    store = SessionStore(read_paths(), URL)
    assert await store.save(session()) == "memory"
    assert lies_on(in_memory, "jwt-a") == []


@pytest.mark.parametrize("where", ["disk", "nowhere", "gone"])
async def test_a_disk_is_never_used_and_this_process_remembers(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where != "nowhere":
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    if where == "disk":
        (tmp_path / "run").mkdir(mode=0o700)
        if SessionStore(read_paths(), URL) and _is_tmpfs(tmp_path):
            pytest.skip("the tests' own folder is a tmpfs here")
    store = SessionStore(read_paths(), URL)
    assert await store.save(session()) == "memory"
    assert await store.load(again=True) == await store.load()
    assert await SessionStore(read_paths(), URL).load() is None
    assert lies_on(tmp_path, "jwt-a") == []
    await store.forget()
    assert await store.load() is None


def _is_tmpfs(folder: Path) -> bool:
    return subprocess.check_output(["stat", "-f", "-c", "%T", str(folder)], text=True).strip() in {"tmpfs", "ramfs"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"access_token": 1}', '{"expires_at": "soon"}'])
async def test_what_integ_did_not_write_is_no_sign_in(in_memory: Path, text: str) -> None:
    store = SessionStore(read_paths(), URL)
    await store.save(session())
    [file] = lies_on(in_memory, "jwt-a")
    file.write_text(text)
    assert await SessionStore(read_paths(), URL).load() is None


def test_no_secret_is_in_its_text() -> None:
    assert "jwt-a" not in repr(session())
    assert "integ_rt_a" not in repr(session())


@pytest.mark.integration
def test_with_a_keyring_it_lies_there_and_nowhere_else(home: Path, in_memory: Path, need: Callable[[str], str]) -> None:
    for program in ("dbus-run-session", "gnome-keyring-daemon"):
        need(program)
    script = textwrap.dedent("""
        import asyncio, sys
        from integ_runtime.paths import read_paths
        from integ_runtime.session_store import Session, SessionStore
        async def main():
            new = lambda: SessionStore(read_paths(), "https://integ.example")
            kept = Session("jwt-ring", "integ_rt_ring", 4e9, "u1", "s1")
            where = await new().save(kept)
            same = await new().load() == kept
            await new().forget()
            print(where, same, await new().load())
        asyncio.run(main())
    """)
    (home / "script.py").write_text(script)
    unlock = (
        f"printf pw | {need('gnome-keyring-daemon')} --unlock --components=secrets >/dev/null && exec {sys.executable} {home}/script.py"
    )
    environ = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "XDG_RUNTIME_DIR": str(in_memory),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["dbus-run-session", "--", "sh", "-c", unlock], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["secret-service", "True", "None"], done.stderr
    assert lies_on(in_memory, "integ_rt_ring") == lies_on(home / ".local", "integ_rt_ring") == []


def test_the_paths_name_no_folder_without_a_login() -> None:
    paths: Paths = read_paths({"HOME": "/home/ana"})
    assert paths.runtime is None
