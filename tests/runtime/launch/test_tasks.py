"""GOG's list of what can be started, and old games whose emulator this machine has itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integ_runtime.content.installed import InstalledGame
from integ_runtime.errors import LaunchError
from integ_server.contract.errors import AmbiguousError, NotFoundError
from tests.runtime.launch.stage import RECORDER, Stage, make_proton, make_stage, write_program


@pytest.fixture
def stage(home: Path) -> Stage:
    stage = make_stage(home, {"PATH": str(home / "bin")}, INTEG_RUNNER="bare")
    stage.proton.build = make_proton(home / "proton", needs=None)
    return stage


def game_with(
    stage: Stage, tasks: list[dict[str, Any]], *files: str, executable: str = "Tea.exe", platform: Any = "windows", **more: Any
) -> InstalledGame:
    folder = stage.settings.games_root / "Tea"
    for name in ("Tea.exe", *files):
        write_program(folder / name, RECORDER)
    base = folder / "game" if platform == "linux" else folder
    base.mkdir(exist_ok=True)
    told = {"gameId": "1", "rootGameId": "1", "playTasks": [{"type": "FileTask", **task} for task in tasks]}
    (base / "goggame-1.info").write_text(json.dumps(told), "utf-8-sig")
    game = InstalledGame("gog:1", "Tea", folder, platform, "integ", executable=folder / executable, **more)
    stage.installed.save(game)
    return game


TASKS = [
    {"isPrimary": True, "category": "game", "name": "Tea", "path": "Tea.exe", "arguments": "-w"},
    {
        "category": "tool",
        "name": "Tea Settings",
        "path": "Setup\\CFG.EXE",
        "workingDir": "setup",
        "arguments": '/x "two words"',
        "compatibilityFlags": "WINXPSP2",
    },
    {"category": "tool", "name": "Hidden", "path": "Tea.exe", "isHidden": True},
    {"category": "tool", "name": "Outside", "path": "..\\..\\evil.exe"},
    {"category": "tool", "name": "Editor", "path": "tea.exe"},
]


async def test_another_task_is_started_with_its_own_folder_and_arguments(stage: Stage) -> None:
    game = game_with(stage, TASKS, "setup/cfg.exe")
    plan = await stage.launcher.plan(game.key, task="tea settings")
    assert plan.argv[-3:] == (str(game.path / "setup/cfg.exe"), "/x", "two words")
    assert plan.cwd == game.path / "setup"
    assert (await stage.launcher.plan(game.key, task="edi")).argv[-1] == str(game.path / "Tea.exe"), "its beginning is enough"
    assert (await stage.launcher.plan(game.key, task="Tea")).argv[-1] == "-w", "an exact name is no beginning"


@pytest.mark.parametrize("name", ["Hidden", "Outside", "none", ""])
async def test_what_is_no_task_is_told_with_what_there_is(stage: Stage, name: str) -> None:
    game = game_with(stage, TASKS, "setup/cfg.exe")
    (game.path.parent.parent / "evil.exe").touch()
    if not name:
        assert (await stage.launcher.plan(game.key)).argv[-1] == str(game.executable)
        return
    with pytest.raises(NotFoundError, match="there are: Tea, Tea Settings, Editor"):
        await stage.launcher.plan(game.key, task=name)


async def test_a_beginning_of_several_tasks_is_told_as_one(stage: Stage) -> None:
    game = game_with(stage, [{"name": "Map Editor", "path": "Tea.exe"}, {"name": "Map Viewer", "path": "Tea.exe"}])
    with pytest.raises(AmbiguousError, match="Map Editor, Map Viewer"):
        await stage.launcher.plan(game.key, task="map")


async def test_a_linux_game_has_its_tasks_below_its_own_folder(stage: Stage) -> None:
    tasks = [{"name": "Tool", "path": "bin/tool", "arguments": "-t"}, {"name": "Windows Tool", "path": "bin/tool.exe"}]
    game = game_with(stage, tasks, "game/bin/tool", "game/bin/tool.exe", "start.sh", executable="start.sh", platform="linux")
    plan = await stage.launcher.plan(game.key, task="tool")
    assert plan.argv == (str(game.path / "game/bin/tool"), "-t")
    with pytest.raises(NotFoundError, match="there are: Tool"):
        await stage.launcher.plan(game.key, task="Windows Tool")


DOS = ("-conf", "..\\DosboxTea.conf", "-conf", "..\\dosboxtea_single.conf", "-noconsole", "-c", "mount d ..\\cd", "-c", "exit")


def dos_game(stage: Stage, arguments: tuple[str, ...] = DOS) -> InstalledGame:
    files = ("DOSBOX/DOSBox.exe", "dosboxTea.conf", "dosboxtea_single.conf")
    folder = stage.settings.games_root / "Tea" / "DOSBOX"
    return game_with(stage, [], *files, executable="DOSBOX/DOSBox.exe", arguments=arguments, working_dir=folder)


async def test_a_dos_game_is_run_by_the_dosbox_that_is_here(stage: Stage, home: Path) -> None:
    game = dos_game(stage)
    assert (await stage.launcher.plan(game.key)).runner == "bare", "there is none: its own, by Proton"
    dosbox = write_program(home / "bin/dosbox", RECORDER)
    plan = await stage.launcher.plan(game.key)
    assert plan.argv == (
        *(str(dosbox), "-conf", str(game.path / "dosboxTea.conf"), "-conf", str(game.path / "dosboxtea_single.conf")),
        *("-noconsole", "-c", "mount d ..\\cd", "-c", "exit"),
    )
    assert (plan.runner, plan.prefix, plan.cwd) == ("native", None, game.path / "DOSBOX")
    assert (await stage.launcher.plan(game.key, proton="ge-9.27")).runner == "bare", "who names a Proton version gets it"
    better = write_program(home / "bin/dosbox-staging", RECORDER)
    assert (await stage.launcher.plan(game.key)).argv[0] == str(better)


async def test_a_scummvm_game_is_run_by_the_scummvm_that_is_here(stage: Stage, home: Path) -> None:
    words = ("-c", "..\\Tea.ini", "--path=..\\DATA", "tea")
    game = game_with(stage, [], "scummvm/scummvm.exe", "tea.ini", "data/x", executable="scummvm/scummvm.exe", arguments=words)
    scummvm = write_program(home / "bin/scummvm", RECORDER)
    plan = await stage.launcher.plan(game.key)
    assert plan.argv == (str(scummvm), "-c", str(game.path / "tea.ini"), f"--path={game.path / 'data'}", "tea")
    assert plan.cwd == game.path / "scummvm"


@pytest.mark.parametrize("word", ["..\\..\\..\\.bashrc", "../../outside.conf", "--config=..\\..\\x", "..\\link.conf"])
async def test_an_emulator_is_given_no_file_outside_the_game(stage: Stage, home: Path, word: str) -> None:
    write_program(home / "bin/dosbox", RECORDER)
    game = dos_game(stage, ("-conf", word))
    (home / "secret.conf").touch()
    (game.path / "link.conf").symlink_to(home / "secret.conf")
    with pytest.raises(LaunchError, match="outside its folder"):
        await stage.launcher.plan(game.key)


async def test_the_real_dosbox_plays_a_dos_game(home: Path, need: Callable[[str], str]) -> None:
    stage = make_stage(
        home, {"PATH": f"{Path(need('dosbox')).parent}:/usr/bin:/bin", "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
    )
    folder = stage.settings.games_root / "Tea" / "DOSBOX"
    words = ("-conf", "..\\TEA.CONF", "-noconsole", "-c", "exit")
    game = game_with(stage, [], "DOSBOX/DOSBox.exe", executable="DOSBOX/DOSBox.exe", arguments=words, working_dir=folder)
    (game.path / "tea.conf").write_text("[autoexec]\nmount c ..\nc:\necho three cups > SAVE.TXT\n")
    outcome = await stage.launcher.run(await stage.launcher.plan(game.key), attach=False)
    assert outcome.exit_code == 0
    assert (game.path / "SAVE.TXT").read_text().strip() == "three cups"
