"""The command line in this process, and as a process of its own; a library to read without any backend."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from integ_cli import app
from integ_runtime.cache.store import LibraryCache
from integ_runtime.paths import read_paths
from integ_server.contract.types import Changes, ReleaseRecord, TitleDetails, TitleRecord

SCHEMAS = Path(app.__file__).parent / "schemas"


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one document on stdout."""
        return json.loads(self.out)


Integ = Callable[..., Answer]


@pytest.fixture
def integ(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Integ:
    """`integ` with these words, in this process; *given* is its stdin, which is no terminal."""

    def run(*words: str, given: str = "") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        capsys.readouterr()
        code = app.run(words)
        told = capsys.readouterr()
        return Answer(int(code), told.out, told.err)

    return run


@pytest.fixture
def process(home: Path) -> Integ:
    """The same as a process of its own."""

    def run(*words: str, given: str = "", **environ: str) -> Answer:
        known = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environ}
        done = subprocess.run(
            [sys.executable, "-m", "integ_cli", *words], env=known, input=given, capture_output=True, text=True, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


PLAYED = datetime(2026, 11, 20, 18, 30, tzinfo=UTC)


def small_library() -> Changes:
    """Four titles: one at both stores with a DLC, one hidden, one whose name drives terminals, one in Japanese."""
    about = TitleDetails(description="Seven lamps.\nOne night.", genres=["Strategy"], developers=["Keepers"], release_date="2021-06-15")
    titles = [
        TitleRecord(id="lantern-keep", title="Lantern Keep", year=2021, favourite=True, tags=["harbour"], guessed=True, details=about),
        TitleRecord(id="secret-garden", title="Secret Garden", hidden=True),
        TitleRecord(id="loud-title", title="Loud\x1b[31m\x07 Title\u202e"),
        TitleRecord(id="the-lantern", title="灯台守の夜"),
    ]

    def release(key: str, title_id: str, title: str, **more: Any) -> ReleaseRecord:
        provider, _, game_id = key.partition(":")
        return ReleaseRecord(key=key, provider=provider, provider_game_id=game_id, title_id=title_id, title=title, accounts=["a"], **more)

    releases = [
        release("steam:70001", "lantern-keep", "Lantern Keep", playtime_min=90, last_played_at=PLAYED, platforms=["linux", "windows"]),
        release("gog:1200000001", "lantern-keep", "Lantern Keep (GOG)", playtime_min=30, platforms=["linux"]),
        release("gog:1200000002", "lantern-keep", "Lantern Keep - Fog", kind="dlc", parent_key="gog:1200000001"),
        release("steam:70002", "secret-garden", "Secret Garden"),
        release("steam:70003", "loud-title", "Loud\x1b[31m\x07 Title\u202e"),
        release("gog:1200000003", "the-lantern", "灯台守の夜"),
    ]
    return Changes(revision=5, titles=titles, releases=releases)


@pytest.fixture
def library(home: Path) -> Path:
    """The small library in this home's cache; answers the cache file."""
    cache_db = read_paths({"HOME": str(home)}).cache_db
    asyncio.run(LibraryCache(cache_db).apply(small_library()))
    return cache_db


def _strict(schema: Any) -> Any:
    """The schema with nothing undocumented allowed: open for readers, closed for us."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _strict(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        made["additionalProperties"] = False
    return made


def check_document(document: dict[str, Any]) -> dict[str, Any]:
    """Hold *document* against its checked-in schema; hands back its data."""
    name = document["schema"].removeprefix("integ/")
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(_strict(schema)).validate(document)
    return document.get("data", {})


@pytest.fixture
def valid() -> Callable[[Answer], dict[str, Any]]:
    """Hold the one document of an answer against its schema; hands back its data."""
    return lambda answer: check_document(answer.json)
