"""Prints text that somebody else may have written: names of workers, reasons, records of a ledger, lines of a log.

Everything that a command shows goes through here: nothing in it is taken for markup, or for a command of the terminal.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from pangea.printable import printable


def text(content: object, style: str = "") -> Text:
    """The content as text in a table or a title."""
    return Text(printable(str(content)), style=style)


def show_line(console: Console, content: object, style: str = "") -> None:
    """Prints a line, or several, without breaking them at the width of the terminal."""
    console.print(text(content, style), soft_wrap=True, highlight=False)


def warn(content: object) -> None:
    """Prints a message for the user on stderr."""
    print(f"pangea: {printable(str(content))}", file=sys.stderr)
