"""The whole of Integ, as a player or a script meets it: the real command in a process of its own, the sandbox outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

INTEG = (sys.executable, "-m", "integ_cli")
GOG_CLIENT = "46899977096215655"


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def data(self) -> dict[str, Any]:
        return self.json["data"]


@dataclass
class Player:
    """Somebody with a home of their own, and a sandbox for the outside."""

    home: Path
    upstream: str | None
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        known = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **self.more}
        if self.upstream:
            known["INTEG_UPSTREAM_URL"] = self.upstream
        return known

    def integ(self, *words: str, given: str | None = None, timeout_s: float = 120, **environ: str) -> Answer:
        done = subprocess.run(
            [*INTEG, *words],
            env={**self.environ, **environ},
            input=given or "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    def starts(self, *words: str, given: str = "", **environ: str) -> subprocess.Popen[str]:
        """The same without waiting; its output goes nowhere unless read."""
        pipe = subprocess.PIPE
        started = subprocess.Popen(
            [*INTEG, *words], env={**self.environ, **environ}, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        assert started.stdin is not None
        started.stdin.write(given)
        started.stdin.close()
        started.stdin = None
        return started

    def done(self, *words: str, given: str | None = None, timeout_s: float = 120) -> Answer:
        """As `integ`, for what has to succeed."""
        answer = self.integ(*words, given=given, timeout_s=timeout_s)
        assert answer.code == 0, f"{words}: {answer.code}\n{answer.out}\n{answer.err}"
        return answer


def gog_code(url: str) -> str:
    """What a player would paste: the address at which GOG's sign-in page ends, in the sandbox."""
    asked = {
        "client_id": GOG_CLIENT,
        "redirect_uri": "https://embed.gog.com/on_login_success?origin=client",
        "response_type": "code",
        "layout": "client2",
    }

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: Any) -> None:
            return None

    address = f"{url}/auth.gog.com/auth?{urllib.parse.urlencode(asked)}"
    try:
        urllib.request.build_opener(Stay).open(address, timeout=10)
    except urllib.error.HTTPError as redirect:
        landing = redirect.headers["Location"]
        assert re.search(r"[?&]code=", landing), landing
        return landing
    raise AssertionError("the sign-in page did not end anywhere")


@pytest.fixture
def player(home: Path, sandbox: Any) -> Player:
    """Somebody with an empty home, whose outside is the small sandbox."""
    return Player(home, sandbox.url)


@pytest.fixture
def signed_in(player: Player, sandbox: Any) -> Player:
    """The same, signed in to both stores."""
    sign_in(player, sandbox)
    return player


def sign_in(player: Player, sandbox: Any) -> None:
    player.done("login", "steam", "--api-key-stdin", "--steam-id", sandbox.world.steam_id, given=sandbox.world.steam_key)
    player.done("login", "gog", "--code-stdin", given=gog_code(sandbox.url))


@pytest.fixture
def valid() -> Callable[[Answer], dict[str, Any]]:
    """Hold an answer's document against its checked-in schema; hands back its data."""
    import jsonschema

    schemas = Path(__file__).resolve().parents[2] / "integ_cli" / "schemas"

    def check(answer: Answer) -> dict[str, Any]:
        document = answer.json
        name = document["schema"].removeprefix("integ/").replace("@", "-")
        candidates = [
            each for each in schemas.glob("*.json") if each.stem.replace("@", "-").removesuffix(".schema") in {name, name.split("-")[0]}
        ]
        candidates += [each for each in schemas.glob("*.json") if name.rsplit("-", 1)[0] == each.name.split(".")[0].split("@")[0]]
        assert candidates, f"no schema for {document['schema']}"
        jsonschema.validate(document, json.loads(candidates[0].read_text()))
        return document.get("data", {})

    return check
