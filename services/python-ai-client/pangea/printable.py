"""Foreign text as it can be printed: without what a terminal would take for a command."""

from __future__ import annotations

import unicodedata

# Of a foreign value in a message.
_QUOTED_CHARACTERS = 100
# Control characters, those that reorder or hide text, surrogates, and code points that mean something else everywhere.
_NOT_PRINTED = frozenset({"Cc", "Cf", "Cs", "Co"})
_KEPT = frozenset("\n\t")


def printable(text: str) -> str:
    """The text as it can be printed: what a terminal would act on is replaced by its escape, such as \\x1b."""
    return "".join(
        character
        if character in _KEPT or unicodedata.category(character) not in _NOT_PRINTED
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def quoted(value: object) -> str:
    """The value for a message: as Python writes it, and not longer than a line."""
    text = repr(value)
    return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "..."
