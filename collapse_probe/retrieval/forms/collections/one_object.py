"""Queries, corpus and relevant documents in one JSON object, as evaluators take them."""

from __future__ import annotations

from ....errors import InputError
from ..._collections import Collection, IdenticalIds, make_collection
from .._cells import relevant_documents
from .._form import Form, Rows, all_rows
from .._peek import Peek
from ..pairs.llama_index import is_one_object, texts
from ..rows import read_table


def _rows(peek: Peek) -> Rows | None:
    if peek.is_folder or peek.text.lstrip()[:1] != "{":
        return None
    return all_rows(read_table(peek))


def _recognise(peek: Peek) -> bool:
    rows = _rows(peek)
    return rows is not None and is_one_object(rows)


def read_object(peek: Peek, *, split: str, name: str, identical_ids: IdenticalIds = "auto") -> Collection:
    """Read one object with ``queries``, ``corpus`` and ``relevant_docs``.

    Raises:
        InputError: a part that is not what it should be.
    """
    rows = _rows(peek)
    assert rows is not None
    row = rows.rows[0]
    judged = relevant_documents(row.values["relevant_docs"], row.where)
    if not judged:
        raise InputError(f"{row.where}: 'relevant_docs' is empty, so nothing is judged")
    return make_collection(
        name,
        split,
        documents=texts(row.values["corpus"], "corpus", row.where),
        titles={},
        queries=texts(row.values["queries"], "queries", row.where),
        judged=judged,
        source=peek.shown,
        identical_ids=identical_ids,
        form=FORM.name,
    )


FORM = Form(
    name="one JSON object of queries, corpus and relevant_docs",
    holds="collection",
    looks="what LlamaIndex saves and sentence-transformers' evaluator takes",
    recognise=_recognise,
    read=read_object,
)
