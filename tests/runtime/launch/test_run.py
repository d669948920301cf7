"""Games that are really started: what they are given, how their end is seen, what of it is kept."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.content.installed import InstalledGame
from integ_runtime.errors import LaunchError, NotExecutableError, ProgramMissingError
from integ_runtime.launch import run as running
from integ_runtime.launch.playtime import playing, read_plays
from integ_runtime.launch.run import LaunchOutcome
from integ_server.contract.errors import BusyError, NotFoundError
from tests.runtime.launch.stage import RECORDER, Stage, alive, make_proton, make_stage, until, write_program

PYTHON = f"#!{sys.executable} -IS\n"


@pytest.fixture
def stage(home: Path) -> Stage:
    return make_stage(home)


async def play(stage: Stage, game: InstalledGame, *, attach: bool = False, **asked: Any) -> LaunchOutcome:
    return await stage.launcher.run(await stage.launcher.plan(game.key, **asked), attach=attach)


async def test_a_games_own_exit_code_comes_back_and_its_play_is_recorded(stage: Stage) -> None:
    game = stage.game()
    outcome = await play(stage, game, env={"EXIT_WITH": "7"})
    assert outcome.exit_code == 7
    (session,) = stage.sessions()
    assert session["exit_code"] == 7
    assert session["ended_at"] >= session["started_at"]
    assert session["seconds"] == outcome.seconds
    assert not list((stage.installed.folder("gog:1") / "playing").iterdir())


async def test_death_by_a_signal_is_128_and_its_number(stage: Stage) -> None:
    game = stage.game("#!/bin/sh\nkill -SEGV $$\n")
    assert (await play(stage, game)).exit_code == 128 + signal.SIGSEGV


async def test_arguments_folder_and_surroundings_reach_the_game_as_they_are(stage: Stage) -> None:
    game = stage.game(arguments=("-w", "two words"))
    odd = ["quo'te\"d", "new\nline", "$HOME; rm", "", "caf\udce9", "日本"]
    await play(stage, game, args=odd, env={"MY_OWN": "ü =1"})
    seen = stage.started(game)
    assert seen["argv"] == [str(game.executable), "-w", "two words", *odd]
    assert seen["cwd"] == str(game.path)
    assert seen["env"]["MY_OWN"] == "ü =1"
    assert seen["stdin"] == "/dev/null"
    assert seen["sid"] != os.getsid(0), "without a terminal a game has a session of its own"


async def test_what_would_break_or_spy_is_not_passed_on(home: Path) -> None:
    secrets = {
        "GITHUB_TOKEN": "s1", "GH_TOKEN": "s2", "STEAM_API_KEY": "s3", "STEAM_WEB_API_KEY": "s4", "GOG_CLIENT_SECRET": "s5",
        "INTEG_TOKEN": "s6", "INTEG_SECRET_KEY": "s7", "DATABASE_URL": "s8", "INTEG_UPSTREAM_URL": "s9",
    }  # fmt: skip
    harmful = {
        "PYTHONPATH": "/x", "PYTHONHOME": "/x", "VIRTUAL_ENV": str(home / "venv"), "LD_PRELOAD": "/nowhere/overlay.so",
        "BASH_FUNC_x%%": "() { :; }", "CONDA_PREFIX": "/x", "TEXTUAL_DRIVER": "x", "WINEPREFIX": "/x", "STEAM_COMPAT_DATA_PATH": "/x",
        "UMU_ID": "x", "COLUMNS": "80", "TERM": "xterm",
    }  # fmt: skip
    kept = {
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "C.UTF-8",
        "DISPLAY": ":0",
        "XDG_CURRENT_DESKTOP": "KDE",
        "PULSE_SERVER": "x",
        "SDL_VIDEODRIVER": "x",
    }
    path = f"{home}/venv/bin:{sys.prefix}/bin:/usr/bin:/bin"
    stage = make_stage(home, {**secrets, **harmful, **kept, "PATH": path})
    game = stage.game()
    await play(stage, game)
    env = stage.started(game)["env"]
    assert not (secrets.keys() | harmful.keys()) & env.keys()
    assert {name: env[name] for name in kept} == kept
    assert env["HOST_LC_ALL"] == "C.UTF-8"
    assert env["PATH"] == "/usr/bin:/bin"


async def test_a_bundle_s_libraries_are_not_the_game_s(home: Path) -> None:
    bundled = {"APPDIR": "/tmp/.mount", "LD_LIBRARY_PATH": "/tmp/.mount/lib", "GTK_PATH": "/tmp/.mount", "SSL_CERT_FILE": "/tmp/.mount/c"}
    stage = make_stage(home, bundled)
    game = stage.game()
    await play(stage, game)
    assert not {"LD_LIBRARY_PATH", "GTK_PATH", "SSL_CERT_FILE"} & stage.started(game)["env"].keys()
    stage = make_stage(home, {"LD_LIBRARY_PATH": "/mine"})
    await play(stage, game)
    assert stage.started(game)["env"]["LD_LIBRARY_PATH"] == "/mine"


async def test_a_windows_game_without_a_proton_version_could_not_be_started(stage: Stage) -> None:
    game = stage.game(platform="windows")
    with pytest.raises(LaunchError, match="no Proton version") as caught:
        await stage.launcher.plan(game.key)
    assert not isinstance(caught.value, NotExecutableError | ProgramMissingError | NotFoundError), "exit code 125"
    assert caught.value.hint == "integ install-proton"


async def test_hints_can_be_typed_whatever_the_folder_is_called(stage: Stage) -> None:
    game = stage.game(name="my game.sh")
    program = game.path / "my game.sh"
    program.chmod(0o644)
    with pytest.raises(NotExecutableError) as caught:
        await stage.launcher.plan(game.key)
    assert shlex.split(caught.value.hint) == ["chmod", "+x", str(program)]


async def test_the_player_s_variables_win_but_for_those_that_are_integ_s_own(stage: Stage) -> None:
    game = stage.game()
    plan = await stage.launcher.plan(game.key, env={"LD_PRELOAD": "/mine.so", "WINEPREFIX": "/x", "UMU_ID": "1", "INTEG_RUN_ID": "x"})
    assert plan.env == {"LD_PRELOAD": "/mine.so"}
    assert plan.environ["LD_PRELOAD"] == "/mine.so"
    assert len(plan.notes) == 3
    assert all("set by Integ" in note for note in plan.notes)


async def test_a_game_that_forks_away_is_played_until_it_has_really_ended(stage: Stage) -> None:
    game = stage.game(
        PYTHON + "import os, sys, time\n"
        "folder = os.path.dirname(os.path.abspath(__file__))\n"
        "if os.fork(): sys.exit(3)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "open(folder + '/away', 'w').write(str(os.getpid()))\n"
        "while not os.path.exists(folder + '/come back'): time.sleep(0.01)\n"
    )
    task = asyncio.create_task(play(stage, game))
    await until((game.path / "away").exists)
    (one,) = await until(lambda: playing(stage.installed.folder("gog:1")))
    assert not alive(one.game_pid) or not task.done()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 1.0)
    (game.path / "come back").touch()
    assert (await task).exit_code == 3
    assert len(stage.sessions()) == 1


async def test_wine_s_servants_do_not_count_as_play(stage: Stage) -> None:
    game = stage.game('#!/bin/sh\n"$(dirname "$0")/wineserver" 600 >/dev/null 2>&1 &\nexit 5\n')
    shutil.copy("/bin/sleep", game.path / "wineserver")
    outcome = await asyncio.wait_for(play(stage, game), 30)
    assert outcome.exit_code == 5
    left = [int(each.name) for each in Path("/proc").glob("[0-9]*") if _program(each) == str(game.path / "wineserver")]
    assert len(left) == 1, "nobody has to end them"
    os.kill(left[0], signal.SIGKILL)


def _program(process: Path) -> str:
    try:
        return os.readlink(process / "exe")
    except OSError:
        return ""


DEAF = (
    PYTHON + "import os, signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = os.fork()\n"
    "if not child: os.setsid()\n"
    "open(os.path.dirname(os.path.abspath(__file__)) + f'/deaf-{bool(child)}', 'w').write(str(os.getpid()))\n"
    "while True: time.sleep(0.05)\n"
)


async def test_cancelling_stops_a_game_that_does_not_hear(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    game = stage.game(DEAF)
    plan = await stage.launcher.plan(game.key)
    folder = stage.installed.folder(game.key)
    task = asyncio.create_task(running.run_game(plan, game_dir=folder, log_dir=folder / "logs", attach=False, patience_s=0.1))
    pids = [int(await until(lambda name=name: _text(game.path / name))) for name in ("deaf-True", "deaf-False")]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(map(alive, pids))
    assert stage.sessions()[0]["exit_code"] == 128 + signal.SIGKILL


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def test_sigterm_to_integ_stops_the_game_and_its_code_comes_back(stage: Stage) -> None:
    game = stage.game("#!/bin/sh\ntrap 'exit 9' TERM\ntouch \"$0.runs\"\nwhile :; do sleep 0.05; done\n")
    task = asyncio.create_task(play(stage, game))
    await until((game.path / "play.runs").exists)
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await task).exit_code == 9
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


async def test_cancelling_leaves_the_game_alone_when_told_so(stage: Stage) -> None:
    game = stage.game('#!/bin/sh\necho $$ > "$0.pid"\nwhile [ ! -e "$0.end" ]; do sleep 0.02; done\n')
    plan = await stage.launcher.plan(game.key)
    task = asyncio.create_task(stage.launcher.run(plan, attach=False, stop_when_asked=False))
    pid = int(await until(lambda: _text(game.path / "play.pid")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(pid)
    (game.path / "play.end").touch()
    await until(stage.sessions)
    await until(lambda: not alive(pid))


INTEG = """
import asyncio, sys
from pathlib import Path
from tests.runtime.launch.stage import make_stage
async def main():
    stage = make_stage(Path(sys.argv[1]))
    plan = await stage.launcher.plan("gog:1")
    outcome = await stage.launcher.run(plan, attach="attach" in sys.argv, on_started=lambda pid: print("started", pid, flush=True))
    print("code", outcome.exit_code, flush=True)
asyncio.run(main())
"""


def integ(home: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[3]
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, "-c", INTEG, str(home), *words], env=env, stdout=subprocess.PIPE, text=True, **more)


async def test_a_game_outlives_a_killed_integ_and_its_time_is_kept(stage: Stage, home: Path) -> None:
    game = stage.game('#!/bin/sh\necho $$ > "$0.pid"\nwhile [ ! -e "$0.end" ]; do sleep 0.02; done\nexit 4\n')
    with integ(home) as process:
        pid = int(await until(lambda: _text(game.path / "play.pid")))
        process.kill()
    assert alive(pid)
    await until(lambda: [each.game_pid for each in playing(stage.installed.folder(game.key))] == [pid])
    (game.path / "play.end").touch()
    (session,) = await until(stage.sessions)
    assert session["exit_code"] == 4


async def test_a_play_whose_supervisor_was_killed_is_closed_by_the_next(stage: Stage, home: Path) -> None:
    stage.proton.build = make_proton(home / "proton", needs=None, script='#!/bin/sh\necho $$ > "$2.pid"\nexec sleep 600\n')
    game = stage.game("MZ", name="play.exe", platform="windows")
    task = asyncio.create_task(play(stage, game))
    folder = stage.installed.folder(game.key)
    (one,) = await until(lambda: [each for each in playing(folder) if each.game_pid and (game.path / "play.exe.pid").exists()])
    os.kill(one.pid, signal.SIGKILL)
    with pytest.raises(LaunchError):
        await task
    assert playing(folder) == []
    with pytest.raises(BusyError, match=str(one.game_pid)):
        await play(stage, game)
    os.kill(one.game_pid, signal.SIGKILL)
    await until(lambda: not alive(one.game_pid))
    stage.proton.build = make_proton(home / "proton", needs=None)
    await play(stage, game)
    cut, whole = stage.sessions()
    assert cut["cut_short"] and cut["exit_code"] is None
    assert whole["exit_code"] == 0
    assert read_plays(folder).sessions == 2


async def test_a_prefix_is_used_by_one_play_at_a_time(stage: Stage, home: Path) -> None:
    stage.proton.build = make_proton(
        home / "proton", needs=None, script='#!/bin/sh\ntouch "$2.runs"\nwhile [ ! -e "$2.end" ]; do sleep 0.02; done\n'
    )
    game = stage.game("MZ", name="play.exe", platform="windows")
    first = asyncio.create_task(play(stage, game))
    await until((game.path / "play.exe.runs").exists)
    with pytest.raises(BusyError):
        await play(stage, game)
    await until(lambda: [each.key for each in stage.launcher.running()] == ["gog:1"])
    (game.path / "play.exe.end").touch()
    assert (await first).exit_code == 0
    assert stage.launcher.running() == []
    assert stage.proton.used == ["GE-Proton9-27"]


async def test_stop_ends_a_game_that_another_integ_started(stage: Stage, home: Path) -> None:
    game = stage.game('#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 600\n')
    with integ(home) as process:
        await until(stage.launcher.running)
        assert [play.key for play in await stage.launcher.stop(game.key)] == [game.key]
        out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-1] == f"code {128 + signal.SIGTERM}"
    with pytest.raises(NotFoundError):
        await stage.launcher.stop(game.key)


async def test_output_goes_to_a_log_with_a_header_that_holds_no_secret(stage: Stage) -> None:
    game = stage.game("#!/bin/sh\necho out; echo err >&2\n")
    outcome = await play(stage, game, env={"MY_API_KEY": "hush", "PLAIN": "said"}, args=["--password=hush"])
    assert outcome.log_path is not None
    assert outcome.log_path.parent == stage.settings.paths.logs_dir / "gog-1"
    text = outcome.log_path.read_text()
    assert text.endswith("\n\nout\nerr\n")
    assert "PLAIN=said" in text
    assert "hush" not in text
    assert outcome.log_path.stat().st_mode & 0o077 == 0


async def test_only_the_newest_logs_are_kept(stage: Stage) -> None:
    game = stage.game("#!/bin/sh\nexit 0\n")
    folder = stage.settings.paths.logs_dir / "gog-1"
    folder.mkdir(parents=True)
    for day in range(1, 20):
        (folder / f"202001{day:02}T000000Z.log").touch()
    await play(stage, game)
    names = sorted(each.name for each in folder.iterdir())
    assert len(names) == running.KEPT_LOGS
    assert "20200119T000000Z.log" in names


@pytest.mark.parametrize(
    ("script", "mode", "kind"),
    [
        ("#!/nowhere/interpreter\n", 0o755, ProgramMissingError),
        ("no program at all", 0o755, NotExecutableError),
        ("#!/bin/sh\n", 0o644, NotExecutableError),
    ],
)
async def test_what_can_not_be_started_says_why(stage: Stage, script: str, mode: int, kind: type[LaunchError]) -> None:
    game = stage.game(script)
    assert game.executable is not None
    game.executable.chmod(mode)
    with pytest.raises(LaunchError) as caught:
        await play(stage, game)
    assert type(caught.value) is kind
    assert stage.sessions() == []
    assert playing(stage.installed.folder(game.key)) == []


async def test_a_game_whose_files_are_gone_is_told_so(stage: Stage) -> None:
    game = stage.game()
    assert game.executable is not None
    game.executable.unlink()
    with pytest.raises(ProgramMissingError):
        await play(stage, game)
    shutil.rmtree(game.path)
    with pytest.raises(ProgramMissingError, match="folder"):
        await play(stage, game)


@pytest.mark.parametrize("state", ["installing", "removing"])
async def test_a_half_installed_game_does_not_launch(stage: Stage, state: Any) -> None:
    game = stage.installed.set_state(stage.game(), state)
    with pytest.raises(NotFoundError) as caught:
        await play(stage, game)
    assert caught.value.hint.startswith("integ ")
    with pytest.raises(NotFoundError, match="not installed"):
        await stage.launcher.plan("gog:2")


async def test_a_log_without_end_is_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOG_LIMIT_BYTES", 10_000)
    monkeypatch.setattr(running, "TOUCH_S", 0.1)
    game = stage.game("#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x; (sleep 0.6; echo last words) & exit 0\n")
    outcome = await play(stage, game)
    assert outcome.log_path is not None
    text = outcome.log_path.read_text()
    assert len(text) < 10_000
    assert text.endswith("last words\n")
    assert text.startswith("# game: Tea (gog:1)")


def read_all(master: int, needle: bytes, said: bytearray) -> None:
    while needle not in said:
        ready, _, _ = select.select([master], [], [], 20)
        assert ready, f"{needle!r} was not said: {said!r}"
        try:
            part = os.read(master, 4096)
        except OSError:
            part = b""
        assert part, f"{needle!r} was not said: {said!r}"
        said += part


@pytest.fixture
def terminal(stage: Stage, home: Path) -> Any:
    """Integ as a shell would start it in a terminal: its own session, the foreground job of a pseudo-terminal."""
    opened: list[tuple[int, int]] = []

    def start() -> tuple[int, int]:
        child, master = pty.fork()
        if not child:
            root = Path(__file__).resolve().parents[3]
            env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(root), "TERM": "xterm"}
            os.execve(sys.executable, [sys.executable, "-c", INTEG, str(home), "attach"], env)
        opened.append((child, master))
        return child, master

    yield start
    for child, master in opened:
        os.close(master)
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_a_game_on_a_terminal_has_the_terminal(stage: Stage, terminal: Any) -> None:
    stage.game('#!/bin/sh\nread line\necho "got $line $TERM $(tty)"\nexit 6\n')
    child, master = terminal()
    said = bytearray()
    read_all(master, b"started", said)
    os.write(master, b"hello\n")
    read_all(master, b"code 6", said)
    assert b"got hello xterm /dev/pts/" in said
    assert os.waitpid(child, 0)[1] == 0


def test_ctrl_c_reaches_the_game_and_integ_waits_for_its_end(stage: Stage, terminal: Any) -> None:
    stage.game("#!/bin/sh\ntrap 'echo heard; exit 11' INT\necho ready\nwhile :; do sleep 0.05; done\n")
    child, master = terminal()
    said = bytearray()
    read_all(master, b"ready", said)
    read_all(master, b"started", said)
    os.write(master, b"\x03")
    read_all(master, b"code 11", said)
    assert b"heard" in said
    assert os.waitpid(child, 0)[1] == 0
    assert stage.sessions()[0]["exit_code"] == 11


def test_a_terminal_left_raw_is_mended(stage: Stage, terminal: Any) -> None:
    stage.game("#!/bin/sh\nstty raw -echo\nkill -9 $$\n")
    _, master = terminal()
    said = bytearray()
    read_all(master, b"code 137", said)
    import termios

    assert termios.tcgetattr(master)[3] & termios.ECHO


def test_the_supervisor_needs_nothing_of_ours(tmp_path: Path) -> None:
    from integ_runtime.launch import supervisor

    ask = f"import sys; sys.path.append({str(Path(supervisor.__file__).parent)!r}); import supervisor; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-I", "-S", "-c", ask], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    loaded = set(out.split())
    assert not [name for name in loaded if name.startswith("integ")]
    assert not {"json", "typing", "contextlib", "pathlib", "subprocess", "enum"} & loaded, "each of them keeps the game waiting"


async def test_a_wrapper_stands_in_front(stage: Stage, home: Path) -> None:
    wrapper = write_program(home / "bin" / "front", RECORDER)
    stage.environ["PATH"] = f"{wrapper.parent}:{stage.environ['PATH']}"
    game = stage.game()
    await play(stage, game, wrappers=["front --calm 'two words'"])
    assert json.loads((wrapper.parent / "started.json").read_text())["argv"] == [str(wrapper), "--calm", "two words", str(game.executable)]


async def test_wine_is_asked_first_and_everybody_when_that_does_not_help(stage: Stage, home: Path) -> None:
    script = '#!/bin/sh\ntrap \'echo term >> "$2.heard"; exit 12\' TERM\ntouch "$2.runs"\nwhile :; do sleep 0.02; done\n'
    build = stage.proton.build = make_proton(home / "proton", needs=None, script=script)
    server = write_program(build.path / "files" / "bin" / "wineserver", RECORDER)
    game = stage.game("MZ", name="play.exe", platform="windows")
    plan = await stage.launcher.plan(game.key)
    assert plan.stop == (str(server), "-k")
    folder = stage.installed.folder(game.key)
    assert plan.prefix
    plan.prefix.mkdir(parents=True)
    task = asyncio.create_task(running.run_game(plan, game_dir=folder, log_dir=folder / "logs", attach=False, patience_s=1.0))
    await until((game.path / "play.exe.runs").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    asked = json.loads((server.parent / "started.json").read_text())
    assert asked["argv"] == [str(server), "-k"]
    assert asked["env"]["WINEPREFIX"] == f"{plan.prefix}/pfx"
    assert (game.path / "play.exe.heard").read_text() == "term\n"
    assert stage.sessions()[0]["exit_code"] == 12
