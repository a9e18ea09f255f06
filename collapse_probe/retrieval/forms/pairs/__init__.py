"""What rows mean as training pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .._form import Rows
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


def read_pair_rows(
    rows: Rows, *, columns: Mapping[str, str] | None, min_score: float | None, folder: Path
) -> tuple[str, Reading]:
    """Return the name of the form, and what rows were read as.

    Args:
        rows: The rows.
        columns: Role to column, where the user named them.
        min_score: Rows with at least this score are positive.
        folder: Where the texts of ids are looked for.

    Raises:
        InputError: no query and document in them, or not which.
    """
    if columns:
        return rows.table.form, read_roles(rows, chosen_roles(rows, columns), min_score=min_score)
    form = next(form for form in PAIR_FORMS if form.recognise(rows))
    assert form.read is not None
    where = {"folder": folder} if form is ids.FORM else {}
    name = rows.table.form
    if form not in (named_columns.FORM, unnamed_columns.FORM):
        name = f"{form.name} ({rows.table.form})"
    return name, form.read(rows, min_score=min_score, **where)
