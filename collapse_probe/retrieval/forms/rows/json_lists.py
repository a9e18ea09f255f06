"""A JSON list on every line, as in sentence-transformers/embedding-training-data."""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, lines
from ._json import as_row, parse


def _recognise(peek: Peek) -> bool:
    text = peek.text.lstrip()
    if not text.startswith("["):
        return False
    inside = text[1:].lstrip(" \t")
    # Objects or lists inside are an array; a line end right after the bracket is one that is laid out.
    return bool(inside) and inside[0] not in "{[\r\n]"


def _read(peek: Peek, how: How) -> Table:
    return Table(FORM.name, peek.shown, False, lambda: _rows(peek), peek.quoted)


def _rows(peek: Peek) -> Iterator[Row]:
    for number, line in lines(peek):
        if line.strip():
            where = f"{peek.shown}:{number}"
            value = parse(line, where, needed="write one list a line")
            if not isinstance(value, list):
                raise InputError(f"{where}: a JSON {type(value).__name__}, where a list is needed")
            yield as_row(value, where)


FORM = Form(
    name="JSON lists, one a line",
    holds="rows",
    looks='`["query", "document"]` or `["query", "positive", "negative"]` on every line',
    recognise=_recognise,
    read=_read,
)
