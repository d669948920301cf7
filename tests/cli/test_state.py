"""export and apply: everything out, wiped, and brought about again; and files that should not be trusted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends import served
from tests.cli.conftest import Answer, Integ
from tests.cli.test_organise import listed, sign_in
from tests.conftest_backends import BackendKind, on_both_kinds
from tests.conftest_sandbox import RunningSandbox

Valid = Callable[[Answer], dict[str, Any]]
DECLARED = ("settings", "preferences", "proton", "splits", "merges", "games")


def wipe(home: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: BackendKind) -> None:
    """Nothing is left of the player: no file at home, no row at the backend."""
    for folder in (".local", ".cache", ".config"):
        shutil.rmtree(home / folder, ignore_errors=True)
    if kind.is_served:
        backend = request.getfixturevalue("_house").backend
        headers = {"Authorization": f"Bearer {os.environ['INTEG_TOKEN']}"}
        httpx.request("DELETE", f"{kind.address}/users/me", json={"confirm": "delete everything"}, headers=headers).raise_for_status()
        monkeypatch.setenv("INTEG_TOKEN", backend.new_token(backend.new_user("Ann again")))


@on_both_kinds
def test_what_was_exported_and_wiped_is_brought_about_again(
    integ: Integ,
    sandbox: RunningSandbox,
    backend_kind: BackendKind,
    valid: Valid,
    home: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sign_in(integ, sandbox)
    games = list(listed(integ).values())
    one, two, three, four, five = [game["releases"][0]["key"] for game in games[:5]]
    version = valid(integ("install-proton", "--json"))["version"]
    for words in [
        ["favourite", one, five],
        ["hide", two],
        ["tag", one, "slow", "Détective"],
        ["note", one, 'the "kitchen" key\n  is in the jacket'],
        ["merge", four, three],
        ["proton", "use", version, "--game", one],
        ["proton", "use", version],
        ["config", "set", "bandwidth_limit", "4M"],
        ["config", "set", "library_dirs", f"{tmp_path}/a:{tmp_path}/b"],
    ]:
        assert integ(*words).code == 0, words
    assert integ("config", "set", "steam_api_key", given="0123456789ABCDEF0123456789ABCDEF").code == 0
    more = tmp_path / "more.toml"
    more.write_text(f"""
        preferences.language = "de"
        games."{one}".launch_options = "-w 'a b'"
        games."local:tea" = {{ loose = true, tags = [" my\\u001b  own "], proton = "GE-Proton9-1", launch_options = "-x" }}
    """)
    assert integ("apply", str(more)).code == 0
    assert integ("apply", str(more)).out == "Nothing to do: all is as declared.\n"

    file = tmp_path / "backup.json"
    assert valid(integ("export", str(file), "--json"))["games"] == 4
    assert file.stat().st_mode & 0o777 == 0o600
    exported = valid(Answer(0, file.read_text(), ""))
    printed = valid(integ("export"))
    assert {name: printed[name] for name in DECLARED} == {name: exported[name] for name in DECLARED}
    assert "0123456789ABCDEF" not in file.read_text()
    assert os.environ.get("INTEG_TOKEN", "no token") not in file.read_text()
    assert exported["settings"] == {"bandwidth_limit": "4M", "library_dirs": [f"{tmp_path}/a", f"{tmp_path}/b"]}
    assert exported["merges"] == [[four, three]]
    assert exported["games"][one] == {
        "title": games[0]["title"],
        "favourite": True,
        "tags": ["slow", "Détective"] if exported["games"][one]["tags"][0] == "slow" else ["Détective", "slow"],
        "notes": 'the "kitchen" key\n  is in the jacket',
        "proton": version,
        "launch_options": "-w 'a b'",
    }
    assert exported["games"]["local:tea"] == {"loose": True, "tags": ["my own"], "proton": "GE-Proton9-1", "launch_options": "-x"}
    assert len(exported["backend"]["library_entries"]) >= len(games)

    wipe(home, request, monkeypatch, backend_kind)
    sign_in(integ, sandbox)
    planned = valid(integ("apply", str(file), "--dry-run", "--json"))
    assert {each["state"] for each in planned["changes"]} == {"planned"}
    assert valid(integ("apply", str(file), "--dry-run", "--json")) == planned, "nothing was done"
    assert not (home / ".config").exists()
    done = valid(integ("apply", str(file), "--json"))
    assert [(each["kind"], each["name"], each["field"]) for each in done["changes"]] == [
        (each["kind"], each["name"], each["field"]) for each in planned["changes"]
    ]
    assert {each["state"] for each in done["changes"]} == {"done"}
    again = valid(integ("export"))
    assert {name: again[name] for name in DECLARED} == {name: exported[name] for name in DECLARED}
    assert valid(integ("apply", str(file), "--json")) == {"dry_run": False, "changes": []}
    assert integ("apply", str(file)).out == "Nothing to do: all is as declared.\n"
    assert integ("apply", "-", given=file.read_text()).out == "Nothing to do: all is as declared.\n"


@on_both_kinds
def test_splits_come_back_too_alone_and_merged_elsewhere(
    integ: Integ,
    sandbox: RunningSandbox,
    backend_kind: BackendKind,
    valid: Valid,
    home: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_both() -> None:
        if not backend_kind.is_served:
            assert integ("login", "steam", "--steam-id", sandbox.world.steam_id, "--api-key-stdin", given=sandbox.world.steam_key).code == 0
        else:
            from tests.conftest_backends import sign_in_at_steam

            sign_in_at_steam(sandbox)
        sign_in(integ, sandbox)

    with_both()
    before = listed(integ)
    first, second = [item for item in before.values() if len(item["releases"]) == 2][:2]
    alone, elsewhere = first["releases"][0]["key"], second["releases"][0]["key"]
    other = next(item for item in before.values() if len(item["releases"]) == 1)["releases"][0]["key"]
    assert integ("split", alone).code == integ("split", elsewhere).code == integ("merge", other, elsewhere).code == 0
    arranged = sorted(sorted(each["key"] for each in item["releases"]) for item in listed(integ, "--all").values())
    file = tmp_path / "backup.json"
    assert integ("export", str(file)).code == 0
    exported = json.loads(file.read_text())["data"]
    assert (sorted(exported["splits"]), exported["merges"]) == (sorted([alone, elsewhere]), [[other, elsewhere]])
    wipe(home, request, monkeypatch, backend_kind)
    with_both()
    assert integ("apply", str(file)).code == 0
    assert sorted(sorted(each["key"] for each in item["releases"]) for item in listed(integ, "--all").values()) == arranged
    again = valid(integ("export"))
    assert {name: again[name] for name in DECLARED} == {name: exported[name] for name in DECLARED}
    assert valid(integ("apply", str(file), "--json"))["changes"] == []


def test_a_state_by_hand_changes_what_it_names_and_tells_it(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, tmp_path: Path, valid: Valid
) -> None:
    sign_in(integ, sandbox)
    item, other = list(listed(integ).values())[:2]
    assert integ("favourite", other["title_id"]).code == integ("tag", item["title_id"], "old", "slow").code == 0
    file = tmp_path / "games.toml"
    file.write_text(f'''
        [settings]
        log_level = "INFO"
        [games."{item["title"]}"]
        favourite = true
        tags = ["Slow", "new"]
        notes = """two
        lines"""
        proton = "GE-Proton9-27"
        launch_options = "-w"
    ''')
    shown = integ("apply", str(file), "--dry-run")
    assert "6 changes to make" in shown.out and "planned" in shown.out and "old, slow" in shown.out
    changes = {each["field"]: each for each in valid(integ("apply", str(file), "--json"))["changes"]}
    assert (changes["tags"]["before"], changes["tags"]["after"]) == (["old", "slow"], ["Slow", "new"])
    assert (changes["favourite"]["before"], changes["favourite"]["after"], changes["value"]["name"]) == (False, True, "log_level")
    seen = listed(integ)
    assert (seen[item["title_id"]]["favourite"], seen[item["title_id"]]["tags"]) == (True, ["new", "Slow"])
    assert seen[other["title_id"]]["favourite"] is True, "what is not named stays"
    launch = valid(integ("show", item["title_id"], "--json"))["details"]["launch"]
    assert launch == [{"key": each["key"], "proton": "GE-Proton9-27", "launch_options": "-w"} for each in item["releases"]]
    assert integ("apply", str(file)).out == "Nothing to do: all is as declared.\n"
    file.write_text(json.dumps({"settings": {"log_level": None}, "games": {item["title_id"]: {"proton": None, "launch_options": None}}}))
    assert len(valid(integ("apply", str(file), "--json"))["changes"]) == 3
    assert valid(integ("show", item["title_id"], "--json"))["details"]["launch"] == []
    assert valid(integ("apply", str(file), "--json"))["changes"] == []
    for version, launch_options in (("GE-Proton9-27", "-w"), ("", "")):
        file.write_text(f'games."{item["title_id"]}" = {{ proton = "{version}", launch_options = "{launch_options}" }}')
        assert len(valid(integ("apply", str(file), "--json"))["changes"]) == 2 * len(item["releases"])
        assert valid(integ("apply", str(file), "--json"))["changes"] == []


@on_both_kinds
def test_how_games_are_started_here_goes_along_but_for_secrets(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, tmp_path: Path, valid: Valid, home: Path
) -> None:
    sign_in(integ, sandbox)
    keys = [each["key"] for item in listed(integ).values() for each in item["releases"]]
    gog, other = [key for key in keys if key.startswith("gog:")][:2]
    words = ["--wrapper", "gamemoderun", "--env", "DXVK_HUD=fps", "--env", "MY_TOKEN=hush", "--before", "true"]
    assert integ("options", gog, *words).code == 0
    assert integ("options", other, "--args", "API_KEY=hush %command% -w", "--cwd", str(tmp_path)).code == 0
    file = tmp_path / "state.json"
    assert integ("export", str(file)).code == 0
    games = valid(Answer(0, file.read_text(), ""))["games"]
    assert games[gog]["options"] == {"wrappers": ["gamemoderun"], "env": {"DXVK_HUD": "fps"}, "before": "true"}
    assert games[other]["options"] == {"cwd": str(tmp_path)}
    assert "hush" not in file.read_text()
    assert integ("apply", str(file)).out == "Nothing to do: all is as declared.\n", "what it could not tell stays"

    (kept,) = home.glob(f".local/share/integ/games/{gog.replace(':', '-')}/options.json")
    by_hand = kept.read_text().replace("DXVK_HUD", "WINEPREFIX").replace('"arguments": ""', '"arguments": "\'"')
    kept.write_text(by_hand)
    assert integ("export").code == 0, "what no launch would take keeps nothing else back"
    kept.write_text(by_hand.replace("WINEPREFIX", "DXVK_HUD").replace('"\'"', '""'))
    assert kept.stat().st_mode & 0o777 == 0o600
    before = kept.read_text()
    assert integ("options", gog, "--off").code == integ("options", other, "--off").code == 0
    changes = valid(integ("apply", str(file), "--json"))["changes"]
    mine = {each["field"]: (each["before"], each["after"]) for each in changes if each["name"] == gog}
    assert mine == {
        "options.wrappers": (None, ["gamemoderun"]),
        "options.env": (None, ["DXVK_HUD=fps"]),
        "options.before": (None, "true"),
    }
    assert json.loads(kept.read_text())["env"] == {"DXVK_HUD": "fps"}
    kept.write_text(before)
    file.write_text(json.dumps({"games": {gog: {"options": {"env": {}, "after": "false"}}}}))
    assert integ("apply", str(file)).code == 0
    assert json.loads(kept.read_text())["env"] == {"MY_TOKEN": "hush"}, "a secret stays, and what is not named too"
    assert (json.loads(kept.read_text())["after"], json.loads(kept.read_text())["before"]) == ("false", "true")


DEEP = "[" * 100_000
WRONG: list[tuple[str, str, int]] = [
    ("", "declares", 0),
    ("{", "neither JSON nor TOML", 2),
    ("x = ", "neither JSON nor TOML", 2),
    (f'{{"games": {DEEP}', "neither JSON nor TOML", 2),
    (f"games = {DEEP}", "neither JSON nor TOML", 2),
    ("{}\x00", "neither JSON nor TOML", 2),
    ('{"gmaes": {}}', "did you mean games?", 2),
    ('{"games": []}', "games", 2),
    ('{"games": {"nothing": {}}}', "not in this library: 'nothing'", 3),
    ('{"games": {"t": {}}}', "fits 2 games", 6),
    ('{"games": {"lantern-keep": {"favorite": true}}}', "did you mean favourite?", 2),
    ('{"games": {"lantern-keep": {"favourite": "yes"}}}', "games.lantern-keep.favourite", 2),
    ('{"games": {"lantern-keep": {"favourite": null}}}', "games.lantern-keep.favourite", 2),
    ('{"games": {"lantern-keep": {"tags": [" "]}}}', "a character that can be seen", 2),
    ('{"games": {"lantern-keep": {"tags": [7]}}}', "games.lantern-keep.tags", 2),
    ('{"games": {"lantern-keep": {"proton": "../../etc"}}}', "games.lantern-keep.proton", 2),
    ('{"games": {"lantern-keep": {"launch_options": "-n \'open"}}}', "No closing quotation", 2),
    ('{"games": {"lantern-keep": {"notes": "a"}, "steam:70001": {"notes": "b"}}}', "notes is declared twice", 2),
    ('{"games": {"lantern-keep": {"options": {"wraper": []}}}}', "games.lantern-keep.options", 2),
    ('{"games": {"lantern-keep": {"options": {"wrappers": ["a \'b"]}}}}', "No closing quotation", 2),
    ('{"games": {"lantern-keep": {"options": {"env": {"WINEPREFIX": "/x"}}}}}', "WINEPREFIX is set by Integ", 2),
    ('{"games": {"lantern-keep": {"options": {"env": {"A_TOKEN": "x"}}}}}', "looks like a secret", 2),
    ('{"games": {"lantern-keep": {"options": {"after": "a\\u0000b"}}}}', "no program takes a NUL", 2),
    ('{"games": {"steam:70001": {"options": {"after": "true"}}}}', "Steam starts it", 2),
    ('{"splits": ["lantern-keep"]}', "name the release", 2),
    ('{"merges": [["lantern-keep"]]}', "merges.0", 2),
    ('{"settings": {"nothing": 1}}', "no setting 'nothing'", 2),
    ('{"settings": {"runer": "bare"}}', "did you mean runner?", 2),
    ('{"settings": {"runner": "magic"}}', "settings.runner is wrong", 2),
    ('{"settings": {"runner": true}}', "settings.runner", 2),
    ('{"settings": {"token": "x"}}', "is a secret", 2),
    ('{"settings": {"library_dirs": ["/a:b"]}}', "colon", 2),
    ('{"settings": {"default_proton": "GE-Proton9-1"}, "proton": {"default": "GE-Proton9-2"}}', "two defaults", 2),
    ('{"proton": {"versions": ["latest"]}}', "name one", 2),
    ('{"proton": {"versions": ["what"]}}', "is no Proton version", 2),
    ('{"proton": {"versions": ["umu"]}}', "name one", 2),
    ('{"proton": {"versions": [{"version": "umu-9.0-3.2", "family": "ge"}]}}', "is no version of GE-Proton", 2),
    ('{"proton": {"versions": [{"version": "GE-Proton9-1", "family": "x"}]}}', "no family 'x'", 2),
    ('{"preferences": {"platform": "mac"}}', "preferences.platform", 2),
    ('{"schema": "integ/export@2", "data": {}}', "another document", 2),
    ('{"schema": "integ/list@1", "data": {"items": []}}', "another document", 2),
]


@pytest.mark.parametrize(("content", "told", "code"), WRONG, ids=[content[:60] for content, _, _ in WRONG])
def test_what_can_t_be_declared_is_told_before_anything_is_written(
    integ: Integ, library: Path, home: Path, tmp_path: Path, content: str, told: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTEG_BACKEND_URL", "")
    kept = content.startswith("{") and content.endswith("}") and '"schema"' not in content
    file = tmp_path / "state"
    file.write_text(content)
    if kept and "settings" not in content:
        file.write_text(f'{{"settings": {{"log_level": "INFO"}}, {content[1:]}')
    if code == 0:
        assert integ("apply", str(file)).out == "Nothing to do: all is as declared.\n"
        return
    monkeypatch.setattr("integ_runtime.runtime.Runtime.follow", _nothing_new)
    answer = integ("apply", str(file))
    assert (answer.code, told in answer.err) == (code, True), answer.err
    assert "\nhint: " in answer.err
    assert not (home / ".config/integ").exists()


async def _nothing_new(runtime: object) -> int:
    return 5


def test_a_file_that_is_none_or_far_too_large(
    integ: Integ, tmp_path: Path, home: Path, valid: Valid, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert integ("apply", str(tmp_path / "nothing")).code == 3
    assert integ("apply", str(tmp_path)).code == 2
    assert integ("apply", "/dev/zero").code == 2
    toml = tmp_path / "large.toml"
    toml.write_text("# " + "x" * (5 << 20))
    assert "more than 4 MiB" in integ("apply", str(toml)).err
    answer = integ("apply", str(toml), "--json")
    assert answer.code == 2
    valid(answer)
    file = tmp_path / "binary"
    for content in (b"\xff\xfe\x00", b"\xed\xb3\xbf"):
        file.write_bytes(content)
        assert integ("apply", str(file)).code == 2
    assert integ("apply", "-", given="\udcff").code == 2


def test_a_pipe_of_nonsense_is_told_by_a_process_of_its_own_too(process: Integ, home: Path) -> None:
    for given in ("\x00\x01", "{" * 5000, '{"games": 1e999}'):
        told = process("apply", "-", "--json", given=given)
        assert (told.code, told.json["error"]) == (2, "UsageError")
        assert "Traceback" not in told.err
    assert process("apply", "-", given="").out == "Nothing to do: all is as declared.\n"
    assert not (home / ".config").exists() and not (home / ".local").exists()


def test_one_part_failing_is_exit_9_and_the_others_are_done(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, tmp_path: Path, valid: Valid
) -> None:
    sign_in(integ, sandbox)
    item = next(iter(listed(integ).values()))
    file = tmp_path / "state.json"
    state = {"proton": {"versions": ["GE-Proton77-1"]}, "games": {item["title_id"]: {"favourite": True}}}
    file.write_text(json.dumps(state))
    answer = integ("apply", str(file), "--json")
    assert (answer.code, answer.json["error"]) == (9, "PartialError")
    assert [(each["kind"], each["state"]) for each in answer.json["data"]["changes"]] == [("proton", "failed"), ("game", "done")]
    valid(answer)
    assert listed(integ)[item["title_id"]]["favourite"] is True
    answer = integ("apply", str(file))
    assert (answer.code, "failed" in answer.out) == (3, True), "nothing else was left to do"


def test_while_the_backend_is_away_it_shows_at_once_and_is_sent_later(
    integ: Integ, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid: Valid
) -> None:
    with served(tmp_path / "backend", sandbox.url) as backend:
        monkeypatch.setenv("INTEG_BACKEND_URL", backend.url)
        monkeypatch.setenv("INTEG_TOKEN", backend.new_token(backend.new_user()))
        sign_in(integ, sandbox)
        one, other = list(listed(integ))[:2]
        file = tmp_path / "state.json"
        file.write_text(json.dumps({"games": {one: {"notes": "later", "hidden": True}}, "merges": [[one, other]]}))
        backend.stop()
        assert integ("export").code == 5
        away = integ("apply", str(file), "--json")
        assert {each["state"] for each in valid(away)["changes"]} == {"queued"}
        assert other not in listed(integ, "--all") and integ("note", one).out == "later\n"
        assert valid(integ("apply", str(file), "--json"))["changes"] == [], "what waits is decided already"
        backend.start()
        assert integ("sync").code == 0
        assert other not in listed(integ, "--all") and integ("note", one).out == "later\n"
        monkeypatch.setenv("INTEG_TOKEN", "integ_pt_nobody")
        file.write_text(json.dumps({"settings": {"log_level": "INFO"}, "games": {one: {"notes": "never"}}}))
        stranger = integ("apply", str(file), "--json")
        assert (stranger.code, [each["name"] for each in stranger.json["data"]["changes"]]) == (9, ["log_level"])
        assert integ("apply", str(file)).code == 4


def test_a_new_device_gets_its_backend_first_and_the_rest_once_somebody_is_signed_in_there(
    integ: Integ, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid: Valid
) -> None:
    with served(tmp_path / "backend", sandbox.url) as backend:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
        file = tmp_path / "state.json"
        key = f"gog:{sandbox.world.owned_gog[0].id}"
        file.write_text(json.dumps({"settings": {"backend_url": backend.url}, "games": {key: {"favourite": True}}}))
        first = integ("apply", str(file), "--json")
        assert (first.code, first.json["hint"]) == (9, "integ login --device")
        assert valid(integ("config", "get", "backend_url", "--json"))["value"] == backend.url
        assert integ("apply", str(file)).code == 4
        monkeypatch.setenv("INTEG_TOKEN", backend.new_token(backend.new_user()))
        assert integ("apply", str(file)).code == 3, "nothing was synced yet"
        sign_in(integ, sandbox)
        assert [each["name"] for each in valid(integ("apply", str(file), "--json"))["changes"]] == [key]
        assert integ("apply", str(file)).out == "Nothing to do: all is as declared.\n"


def test_another_file_is_replaced_after_a_yes_only(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("my own")
    assert integ("export", str(file), "--no-input").code == 10
    assert file.read_text() == "my own"
    assert integ("export", str(file), "--yes").code == 0
    assert integ("export", str(file)).code == 0, "an export is replaced by the next"
    assert integ("export", str(tmp_path / "no" / "where.json")).code == 2
    assert integ("export", str(tmp_path)).code == 2
    os.mkfifo(tmp_path / "pipe")
    assert integ("export", str(tmp_path / "pipe"), "--yes").code == 2
    link = tmp_path / "link"
    link.symlink_to(file)
    assert integ("export", str(link)).code == 0
    assert link.is_symlink(), "a link stays one"
    link.unlink()
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["notes.txt"]
    assert json.loads(file.read_text())["schema"] == "integ/export@1"


def test_no_password_in_an_address_leaves(
    integ: Integ, sandbox: RunningSandbox, backend_kind: BackendKind, home: Path, tmp_path: Path, valid: Valid
) -> None:
    assert integ("config", "set", "backend_url", "https://ana:hunter2@integ.example").code == 0
    file = tmp_path / "state.json"
    file.write_text('{"settings": {"backend_url": "https://ana:hunter3@integ.example"}}')
    shown = integ("apply", str(file), "--dry-run", "--json")
    assert (shown.code, "hunter" in shown.out + shown.err) == (0, False)
    config = home / ".config/integ/config.toml"
    written = config.read_text()
    config.write_text("")
    assert integ("sync").code == 4
    config.write_text(written.replace("backend_url", "# backend_url"))
    exported = integ("export")
    assert (exported.code, "hunter" in exported.out) == (0, False)
