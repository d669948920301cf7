"""A prefix in one state or another, each of which can be told to be whole."""

from __future__ import annotations

from pathlib import Path

KEY = "gog:1"


def write_state(game_dir: Path, text: str) -> None:
    drive = game_dir / "prefix" / "pfx" / "drive_c"
    drive.mkdir(parents=True, exist_ok=True)
    (drive / "save.txt").write_text(text)
    (drive.parent / "system.reg").write_text(f"WINE REGISTRY {text}")


def state(game_dir: Path) -> str:
    drive = game_dir / "prefix" / "pfx" / "drive_c"
    text = (drive / "save.txt").read_text()
    assert (drive.parent / "system.reg").read_text() == f"WINE REGISTRY {text}"
    return text


def hidden(game_dir: Path) -> list[str]:
    """What has no business to be there when nothing goes on."""
    return [str(each) for each in game_dir.rglob(".*")] + [each.name for each in game_dir.glob("prefix-restore*")]
