"""CSV: cells between commas, semicolons or bars, quoted where they have to be."""

from __future__ import annotations

from .._form import Form, How, Table
from .._peek import Peek
from ._separated import choose_separator, read_separated, refuse_escaped


def _read(peek: Peek, how: How) -> Table:
    refuse_escaped(peek, FORM.name)
    separator = choose_separator(peek.first_line) or ","
    name = FORM.name if separator == "," else f"CSV with {separator!r}"
    return read_separated(peek, separator, form=name, quoting="quoted", names=how.names)


FORM = Form(
    name="CSV",
    holds="rows",
    looks="cells between commas (or `;`, `|`), quoted where they have to be, cells of several lines too",
    recognise=lambda peek: choose_separator(peek.first_line) in (",", ";", "|") and peek.text.lstrip()[:1] not in "<{[",
    read=_read,
)
