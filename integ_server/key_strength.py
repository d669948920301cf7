"""
Whether a secret key could be guessed. The public keys that a backend publishes are made of it, so whoever reads them may try phrases out
as fast as their machine allows: it has to be random. That can't be proved, but what people type instead of it can be told.
"""

from __future__ import annotations

import string
from itertools import pairwise

LEAST_CHARACTERS = 32
"""As hexadecimal digits these are 128 bits."""
_LEAST_DISTINCT = 8
_MOST_NEIGHBOURS = 0.5
_SEPARATORS = frozenset(" -_.,!?'")


def weakness(secret: str) -> str:
    """What is wrong with *secret*, to be read after `the key`; empty when it looks random."""
    if len(secret) < LEAST_CHARACTERS:
        return f"has less than {LEAST_CHARACTERS} characters"
    if len(set(secret)) < _LEAST_DISTINCT or _is_repetition(secret):
        return "repeats itself"
    if _neighbours(secret) > _MOST_NEIGHBOURS:
        return "is a row of neighbours, as in 12345"
    if _reads_like_words(secret):
        return "reads like words"
    return ""


def _is_repetition(secret: str) -> bool:
    """Made of one part, again and again; the last one may be cut."""
    return any(secret[period:] == secret[:-period] for period in range(1, len(secret) // 2 + 1))


def _neighbours(secret: str) -> float:
    """The share of characters that are the same as the one before or next to it; a fifth of random hexadecimal digits are."""
    return sum(abs(ord(one) - ord(other)) <= 1 for one, other in pairwise(secret)) / (len(secret) - 1)


def _reads_like_words(secret: str) -> bool:
    """Letters of one case, or words with something between them, and hardly a digit: random base64 in one of a thousand at most."""
    letters = [each for each in secret if each.isalpha()]
    is_hexadecimal = all(each in string.hexdigits for each in letters)
    has_one_case = secret in {secret.lower(), secret.upper()}
    has_gaps = sum(each in _SEPARATORS for each in secret) >= 3
    has_few_digits = sum(each.isdigit() for each in secret) < 2
    if is_hexadecimal and not has_few_digits:
        return False
    return (has_one_case and (has_gaps or has_few_digits)) or (has_gaps and has_few_digits)
