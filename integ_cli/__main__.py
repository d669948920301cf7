"""`python -m integ_cli` and the program `integ`; what needs no parser is answered before one is loaded."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    gc.set_threshold(50_000, 10, 10)  # imports make objects that stay: looking for garbage among them is a tenth of a command's start
    _open_missing_streams()
    try:
        sys.exit(_main(sys.argv[1:]))
    except KeyboardInterrupt:  # while something was still being imported
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _open_missing_streams() -> None:
    """Give a closed stdin, stdout or stderr to nowhere; else the next file that is opened would become it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _main(argv: list[str]) -> int:
    if argv == ["--version"]:
        from integ_cli.version import VERSION

        sys.stdout.write(f"integ {VERSION}\n")
        return 0
    if "_INTEG_COMPLETE" in os.environ or argv[:1] in (["--install-completion"], ["--show-completion"]):
        from integ_cli.completion import main as complete

        return complete(argv)
    if argv[:1] == ["launch"]:
        from integ_cli.launch_words import read_words

        asked = read_words(argv)
        if asked is not None:
            from integ_cli.at_once import launch

            return launch(argv, asked)
    from integ_cli.app import run

    return run(argv)


if __name__ == "__main__":
    main()
