"""Parsing JSON with errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ....errors import InputError
from .._form import Row
from .._peek import Peek, lines


def parse(text: str, where: str, *, needed: str) -> Any:
    """Return a JSON value.

    Args:
        text: What to parse.
        where: File and line, for messages.
        needed: What is needed there, for messages.

    Raises:
        InputError: no JSON, nested too deeply, or an object that has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, where))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error}); {needed}") from None
    except RecursionError:
        raise InputError(f"{where}: JSON nested too deeply; {needed}") from None


def as_row(value: Any, where: str) -> Row:
    """Return an object as a row of named cells, a list as a row of cells numbered from ``"1"``.

    Raises:
        InputError: neither of them.
    """
    if isinstance(value, dict):
        return Row(where, value)
    if isinstance(value, list):
        return Row(where, {str(number): cell for number, cell in enumerate(value, start=1)})
    raise InputError(f"{where}: a JSON {type(value).__name__}, where an object is needed")


def line_rows(peek: Peek, kind: type[dict | list], *, needed: str) -> Iterator[Row]:
    """Yield the row of every line that is not blank.

    Raises:
        InputError: a line that is no JSON value of this kind.
    """
    for number, line in lines(peek):
        if line.strip():
            where = f"{peek.shown}:{number}"
            value = parse(line, where, needed=f"write one {needed} a line")
            if not isinstance(value, kind):
                article = "an" if needed[0] in "aeiou" else "a"
                raise InputError(f"{where}: a JSON {type(value).__name__}, where {article} {needed} is needed")
            yield as_row(value, where)


def spread(row: Row) -> list[Row]:
    """Return the rows of an object that holds whole columns, as ``{"query": [...], "document": [...]}``; else itself.

    Columns are lists of one length, or objects with the same keys, as pandas writes a frame.
    """
    columns = list(row.values.values())
    if len(columns) < 2 or {"queries", "corpus"} <= set(row.values):
        return [row]
    if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
        cells = [dict(zip(row.values, values, strict=True)) for values in zip(*columns, strict=True)]
    elif all(isinstance(column, dict) for column in columns) and len({tuple(column) for column in columns}) == 1:
        cells = [{name: column[key] for name, column in row.values.items()} for key in columns[0]]
    else:
        return [row]
    return [Row(f"{row.where}[{number}]", values) for number, values in enumerate(cells)]


def is_json(text: str) -> bool:
    """Return whether a text is one whole JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _object(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: has {twice!r} twice; keep one of them")
    return value
