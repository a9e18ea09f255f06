"""Tables of foreign text as CSV, which a spreadsheet opens without taking a text for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from ._text import one_line

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def as_csv(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV: numbers as they are, None as nothing, and each text by :func:`cell`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows([[cell(one) if isinstance(one, str) else one for one in row] for row in rows])
    return out.getvalue()


def cell(text: str) -> str:
    """Return a text as one line without control characters, behind an apostrophe where it would be a formula.

    >>> cell("=HYPERLINK(1)"), cell("-2 C"), cell("a\\tb"), cell("plain")
    ("'=HYPERLINK(1)", "'-2 C", 'a b', 'plain')
    """
    return no_formula(one_line(text))


def no_formula(text: str) -> str:
    """Return a text behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
