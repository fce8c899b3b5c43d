"""Text from outside - names in a model, what a driver says - on its way to a person."""

from __future__ import annotations


def clean(text: object) -> str:
    """``text`` on one line with nothing that a terminal or a reader could be fooled by.

    Control characters, line ends and marks that turn the direction of writing become escapes.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
