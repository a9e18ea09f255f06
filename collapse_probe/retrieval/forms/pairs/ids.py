"""Ids in place of texts, as MS MARCO's triples have them; the texts are looked for beside the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....errors import InputError
from .._form import Form, How, Row, Rows
from .._names import DOCUMENT, QUERY, plain
from ..collections.parts import find_part, read_texts
from ._roles import Reading, Roles, read_roles, with_score

_NAMED = (
    ("qid", "query_id", "query"),
    ("pos", "pid", "pos_id", "positive_id", "pos_pid", "positive", "docid", "doc_id", "corpus_id"),
    ("neg", "neg_id", "negative_id", "neg_pid", "negative"),
)
_LOOKED_AT = 200
_GRADES = 10
"""Numbers up to this one may be judgements where ids of negatives could stand."""


def _recognise(rows: Rows) -> bool:
    columns = _columns(rows)
    return columns is not None and all(
        _are_ids(row.values.get(name)) for row in rows.rows[:_LOOKED_AT] for name in columns if name is not None
    )


def _columns(rows: Rows) -> tuple[str, str, str | None] | None:
    """Return the columns of query, positive and negative ids; None where there are texts, or no such columns."""
    if not rows.table.named:
        if len(rows.columns) == 4:
            # TREC's judgements: query, nothing, document, grade.
            return rows.columns[0], rows.columns[2], None
        return (*rows.columns, None)[:3] if len(rows.columns) in (2, 3) else None  # type: ignore[return-value]
    names = {plain(column): column for column in rows.columns}
    found = [next((names[name] for name in part if name in names), None) for part in _NAMED]
    texts = [
        column
        for name, column in names.items()
        if name in QUERY | DOCUMENT and column not in found and _is_text(rows, column)
    ]
    if found[0] is None or found[1] is None or texts:
        return None
    return found[0], found[1], found[2]


def _read(rows: Rows, how: How) -> Reading:
    columns = _columns(rows)
    assert columns is not None
    _refuse_judgements(rows, columns)
    queries, corpus = _texts(rows, how)
    kept: list[Row] = []
    lost = gone = 0
    for row in rows.rows:
        query = queries.get(_one_id(row, columns[0]))
        sides = [[] if name is None else _ids(row.values.get(name), row) for name in columns[1:]]
        positives, negatives = ([corpus[i] for i in side if corpus.get(i)] for side in sides)
        gone += sum(map(len, sides)) - len(positives) - len(negatives)
        if query is None or (sides[0] and not positives):
            lost += 1
            continue
        texts = {columns[0]: query, columns[1]: positives, **({columns[2]: negatives} if columns[2] else {})}
        kept.append(Row(row.where, {**row.values, **texts}))
    if not kept:
        raise InputError(f"{rows.found}: none of its ids are in the collection beside it")
    roles = Roles(columns[0], (columns[1],), (columns[2],) if columns[2] else ())
    found = Rows(rows.table, rows.columns, kept)
    reading = read_roles(found, with_score(roles, found), min_score=how.min_score)
    if lost:
        reading.notes.append(f"{lost:,} of {len(rows.rows):,} rows left out: their ids are not in the collection")
    if gone:
        reading.notes.append(f"{gone:,} ids left out: the collection does not have them")
    reading.said += ", texts by id from the collection beside it"
    return reading


def _refuse_judgements(rows: Rows, columns: Sequence[str | None]) -> None:
    """Refuse judgements of ids, which have a grade where triples have a negative.

    Raises:
        InputError: they are judgements, or cannot be told from them.
    """
    if rows.table.named:
        names = {plain(column) for column in rows.columns}
        if names & {"corpus_id", "docid", "doc_id"} and not names & {"neg", "neg_id", "negative_id"}:
            raise InputError(f"{rows.found}: judgements of ids, not texts; give the collection's folder")
        return
    last = [row.values.get(rows.columns[-1]) for row in rows.rows]
    if len(rows.columns) == 4 or (len(rows.columns) == 3 and all(_is_grade(value) for value in last)):
        raise InputError(
            f"{rows.found}: judgements of ids, it seems, not texts; give the collection's folder, or name the columns "
            "of triples (query_id, positive_id, negative_id) in a first line"
        )


def _is_grade(value: Any) -> bool:
    return value is None or (_is_id(value) and int(value) <= _GRADES)


def _texts(rows: Rows, how: How) -> list[dict[str, str]]:
    texts = []
    for kind in ("queries", "corpus"):
        part = find_part(how.folder, kind, split="train")
        if part is None:
            raise InputError(
                f"{rows.found}: ids, not texts; put the collection beside it (queries.tsv or queries.jsonl, and "
                "collection.tsv or corpus.jsonl)"
            )
        texts.append({identifier: f"{title} {body}".strip() for identifier, title, body, _ in read_texts(part, kind)})
    return texts


def _is_text(rows: Rows, column: str) -> bool:
    return any(not _are_ids(row.values.get(column)) for row in rows.rows[:_LOOKED_AT])


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().isdigit()
    return isinstance(value, int) and not isinstance(value, bool)


def _are_ids(value: Any) -> bool:
    """Return whether a cell is an id, a list of ids, or lists of ids by where they come from."""
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(part, list) and all(map(_is_id, part)) for part in value.values())
    return all(map(_is_id, value)) if isinstance(value, list) else _is_id(value)


def _one_id(row: Row, name: str) -> str:
    found = _ids(row.values.get(name), row)
    if len(found) != 1:
        raise InputError(f"{row.where}: {name!r} must be one id, got {row.values.get(name)!r}")
    return found[0]


def _ids(value: Any, row: Row) -> list[str]:
    if value is None:
        return []
    if not _are_ids(value):
        raise InputError(f"{row.where}: ids are needed, as in the rows above, got {str(value)[:60]!r}")
    if isinstance(value, Mapping):
        return list(dict.fromkeys(str(i).strip() for part in value.values() for i in part))
    return [str(i).strip() for i in value] if isinstance(value, list) else [str(value).strip()]


FORM = Form(
    name="ids with a collection beside them",
    holds="pairs",
    looks="`qid`, `pos`, `neg`, or triples of numbers, with `queries.tsv` and `collection.tsv` in the same folder",
    recognise=_recognise,
    read=_read,
)
