"""Room for a report's Markdown: what does not fit into it is in the page."""

from __future__ import annotations

import re

from ._page import PAGE

MOST = 30_000
"""Bytes of a report's Markdown."""

ROWS = (20, 12, 8, 5, 3)
"""Rows of a table that are shown at most: as many as there is room for."""

_TABLE = re.compile(r"^(\|[^\n]*\n\|[ :|-]+\n)((?:\|[^\n]*(?:\n|$))+)", re.MULTILINE)
_FOLDED = "<details>"


def fitted(text: str) -> str:
    """Return a report's Markdown in at most 30 kB where shorter tables make it so; sentences are never cut.

    Of a table that is too long the first rows are shown and the last, with how many more are in the page. What is
    folded is left whole.

    Args:
        text: The Markdown; the page beside it has all of it.
    """
    shorter = text
    for rows in ROWS:
        if len(shorter.encode()) <= MOST:
            break
        open_part, fold, folded = text.partition(_FOLDED)
        shorter = _TABLE.sub(lambda found, rows=rows: _shortened(found, rows), open_part) + fold + folded
    return shorter


def _shortened(found: re.Match[str], most: int) -> str:
    head, rows = found[1], found[2].splitlines()
    if len(rows) <= most + 1:  # a line that says that one is missing takes the room of the one
        return found[0]
    kept = [*rows[: most - 1], rows[-1]]
    return head + "\n".join(kept) + f"\n\n{len(rows) - most:,} more rows, before the last, are in `{PAGE}`.\n"
