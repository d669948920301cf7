"""What the sandbox's games are made of: their files for Windows, build by build, and the folder of the Linux game."""

from __future__ import annotations

import json
from functools import lru_cache
from random import Random
from typing import Any, Literal

from integ_server.sandbox.games.windows_game import windows_game
from integ_server.sandbox.gog_auth import game_client
from integ_server.sandbox.gog_depots import Build, Depot, GameFile, GameFolder, GameLink, Item, build_id
from integ_server.sandbox.state import SandboxState
from integ_server.sandbox.world import WORLD_NOW, GogProduct, World

Trick = Literal["", "hostile_path", "hostile_absolute", "hostile_link"]
TRICKS: tuple[Trick, ...] = ("hostile_path", "hostile_absolute", "hostile_link")
BASE_RECIPES = ("native-game", "windows-game")
BRANCH_PASSWORD = "high-tide"  # noqa: S105
"""Opens the private branch; it stands here for everybody to read, as the stand-in's other secrets do."""
_DAY = 86_400
_VERSIONS = {1: "1.0", 2: "1.1", 3: "1.2", 4: "1.3 beta", 5: "1.3 preview"}
_CURRENT, _UPDATED, _BETA, _PRIVATE = 2, 3, 4, 5


def trick_of(state: SandboxState) -> Trick:
    """Which hostile content a fault asks for now."""
    for trick in TRICKS:
        if state.faults.active(f"gog.{trick}"):
            return trick
    return ""


def numbers(*, updated: bool, private: bool = False) -> list[int]:
    """Which builds are listed, newest first; a beta stands before the build that everybody should get."""
    return [*([_PRIVATE] if private else []), _BETA, *([_UPDATED] if updated else []), _CURRENT, 1]


@lru_cache(maxsize=64)
def windows_build(product: GogProduct, dlcs: tuple[GogProduct, ...], number: int, trick: Trick = "") -> Build:
    """One build of a game that has the recipe for them; its DLC have depots of their own in it."""
    program = program_name(product)
    depots = [
        Depot(product.id, (*_base_items(product, program, number), *_tricked(trick))),
        Depot(product.id, (GameFile("bin/notes_32.txt", b"for processors of 32 bits\n"),), bitness=("32",)),
        Depot(product.id, (GameFile("bin/notes_64.txt", b"for processors of 64 bits\n"),), bitness=("64",)),
        *(Depot(product.id, _language_items(language), (language,)) for language in product.languages),
        Depot(product.id, (GameFile("lang/fallback.txt", b"Willkommen, bienvenue, welcome\n"),), ("*", "pl-PL")),
    ]
    depots += [Depot(dlc.id, _dlc_items(dlc, product)) for dlc in dlcs]
    return Build(
        product_id=product.id,
        number=number,
        version=_VERSIONS[number],
        depots=tuple(depots),
        products=((product.id, product.title), *((dlc.id, dlc.title) for dlc in dlcs)),
        folder=product.title,
        client=game_client(product.id),
        published=WORLD_NOW - (90 - 10 * number) * _DAY,
        branch={_BETA: "beta", _PRIVATE: "preview"}.get(number),
        private=number == _PRIVATE,
        offline=Depot(product.id, (GameFile("offline_only.txt", b"not for a game manager\n"),), ("Neutral",)),
    )


def dlcs_of(world: World, product: GogProduct) -> tuple[GogProduct, ...]:
    found = (world.gog_products.get(dlc) for dlc in product.dlc_ids)
    return tuple(title.gog for title in found if title is not None and title.gog is not None)


def program_name(product: GogProduct) -> str:
    return product.slug.partition("_")[0]


def _base_items(product: GogProduct, program: str, number: int) -> tuple[Item, ...]:
    luck = Random(f"canals {product.id}")
    rough = luck.randbytes(400_000)
    middle = b"lock " * 40_000 if number < _UPDATED else b"weir " * 40_000
    canals = rough + middle + b"water " * 30_000
    items: list[Item] = [
        GameFolder("saves/templates"),
        GameFile(f"bin/{program}.exe", windows_game(product.title), ("executable",)),
        GameFile("data/canals.dat", canals),
        GameFile("data/mirror.dat", canals[: 256 * 1024]),
        GameFile("data/levels/north/lock_one.map", b"#" * 300 + b"~" * 9_000),
        GameFile("DATA/Levels/South/Basin.map", b"~" * 5_000),
        GameFile("data/banner.txt", f"{product.title} {_VERSIONS[number]}\n".encode()),
        GameFile("data/empty.txt", b""),
        GameFile("data/.stamp", b"hidden from people\n", ("hidden",)),
        GameFile("cfg/tiny.ini", b"[video]\nwindowed=1\n"),
        GameFile("cfg/keys.ini", b"[keys]\nleft=a\nright=d\n"),
        GameLink("data/current.map", "levels/north/lock_one.map"),
        GameFile("setup/folder.ico", b"\0\0\1\0" + bytes(60), ("support",)),
        GameFile(f"goggame-{product.id}.info", windows_info(product, number)),
        GameFile(f"goggame-{product.id}.id", json.dumps({"buildId": build_id(product.id, number)}).encode()),
    ]
    if number < _UPDATED:
        items.append(GameFile("data/retired.txt", b"gone with the next version\n"))
    else:
        items.append(GameFile("data/levels/west/weir.map", b"=" * 2_500))
    return tuple(items)


def _language_items(language: str) -> tuple[Item, ...]:
    words = {"de-DE": "Leinen los!", "fr-FR": "Larguez les amarres !"}.get(language, "Cast off!")
    return (GameFile(f"lang/{language[:2]}.txt", f"{words}\n".encode()),)


def _dlc_items(dlc: GogProduct, base: GogProduct) -> tuple[Item, ...]:
    info = {"version": 1, "gameId": str(dlc.id), "rootGameId": str(base.id), "standalone": False, "language": "English", "name": dlc.title}
    return (
        GameFile(f"dlc/{dlc.slug}/night.map", b"*" * 4_000),
        GameFile("data/banner.txt", f"{dlc.title}\n".encode()),
        GameFile(f"goggame-{dlc.id}.info", json.dumps(info).encode()),
    )


def windows_info(product: GogProduct, number: int) -> bytes:
    """goggame-ID.info: the program's path in another spelling than the file's, a quoted argument, a hidden tool, a link."""
    program = program_name(product).title()
    tasks: list[dict[str, Any]] = [
        {"type": "URLTask", "category": "document", "name": "Support", "link": f"https://www.gog.com/support/{product.slug}"},
        {
            "type": "FileTask",
            "isPrimary": True,
            "category": "game",
            "name": product.title,
            "path": f"Bin\\{program}.exe",
            "workingDir": "Bin",
            "arguments": '-profile "Night Owl"',
            "languages": ["*"],
            "compatibilityFlags": "",
            "osBitness": ["64"],
        },
        {"type": "FileTask", "category": "tool", "name": "Settings", "path": "cfg.exe", "isHidden": True},
    ]
    info = {
        "version": 1,
        "gameId": str(product.id),
        "rootGameId": str(product.id),
        "buildId": build_id(product.id, number),
        "clientId": game_client(product.id)[0],
        "standalone": True,
        "dependencyGameId": "",
        "language": "English",
        "languages": list(product.languages),
        "name": product.title,
        "osBitness": ["64"],
        "overlaySupported": True,
        "playTasks": tasks,
        "supportTasks": [],
    }
    return b"\xef\xbb\xbf" + json.dumps(info, indent=1).encode()


def _tricked(trick: Trick) -> tuple[Item, ...]:
    """What a hostile depot adds; none of it may reach a disk."""
    evil = b"this must never be written\n"
    if trick == "hostile_path":
        return (GameFile("../evil.txt", evil), GameFile("data/../../evil.txt", evil))
    if trick == "hostile_absolute":
        return (GameFile("C:/evil.txt", evil),)
    if trick == "hostile_link":
        return (GameLink("data/leak", "../../../.."), GameFile("data/leak/evil.txt", evil))
    return ()
