"""How the rows of a file are laid out, whatever they mean."""

from __future__ import annotations

from ....errors import InputError
from .._form import How, Table
from .._peek import Peek
from ..refused import REFUSED
from . import (
    arrow,
    comma_separated,
    data_files,
    json_array,
    json_lines,
    json_lists,
    json_object,
    parquet,
    tab_separated,
    trec,
)

ROW_FORMS = (
    parquet.FORM,
    arrow.FILE,
    arrow.SAVED,
    data_files.FORM,
    json_object.FORM,
    json_lines.FORM,
    json_lists.FORM,
    json_array.FORM,
    trec.DOCUMENTS,
    trec.TOPICS,
    tab_separated.FORM,
    comma_separated.FORM,
)
"""Every form of rows, the first that recognises a path reads it."""


def refuse(peek: Peek) -> None:
    """Refuse what is empty, and what is recognised and never read.

    Raises:
        InputError: with what to do instead.
    """
    if not peek.is_folder and not peek.head.strip():
        raise InputError(f'{peek.shown}: empty; write one object a line, as in {{"query": ..., "document": ...}}')
    for form in REFUSED:
        if form.recognise(peek):
            raise InputError(f"{peek.shown}: {form.name}; {form.instead}")


def read_table(peek: Peek, how: How = How()) -> Table:  # noqa: B008 (frozen)
    """Return the table that a path holds.

    Args:
        peek: A look at the path.
        how: Which split, and what makes a first line a header.

    Raises:
        InputError: empty, of a form that is refused, or of none that is known.
    """
    refuse(peek)
    form = next((form for form in ROW_FORMS if form.recognise(peek)), None)
    if form is not None and form.read is not None:
        return form.read(peek, how)
    if peek.is_folder:
        there = ", ".join((peek.members or ())[:6]) or "empty"
        raise InputError(f"{peek.shown}: is a folder of no known form ({there})")
    if peek.encoding is None:
        raise InputError(
            f"{peek.shown}: bytes of no known form (first: {peek.head[:16]!r}); give JSON Lines or Parquet"
        )
    raise InputError(
        f"{peek.shown}: a text of one column (first line: {peek.quoted}); "
        'write one object a line, as in {"query": ..., "document": ...}, or query<TAB>document'
    )
