"""TSV: cells between tabs, plain or quoted as csv.writer and pandas do."""

from __future__ import annotations

from .._form import Form, How, Table
from .._peek import Peek
from ._separated import read_separated, refuse_escaped, tab_quoting


def _read(peek: Peek, how: How) -> Table:
    refuse_escaped(peek, FORM.name)
    quoting = tab_quoting(peek)
    return read_separated(
        peek, "\t", form="TSV, quoted" if quoting == "quoted" else "TSV", quoting=quoting, names=how.names
    )


FORM = Form(
    name="TSV",
    holds="rows",
    looks="cells between tabs, plain or quoted (told from the whole file), cells of several lines where quoted",
    recognise=lambda peek: "\t" in peek.first_line and peek.text.lstrip()[:1] not in "<{[",
    read=_read,
)
