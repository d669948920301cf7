"""`python -m integ_server.worker`: do the jobs that are queued, and end."""

from __future__ import annotations

import asyncio
import os
import sys

from integ_server.contract.errors import IntegError
from integ_server.settings import ServerSettings
from integ_server.upstream import install_redaction
from integ_server.worker.run import drain


def main() -> int:
    """
    An embedded player's worker gets its settings as JSON on stdin (`ServerSettings.embedded()`'s arguments), so that no secret
    stands in an argument or an environment that others can read; without `--embedded` it reads the server's environment.
    """
    install_redaction()
    try:
        settings = ServerSettings.from_json(sys.stdin.read()) if "--embedded" in sys.argv[1:] else ServerSettings.from_environment()
        os.umask(0o077)
        asyncio.run(drain(settings))
    except IntegError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
