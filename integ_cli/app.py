"""The root command, built from a table so that each start loads one command alone; where an error becomes an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, cast

import typer
from typer._click.exceptions import ClickException
from typer.core import TyperCommand, TyperGroup, TyperOption

from integ_cli.command_table import COMMANDS, EXAMPLES, PANELS, Entry, Group
from integ_cli.ending import ended
from integ_cli.exit_codes import ExitCode
from integ_cli.output import Output
from integ_cli.traits import traits_of
from integ_server.contract.errors import UsageError

_CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}


class IntegCommand(TyperCommand):
    """A command with the options that all have, and its examples below its help."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        assert self.callback is not None
        self.traits = traits_of(self.callback)
        self.params += _common_options(long=self.traits.long, asks=self.traits.asks)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(formatter, self.traits.examples)


def _write_examples(formatter: Any, examples: Sequence[str]) -> None:
    formatter.write_paragraph()
    formatter.write("Examples:\n")
    for example in examples:
        formatter.write(f"  $ {example}\n")


class LazyGroup(TyperGroup):
    """Commands by name; a module is imported when its command is asked for."""

    def __init__(self, name: str, panels: dict[str, dict[str, Entry | Group]], examples: Sequence[str], **options: Any) -> None:
        super().__init__(name=name, rich_markup_mode=None, context_settings=_CONTEXT, **options)
        self._panels = panels
        self._examples = examples
        self._entries = {name: entry for panel in panels.values() for name, entry in panel.items()}
        self.commands = cast("Any", dict.fromkeys(self._entries))  # the names, for "did you mean"

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self._entries.get(cmd_name)
        return None if entry is None else _build(cmd_name, entry)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The table's own lines, a section a panel."""
        for panel, entries in self._panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(formatter, self._examples)


def build_root() -> LazyGroup:
    """The command `integ`, with none of its commands loaded."""
    flags = [
        ("--version", "Print Integ's version"),
        ("--install-completion", "Install completion for this shell, or the one named: bash, zsh, fish"),
        ("--show-completion", "Print what --install-completion would install"),
    ]
    return LazyGroup(
        "integ",
        PANELS,
        EXAMPLES,
        help="Every game you own on Steam and GOG in one terminal. Without a command: the browser.",
        params=[*(_flag(name, told, _answered_before_the_parser) for name, told in flags), *_common_options(long=False, asks=False)],
        invoke_without_command=True,
        callback=_without_a_command,
    )


def find_command(path: Sequence[str]) -> Any:
    """The command that *path* names; a group's own when *path* ends at one."""
    entries: dict[str, Entry | Group] = dict(COMMANDS)
    found: Entry | Group | None = None
    for name in path:
        found = entries[name]
        entries = dict(found.entries) if isinstance(found, Group) else {}
    assert found is not None
    return _build(path[-1], found)


def _build(name: str, entry: Entry | Group) -> Any:
    if isinstance(entry, Group):
        panels: dict[str, dict[str, Entry | Group]] = {"Commands": dict(entry.entries)}
        return LazyGroup(name, panels, entry.examples, help=entry.help)
    module, _, function = entry.where.partition(":")
    callback: Callable[..., Any] = getattr(import_module(f"integ_cli.commands.{module}"), function)
    one = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    one.command(name, cls=IntegCommand, context_settings=_CONTEXT)(callback)
    return typer.main.get_command(one)


def _without_a_command() -> None:
    from integ_cli.context import current_context

    context = current_context()
    if context.invoked_subcommand is not None:
        return
    out: Output = context.obj
    if out.as_json:
        raise UsageError("which command?", hint="integ --help")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        out.text(context.get_help())
        raise typer.Exit(ExitCode.USAGE)
    from integ_cli.commands.play_tui import open_browser

    open_browser(out)


def _answered_before_the_parser(ctx: Any, param: Any, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        raise UsageError(f"{param.opts[0]} stands alone: integ {param.opts[0]}", hint=f"integ {param.opts[0]}")


def _common_options(*, long: bool, asks: bool) -> list[Any]:
    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        def callback(ctx: Any, param: Any, value: Any) -> None:
            if value:
                setattr(ctx.obj, name, value)
                if name == "events":
                    ctx.obj.as_json = True

        return callback

    options = [_flag("--json", "Print one JSON document on stdout", keep("as_json"))]
    if long:
        options.append(_flag("--events", "Print progress as JSON lines, the result as the last", keep("events")))
    if asks:
        options.append(_flag("--yes", "Answer yes to what would be asked", keep("yes"), short="-y"))
    options.append(_flag("--no-input", "Ask nothing", keep("no_input")))
    options.append(_flag("--quiet", "Print the result alone", keep("quiet"), short="-q"))
    options.append(_flag("--verbose", "Tell more on stderr, twice: everything", keep("verbose"), short="-v", count=True))
    return options


def _flag(name: str, told: str, callback: Callable[[Any, Any, Any], None], *, short: str = "", count: bool = False) -> TyperOption:
    names = [short, name] if short else [name]
    switch: dict[str, Any] = {"count": True, "default": 0, "type": int} if count else {"is_flag": True, "default": False}
    return TyperOption(param_decls=names, help=told, callback=callback, expose_value=False, show_default=False, **switch)


# --- running ---------------------------------------------------------------------------------------------------------


def run(argv: Sequence[str]) -> int:
    """Run `integ` with *argv* and give its exit code; everything is told already."""
    return ended(argv, lambda out: _run(list(argv), out))


def _run(argv: list[str], out: Output) -> int:
    try:
        with build_root().make_context("integ", argv, obj=out) as context:
            context.command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except ClickException as wrong:
        raise _usage_error(wrong) from wrong
    except typer.Abort:
        raise KeyboardInterrupt from None
    return ExitCode.DONE


def _usage_error(wrong: ClickException) -> UsageError:
    context = getattr(wrong, "ctx", None)
    path = context.command_path if context is not None else "integ"
    return UsageError(wrong.format_message().rstrip("."), hint=f"{path} --help")
