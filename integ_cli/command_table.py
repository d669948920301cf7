"""Every command, where it lives, and its line in the help: `integ --help` and the shell's completion load no command's module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

LIBRARY, GAMES, PROTON, ACCOUNTS, MACHINE = "Your library", "Games", "Proton", "Accounts", "This machine"
BACKEND = "A backend for many"


class Entry(NamedTuple):
    where: str
    """`module:function`, below integ_cli.commands."""
    help: str
    completes: str = ""
    """What its arguments are, for the shell: game, running, version, provider, setting, or an empty text for nothing known."""


class Group(NamedTuple):
    help: str
    examples: tuple[str, ...]
    entries: Mapping[str, Entry | Group]


EXAMPLES = ("integ login gog", "integ sync", "integ launch disco-elysium", "integ install --help")

PANELS: dict[str, dict[str, Entry | Group]] = {
    LIBRARY: {
        "list": Entry("library:list_games", "List the games you own"),
        "search": Entry("library:search", "Find games by any part of their name", "game"),
        "show": Entry("library:show", "Show everything known about a game", "game"),
        "achievements": Entry("achievements:achievements", "Show what you have unlocked in a game", "game"),
        "favourite": Entry("organise:favourite", "Mark games as favourites", "game"),
        "hide": Entry("organise:hide", "Keep games out of the list", "game"),
        "tag": Entry("organise:tag", "Put tags of your own on a game", "game"),
        "note": Entry("organise:note", "Write a note to a game, or read it", "game"),
        "merge": Entry("organise:merge", "Make one title of games that are the same", "game"),
        "split": Entry("organise:split", "Take a release out of its title", "game"),
        "sync": Entry("sync:sync", "Read your libraries from the stores", "provider"),
        "status": Entry("sync:status", "Who is signed in, how fresh the library is, what runs"),
        "tui": Entry("play_tui:tui", "Open the full-screen browser"),
    },
    GAMES: {
        "install": Entry("installs:install", "Install a game", "game"),
        "uninstall": Entry("installs:uninstall", "Remove an installed game; your saves stay", "game"),
        "import": Entry("installs:import_game", "Take over a game that is on the disk already", "game"),
        "launch": Entry("play:launch", "Start a game", "game"),
        "options": Entry("play:options", "Show or set how a game is started here", "game"),
        "ps": Entry("running:ps", "List the games that run"),
        "stop": Entry("running:stop", "End a game that runs", "running"),
        "prefix": Group(
            "Wine prefixes: make, look into, run in, snapshots, remove",
            ("integ prefix info disco-elysium", "integ prefix snapshot gog:1207658924 --note 'before the mods'"),
            {
                "create": Entry("prefix_programs:create", "Make a game's prefix ready now", "game"),
                "info": Entry("prefix:info", "Show a game's prefix: size, build, snapshots", "game"),
                "open": Entry("prefix_programs:open_drive", "Print where its C: drive is, and show it", "game"),
                "run": Entry("prefix_programs:run", "Run a program in it", "game"),
                "winetricks": Entry("prefix_programs:winetricks", "Apply winetricks verbs to it", "game"),
                "snapshot": Entry("prefix:snapshot", "Keep a copy of a prefix", "game"),
                "snapshots": Entry("prefix:snapshots", "List the snapshots of a prefix", "game"),
                "restore": Entry("prefix:restore", "Bring a snapshot back", "snapshot"),
                "forget": Entry("prefix:forget", "Delete a snapshot", "snapshot"),
                "remove": Entry("prefix:remove", "Delete a prefix; its snapshots stay", "game"),
            },
        ),
        "saves": Group(
            "Saves: where a game keeps them",
            ("integ saves where disco-elysium",),
            {"where": Entry("saves:where", "List where a game keeps its saves", "game")},
        ),
    },
    PROTON: {
        "install-proton": Entry("proton:install_proton", "Install a Proton version", "published"),
        "proton": Group(
            "Proton versions: list, choose, update, check, remove",
            ("integ proton list", "integ proton available"),
            {
                "list": Entry("proton:list_builds", "List the Proton versions on this machine"),
                "available": Entry("proton:available", "List the versions that can be installed"),
                "use": Entry("proton:use", "Choose the version for a game, or for all", "version"),
                "update": Entry("proton_upkeep:update", "Install the newest of each family in use", "line"),
                "remove": Entry("proton:remove", "Remove a version", "version"),
                "prune": Entry("proton_upkeep:prune", "Remove the versions that nothing uses"),
                "verify": Entry("proton:verify", "Check a version's files", "version"),
            },
        ),
    },
    ACCOUNTS: {
        "login": Entry("accounts:login", "Sign in to a store", "provider"),
        "logout": Entry("accounts:logout", "Sign out of a store", "provider"),
        "accounts": Entry("accounts:accounts", "List the store accounts that are signed in"),
    },
    MACHINE: {
        "doctor": Entry("doctor:doctor", "Say what is missing on this machine, and what mends it"),
        "config": Group(
            "Settings: read and write them",
            ("integ config list",),
            {
                "list": Entry("settings:list_settings", "List all settings and where each comes from"),
                "get": Entry("settings:get", "Print one setting", "setting"),
                "set": Entry("settings:set_setting", "Write one setting", "setting"),
                "path": Entry("settings:path", "Print where the settings file is"),
            },
        ),
        "steam": Group(
            "Steam's own files: its compatibility tools, shortcuts to your games",
            ("integ steam tools list", "integ steam shortcuts add disco-elysium"),
            {
                "tools": Group(
                    "What Steam runs Windows games with: list, choose",
                    ("integ steam tools list", "integ steam tools use GE-Proton10-34 steam:620"),
                    {
                        "list": Entry("steam:list_tools", "List the compatibility tools and who uses them"),
                        "use": Entry("steam:use_tool", "Choose the tool of a game, or of all", "tool"),
                    },
                ),
                "shortcuts": Group(
                    "Integ's games in Steam's library: list, add, remove",
                    ("integ steam shortcuts list", "integ steam shortcuts add disco-elysium"),
                    {
                        "list": Entry("steam:list_shortcuts", "List the non-Steam shortcuts"),
                        "add": Entry("steam:add_shortcut", "Put an installed game into Steam's library", "game"),
                        "remove": Entry("steam:remove_shortcut", "Take a game out of Steam's library", "game"),
                    },
                ),
                "undo": Entry("steam:undo", "Take the last change in Steam's files back"),
            },
        ),
        "export": Entry("state:export", "Write everything out: what you decided, this machine's settings"),
        "apply": Entry("state:apply", "Bring a declared state about, such as an export"),
        "demo": Entry("demo:demo", "Try it all in a sandbox, without any account"),
    },
    BACKEND: {
        "serve": Entry("backend:serve", "Run the backend that others' INTEG_BACKEND_URL names"),
        "worker": Entry("backend:worker", "Do the backend's jobs"),
        "migrate": Entry("backend:migrate", "Bring the backend's database up to date"),
        "token": Group(
            "Personal tokens for scripts: list, create, revoke",
            ("integ token list", "integ token create backup --scope library:read"),
            {
                "list": Entry("tokens:list_tokens", "List your tokens"),
                "create": Entry("tokens:create", "Make a token; it is shown once"),
                "revoke": Entry("tokens:revoke", "End a token"),
            },
        ),
        "keys": Group(
            "The keys that sign-ins are sealed with",
            ("integ keys rotate",),
            {"rotate": Entry("keys:rotate", "Seal everything with a new key")},
        ),
    },
}

COMMANDS: dict[str, Entry | Group] = {name: entry for panel in PANELS.values() for name, entry in panel.items()}


def paths(entries: Mapping[str, Entry | Group] = COMMANDS) -> Iterator[tuple[list[str], Entry | Group]]:
    """The words of every command and group, a group before what is in it."""
    for name, entry in entries.items():
        yield [name], entry
        if isinstance(entry, Group):
            yield from (([name, *words], inner) for words, inner in paths(entry.entries))
