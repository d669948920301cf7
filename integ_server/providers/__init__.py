"""Every store there is: the modules of this folder, and what other distributions add by the entry-point group `integ.providers`."""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
import re
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, cast

from integ_server.providers.base import GameProvider

GROUP = "integ.providers"
_SLUG = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_NEEDED = ("title", "ways", "sign_in_address", "sign_in", "owned_games")
_log = logging.getLogger(__name__)


@cache
def providers() -> dict[str, type[GameProvider]]:
    """
    The stores by slug, Integ's own first; looked for once a process.

    A module of somebody else's that can't be imported, or is no store, is warned about and left out: it must not take the others with it.
    """
    found: dict[str, type[GameProvider]] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        if not module.name.startswith("_") and module.name != "base":
            _take(importlib.import_module(f"{__name__}.{module.name}"), found)
    for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        try:
            _take(entry.load(), found)
        except Exception as error:  # foreign code may raise anything while it is imported
            _log.warning("the store %s (%s) was left out: %s", entry.name, entry.value, error)
    return found


def _take(offered: object, found: dict[str, type[GameProvider]]) -> None:
    store: Any = getattr(offered, "PROVIDER", None) if isinstance(offered, ModuleType) else offered
    if not inspect.isclass(store):
        raise TypeError("neither a store's class nor a module with a PROVIDER")
    slug = getattr(store, "slug", None)
    if not isinstance(slug, str) or not _SLUG.match(slug):
        raise TypeError(f"its slug {slug!r} is not a short word of small letters, digits and hyphens")
    missing = [name for name in _NEEDED if not hasattr(store, name)]
    if missing:
        raise TypeError(f"it lacks {', '.join(missing)}")
    if slug in found:
        raise TypeError(f"the slug {slug} is taken")
    found[slug] = cast(type[GameProvider], store)
