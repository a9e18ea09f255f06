"""Queries, corpus and relevant documents in one object: LlamaIndex's data for fine-tuning, and evaluators' input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import InputError
from .._cells import id_text, relevant_documents
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
    found = {
        id_text(key, name, where): passage_text(value, name, where)
        if isinstance(value, Mapping)
        else text_of(value, name, where).strip()
        for key, value in part.items()
    }
    if len(found) != len(part):
        raise InputError(f"{where}: two ids of {name!r} differ by spaces alone; give each a name of its own")
    return found


def is_one_object(rows: Rows) -> bool:
    """Return whether rows are one object with the three parts."""
    return len(rows.rows) == 1 and set(PARTS) <= set(rows.columns)


def _read(rows: Rows, how: How) -> Reading:
    row = rows.rows[0]
    queries, corpus = (texts(row.values[name], name, row.where) for name in PARTS[:2])
    if how.min_score is not None and not _has_grades(row.values["relevant_docs"]):
        raise InputError(f"{row.where}: 'relevant_docs' has no judgements that a least score could be about")
    least = 1 if how.min_score is None else how.min_score
    examples, unknown = [], 0
    for query, judged in relevant_documents(row.values["relevant_docs"], row.where).items():
        sides = [[d for d, grade in judged.items() if (grade >= least) is positive] for positive in (True, False)]
        known, refused = (tuple(corpus[d] for d in side if corpus.get(d)) for side in sides)
        unknown += len(sides[0]) - len(known)
        if known and queries.get(query):
            examples.append(Example(queries[query], known, refused))
    if not examples:
        raise InputError(f"{row.where}: no relevant document of a query is in the corpus; the ids do not fit")
    notes = [f"{unknown:,} relevant documents left out: not in the corpus"] if unknown else []
    return Reading(examples, "query and document by relevant_docs", notes)


def _has_grades(relevant: Any) -> bool:
    return isinstance(relevant, Mapping) and any(isinstance(value, Mapping) for value in relevant.values())


FORM = Form(
    name="LlamaIndex's fine-tuning data",
    holds="pairs",
    looks="one object with `queries`, `corpus`, `relevant_docs`",
    recognise=is_one_object,
    read=_read,
)
