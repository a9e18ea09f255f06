"""What rows mean as training pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ....errors import InputError, setting
from .._form import How, Row, Rows
from .._names import KNOWN, plain
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
    rows = _with_names(rows)
    if columns:
        return rows.table.form, read_roles(rows, chosen_roles(rows, columns), min_score=how.min_score)
    _refuse_twins(rows)
    form = next(form for form in PAIR_FORMS if form.recognise(rows))
    assert form.read is not None
    name = rows.table.form
    if form not in (named_columns.FORM, unnamed_columns.FORM):
        name = f"{form.name} ({rows.table.form})"
    return name, form.read(rows, how)


def _with_names(rows: Rows) -> Rows:
    """Return rows without names with those that their first row gives, where it gives them."""
    names = [str(cell) for cell in rows.rows[0].values.values()]
    known = {plain(name) for name in names} & KNOWN
    same_width = all(len(row.values) == len(names) for row in rows.rows)
    if rows.table.named or len(known) < 2 or len(set(names)) < len(names) or not same_width or len(rows.rows) < 2:
        return rows
    body = [Row(row.where, dict(zip(names, row.values.values(), strict=True))) for row in rows.rows[1:]]
    return Rows(replace(rows.table, named=True), tuple(names), body)


def _refuse_twins(rows: Rows) -> None:
    """Refuse columns that are called the same but for their case, where the name may be that of a query or document.

    Raises:
        InputError: there are such.
    """
    names = [plain(column) for column in rows.columns]
    twice = next((name for name in names if names.count(name) > 1 and name in KNOWN), None)
    if twice is not None:
        same = " and ".join(repr(column) for column in rows.columns if plain(column) == twice)
        mapped = setting("columns", f"query={rows.columns[0]},document={rows.columns[-1]}")
        raise InputError(f"{rows.found}: columns {same} are called the same; keep one of them, or give {mapped}")
