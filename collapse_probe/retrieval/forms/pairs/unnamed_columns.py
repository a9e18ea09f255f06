"""Columns without names: lists of texts, and the triples of MS MARCO."""

from __future__ import annotations

from ....errors import InputError, setting
from .._cells import is_number
from .._form import Form, How, Rows
from .._names import as_binary
from ._roles import Reading, Roles, read_roles

_LOOKED_AT = 200


def _read(rows: Rows, how: How) -> Reading:
    widths = {len(row.values) for row in rows.rows}
    triples = rows.table.form.startswith("TSV") and widths == {3} and _are_texts(rows)
    if rows.table.form.startswith(("TSV", "CSV")) and not triples:
        raise InputError(
            f"{rows.found}: the first line does not name them; write query and document above them, "
            f"or give {setting('columns', 'query=1,document=2' if widths == {2} else 'query=COLUMN,document=COLUMN')}"
            f"{'' if widths == {2} else ' by their numbers, from 1'}"
        )
    if min(widths) < 2:
        raise InputError(f"{rows.found}: a query and a document are needed in every row")
    rest = rows.columns[2:]
    numbers = [name for name in rest if _are_numbers(rows, name)]
    negatives = tuple(name for name in rest if name not in numbers)
    if len(numbers) > 1:
        raise InputError(f"{rows.found}: columns {' and '.join(numbers)} are numbers; which is the score is not said")
    roles = Roles("1", ("2",), negatives, numbers[0] if numbers else None)
    return read_roles(rows, roles, min_score=how.min_score)


def _are_numbers(rows: Rows, name: str) -> bool:
    values = [row.values[name] for row in rows.rows if row.values.get(name) is not None]
    return bool(values) and all(is_number(value) or as_binary(value) is not None for value in values)


def _are_texts(rows: Rows) -> bool:
    """Return whether three columns are texts of several words: query, positive, negative."""
    looked_at = rows.rows[:_LOOKED_AT]
    shares = [
        sum(len(str(row.values.get(name, "")).split()) > 1 for row in looked_at) / len(looked_at)
        for name in rows.columns
    ]
    return shares[0] >= 0.5 and min(shares[1:]) >= 0.9


FORM = Form(
    name="columns without names",
    holds="pairs",
    looks="lists of query, document and negatives; `query<TAB>positive<TAB>negative` of MS MARCO",
    recognise=lambda rows: not rows.table.named,
    read=_read,
)
