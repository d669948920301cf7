"""Which build used a prefix last, as Integ noted it and as Proton did, and whether another one would be a step back."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from integ_runtime.content.installed import USED, write_whole
from integ_server.releases.families import FAMILIES, natural_order

VERSION_FILE = "version"
_LONGEST = 200
_FAMILIES = (
    ("ge", re.compile(r"GE[-=]Proton\d|(Proton-)?\d+\.\d+(rc\d+)?-GE-\d", re.IGNORECASE | re.ASCII)),
    ("umu", re.compile(r"UMU-Proton", re.IGNORECASE)),
    ("cachyos", re.compile(r"(proton-)?cachyos", re.IGNORECASE)),
    ("wine-ge", re.compile(r"Wine-(GE-Proton\d|\d+\.\d+-GE-\d)", re.IGNORECASE | re.ASCII)),
    ("kron4ek", re.compile(r"wine-(proton-)?\d", re.IGNORECASE | re.ASCII)),
    ("steam", re.compile(r"(experimental-)?\d+\.\d+-\d+[a-z]?$|proton[ _-]*(\d|experimental|hotfix)", re.IGNORECASE | re.ASCII)),
)


class Used(NamedTuple):
    """The build that used a prefix."""

    version: str
    family: str
    """Empty when nobody knows."""


def family_of(version: str) -> str:
    """Whose build *version* is by its name: the slug of its family, `steam` for Valve's own; empty when the name does not say."""
    return next((slug for slug, pattern in _FAMILIES if pattern.match(version.strip())), "")


def is_step_back(before: Used, now: Used) -> bool:
    """
    Whether *now* is older than *before*, or of another family, so that nobody can say which is older.

    Proton has a clean-up for going back, but only between Valve's own versions: a prefix that GE's or umu's builds are part of gets none.
    """
    if before.version == now.version:
        return False
    whose, whose_now = family_of(before.version) or before.family, family_of(now.version) or now.family
    return whose != whose_now or _order(whose, now.version) < _order(whose, before.version)


def noted_build(game_dir: Path) -> Used | None:
    """What Integ noted of the prefix below *game_dir*; None when no build of Integ's has used it."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        body = json.loads((game_dir / USED).read_text("utf-8"))
        if isinstance(body, dict) and isinstance(body.get("proton"), str):
            return Used(body["proton"], str(body.get("family", "")))
    return None


def write_note(game_dir: Path, used: Used | None) -> None:
    """
    Note that *used* has the prefix now; None forgets.

    Raises:
        StorageError: The disk is full or fails.
    """
    if used is None:
        (game_dir / USED).unlink(missing_ok=True)
    else:
        write_whole(game_dir / USED, json.dumps({"proton": used.version, "family": used.family}))


def version_text(prefix: Path) -> str:
    """The first line of the file that Proton keeps in *prefix*, such as `GE-Proton9-27` or `9.0-203`; empty when there is none."""
    try:
        with (prefix / VERSION_FILE).open("rb") as file:
            text = file.read(4096).decode("utf-8", "replace")
    except OSError:
        return ""
    line = text.strip().partition("\n")[0]
    return "".join(char for char in line if char.isprintable()).strip()[:_LONGEST]


def last_build(prefix: Path) -> Used | None:
    """
    The build that used *prefix* last: by Integ's note, unless Proton itself wrote down a newer one of the same family since.

    None when neither says anything.
    """
    noted, text = noted_build(prefix.parent), version_text(prefix)
    written = Used(text, family_of(text)) if text else None
    if noted is None or written is None:
        return noted or written
    same = written.family != "" and written.family == (family_of(noted.version) or noted.family)
    # Valve's versions have two names: the number of the prefix (9.0-203) says nothing beside that of the tool (proton_9)
    return written if same and written.family != "steam" and is_step_back(written, noted) else noted


def _order(family: str, version: str) -> tuple[object, ...]:
    known = FAMILIES.get(family)
    return known.order(version) if known is not None else natural_order(version)
