"""Ids in place of texts, as MS MARCO's triples have them; the texts are looked for beside the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import InputError
from .._form import Form, How, Rows
from .._names import QRELS, plain
from ..collections.parts import find_part, read_texts
from ._roles import Example, Reading

_NAMED = (
    ("qid", "query_id", "query"),
    ("pos", "pid", "pos_id", "positive_id", "pos_pid", "positive"),
    ("neg", "neg_id", "negative_id", "neg_pid", "negative"),
)
_LOOKED_AT = 200


def _recognise(rows: Rows) -> bool:
    return _roles(rows) is not None or _is_qrels(rows)


def _is_qrels(rows: Rows) -> bool:
    names = {plain(column) for column in rows.columns}
    if rows.table.named:
        known = [{"query_id", "qid"}, {"corpus_id", "docid", "doc_id", "pid"}]
        return all(names & part for part in known) and len(names) <= 4
    return len(rows.columns) == 4 and all(_is_id(row.values.get("4")) for row in rows.rows[:_LOOKED_AT])


def _roles(rows: Rows) -> tuple[str, str, str | None] | None:
    """Return the columns of query, positive and negative ids; None where these are not ids."""
    if rows.table.named:
        names = {plain(column): column for column in rows.columns}
        found = [next((names[name] for name in part if name in names), None) for part in _NAMED]
        if found[0] is None or found[1] is None or _is_qrels(rows):
            return None
        columns = [name for name in found if name is not None]
    else:
        if len(rows.columns) not in (2, 3):
            return None
        found = [*rows.columns, None][:3]
        columns = list(rows.columns)
    if not all(_are_ids(row.values.get(name)) for row in rows.rows[:_LOOKED_AT] for name in columns):
        return None
    assert found[0] is not None and found[1] is not None
    return found[0], found[1], found[2]


def _read(rows: Rows, how: How) -> Reading:
    roles = _roles(rows)
    if roles is None:
        columns = ", ".join(part[0] for part in QRELS)
        raise InputError(f"{rows.found}: judgements of ids ({columns}), not texts; give the collection's folder")
    texts = []
    for kind in ("queries", "corpus"):
        part = find_part(how.folder, kind, split="train")
        if part is None:
            raise InputError(
                f"{rows.found}: ids, not texts; put the collection beside it (queries.tsv or queries.jsonl, and "
                "collection.tsv or corpus.jsonl)"
            )
        texts.append({identifier: f"{title} {body}".strip() for identifier, title, body, _ in read_texts(part, kind)})
    examples, lost = [], 0
    for row in rows.rows:
        query = texts[0].get(_ids(row.values[roles[0]])[0])
        positives, negatives = ([] if name is None else _ids(row.values.get(name)) for name in roles[1:])
        known = tuple(texts[1][name] for name in positives if texts[1].get(name))
        if query is None or not known:
            lost += 1
            continue
        examples.append(Example(query, known, tuple(texts[1][name] for name in negatives if texts[1].get(name))))
    if not examples:
        raise InputError(f"{rows.found}: none of its ids are in the collection beside it")
    notes = [f"{lost:,} of {len(rows.rows):,} rows left out: their ids are not in the collection"] if lost else []
    return Reading(examples, "texts by id from the collection beside it", notes)


def _is_id(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, str) and value.strip().isdigit()
    )


def _are_ids(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_are_ids(part) for part in value.values())
    if isinstance(value, list):
        return bool(value) and all(_is_id(part) for part in value)
    return _is_id(value)


def _ids(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return list(dict.fromkeys(name for part in value.values() for name in _ids(part)))
    if isinstance(value, list):
        return [str(part).strip() for part in value]
    return [] if value is None else [str(value).strip()]


FORM = Form(
    name="ids with a collection beside them",
    holds="pairs",
    looks="`qid`, `pos`, `neg`, or triples of numbers, with `queries.tsv` and `collection.tsv` in the same folder",
    recognise=_recognise,
    read=_read,
)
