"""One JSON object over several lines: whole columns, or what tools save as one object."""

from __future__ import annotations

from .._form import Form, How, Table
from .._peek import Peek, whole
from ._json import as_row, is_json, parse, spread


def _recognise(peek: Peek) -> bool:
    text = peek.text.lstrip()
    first, newline, _ = text.partition("\n")
    return text.startswith("{") and bool(newline) and not is_json(first) and not first.rstrip().endswith("}")


def _read(peek: Peek, how: How) -> Table:
    def rows():
        value = parse(whole(peek), peek.shown, needed="write one object a line, or one whole array")
        yield from spread(as_row(value, peek.shown))

    return Table(FORM.name, peek.shown, True, rows, peek.quoted)


FORM = Form(
    name="JSON object",
    holds="rows",
    looks='`{"query": [...], "document": [...]}`, as pandas or `json.dump` writes whole columns',
    recognise=_recognise,
    read=_read,
)
