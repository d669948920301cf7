"""The play record is read whatever a crash left of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from integ_runtime.launch.playtime import close_stale, playing, read_plays
from integ_runtime.launch.supervisor import append_line, boot_id, descendants, started_at_tick

LINE = {"started_at": "2026-11-24T10:00:00Z", "ended_at": "2026-11-24T10:10:00Z", "seconds": 600.0, "exit_code": 0}


def test_lines_are_added_up_and_damaged_ones_left_out(tmp_path: Path) -> None:
    good = json.dumps(LINE)
    later = json.dumps({**LINE, "ended_at": "2026-12-01T00:00:00Z", "seconds": 90})
    odd = ['{"seconds": -1}', '{"seconds": true}', '{"seconds": "600"}', "[1]", '{"seconds": 1e999}', "\xff", "[" * 100_000]
    (tmp_path / "sessions.jsonl").write_bytes("\n".join([later, *odd, good, '{"seconds": 60']).encode("latin-1"))
    plays = read_plays(tmp_path)
    assert (plays.sessions, plays.minutes, plays.last_played_at) == (2, 11, "2026-12-01T00:00:00Z")
    assert read_plays(tmp_path / "nothing").sessions == 0


def test_a_play_that_a_crash_had_written_twice_counts_once(tmp_path: Path) -> None:
    """Its supervisor was killed between writing the record and taking the journal away, which closes the play again."""
    append_line(tmp_path / "sessions.jsonl", {**LINE, "id": "x"})
    (tmp_path / "playing").mkdir()
    journal = {"id": "x", "started_at": LINE["started_at"], "pid": 1, "pid_start": 0, "boot_id": "other"}
    (tmp_path / "playing" / "x.json").write_text(json.dumps(journal))
    close_stale(tmp_path)
    append_line(tmp_path / "sessions.jsonl", {**LINE, "id": "y"})
    plays = read_plays(tmp_path)
    assert (plays.sessions, plays.seconds) == (2, 1200.0)


def test_a_line_behind_a_torn_one_starts_anew(tmp_path: Path) -> None:
    record = tmp_path / "sessions.jsonl"
    record.write_text('{"seconds": 6')
    append_line(record, LINE)
    append_line(record, LINE)
    assert read_plays(tmp_path).sessions == 2


def test_a_journal_of_another_boot_or_another_process_is_stale(tmp_path: Path) -> None:
    folder = tmp_path / "playing"
    folder.mkdir()
    me = {"id": "x", "key": "gog:1", "pid": os.getpid(), "pid_start": started_at_tick(os.getpid()), "boot_id": boot_id()}
    journals = {
        "alive": {**me, "started_at": "2026-11-24T10:00:00Z"},
        "reboot": {**me, "boot_id": "other", "started_at": "2026-11-24T10:00:00Z"},
        "reused": {**me, "id": "y", "pid_start": 1, "started_at": "2026-11-24T11:00:00Z"},
        "no time": {**me, "pid_start": 1, "started_at": "yesterday"},
    }
    for name, body in journals.items():
        (folder / f"{name}.json").write_text(json.dumps(body))
    (folder / "torn.json").write_text('{"id"')
    seen = 1795514400.0 + 300  # five minutes after 2026-11-24T10:00:00Z
    for file in folder.iterdir():
        os.utime(file, (seen, seen))
    assert [each.run_id for each in playing(tmp_path)] == ["x"]
    assert close_stale(tmp_path) == 2
    assert [each.name for each in folder.iterdir()] == ["alive.json"]
    plays = read_plays(tmp_path)
    assert (plays.sessions, plays.seconds) == (2, 300.0), "one of them began after its journal was last touched: it lasted nothing"
    assert close_stale(tmp_path) == 0


def test_a_name_with_brackets_and_blanks_does_not_fool_the_reader_of_proc(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') R 1 1 (x', 0, 0, 0); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert descendants(os.getpid())[child.pid] == ") R 1 1 (x"
