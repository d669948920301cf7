"""The filter language, `lantern store:gog playtime:>10h`, read once for both sides; imports nothing heavy, for the command line's sake."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta

from integ_server.contract.errors import UsageError

FLAGS = ("installed", "favourite", "hidden")
_TEXTS = {"store": "store", "provider": "store", "platform": "platform", "os": "platform", "tag": "tag"}
_MEASURES = {"playtime": "playtime", "played": "playtime", "last": "last", "lastplayed": "last"}
_MINUTES = {"m": 1, "min": 1, "h": 60, "": 60}
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365, "": 1}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": ">="}  # less long ago is a later moment


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter. All terms have to fit."""

    field: str
    """`word`, `store`, `platform`, `tag`, `playtime`, `last`, or one of FLAGS."""
    text: str = ""
    """Of a word as it was written; of `store` and `platform` in lower case, of `tag` casefolded."""
    is_wanted: bool = True
    """Of a flag."""
    sign: str = ">="
    """How `playtime` compares to `minutes`, and the moment of `last` to the one that is `days` ago."""
    minutes: float = 0.0
    days: float = 0.0

    def moment(self, now: datetime) -> datetime:
        """
        What `last` is compared to, counted back from *now*.

        Raises:
            UsageError: There was no time yet.
        """
        try:
            return now - timedelta(days=self.days)
        except OverflowError:
            raise UsageError("the filter asks for what was too long ago", hint="for example last:<2y") from None


def parse_filter(text: str) -> list[Term]:
    """
    Raises:
        UsageError: A field or a value means nothing.
    """
    found = []
    for word in _words(text):
        field, colon, value = word.partition(":")
        found.append(_term(field.lower(), value) if colon and field.isalpha() else Term("word", word))
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.replace('"', " ").replace("'", " ").split()  # a quote that is still being typed


def _term(field: str, value: str) -> Term:
    if field in _TEXTS:
        return Term(_TEXTS[field], value.casefold() if field == "tag" else value.lower())
    if field in FLAGS:
        return Term(field, is_wanted=_yes(field, value))
    if field in _MEASURES:
        return _measured(field, value)
    known = "store, installed, favourite, hidden, platform, tag, playtime, last"
    raise UsageError(f"the filter knows no field {field!r}", hint=f"fields: {known}")


def _measured(field: str, value: str) -> Term:
    if _MEASURES[field] == "playtime":
        sign, number, unit = _measure(field, value, _MINUTES)
        return Term("playtime", sign=sign, minutes=number * _MINUTES[unit])
    sign, number, unit = _measure(field, value, _DAYS)
    return Term("last", sign=_TURNED[sign], days=number * _DAYS[unit])


def _yes(field: str, value: str) -> bool:
    if value.lower() in {"yes", "y", "true", "1"}:
        return True
    if value.lower() in {"no", "n", "false", "0"}:
        return False
    raise UsageError(f"{field}:{value} is neither yes nor no", hint=f"{field}:yes or {field}:no")


def _measure(field: str, value: str, units: dict[str, int]) -> tuple[str, float, str]:
    found = re.fullmatch(r"(<=|>=|<|>|=)?(\d{1,7}(?:\.\d{1,3})?)([a-z]*)", value.lower())
    if found is None or found[3] not in units:
        shown = "/".join(unit for unit in units if unit)
        raise UsageError(f"{field}:{value} can't be read", hint=f"for example {field}:>10{next(iter(units))} ({shown})")
    return found[1] or ">=", float(found[2]), found[3]
