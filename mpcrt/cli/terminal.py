"""The one place that makes rich consoles: none interprets markup, which names and messages of others may hold."""

from typing import Any

from rich.console import Console

NOT_A_TERMINAL = 140
"""Columns where nobody says how many there are."""


def console(*, stderr: bool = False, **options: Any) -> Console:
    """A console that shows text as it is: `[red]` and `:bomb:` are words."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, **options)


def wide() -> Console:
    """Standard output, for tables: as wide as the terminal, or NOT_A_TERMINAL columns where there is none."""
    return console(width=None if console().is_terminal else NOT_A_TERMINAL)
