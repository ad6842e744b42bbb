"""Lines on a console that say what they were given."""

from __future__ import annotations

from rich.console import Console


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: brackets in the name of a file or a class are no markup, and nothing cuts a path."""
    console.print(text, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)
