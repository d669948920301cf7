"""`python -m integ_cli` and the program `integ`; what needs no parser is answered before one is loaded."""

from __future__ import annotations

import os
import sys


def main() -> None:
    argv = sys.argv[1:]
    if argv == ["--version"]:
        from integ_cli.version import VERSION

        print(f"integ {VERSION}")  # noqa: T201 - the writer would be the only import
        return
    if "_INTEG_COMPLETE" in os.environ or argv[:1] in (["--install-completion"], ["--show-completion"]):
        from integ_cli.completion import main as complete

        sys.exit(complete(argv))
    from integ_cli.app import run

    sys.exit(run(argv))


if __name__ == "__main__":
    main()
