"""Queries, corpus and relevant documents in one object: LlamaIndex's data for fine-tuning, and evaluators' input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import InputError
from .._form import Form, How, Rows, passage_text, text_of
from ._roles import Example, Reading

PARTS = ("queries", "corpus", "relevant_docs")


def texts(part: Any, name: str, where: str) -> dict[str, str]:
    """Return id to text of one part.

    Raises:
        InputError: no object of texts or passages.
    """
    if not isinstance(part, Mapping):
        raise InputError(f"{where}: {name!r} must be an object of id to text, got {type(part).__name__}")
    return {
        str(key).strip(): passage_text(value, name, where)
        if isinstance(value, Mapping)
        else text_of(value, name, where).strip()
        for key, value in part.items()
    }


def is_one_object(rows: Rows) -> bool:
    """Return whether rows are one object with the three parts."""
    return len(rows.rows) == 1 and set(PARTS) <= set(rows.columns)


def _read(rows: Rows, how: How) -> Reading:
    row = rows.rows[0]
    queries, corpus = (texts(row.values[name], name, row.where) for name in PARTS[:2])
    relevant = row.values["relevant_docs"]
    if not isinstance(relevant, Mapping):
        raise InputError(f"{row.where}: 'relevant_docs' must be an object of query id to document ids")
    examples, unknown = [], 0
    for query, documents in relevant.items():
        ids = [str(document).strip() for document in documents]
        known = [corpus[document] for document in ids if corpus.get(document)]
        unknown += len(ids) - len(known)
        if known and queries.get(str(query).strip()):
            examples.append(Example(queries[str(query).strip()], tuple(known), ()))
    if not examples:
        raise InputError(f"{row.where}: no relevant document of a query is in the corpus; the ids do not fit")
    notes = [f"{unknown:,} relevant documents left out: not in the corpus"] if unknown else []
    return Reading(examples, "query and document by relevant_docs", notes)


FORM = Form(
    name="LlamaIndex's fine-tuning data",
    holds="pairs",
    looks="one object with `queries`, `corpus`, `relevant_docs`",
    recognise=is_one_object,
    read=_read,
)
