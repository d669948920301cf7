"""The demo's Windows game: a console program that counts how often it was started, in a save below the player's %APPDATA%."""

from __future__ import annotations

from functools import lru_cache

from integ_server.sandbox.games.assembler import Assembler, Reg, When
from integ_server.sandbox.games.portable_executable import console_program

_PATH_CHARACTERS = 260
_REPLACE_EXISTING = 1
_IMPORTS = {
    "kernel32.dll": ("GetEnvironmentVariableW", "lstrcatW", "lstrcpyW", "CreateDirectoryW", "MoveFileExW"),
    "msvcrt.dll": ("__getmainargs", "_wfopen", "fscanf", "fprintf", "fclose", "printf", "atoi", "exit"),
}


@lru_cache(maxsize=4)
def windows_game(name: str) -> bytes:
    """
    The .exe of a game called *name* (plain ASCII, fit for a folder's name).

    It reads `%APPDATA%\\NAME\\save.txt` (`starts=N`), writes N+1 there (a new file moved over the old one), says so on stdout and ends
    with 0, or with the number that its last argument is: `game.exe 7`, `game.exe exit 7`. It ends with 3 when it has nowhere to save.
    """
    if not name.isascii() or set(name) & set('\\/:*?"<>|%'):
        raise ValueError(f"not a folder name in ASCII: {name!r}")
    code = Assembler()
    code.reserve_stack(0x58)  # a call's own 32 bytes, room for a fifth argument, and the stack aligned to 16 again
    _read_arguments(code)
    _find_save(code)
    _read_save(code)
    _write_save(code)
    _end(code)
    constants = {
        "folder": _wide(f"\\{name}"),
        "save": _wide("\\save.txt"),
        "draft": _wide("\\save.new"),
        "appdata": _wide("APPDATA"),
        "reading": _wide("r"),
        "writing": _wide("w"),
        "scan": b"starts=%d\0",
        "line": b"starts=%d\n\0",
        "greeting": f"{name}: start number %d, the save is %ls\n\0".encode("ascii"),
        "homeless": f"{name}: there is nowhere to keep the save\n\0".encode("ascii"),
    }
    path_bytes = 2 * (_PATH_CHARACTERS + len(name) + 32)
    variables = {
        "argc": 4,
        "argv": 8,
        "environment": 8,
        "start_info": 16,
        "exit_code": 4,
        "count": 4,
        **dict.fromkeys(("home", "save_path", "draft_path"), path_bytes),
    }
    return console_program(code, constants=constants, variables=variables, imports=_IMPORTS)


def _read_arguments(code: Assembler) -> None:
    """exit_code = the number that the last argument is, 0 when it is none."""
    code.address(Reg.RCX, "argc")
    code.address(Reg.RDX, "argv")
    code.address(Reg.R8, "environment")
    code.number(Reg.R9, 0)
    code.address(Reg.RAX, "start_info")
    code.store_on_stack(0x20, Reg.RAX)
    code.call("__getmainargs")
    code.load_dword(Reg.RCX, "argc")
    code.compare(Reg.RCX, 1)
    code.jump("arguments_read", When.NOT_GREATER)
    code.load_qword(Reg.RAX, "argv")
    code.load_element(Reg.RCX, Reg.RAX, Reg.RCX, -8)
    code.call("atoi")
    code.store_dword("exit_code", Reg.RAX)
    code.label("arguments_read")


def _find_save(code: Assembler) -> None:
    """home, save_path and draft_path below %APPDATA%; the folder is made when it is missing."""
    code.address(Reg.RCX, "appdata")
    code.address(Reg.RDX, "home")
    code.number(Reg.R8, _PATH_CHARACTERS)
    code.call("GetEnvironmentVariableW")
    code.compare(Reg.RAX, 0)
    code.jump("no_home", When.ZERO)
    code.compare(Reg.RAX, _PATH_CHARACTERS - 1)
    code.jump("no_home", When.ABOVE)
    _call_with(code, "lstrcatW", "home", "folder")
    code.address(Reg.RCX, "home")
    code.number(Reg.RDX, 0)
    code.call("CreateDirectoryW")
    for path, file in (("save_path", "save"), ("draft_path", "draft")):
        _call_with(code, "lstrcpyW", path, "home")
        _call_with(code, "lstrcatW", path, file)


def _read_save(code: Assembler) -> None:
    """count = the number in the save; stays 0 without one."""
    _call_with(code, "_wfopen", "save_path", "reading")
    code.test(Reg.RAX)
    code.jump("save_read", When.ZERO)
    code.copy(Reg.RBX, Reg.RAX)
    code.copy(Reg.RCX, Reg.RBX)
    code.address(Reg.RDX, "scan")
    code.address(Reg.R8, "count")
    code.call("fscanf")
    code.copy(Reg.RCX, Reg.RBX)
    code.call("fclose")
    code.label("save_read")
    code.increment("count")


def _write_save(code: Assembler) -> None:
    _call_with(code, "_wfopen", "draft_path", "writing")
    code.test(Reg.RAX)
    code.jump("no_home", When.ZERO)
    code.copy(Reg.RBX, Reg.RAX)
    code.copy(Reg.RCX, Reg.RBX)
    code.address(Reg.RDX, "line")
    code.load_dword(Reg.R8, "count")
    code.call("fprintf")
    code.copy(Reg.RCX, Reg.RBX)
    code.call("fclose")
    code.address(Reg.RCX, "draft_path")
    code.address(Reg.RDX, "save_path")
    code.number(Reg.R8, _REPLACE_EXISTING)
    code.call("MoveFileExW")
    code.compare(Reg.RAX, 0)
    code.jump("no_home", When.ZERO)


def _end(code: Assembler) -> None:
    code.address(Reg.RCX, "greeting")
    code.load_dword(Reg.RDX, "count")
    code.address(Reg.R8, "save_path")
    code.call("printf")
    code.load_dword(Reg.RCX, "exit_code")
    code.call("exit")
    code.label("no_home")
    code.address(Reg.RCX, "homeless")
    code.call("printf")
    code.number(Reg.RCX, 3)
    code.call("exit")


def _call_with(code: Assembler, function: str, first: str, second: str) -> None:
    code.address(Reg.RCX, first)
    code.address(Reg.RDX, second)
    code.call(function)


def _wide(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"
