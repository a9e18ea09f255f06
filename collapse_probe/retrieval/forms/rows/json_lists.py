"""A JSON list on every line, as in sentence-transformers/embedding-training-data."""

from __future__ import annotations

from .._form import Form, How, Table
from .._peek import Peek
from ._json import line_rows


def _recognise(peek: Peek) -> bool:
    text = peek.text.lstrip()
    if not text.startswith("["):
        return False
    inside = text[1:].lstrip(" \t")
    # Objects or lists inside are an array; a line end right after the bracket is one that is laid out.
    return bool(inside) and inside[0] not in "{[\r\n]"


def _read(peek: Peek, how: How) -> Table:
    return Table(FORM.name, peek.shown, False, lambda: line_rows(peek, list, needed="list"), peek.quoted)


FORM = Form(
    name="JSON lists, one a line",
    holds="rows",
    looks='`["query", "document"]` or `["query", "positive", "negative"]` on every line',
    recognise=_recognise,
    read=_read,
)
