"""What a screen is laid out on."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

from ._words import WIDTH

INDENT = 11
NARROWEST = 60
"""Columns below which no screen is laid out."""


@dataclass(frozen=True)
class Page:
    """What parts are laid out on.

    Attributes:
        width: Its columns.
    """

    width: int

    def lines(self, of_widest: int) -> int:
        """Return how many lines there is room for, where the widest page has so many."""
        return math.ceil(of_widest * WIDTH / self.width)

    def wrapped(self, label: str, text: str, *, indent: int = INDENT, most: int = 3) -> list[str]:
        """Return a paragraph behind its label."""
        room, most = self.width - indent, self.lines(most)
        lines = textwrap.wrap(text, room, max_lines=most, placeholder=" …", break_on_hyphens=False) or [""]
        return [f"{'' if at else label:<{indent}}{line}".rstrip() for at, line in enumerate(lines)]

    def cut(self, line: str) -> list[str]:
        """Return a line of a table, in several where it is too long."""
        return (
            textwrap.wrap(
                line, self.width, subsequent_indent=" " * (INDENT + 2), break_on_hyphens=False, drop_whitespace=True
            )
            if len(line) > self.width
            else [line]
        )


def page_of(width: int) -> Page:
    """Return a page of so many columns, or of as many as a screen needs."""
    return Page(max(NARROWEST, width))
