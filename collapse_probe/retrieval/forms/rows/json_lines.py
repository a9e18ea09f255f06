"""JSON Lines: an object on every line."""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, lines
from ._json import as_row, is_json, parse, spread

_NEEDED = "write one object a line"


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
    rows = _objects(peek)
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


def _objects(peek: Peek) -> Iterator[Row]:
    for number, line in lines(peek):
        if line.strip():
            where = f"{peek.shown}:{number}"
            value = parse(line, where, needed=_NEEDED)
            if not isinstance(value, dict):
                raise InputError(f"{where}: a JSON {type(value).__name__}, where an object is needed")
            yield as_row(value, where)


FORM = Form(
    name="JSON Lines",
    holds="rows",
    looks='`{"query": ..., "document": ...}` on every line',
    recognise=_recognise,
    read=_read,
)
