"""Retrieval collections: a corpus, queries, and judgements."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import InputError
from ..journal import CollectionInfo
from ._pairs import Pairs, fingerprint, make_pairs

Qrels = dict[str, dict[str, int]]
IdenticalIds = Literal["auto", "keep", "drop"]

_SHOWN_IDS = 3


@dataclass(frozen=True)
class Collection:
    """A corpus, the queries of one split, and their judgements.

    Attributes:
        name: The folder's name.
        split: The split of the judgements.
        documents: Id to ``title + " " + text``, stripped.
        queries: Id to text, of the queries that are judged in this split.
        qrels: Query id to document id to judgement. Judged documents that the corpus lacks stay, as BEIR and
            trec_eval count them; judgements of unknown queries do not.
        notes: What was left out or looks odd, counted.
        fingerprint: SHA-256 over all of it, in hexadecimal.
        titles: Id to title, of the documents that have one.
        leave_out: Queries whose document of the same id is never retrieved.
        group: The folder that it is a part of, as cqadupstack's twelve; scores of a group are averaged.
        form: The form that was recognised.
    """

    name: str
    split: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: Qrels
    notes: tuple[str, ...]
    fingerprint: str
    titles: dict[str, str] = field(default_factory=dict)
    leave_out: frozenset[str] = frozenset()
    group: str | None = None
    form: str = ""

    @property
    def info(self) -> CollectionInfo:
        """What ``run.json`` keeps of it, as far as it says so itself."""
        return CollectionInfo(
            name=self.name,
            split=self.split,
            n_queries=len(self.queries),
            n_documents=len(self.documents),
            fingerprint=self.fingerprint,
            form=self.form,
            group=self.group,
            notes=list(self.notes),
        )

    @property
    def missing(self) -> int:
        """How many judged documents of how many judgements the corpus lacks, counted by judgement."""
        return sum(document not in self.documents for judged in self.qrels.values() for document in judged)

    def body(self, document: str) -> str:
        """Return a document's text without its title."""
        return self.documents[document].removeprefix(self.titles.get(document, "")).strip()


def make_collection(
    name: str,
    split: str,
    *,
    documents: dict[str, str],
    titles: dict[str, str],
    queries: Mapping[str, str],
    judged: Qrels,
    source: str,
    notes: Iterable[str] = (),
    identical_ids: IdenticalIds = "auto",
    form: str = "",
    group: str | None = None,
) -> Collection:
    """Return a collection of its parts, with what is odd about them counted in its notes.

    Args:
        name: Its name.
        split: Of the judgements.
        documents: Id to title and text.
        titles: Id to title.
        queries: Id to text, of all queries.
        judged: The judgements as they were read.
        source: Where these were read, for messages.
        notes: What is known to be odd already.
        identical_ids: Whether a document with its query's own id can be retrieved: ``keep``, ``drop`` as BEIR
            does, or ``auto``: only where it is judged relevant.
        form: The form that was recognised.
        group: What it is a part of.

    Raises:
        InputError: no judgement names a query and a document that are there, none is above 0, or a judged query
            has no text.
    """
    qrels = {query: dict(judgements) for query, judgements in judged.items() if query in queries}
    _check_known(qrels, judged, queries, documents, source)
    blank = next((query for query in qrels if not queries[query]), None)
    if blank is not None:
        raise InputError(f"{source}: query {blank!r} is judged and has no 'text'; write one or leave it out")
    leave_out, said = _identical(qrels, documents, identical_ids)
    kept = {query: queries[query] for query in qrels}
    content = [*documents, *documents.values(), *kept, *kept.values(), json.dumps(qrels, sort_keys=True)]
    own = {query for query in qrels if query in documents}
    if own != leave_out:
        # BEIR's rule leaves all of them out; another rule is another collection.
        content += ["retrieved with its query's id", *sorted(own - leave_out)]
    return Collection(
        name,
        split,
        documents,
        kept,
        qrels,
        (*notes, *_notes(qrels, judged, queries, documents), *said),
        fingerprint(content),
        titles,
        leave_out,
        group,
        form,
    )


def judged_pairs(collection: Collection, *, source: str, min_score: float | None = None) -> Pairs:
    """Return every query of a collection with each document judged relevant to it, as training pairs.

    Args:
        collection: The collection.
        source: What the pairs are said to come from.
        min_score: The least judgement of a relevant document; above 0 where None.

    Raises:
        InputError: no judgement is above 0, or at least ``min_score``.
    """

    def relevant(judgement: int) -> bool:
        return judgement > 0 if min_score is None else judgement >= min_score

    examples = [
        (
            collection.queries[query],
            [collection.documents[d] for d, value in judged.items() if relevant(value) and collection.documents.get(d)],
            [
                collection.documents[d]
                for d, value in judged.items()
                if not relevant(value) and collection.documents.get(d)
            ],
        )
        for query, judged in collection.qrels.items()
    ]
    if not any(positives for _, positives, _ in examples):
        needed = "above 0" if min_score is None else f"at least {min_score:g}"
        raise InputError(f"{source}: no judgement of split {collection.split} is {needed}, so there are no pairs")
    missing = [note for note in collection.notes if "not in the corpus" in note]
    form = f"{collection.form or 'collection'}, relevant documents of split {collection.split}"
    return make_pairs(examples, source=source, form=form, notes=missing)


def _check_known(
    qrels: Qrels, judged: Qrels, queries: Mapping[str, str], documents: Mapping[str, str], source: str
) -> None:
    if not any(document in documents for judgements in qrels.values() for document in judgements):
        unknown = len({document for judgements in judged.values() for document in judgements} - set(documents))
        raise InputError(
            f"{source}: no judgement names a query and a document that are there ({len(judged) - len(qrels):,} unknown "
            f"queries, {unknown:,} unknown documents); judged are {_some(judged)} with "
            f"{_some(d for j in judged.values() for d in j)}, ids are {_some(queries)} and {_some(documents)}"
        )
    if not any(value > 0 for judgements in qrels.values() for value in judgements.values()):
        raise InputError(f"{source}: no judgement is above 0, so nothing could be found; give relevant documents 1")


def _some(ids: Iterable[str]) -> str:
    found = list(dict.fromkeys(ids))[: _SHOWN_IDS + 1]
    return ", ".join(map(repr, found[:_SHOWN_IDS])) + (" ..." if len(found) > _SHOWN_IDS else "") or "none"


def _notes(qrels: Qrels, judged: Qrels, queries: Mapping[str, str], documents: Mapping[str, str]) -> list[str]:
    notes: list[str] = []
    if len(qrels) < len(judged):
        notes.append(f"judgements of {len(judged) - len(qrels):,} unknown queries left out")
    missing = [
        (q, d, value) for q, judgements in qrels.items() for d, value in judgements.items() if d not in documents
    ]
    if missing:
        relevant = sum(value > 0 for _, _, value in missing)
        notes.append(
            f"{len(missing):,} judged documents are not in the corpus, {relevant:,} of them relevant; they stay "
            f"judged, as in BEIR and trec_eval, so nDCG@10 can reach {_ceiling(qrels, documents):.4f} at most"
        )
    blank = sum(not text for text in documents.values())
    if blank:
        notes.append(f"{blank:,} of {len(documents):,} documents have no text")
    without = sum(all(score <= 0 for score in judgements.values()) for judgements in qrels.values())
    if without:
        notes.append(f"{without:,} queries have no relevant document and score 0")
    return notes


def _ceiling(qrels: Qrels, documents: Mapping[str, str], *, depth: int = 10) -> float:
    """Return the mean nDCG of a search that ranks every document of the corpus as it is judged."""
    values = []
    for judgements in qrels.values():
        best = _gain(judgements.values(), depth)
        there = _gain((value for document, value in judgements.items() if document in documents), depth)
        values.append(there / best if best else 0.0)
    return sum(values) / len(values)


def _gain(judgements: Iterable[int], depth: int) -> float:
    ranked = sorted((value for value in judgements if value > 0), reverse=True)[:depth]
    return sum(value / math.log2(rank + 2) for rank, value in enumerate(ranked))


def _identical(qrels: Qrels, documents: Mapping[str, str], rule: IdenticalIds) -> tuple[frozenset[str], list[str]]:
    """Return the queries whose document of the same id is left out, and what is said of it."""
    own = [query for query in qrels if query in documents]
    relevant = [query for query in own if qrels[query].get(query, 0) > 0]
    if not own:
        return frozenset(), []
    if rule == "drop":
        costs = f", {len(relevant):,} of them relevant" if relevant else ""
        return frozenset(own), [f"{len(own):,} documents with their query's id are never retrieved{costs}"]
    if rule == "keep":
        return frozenset(), [f"{len(own):,} documents with their query's id are retrieved like others"]
    notes = []
    left_out = frozenset(own) - frozenset(relevant)
    if left_out:
        notes.append(f"{len(left_out):,} documents with their query's id are left out, as in BEIR")
    if relevant:
        notes.append(
            f"{len(relevant):,} relevant documents have their query's id and can be retrieved, "
            "where BEIR leaves them out"
        )
    return left_out, notes
