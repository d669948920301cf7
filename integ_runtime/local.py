"""What this machine alone knows, brought into the library cache; looked at again only when its files changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from integ_runtime.cache.rows import noted
from integ_runtime.cache.store import cache_trouble, put_local
from integ_runtime.paths import Paths


def refresh_local(paths: Paths, environ: Mapping[str, str]) -> bool:
    """
    Compare the state of Steam's and Integ's own files with what the cache was last fed from, and feed it again if they differ.

    A few `stat` calls when nothing changed. True when the library changed.
    """
    from integ_runtime.content.installed import InstalledGames
    from integ_runtime.steam.library import SteamFiles

    steam, installed = SteamFiles(paths.home, environ), InstalledGames(paths)
    seen = f"{steam.fingerprint()}|{installed.fingerprint()}"
    try:
        if noted(paths.cache_db, "fingerprint") == seen:
            return False
        changed = put_local(paths.cache_db, steam.local_facts(), "steam-files")
        return put_local(paths.cache_db, installed.local_facts(), "installs", fingerprint=seen) or changed
    except (sqlite3.Error, OSError) as error:
        raise cache_trouble(error) from error
