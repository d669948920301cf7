"""What stands in front of a game, and what a player has set for its start on this machine."""

from __future__ import annotations

import itertools
import json
import shlex
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integ_runtime.errors import LaunchError, ProgramMissingError
from integ_runtime.launch.desktop import has_session_bus
from integ_runtime.launch.options import GameOptions, merged_wrappers, read_options, steam_words
from integ_runtime.launch.plan import plan_native
from integ_runtime.launch.wrappers import split_wrappers
from integ_server.contract.errors import UsageError
from tests.runtime.launch.stage import Stage, make_stage, write_program
from tests.runtime.launch.test_plan import GAME, machine

NAMES = ("gamescope", "mangohud", "gamemoderun", "nice", "strace", "systemd-run")
PROGRAMS = {name: Path("/usr/bin") / name for name in NAMES}
TYPED = ("nice -n 5", "gamescope -W 1280 -H 800", "gamemoderun")


@pytest.fixture
def stage(home: Path) -> Stage:
    return make_stage(home)


@pytest.mark.parametrize("typed", list(itertools.permutations(TYPED)))
def test_wrappers_stand_in_the_order_that_works_whatever_was_typed_first(typed: tuple[str, ...]) -> None:
    plan = plan_native(GAME, machine(programs=PROGRAMS), wrappers=typed)
    assert plan.argv[:-2] == (
        *("/usr/bin/gamescope", "-W", "1280", "-H", "800", "--"),
        *("/usr/bin/gamemoderun", "/usr/bin/nice", "-n", "5"),
    )


def test_gamemode_comes_before_mangohud_and_both_before_the_players_own() -> None:
    plan = plan_native(GAME, machine(programs=PROGRAMS), wrappers=["strace -f", "nice", "mangohud", "gamemoderun"])
    assert plan.argv[:-2] == ("/usr/bin/gamemoderun", "/usr/bin/mangohud", "/usr/bin/strace", "-f", "/usr/bin/nice")


@pytest.mark.parametrize("gamescope", ["gamescope -f", "gamescope -f --"])
def test_inside_gamescope_its_own_overlay_takes_the_place_of_mangohud(gamescope: str) -> None:
    plan = plan_native(GAME, machine(programs=PROGRAMS), wrappers=["mangohud", gamescope])
    assert plan.argv[:-2] == ("/usr/bin/gamescope", "-f", "--mangoapp", "--")
    plan = plan_native(GAME, machine(programs=PROGRAMS), wrappers=["gamescope --mangoapp -f", "mangohud"])
    assert plan.argv[:-2] == ("/usr/bin/gamescope", "--mangoapp", "-f", "--")
    missing = machine(programs={**PROGRAMS, "mangohud": None})
    assert plan_native(GAME, missing, wrappers=["mangohud", gamescope]).argv[:-2] == ("/usr/bin/gamescope", "-f", "--")


@pytest.mark.parametrize("variable", ["XDG_CURRENT_DESKTOP", "XDG_SESSION_DESKTOP"])
def test_in_a_gamescope_session_there_is_neither_a_second_one_nor_a_second_overlay(variable: str) -> None:
    on = machine(environ={variable: "gamescope"}, programs=PROGRAMS)
    plan = plan_native(GAME, on, wrappers=["gamescope -f --", "mangohud", "nice"])
    assert plan.argv == ("/usr/bin/nice", str(GAME.executable), "-w")
    assert plan.notes == tuple(f"{name} is left out: this session is gamescope already" for name in ("gamescope", "mangohud"))


def test_a_missing_overlay_or_daemon_costs_a_note_and_another_missing_wrapper_the_launch() -> None:
    on = machine(programs={})
    plan = plan_native(GAME, on, wrappers=["mangohud", "gamemoderun"])
    assert plan.argv == (str(GAME.executable), "-w")
    assert plan.notes == tuple(f"{name} is left out: it is not installed" for name in ("mangohud", "gamemoderun"))
    for other in ("strace -f", "gamescope -f"):
        with pytest.raises(ProgramMissingError, match=other.split()[0]):
            plan_native(GAME, on, wrappers=[other])
    for wrong in ("", "  ", "'open"):
        with pytest.raises(LaunchError):
            plan_native(GAME, on, wrappers=[wrong])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gamescope -f -- mangohud nice -n 5", [["gamescope", "-f", "--"], ["mangohud"], ["nice", "-n", "5"]]),
        ("mangohud --dlsym 'my wrapper' -x", [["mangohud", "--dlsym"], ["my wrapper", "-x"]]),
        ("nice -n 5 gamemoderun", [["nice", "-n", "5"], ["gamemoderun"]]),
        ("gamescope --prefer-vk-device mangohud", [["gamescope", "--prefer-vk-device", "mangohud"]]),
        ("/opt/bin/gamescope -f -- strace -o 'a b'", [["/opt/bin/gamescope", "-f", "--"], ["strace", "-o", "a b"]]),
    ],
)
def test_several_wrappers_in_a_row_are_told_apart(text: str, parts: list[list[str]]) -> None:
    assert split_wrappers(text) == parts


@pytest.mark.parametrize(
    ("text", "env", "wrappers", "words"),
    [
        ("-w 'two words'", {}, [], ["-w", "two words"]),
        ("%command%", {}, [], []),
        ("%command% -w", {}, [], ["-w"]),
        ("A=1 B='x y' gamescope -f -- mangohud %command% -w", {"A": "1", "B": "x y"}, ["gamescope -f --", "mangohud"], ["-w"]),
        ("env C=2 %command%", {}, ["env C=2"], []),
        ("--seed=A=1", {}, [], ["--seed=A=1"]),
        ("D=$(id) %command% ; reboot", {"D": "$(id)"}, [], [";", "reboot"]),
    ],
)
def test_launch_options_are_read_as_steam_reads_them_but_by_no_shell(
    text: str, env: dict[str, str], wrappers: list[str], words: list[str]
) -> None:
    assert steam_words(text) == (env, wrappers, words)


def test_a_wrapper_named_anew_takes_the_place_of_the_kept_one() -> None:
    assert merged_wrappers(["gamescope -f", "nice"], ["gamescope -W 800"]) == ["nice", "gamescope -W 800"]


async def test_what_is_kept_for_a_game_counts_at_every_launch_and_what_is_typed_comes_first(stage: Stage, home: Path) -> None:
    for name in ("front", "other"):
        write_program(home / "bin" / name, "#!/bin/sh\n")
    stage.environ["PATH"] = f"{home / 'bin'}:{stage.environ['PATH']}"
    game = stage.game(arguments=("-own",))
    await stage.tell(launch_options="-of-the-backend")
    launcher = stage.launcher
    launcher.change_options(game.key, {"wrappers": ("front -x",), "env": {"A": "1", "B": "1"}, "cwd": str(home)})
    launcher.change_options(game.key, {"arguments": "B=2 WHO=me other %command% -kept"})
    plan = await launcher.plan(game.key, env={"A": "3"})
    assert plan.argv == (f"{home}/bin/front", "-x", f"{home}/bin/other", str(game.executable), "-own", "-kept")
    assert plan.env == {"A": "3", "B": "2", "WHO": "me"}
    assert plan.cwd == home
    typed = await launcher.plan(game.key, args=["-typed"], wrappers=["front -y"])
    assert typed.argv == (f"{home}/bin/other", f"{home}/bin/front", "-y", str(game.executable), "-own", "-typed")
    launcher.keep_options(game.key, GameOptions())
    assert (await launcher.plan(game.key)).argv == (str(game.executable), "-own", "-of-the-backend")


def test_options_are_their_users_alone_and_show_no_secret(stage: Stage) -> None:
    kept = stage.launcher.change_options("gog:1", {"env": {"MY_TOKEN": "hush", "A": "1"}})
    file = stage.installed.folder("gog:1") / "options.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kept.as_dict()["env"] == {"A": "1", "MY_TOKEN": "***"}
    assert "hush" not in repr(kept)
    stage.launcher.keep_options("gog:1", GameOptions())
    assert not file.exists()


def test_a_damaged_options_file_is_told_with_what_mends_it(stage: Stage) -> None:
    folder = stage.installed.folder("gog:1")
    folder.mkdir(parents=True)
    whole = {"wrappers": [], "env": {}, "arguments": "", "cwd": "", "before": "", "after": ""}
    for body in ("", "[]", "{}", json.dumps({**whole, "env": {"A": 1}}), json.dumps({**whole, "before": "a\0b"})):
        (folder / "options.json").write_text(body)
        with pytest.raises(LaunchError) as caught:
            read_options(folder, "gog:1")
        assert caught.value.hint == "integ options gog:1 --off"


def test_options_that_no_launch_could_read_are_not_kept(stage: Stage) -> None:
    for wanted in ({"wrappers": ("'open",)}, {"arguments": "'open"}, {"before": "'open"}, {"after": '"'}):
        with pytest.raises(LaunchError):
            stage.launcher.change_options("gog:1", wanted)
    for wanted in ({"env": {"WINEPREFIX": "/x"}}, {"arguments": "UMU_ID=1 %command%"}):
        with pytest.raises(UsageError, match="set by Integ"):
            stage.launcher.change_options("gog:1", wanted)
    with pytest.raises(UsageError, match="Steam"):
        stage.launcher.change_options("steam:1", {"before": "x"})
    assert stage.launcher.options("gog:1") == GameOptions()


# --- before and after ---

NOTE = '#!/bin/sh\nenv > "$0.env"\necho "$0 $*" >> {log}\nexit {code}\n'


def around(stage: Stage, home: Path, *, before: int = 0, after: int = 0) -> Path:
    """Commands before and after the game that note in one file when they ran; it is answered."""
    log = home / "ran"
    for name, code in {"first": before, "last": after}.items():
        write_program(home / "bin" / name, NOTE.format(log=log, code=code))
    stage.environ["PATH"] = f"{home / 'bin'}:{stage.environ['PATH']}"
    stage.launcher.change_options("gog:1", {"before": "first 'one word'", "after": "last"})
    return log


def names(log: Path) -> list[str]:
    return [shlex.split(line)[0].rpartition("/")[2] for line in log.read_text().splitlines()]


async def test_commands_run_around_a_game_also_when_it_crashes_and_hear_no_secret(stage: Stage, home: Path) -> None:
    log = around(stage, home)
    stage.environ["NIGHTLY_TOKEN"] = "hush"
    game = stage.game(f'#!/bin/sh\necho "game" >> {log}\n(sleep 0.5; echo "gone" >> {log}) &\nkill -SEGV $$\n')
    outcome = await stage.launcher.run(await stage.launcher.plan(game.key, env={"MY_API_KEY": "hush", "PLAIN": "1"}), attach=False)
    assert (outcome.exit_code, outcome.after_code) == (139, 0)
    assert names(log) == ["first", "game", "gone", "last"], "after the real end"
    for name in ("first", "last"):
        env = (home / "bin" / f"{name}.env").read_text()
        assert "hush" not in env and "PLAIN=1" in env and "INTEG_GAME_KEY=gog:1" in env
    assert "INTEG_EXIT_CODE=139" in (home / "bin/last.env").read_text()


async def test_a_command_before_that_fails_keeps_the_game_from_starting(stage: Stage, home: Path) -> None:
    log = around(stage, home, before=3)
    game = stage.game(f'#!/bin/sh\necho "game" >> {log}\n')
    with pytest.raises(LaunchError, match="ended with 3: the game was not started") as caught:
        await stage.launcher.run(await stage.launcher.plan(game.key), attach=False)
    assert "integ options gog:1" in caught.value.hint
    assert names(log) == ["first"]
    assert stage.sessions() == []


async def test_a_command_after_that_fails_or_hangs_changes_neither_code_nor_time(
    stage: Stage, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around(stage, home, after=5)
    game = stage.game("#!/bin/sh\nexit 7\n")
    outcome = await stage.launcher.run(await stage.launcher.plan(game.key), attach=False)
    assert (outcome.exit_code, outcome.after_code) == (7, 5)
    monkeypatch.setattr("integ_runtime.launch.run.AFTER_LIMIT_S", 0.5)
    write_program(home / "bin/last", "#!/bin/sh\nsleep 600\n")
    outcome = await stage.launcher.run(await stage.launcher.plan(game.key), attach=False)
    assert (outcome.exit_code, outcome.after_code) == (7, 137)
    assert [each["exit_code"] for each in stage.sessions()] == [7, 7]
    assert all(each["seconds"] < 0.5 for each in stage.sessions())


async def test_a_missing_command_before_refuses_and_one_after_is_left_out(stage: Stage) -> None:
    game = stage.game()
    stage.launcher.change_options(game.key, {"after": "nowhere-to-be-found"})
    plan = await stage.launcher.plan(game.key)
    assert (plan.after, plan.notes) == ((), ("nowhere-to-be-found is left out: it is not installed",))
    stage.launcher.change_options(game.key, {"before": "nowhere-to-be-found"})
    with pytest.raises(ProgramMissingError) as caught:
        await stage.launcher.plan(game.key)
    assert caught.value.hint == "integ options gog:1 --before ''"


# --- the real ones ---


@pytest.fixture
def bus(tmp_path: Path, need: Callable[[str], str]) -> Iterator[str]:
    """The address of a session bus of this test's own."""
    argv = [need("dbus-daemon"), "--session", "--nofork", "--print-address", f"--address=unix:path={tmp_path}/bus"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout
        yield daemon.stdout.readline().strip()
        daemon.kill()


WATCHED_GAME = '#!/bin/sh\nenv > "$0.env"\ntr "\\0" "\\n" < /proc/$$/cmdline > "$0.argv"\nexit 6\n'


async def test_the_real_gamemoderun_and_mangohud_wrap_a_real_program(home: Path, bus: str, need: Callable[[str], str]) -> None:
    folders = {str(Path(need(name)).parent) for name in ("mangohud", "gamemoderun")}
    stage = make_stage(home, {"PATH": ":".join([*sorted(folders), "/usr/bin", "/bin"]), "DBUS_SESSION_BUS_ADDRESS": bus})
    game = stage.game(WATCHED_GAME, arguments=("two words",))
    plan = await stage.launcher.plan(game.key, wrappers=["mangohud", "gamemoderun"])
    assert [Path(word).name for word in plan.argv[:3]] == ["gamemoderun", "mangohud", "play"]
    assert plan.notes == ()
    outcome = await stage.launcher.run(plan, attach=False)
    assert outcome.exit_code == 6
    seen = (game.path / "play.env").read_text()
    assert "MANGOHUD=1\n" in seen
    assert "libgamemodeauto.so" in seen
    assert (game.path / "play.argv").read_text().splitlines()[1:] == [str(game.executable), "two words"]


async def test_without_a_session_bus_gamemode_would_end_the_game_and_is_left_out(home: Path, need: Callable[[str], str]) -> None:
    stage = make_stage(
        home, {"PATH": f"{Path(need('gamemoderun')).parent}:/usr/bin:/bin", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={home}/no"}
    )
    game = stage.game(WATCHED_GAME)
    plan = await stage.launcher.plan(game.key, wrappers=["gamemoderun"])
    assert "no session bus" in plan.notes[0]
    assert (await stage.launcher.run(plan, attach=False)).exit_code == 6


def test_a_session_bus_is_there_when_somebody_listens(bus: str, tmp_path: Path) -> None:
    assert has_session_bus({"DBUS_SESSION_BUS_ADDRESS": bus})
    assert has_session_bus({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert not has_session_bus({"XDG_RUNTIME_DIR": str(tmp_path / "none")})
    assert not has_session_bus({"DBUS_SESSION_BUS_ADDRESS": "unix:abstract=/integ/nobody-listens-here"})
    assert not has_session_bus({})


def test_the_real_mangohud_does_nothing_to_a_program_without_pictures(need: Callable[[str], str]) -> None:
    done = subprocess.run([need("mangohud"), "/bin/echo", "tea"], capture_output=True, text=True, check=True)
    assert done.stdout == "tea\n"
