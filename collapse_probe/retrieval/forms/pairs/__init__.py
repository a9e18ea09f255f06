"""What rows mean as training pairs."""

from __future__ import annotations

from collections.abc import Mapping

from .._form import How, Rows
from . import ids, llama_index, named_columns, tools, unnamed_columns
from ._roles import Reading, chosen_roles, parse_columns, read_roles

PAIR_FORMS = (
    llama_index.FORM,
    ids.FORM,
    tools.FLAG_EMBEDDING,
    tools.TEVATRON,
    tools.DPR,
    named_columns.FORM,
    unnamed_columns.FORM,
)
"""Every meaning of rows, the first that recognises them reads them."""

__all__ = ["PAIR_FORMS", "Reading", "parse_columns", "read_pair_rows"]


def read_pair_rows(rows: Rows, how: How, *, columns: Mapping[str, str] | None) -> tuple[str, Reading]:
    """Return the name of the form, and what rows were read as.

    Args:
        rows: The rows.
        how: Which rows are positive, and where the texts of ids are.
        columns: Role to column, where the user named them.

    Raises:
        InputError: no query and document in them, or not which.
    """
    if columns:
        return rows.table.form, read_roles(rows, chosen_roles(rows, columns), min_score=how.min_score)
    form = next(form for form in PAIR_FORMS if form.recognise(rows))
    assert form.read is not None
    name = rows.table.form
    if form not in (named_columns.FORM, unnamed_columns.FORM):
        name = f"{form.name} ({rows.table.form})"
    return name, form.read(rows, how)
