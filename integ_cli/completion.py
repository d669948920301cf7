"""What the shell offers after a Tab; a path of its own, since it runs at every Tab: no parser is loaded unless options are asked for."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from integ_cli.command_table import COMMANDS, Entry, Group
from integ_cli.exit_codes import ExitCode

_MOST = 60
_OPTION_VALUES = {
    "--proton": "version",
    "--game": "game",
    "--store": "provider",
    "--sort": "sort",
    "--by": "by",
    "--family": "family",
    "--variant": "variant",
    "--platform": "platform",
    "--steam": "steam",
    "--to": "place",
    "--from": "place",
}
_FIXED = {
    "by": ("title", "release"),
    "family": ("ge", "umu", "cachyos", "wine-ge", "kron4ek"),
    "place": ("steam",),
    "platform": ("linux", "windows"),
    "provider": ("steam", "gog"),
    "steam": ("native", "flatpak", "snap"),
    "shell": ("bash", "zsh", "fish"),
    "variant": (
        *("wow64", "x86", "staging", "staging-wow64", "staging-x86", "staging-tkg", "staging-tkg-wow64", "staging-tkg-x86"),
        *("proton", "proton-wow64", "proton-x86", "lol"),
    ),
}
_WITH_A_VALUE = {
    *_OPTION_VALUES,
    *("--filter", "--limit", "--language", "--dlc", "--branch", "--build", "--dir", "--path", "--exe", "--wrapper", "--env"),
    *("--steam-id", "--account", "--user", "--keep", "--note", "--login"),
    *("--task", "--args", "--cwd", "--before", "--after"),
}

_ROOT_OPTIONS = ("--help", "--version", "--install-completion", "--show-completion")

Offer = tuple[str, str]

SCRIPTS = {
    "bash": """\
_integ_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(_INTEG_COMPLETE=bash COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "$1" 2>/dev/null))
}
complete -o default -o nosort -F _integ_complete integ
""",
    "zsh": """\
#compdef integ
_integ() {
    local -a offered
    offered=("${(@f)$(_INTEG_COMPLETE=zsh integ "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${offered[*]}" ]]; then _describe -V integ offered; else _files; fi
}
if [[ "$funcstack[1]" = _integ ]]; then _integ "$@"; else compdef _integ integ; fi
""",
    "fish": """\
function __integ_complete
    set -l words (commandline -opc) (commandline -ct)
    env _INTEG_COMPLETE=fish integ $words[2..-1] 2>/dev/null
end
complete -c integ -f -a '(__integ_complete)'
complete -c integ -l path -r -F
complete -c integ -l dir -r -F
complete -c integ -l exe -r -F
complete -c integ -n '__fish_seen_subcommand_from export apply' -F
""",
}


def main(argv: list[str]) -> int:
    """Answer a Tab, or print or install the shell's script."""
    if "_INTEG_COMPLETE" in os.environ:
        return _answer(os.environ["_INTEG_COMPLETE"], argv)
    shell = argv[1] if len(argv) == 2 else _this_shell() if len(argv) == 1 else ""
    if shell not in SCRIPTS:
        sys.stderr.write(f"error: there is no completion for {shell or 'this shell'}\nhint: integ {argv[0]} bash|zsh|fish\n")
        return ExitCode.USAGE
    if argv[0] == "--show-completion":
        sys.stdout.write(SCRIPTS[shell])
        return ExitCode.DONE
    try:
        told = install(shell)
    except OSError as error:
        sys.stderr.write(f"error: the completion can't be written: {error}\n")
        return ExitCode.STORAGE
    sys.stdout.write(f"{told}\nIt works in shells that are started from now on.\n")
    return ExitCode.DONE


def install(shell: str) -> str:
    """Put the script where *shell* looks for it; answers what was done."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if shell == "fish":
        return _written(config / "fish/completions/integ.fish", shell)
    if shell == "bash":
        file = data / "bash-completion/completions/integ"
        told = _written(file, shell)
        if not any(Path(each).exists() for each in ("/usr/share/bash-completion/bash_completion", "/etc/bash_completion")):
            told += _with_line(home / ".bashrc", f"source '{file}'")  # nobody loads the folder here
        return told
    told = _written(home / ".zfunc/_integ", shell)
    return told + _with_line(Path(os.environ.get("ZDOTDIR") or home) / ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit")


def _written(file: Path, shell: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SCRIPTS[shell], "utf-8")
    return f"{shell} completion is installed in {file}."


def _with_line(file: Path, line: str) -> str:
    text = file.read_text("utf-8", "surrogateescape") if file.exists() else ""
    if line in text.splitlines():
        return ""
    with file.open("a", encoding="utf-8") as more:
        more.write(f"{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n")
    return f"\n{file} loads it."


def _this_shell() -> str:
    shellingham: Any = import_module("shellingham")  # it came with Typer, and has no types
    try:
        return str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        return Path(os.environ.get("SHELL", "")).name


# --- answering -----------------------------------------------------------------------------------------------------


def _answer(shell: str, argv: list[str]) -> int:
    words = _bash_words() if shell == "bash" else argv
    if not words:
        words = [""]
    offers = offered(words[:-1], words[-1])
    if shell == "bash":  # it breaks words at a colon, and wants back only what follows the last one
        known = words[-1].rpartition(":")[0]
        lines = [value[len(known) + 1 if known else 0 :] for value, _ in offers]
    elif shell == "zsh":
        lines = [f"{value.replace(':', chr(92) + ':')}:{_line(told)}" for value, told in offers]
    else:
        lines = [f"{value}\t{_line(told)}" for value, told in offers]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return ExitCode.DONE


def _bash_words() -> list[str]:
    line = os.environ.get("COMP_LINE", "")
    point = os.environ.get("COMP_POINT", "")
    line = line[: int(point)] if point.isdigit() else line
    words = line.split()
    return [*words[1:], ""] if line.endswith(" ") or len(words) < 2 else words[1:]


def offered(before: Sequence[str], typed: str) -> list[Offer]:
    """What can follow *before*, beginning with *typed*: (text, what it is)."""
    entries: dict[str, Entry | Group] = COMMANDS
    path: list[str] = []
    rest = list(before)
    while rest and rest[0] in entries:
        found = entries[rest[0]]
        path.append(rest.pop(0))
        if isinstance(found, Entry):
            return _arguments(found, path, rest, typed)
        entries = dict(found.entries)
    if rest:
        return _fitting(((shell, "") for shell in _FIXED["shell"]), typed) if rest[-1].endswith("-completion") else []
    if typed.startswith("-"):
        return [] if path else _fitting(((name, "") for name in _ROOT_OPTIONS), typed)
    return _fitting(((name, entry.help) for name, entry in entries.items()), typed)


def _arguments(entry: Entry, path: list[str], rest: list[str], typed: str) -> list[Offer]:
    if "--" in rest:
        return []
    if rest and rest[-1] in _WITH_A_VALUE:
        return _values(_OPTION_VALUES.get(rest[-1], ""), typed)
    if typed.startswith("-"):
        return _fitting(_options(path), typed)
    given = [word for at, word in enumerate(rest) if not word.startswith("-") and (at == 0 or rest[at - 1] not in _WITH_A_VALUE)]
    if given and entry.completes == "snapshot":
        return _fitting(_snapshots(given[0]), typed) if len(given) == 1 else []
    if given and entry.completes not in {"provider"}:
        return []
    return _values(entry.completes, typed)


def _options(path: list[str]) -> list[Offer]:
    """A command's own options: the only thing here that loads the parser."""
    from integ_cli.app import find_command

    found = find_command(path)
    return [(name, param.help or "") for param in found.params for name in getattr(param, "opts", ()) if name.startswith("--")]


def _values(kind: str, typed: str) -> list[Offer]:
    if kind in _FIXED:
        return _fitting(((each, "") for each in _FIXED[kind]), typed)
    if kind in {"game", "snapshot"}:
        return _games(typed)
    if kind == "running":
        return _fitting(_running(), typed)
    if kind in {"version", "published", "line"}:
        families = ((each, "the newest of these") for each in _FIXED["family"])
        return _fitting([*(families if kind != "version" else ()), *_builds()], typed)
    if kind == "tool":
        return _fitting(_tools(), typed)
    if kind == "setting":
        from integ_runtime.settings import SETTING_NAMES

        return _fitting(((each, "") for each in SETTING_NAMES), typed)
    if kind == "sort":
        from integ_runtime.cache.query import SORTS

        return _fitting(((each, "") for each in SORTS), typed)
    return []


def _games(typed: str) -> list[Offer]:
    from integ_runtime.cache.rows import completions
    from integ_runtime.settings import read_settings
    from integ_server.contract.errors import UsageError

    try:
        return completions(read_settings().paths.cache_db, typed, _MOST)
    except (sqlite3.Error, UsageError):
        return []  # a Tab is no place to complain


def _running() -> list[Offer]:
    """What is being played, by the journals alone."""
    from integ_runtime.launch.playtime import playing
    from integ_runtime.paths import read_paths

    try:
        folders = sorted(read_paths().games_dir.iterdir())
    except OSError:
        return []
    return [(play.key, play.title) for folder in folders for play in playing(folder)]


def _snapshots(game: str) -> list[Offer]:
    """Those of the prefix of *game*, the newest first, by their folders alone."""
    from integ_runtime.cache.rows import get_release
    from integ_runtime.settings import read_settings
    from integ_server.contract.errors import IntegError

    try:
        paths = read_settings().paths
        folder = paths.game_dir(get_release(paths.cache_db, game).key) / "prefix-snapshots"
        names = sorted((each.name for each in folder.iterdir() if not each.name.startswith(".")), reverse=True)
    except (OSError, sqlite3.Error, IntegError):
        return []
    return [(name, "a snapshot") for name in names]


def _builds() -> list[Offer]:
    """The versions on this disk, by their folders alone."""
    from integ_runtime.paths import read_paths

    folder = read_paths().proton_dir
    try:
        names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.is_symlink() and not each.name.startswith("."))
    except OSError:
        names = []
    return [("latest", "the newest"), *((name, "installed") for name in names)]


def _tools() -> list[Offer]:
    from integ_runtime.paths import read_paths
    from integ_runtime.steam.library import SteamFiles
    from integ_runtime.steam.tool_choice import choosable

    return [(tool.name, tool.title) for tool in choosable(SteamFiles(read_paths().home).tools())]


def _fitting(offers: Iterable[Offer], typed: str) -> list[Offer]:
    return [offer for offer in offers if offer[0].startswith(typed)][:_MOST]


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
