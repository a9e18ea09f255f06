"""One JSON array of objects or of lists."""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, whole
from ._json import as_row, parse


def _recognise(peek: Peek) -> bool:
    return peek.text.lstrip().startswith("[")


def _read(peek: Peek, how: How) -> Table:
    inside = peek.text.lstrip()[1:].lstrip()
    return Table(FORM.name, peek.shown, not inside.startswith("["), lambda: _rows(peek), peek.quoted)


def _rows(peek: Peek) -> Iterator[Row]:
    values = parse(whole(peek), peek.shown, needed="close the array, or write one object a line")
    kinds = {type(value) for value in values}
    if len(kinds) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(f"{peek.shown}: a JSON array of mixed kinds ({names}); objects alone are needed")
    for number, value in enumerate(values):
        yield as_row(value, f"{peek.shown}[{number}]")


FORM = Form(
    name="JSON array",
    holds="rows",
    looks='`[{"query": ..., "document": ...}, ...]`, as `json.dump` writes a list',
    recognise=_recognise,
    read=_read,
)
