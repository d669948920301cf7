"""The browser's own two themes; any theme of Textual's can be chosen instead from the palette."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="integ-dark",
    primary="#7aa2f7",
    secondary="#7dcfff",
    accent="#bb9af7",
    success="#9ece6a",
    warning="#e0af68",
    error="#f7768e",
    foreground="#c8d0e8",
    background="#16181f",
    surface="#16181f",
    panel="#262a37",
    dark=True,
    variables={
        "block-cursor-background": "#7aa2f7",
        "block-cursor-foreground": "#12141a",
        "border": "#7aa2f7",
        "border-blurred": "#3b4055",
        "input-selection-background": "#7aa2f7 35%",
        "footer-key-foreground": "#7aa2f7",
    },
)

LIGHT = Theme(
    name="integ-light",
    primary="#2e5fc9",
    secondary="#0e7a94",
    accent="#7b3fc4",
    success="#3f7a1d",
    warning="#9a6200",
    error="#c02b45",
    foreground="#23283a",
    background="#f8f9fc",
    surface="#f8f9fc",
    panel="#e4e7f0",
    dark=False,
    variables={
        "block-cursor-background": "#2e5fc9",
        "block-cursor-foreground": "#ffffff",
        "border": "#2e5fc9",
        "border-blurred": "#b9bfd2",
        "input-selection-background": "#2e5fc9 25%",
        "footer-key-foreground": "#2e5fc9",
    },
)

THEMES = (DARK, LIGHT)
