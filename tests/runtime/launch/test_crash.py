"""What counts as a crash, and what is read of its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from integ_runtime.launch.crash import last_lines
from integ_runtime.launch.run import LaunchOutcome


@pytest.mark.parametrize(
    ("code", "seconds", "stopped", "crashed"),
    [
        (0, 1.0, False, False),
        (1, 1.0, False, True),
        (1, 60.0, False, False),
        (139, 600.0, False, True),
        (137, 600.0, True, False),
        (130, 600.0, False, False),
        (143, 600.0, False, False),
    ],
)
def test_a_crash_is_a_signal_or_a_bad_end_within_seconds_that_nobody_wanted(
    code: int, seconds: float, stopped: bool, crashed: bool
) -> None:
    assert LaunchOutcome(code, None, seconds, stopped=stopped).crashed is crashed


def test_the_last_words_are_the_games_own_and_few(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"# game: Tea\n# env A=1\n\n")
    assert last_lines(log) == []
    log.write_bytes(b"# game: Tea\n\none\n\ntw\xff\n")
    assert last_lines(log) == ["one", "tw\ufffd"]
    log.write_bytes(b"# game: Tea\n\n" + b"".join(b"line %d\n" % number for number in range(100_000)))
    assert last_lines(log, 2) == ["line 99998", "line 99999"]
    assert last_lines(tmp_path / "none") == []
