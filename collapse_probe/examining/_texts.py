"""What finished models are examined on: collections, held-out pairs as one more, and the reference pairs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import InputError, setting
from ..journal import CollectionInfo
from ..retrieval import (
    FEWEST_QUERIES,
    HELD_OUT,
    MOST_DOCUMENTS,
    Collection,
    Pairs,
    find_overlap,
    judged_texts,
    make_collection,
)

MOST_REFERENCE = 2_000
"""Reference pairs: five rows a dimension of the usual encoders (own choice)."""


@dataclass(frozen=True)
class Examined:
    """One collection as it is scored.

    Attributes:
        collection: Texts and judgements.
        domain: ``in`` or ``out`` of the domain of the pairs; None without pairs.
        remark: How it is a part of a larger one, in words; empty for all of it.
    """

    collection: Collection
    domain: str | None
    remark: str = ""

    @property
    def info(self) -> CollectionInfo:
        """What ``run.json`` keeps of it."""
        found = self.collection.info
        return replace(found, domain=self.domain, notes=[*found.notes, *([self.remark] if self.remark else [])])


@dataclass(frozen=True)
class Material:
    """All that is encoded.

    Attributes:
        examined: The collections, that of the pairs first.
        queries: Of the reference pairs.
        documents: Of the reference pairs, each of the query in its place.
        source: Where the reference pairs come from: ``given`` or ``collections``.
    """

    examined: Sequence[Examined]
    queries: Sequence[str]
    documents: Sequence[str]
    source: str

    @property
    def some_texts(self) -> list[str]:
        """Some texts, of all kinds."""
        return [text for pair in zip(self.documents[:64], self.queries[:64], strict=True) for text in pair]


def make_material(
    collections: Sequence[Collection], pairs: Pairs | None, *, queries: int | None, documents: int | None
) -> Material:
    """Return what models are examined on.

    Args:
        collections: What is scored.
        pairs: Held-out pairs of the domain that was trained on; None where there are none.
        queries: Most queries of each; all if None.
        documents: Most documents beside the relevant ones of each; all if None.

    Raises:
        InputError: nothing is given, too few pairs, or two collections of one name.
    """
    if not collections and pairs is None:
        raise InputError(
            f"nothing to examine on: give {setting('collections', 'scifact')} (a folder or a BEIR name), "
            f"{setting('pairs', 'dev.jsonl')}, or both"
        )
    examined = [] if pairs is None else [Examined(_of_pairs(pairs), "in")]
    examined += [Examined(one, None if pairs is None else find_overlap(one, pairs).domain) for one in collections]
    names = [one.collection.name for one in examined]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{setting('collections')}: two are named {twice!r}: give folders of different names")
    examined = [_part(one, queries, documents) for one in examined]
    known = examined[:1] if pairs is not None else examined
    reference = [pair for one in known for pair in _own_pairs(one.collection)][:MOST_REFERENCE]
    asked, answers = zip(*reference, strict=True)
    return Material(tuple(examined), asked, answers, "given" if pairs is not None else "collections")


def _of_pairs(pairs: Pairs) -> Collection:
    """Return pairs as a collection: every query among all documents, equal texts merged.

    Raises:
        InputError: there are too few.
    """
    queries = {text: f"q{at}" for at, text in enumerate(dict.fromkeys(one for one in pairs.queries if one))}
    documents = {text: f"d{at}" for at, text in enumerate(dict.fromkeys(one for one in pairs.documents if one))}
    documents = dict(list(documents.items())[:MOST_DOCUMENTS])
    judged = judged_texts(queries, documents, zip(pairs.queries, pairs.documents, strict=True))
    if len(judged) < FEWEST_QUERIES or len(documents) < FEWEST_QUERIES:
        raise InputError(
            f"{pairs.source}: {len(judged)} distinct queries and {len(documents)} distinct documents, where at least "
            f"{FEWEST_QUERIES} of each are needed to tell a change from chance; give more {setting('pairs')}"
        )
    return make_collection(
        HELD_OUT,
        "pairs",
        documents={name: text for text, name in documents.items()},
        titles={},
        queries={name: text for text, name in queries.items()},
        judged=judged,
        source=pairs.source,
        notes=pairs.notes,
        identical_ids="keep",
        form=pairs.form,
    )


def _part(one: Examined, queries: int | None, documents: int | None) -> Examined:
    """Return some queries of a collection, all of their relevant documents, and some others, by a fixed seed."""
    whole = one.collection
    chooses = random.Random(0)
    asked = list(whole.queries)
    if queries is not None and queries < len(asked):
        chosen = set(chooses.sample(asked, queries))
        asked = [query for query in asked if query in chosen]
    relevant = {d for query in asked for d, value in whole.qrels[query].items() if value > 0 and d in whole.documents}
    others = [document for document in whole.documents if document not in relevant]
    if documents is not None and documents < len(others):
        others = chooses.sample(others, documents)
    kept = relevant | set(others)
    if len(kept) == len(whole.documents) and len(asked) == len(whole.queries):
        return one
    part = make_collection(
        whole.name,
        whole.split,
        documents={name: text for name, text in whole.documents.items() if name in kept},
        titles={name: text for name, text in whole.titles.items() if name in kept},
        queries={query: whole.queries[query] for query in asked},
        judged={query: {d: v for d, v in whole.qrels[query].items() if d in kept or v > 0} for query in asked},
        source=whole.name,
        identical_ids="keep",
        form=whole.form,
        group=whole.group,
    )
    part = replace(part, leave_out=whole.leave_out & set(asked))
    counted = f"{len(asked):,} of {len(whole.queries):,} queries, " if len(asked) < len(whole.queries) else ""
    rest = f"the {len(relevant):,} relevant and {len(kept) - len(relevant):,} others"
    return replace(
        one,
        collection=part,
        remark=f"{whole.name}: {counted}{len(kept):,} of {len(whole.documents):,} documents ({rest})",
    )


def _own_pairs(one: Collection) -> list[tuple[str, str]]:
    """Return each query with the first document that is relevant to it."""
    found = []
    for query, judged in one.qrels.items():
        own = next((d for d, value in judged.items() if value > 0 and one.documents.get(d)), None)
        if own is not None and one.queries[query]:
            found.append((one.queries[query], one.documents[own]))
    return found
