"""Retrieval collections in BEIR's layout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ._lines import json_objects, numbered_lines
from ._pairs_file import Pairs, fingerprint

Qrels = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Collection:
    """A corpus, the queries of one split, and their judgements.

    Attributes:
        name: The folder's name.
        split: The split of the judgements.
        documents: Id to ``title + " " + text``, stripped.
        queries: Id to text, of the queries that are judged in this split.
        qrels: Query id to document id to judgement; unknown ids are left out.
        notes: What was left out or looks odd, counted.
        fingerprint: SHA-256 over all of it, in hexadecimal.
    """

    name: str
    split: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: Qrels
    notes: tuple[str, ...]
    fingerprint: str


def read_beir(folder: Path, *, split: str = "test") -> Collection:
    """Read a BEIR folder: ``corpus.jsonl``, ``queries.jsonl`` (each may be .gz) and ``qrels/SPLIT.tsv``.

    Judgements may have BEIR's header line or none (their first row is then a judgement), and BEIR's three
    columns or TREC's four.

    Raises:
        InputError: a part is missing or malformed, or no judgement names a known query and document.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a BEIR folder with corpus.jsonl, queries.jsonl and qrels/")
    documents = dict(_documents(_part(folder, "corpus.jsonl")))
    texts = dict(_queries(_part(folder, "queries.jsonl")))
    path = _qrels_path(folder, split)
    judged = _read_qrels(path)
    qrels, notes = _known(judged, texts, documents, path)
    blank = sum(not text for text in documents.values())
    if blank:
        notes.append(f"{blank:,} of {len(documents):,} documents have no text")
    queries = {query: texts[query] for query in qrels}
    content = [*documents, *documents.values(), *queries, *queries.values(), json.dumps(qrels, sort_keys=True)]
    return Collection(folder.resolve().name, split, documents, queries, qrels, tuple(notes), fingerprint(content))


def judged_pairs(collection: Collection, *, source: str) -> Pairs:
    """Return every query of a collection with each document judged relevant to it, as training pairs.

    Args:
        collection: The collection.
        source: What the pairs are said to come from.

    Raises:
        InputError: no judgement is above 0.
    """
    rows = [
        (collection.queries[query], collection.documents[document])
        for query, judgements in collection.qrels.items()
        for document, judgement in judgements.items()
        if judgement > 0 and collection.documents[document]
    ]
    if not rows:
        raise InputError(f"{source}: no judgement of split {collection.split} is above 0, so there are no pairs")
    queries, documents = zip(*rows, strict=True)
    return Pairs(queries, documents, source, fingerprint([*queries, *documents]))


def seen_queries(collection: Collection, documents: Iterable[str]) -> list[str]:
    """Return the queries that have a relevant document among given texts, as those that were trained on.

    Args:
        collection: What is scored.
        documents: Document texts of the training pairs.
    """
    trained = set(documents)
    return [
        query
        for query, judgements in collection.qrels.items()
        if any(value > 0 and collection.documents[document] in trained for document, value in judgements.items())
    ]


def _part(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"{folder}: no {name} in it; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/")


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    for identifier, number, row in _records(path):
        parts = [_optional_text(row, name, path, number) for name in ("title", "text")]
        if "title" not in row and "text" not in row:
            raise InputError(f"{path}:{number}: document {identifier!r} has neither 'title' nor 'text'")
        yield identifier, " ".join(parts).strip()


def _queries(path: Path) -> Iterator[tuple[str, str]]:
    for identifier, number, row in _records(path):
        text = _optional_text(row, "text", path, number).strip()
        if not text:
            raise InputError(f"{path}:{number}: query {identifier!r} has no 'text'; write one or leave it out")
        yield identifier, text


def _records(path: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    seen: set[str] = set()
    for number, row in json_objects(path):
        identifier = row.get("_id")
        if isinstance(identifier, bool) or not isinstance(identifier, str | int) or identifier == "":
            raise InputError(f"{path}:{number}: '_id' is {identifier!r}, where a text or a whole number is needed")
        identifier = str(identifier)
        if identifier in seen:
            raise InputError(f"{path}:{number}: '_id' {identifier!r} is there twice; ids have to be unique")
        seen.add(identifier)
        yield identifier, number, row
    if not seen:
        raise InputError(f'{path}: empty; write one object a line, as in {{"_id": "1", "text": ...}}')


def _optional_text(row: dict[str, Any], name: str, path: Path, number: int) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{path}:{number}: {name!r} is a {type(value).__name__}, where a text is needed")
    return value


def _qrels_path(folder: Path, split: str) -> Path:
    path = folder / "qrels" / f"{split}.tsv"
    if path.is_file():
        return path
    there = sorted(found.stem for found in (folder / "qrels").glob("*.tsv"))
    if not there:
        raise InputError(f"{folder}: no qrels/*.tsv in it, so nothing is judged; a BEIR folder has qrels/test.tsv")
    raise InputError(f"{folder}: no qrels/{split}.tsv; splits here are {', '.join(there)}: give --split {there[0]}")


def _read_qrels(path: Path) -> Qrels:
    qrels: Qrels = {}
    for row, (number, line) in enumerate(numbered_lines(path)):
        cells = line.split("\t") if "\t" in line else line.split()
        if len(cells) == 4:
            cells = [cells[0], cells[2], cells[3]]
        if len(cells) != 3:
            needed = "query-id<TAB>corpus-id<TAB>score"
            raise InputError(f"{path}:{number}: {len(cells)} columns, where {needed} is needed")
        query, document, score = (cell.strip() for cell in cells)
        try:
            judgement = int(score)
        except ValueError:
            if row == 0:
                continue
            raise InputError(f"{path}:{number}: score {score!r} is no whole number") from None
        qrels.setdefault(query, {})[document] = judgement
    if not qrels:
        raise InputError(f"{path}: no judgement in it; write query-id<TAB>corpus-id<TAB>score, one a line")
    return qrels


def _known(judged: Qrels, queries: dict[str, str], documents: dict[str, str], path: Path) -> tuple[Qrels, list[str]]:
    unknown_queries = [query for query in judged if query not in queries]
    known: Qrels = {}
    lost = 0
    missing: set[str] = set()
    for query, judgements in judged.items():
        if query not in queries:
            continue
        kept = {document: score for document, score in judgements.items() if document in documents}
        lost += len(judgements) - len(kept)
        missing.update(document for document in judgements if document not in documents)
        if kept:
            known[query] = kept
    if not known:
        raise InputError(
            f"{path}: no judgement names a query and a document that are there "
            f"({len(unknown_queries):,} unknown queries, {len(missing):,} unknown documents)"
        )
    notes: list[str] = []
    if unknown_queries:
        notes.append(f"judgements of {len(unknown_queries):,} unknown queries left out")
    if lost:
        dropped = len(judged) - len(unknown_queries) - len(known)
        also = f", and with them {dropped:,} queries" if dropped else ""
        notes.append(f"{lost:,} judgements of {len(missing):,} unknown documents left out{also}")
    without = sum(all(score <= 0 for score in judgements.values()) for judgements in known.values())
    if without:
        notes.append(f"{without:,} queries have no relevant document and score 0")
    return known, notes
