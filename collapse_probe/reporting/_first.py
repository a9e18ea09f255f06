"""The first screen on a page: the same words in the same order, laid out for any width."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

_LABELLED = re.compile(r"(\S+(?: \S+)*?) {2,}(\S.*)")
_ITEM = re.compile(r"[A-Z]{2}\d{3}  ")
_BLOCKS = re.compile(r"[▁▂▃▄▅▆▇█]{2,}")
_PROSE = ("Seen", "Why", "Do", "Measured", "Ended", "Not", "Scale", "Pairs")
"""Labels of paragraphs: what follows the first line goes on with it, unless it begins with a code."""

_DEEPER = 13
"""Columns before the rest of a table's line that was too long."""

_WIDEST = 34
"""Characters of a cell that is not broken."""

STATUS = {"HEALTHY": "good", "WARNING": "warn", "UNHEALTHY": "bad", "NOT MEASURED": "unknown"}
"""First words of a screen, and the class of each."""


@dataclass
class Entry:
    """A labelled part of a screen.

    Attributes:
        label: Its first word or words.
        lines: Paragraphs, or lines of a table.
    """

    label: str
    lines: list[str] = field(default_factory=list)


def entries(screen: str) -> list[Entry]:
    """Return the parts of a screen; its words, read in order, are the screen's.

    >>> [(one.label, one.lines) for one in entries("Do         a\\n           b\\nLoss       1 -> 2")]
    [('Do', ['a b']), ('Loss', ['1 -> 2'])]
    """
    found: list[Entry] = []
    for line in screen.splitlines():
        labelled = _LABELLED.fullmatch(line) if not line.startswith(" ") else None
        if labelled or not found:
            found.append(Entry(labelled[1], [labelled[2]]) if labelled else Entry("", [line]))
            continue
        last, words = found[-1], line.strip()
        prose = (last.label in _PROSE or last.label in STATUS) and not _ITEM.match(words)
        if prose or line.startswith(" " * _DEEPER):
            last.lines[-1] += f" {words}"
        else:
            last.lines.append(words)
    return found


def first_screen_html(screen: str) -> str:
    """Return a first screen as HTML."""
    found = entries(screen)
    rows = []
    for one in found:
        lines = "\n".join(f"<p>{_line(line)}</p>" for line in one.lines)
        kind = f' class="{STATUS[one.label]}"' if one.label in STATUS else ""
        rows.append(f"<div{kind}><dt>{escape(one.label)}</dt> <dd>{lines}</dd></div>")
    return '<dl class="screen">\n' + "\n".join(rows) + "\n</dl>\n"


def _line(line: str) -> str:
    """Return a line whose cells are not broken; bars of blocks, which nobody can listen to, are seen alone."""
    if _BLOCKS.search(line) is None and re.search(r" {2,}", line) is None:
        return escape(line)
    # Bars go with the number after them.
    cells = re.split(r"(?<![▁▂▃▄▅▆▇█ ])( {2,})", line)
    return "".join(_cell(one) for one in cells if one)


def _cell(text: str) -> str:
    whole = _BLOCKS.sub(lambda found: f'<span aria-hidden="true">{found[0]}</span>', escape(text))
    return f'<span class="c">{whole}</span>' if text.strip() and len(text) <= _WIDEST else whole
