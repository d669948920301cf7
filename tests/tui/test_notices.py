"""What a toast says of a failure."""

from __future__ import annotations

from integ_runtime.errors import ProgramMissingError
from integ_server.contract.errors import AuthenticationError, BusyError, IntegError, RateLimitedError
from integ_tui.notices import notice_for


def test_a_notice_has_the_message_and_on_its_own_line_what_to_type() -> None:
    notice = notice_for(AuthenticationError("GOG has signed you out", hint="integ login gog"))
    assert notice.message == "GOG has signed you out\n→ integ login gog"
    assert (notice.title, notice.severity) == ("Sign-in needed", "error")


def test_a_pause_is_told_with_its_length() -> None:
    assert "Try again in 2 min." in notice_for(RateLimitedError("too many questions", retry_after_s=120)).message


def test_the_nearest_known_ancestor_names_the_notice() -> None:
    assert notice_for(ProgramMissingError("start.sh is gone")).title == "The game did not start"
    assert notice_for(IntegError("odd")).title == "It did not work"


def test_what_is_only_busy_is_a_warning() -> None:
    assert notice_for(BusyError("another Integ is doing this")).severity == "warning"


def test_a_message_cannot_bring_escapes() -> None:
    assert "\x1b" not in notice_for(IntegError("a\x1b[2Jb", hint="\x1b]52;c;eA==\x07")).message
