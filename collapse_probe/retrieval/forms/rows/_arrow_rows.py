"""Rows of Arrow tables: texts and numbers as Python has them, and nothing of what cannot be a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....errors import InputError


def refuse_twins(names: list[str], shown: str) -> None:
    """Refuse two columns of one name, of which a row could keep only one.

    Raises:
        InputError: there are such.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{shown}: two columns are named {twice!r}; keep one of them")


def batch_rows(batch: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a record batch; times and dates, which are never a text, are left empty.

    A time that no calendar holds would end the reading of columns that are needed.
    """
    import pyarrow as pa

    columns = {
        name: [None] * batch.num_rows if pa.types.is_temporal(batch.column(i).type) else batch.column(i).to_pylist()
        for i, name in enumerate(batch.schema.names)
    }
    for number in range(batch.num_rows):
        yield {name: cells[number] for name, cells in columns.items()}


def in_words(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0]
