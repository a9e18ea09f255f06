"""Cells that have to be an id or a judgement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import InputError

_LARGEST = 2**31
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d{1,2})?")


def id_text(value: Any, name: str, where: str) -> str:
    """Return an id as all ids are compared: as text, stripped.

    Raises:
        InputError: neither text nor a whole number.

    >>> id_text(7, "_id", "here"), id_text(" q7 ", "_id", "here"), id_text(7.0, "_id", "here")
    ('7', 'q7', '7')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(f"{where}: {name!r} is {value!r}, where a text or a whole number is needed")
    return str(value).strip()


def is_number(value: Any) -> bool:
    """Return whether a cell is a number, written as people write them.

    >>> is_number("2.0"), is_number("1_0"), is_number("")
    (True, False, False)
    """
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def grade(value: Any, where: str) -> int:
    """Return a judgement.

    Raises:
        InputError: no whole number, or a larger one than trec_eval takes.

    >>> grade("2.0", "here"), grade(1, "here")
    (2, 1)
    """
    try:
        number = float(value) if is_number(value) else None
    except OverflowError:
        number = None
    if number is None or not number.is_integer() or abs(number) >= _LARGEST:
        raise InputError(f"{where}: score {value!r} is no whole number that a judgement can be")
    return int(number)


def relevant_documents(value: Any, where: str) -> dict[str, dict[str, int]]:
    """Return query id to document id to judgement, of an object of query id to document ids, or to their judgements.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: 'relevant_docs' must be an object of query id to document ids")
    judged: dict[str, dict[str, int]] = {}
    for query, documents in value.items():
        if not isinstance(documents, Mapping | list):
            raise InputError(f"{where}: relevant documents of {query!r} must be a list, got {documents!r}")
        graded = documents.items() if isinstance(documents, Mapping) else ((document, 1) for document in documents)
        judged[id_text(query, "query", where)] = {id_text(d, "document", where): grade(g, where) for d, g in graded}
    return judged
