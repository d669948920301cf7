"""config: read and write the settings file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument

from integ_cli.context import output
from integ_cli.output import Output, read_stdin_secret
from integ_cli.traits import command
from integ_runtime.paths import read_paths
from integ_runtime.settings import SECRET_SETTINGS, SETTING_NAMES, RuntimeSettings, read_settings, setting_source, shown_address
from integ_server.contract.errors import UsageError

NameArgument = Annotated[str, Argument(help="The setting's name", metavar="NAME")]


@command("integ config list", "integ config list --json")
def list_settings() -> None:
    """List all settings, their values in force, and where each comes from."""
    out = output()
    settings = read_settings()
    items = [_item(settings, name) for name in SETTING_NAMES]
    cells = [(each["name"], _shown(each), each["source"]) for each in items]
    out.result("config-list", {"items": items}, out.rows(("SETTING", "VALUE", "FROM"), cells))


@command("integ config get library_dirs", "integ config get bandwidth_limit --json")
def get(name: NameArgument) -> None:
    """Print one setting as it is in force; of a secret only whether it is set."""
    out = output()
    item = _item(read_settings(), _known(name))
    out.result("config-get", item, _shown(item))


@command(
    "integ config set bandwidth_limit 4M",
    "integ config set library_dirs /mnt/games:~/Games",
    "integ config set github_token < token.txt",
)
def set_setting(
    name: NameArgument,
    value: Annotated[str | None, Argument(help="Its value; an empty one forgets it", metavar="VALUE", show_default=False)] = None,
) -> None:
    """Write one setting; a secret is read from stdin or a hidden question, never from the command line."""
    from integ_runtime.config_file import write_setting

    out = output()
    name = _known(name)
    if name in SECRET_SETTINGS:
        if value:
            raise UsageError(f"{name} is a secret: a command line can be read by others", hint=f"integ config set {name} < FILE")
        value = _secret(out, name) if value is None else ""
    if value is None:
        raise UsageError(f"what should {name} be?", hint=f"integ config set {name} VALUE")
    paths = read_paths()
    write_setting(paths.config_file, name, value)
    settings = read_settings()
    item = _item(settings, name)
    out.result("config-set", item, f"{name} is now {_shown(item)}." if value else f"{name} is forgotten.")
    if value and item["source"] not in {"config.toml"}:
        out.warn(f"{item['source']} is set and wins over the file")


@command("integ config path")
def path() -> None:
    """Print where the settings file is, whether there is one or not."""
    file = read_paths().config_file
    output().result("config-path", {"path": file, "exists": file.exists()}, str(file))


def _known(name: str) -> str:
    wanted = name.lower().replace("-", "_").removeprefix("integ_")
    if wanted not in SETTING_NAMES:
        from difflib import get_close_matches

        near = get_close_matches(wanted, SETTING_NAMES, 1)
        raise UsageError(f"there is no setting {name!r}", hint=f"integ config get {near[0]}" if near else "integ config list")
    return wanted


def _item(settings: RuntimeSettings, name: str) -> dict[str, Any]:
    value = getattr(settings, name)
    if isinstance(value, tuple):
        value = [str(each) for each in value]
    elif isinstance(value, Path):
        value = str(value)
    if name.endswith("_url") and value:
        value = shown_address(value)
    is_set = value not in (None, "", [])
    source = setting_source(name, os.environ, settings.paths.config_file)
    secret = name in SECRET_SETTINGS
    return {"name": name, "value": None if secret else value, "set": is_set, "secret": secret, "source": source}


def _shown(item: dict[str, Any]) -> str:
    if item["secret"]:
        return "set" if item["set"] else "unset"
    value = item["value"]
    if value in (None, "", []):
        return "-"
    return ":".join(value) if isinstance(value, list) else str(value)


def _secret(out: Output, name: str) -> str:
    if sys.stdin.isatty():
        return out.secret(name, otherwise=f"integ config set {name} < FILE")
    return read_stdin_secret(name)
