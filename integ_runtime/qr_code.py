"""QR codes as rows of modules; whoever draws them knows what there is to draw on."""

from __future__ import annotations

QUIET_MODULES = 4
"""The margin that the standard wants, in modules."""


def qr_modules(text: str, quiet: int = QUIET_MODULES) -> list[list[bool]]:
    """Rows of dark and light, margin included; of the lowest redundancy, since nothing covers a part of a screen."""
    import segno

    code = segno.make(text, error="l", micro=False, boost_error=False)
    return [[bool(module) for module in row] for row in code.matrix_iter(border=quiet)]
