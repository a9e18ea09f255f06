"""JSON Lines: an object on every line."""

from __future__ import annotations

from collections.abc import Iterator

from .._form import Form, How, Row, Table
from .._peek import Peek
from ._json import is_json, line_rows, spread


def _recognise(peek: Peek) -> bool:
    text = peek.text.lstrip()
    if not text.startswith("{"):
        return False
    first, newline, rest = text.partition("\n")
    # A first line that is longer than what was looked at, or one that is whole with more objects below it.
    return not newline or not is_json(first) or not rest.strip() or rest.lstrip().startswith("{") or "\n" in rest


def _read(peek: Peek, how: How) -> Table:
    return Table(FORM.name, peek.shown, True, lambda: _rows(peek), peek.quoted)


def _rows(peek: Peek) -> Iterator[Row]:
    rows = line_rows(peek, dict, needed="object")
    first = next(rows, None)
    if first is None:
        return
    second = next(rows, None)
    if second is None:
        yield from spread(first)
        return
    yield first
    yield second
    yield from rows


FORM = Form(
    name="JSON Lines",
    holds="rows",
    looks='`{"query": ..., "document": ...}` on every line',
    recognise=_recognise,
    read=_read,
)
