"""Retrieval in the domain that is trained on: held-out queries among all documents of the pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...retrieval import make_collection
from ._evaluation import EvaluationSet
from ._vectors import TrainingData

HELD_OUT = "held-out pairs"
"""Name of the collection."""

FEWEST = 32
"""Queries below which nothing is scored: of fewer, hardly any change could be told from chance (own choice)."""

MOST_DOCUMENTS = 20_000
"""Documents that held-out queries are ranked among, where vectors are stored."""

MOST_ENCODED = 512
"""The same where every evaluation encodes them again."""


def held_out_pairs(data: TrainingData, *, most: int = MOST_DOCUMENTS) -> EvaluationSet | None:
    """Return the held-out pairs as a collection of the trained domain, which costs the user no data.

    Equal texts are one document and one query: a duplicate of the right answer counts as right, and so does every
    document that the training pairs give to the same query.

    Args:
        data: The pairs, with their texts.
        most: Documents; those of the held-out pairs come first, then those that are trained on.

    Returns:
        The collection; None without texts, or for fewer than 32 queries.
    """
    texts = data.texts
    if texts is None:
        return None
    queries = _distinct(texts.validation_query)
    documents = _distinct([*texts.validation_document, *texts.document])
    kept = dict(list(documents.items())[:most])
    judged: dict[str, dict[str, int]] = {f"q{row}": {} for row in queries.values()}
    for asked, answers in ((texts.validation_query, texts.validation_document), (texts.query, texts.document)):
        for query, document in zip(asked, answers, strict=True):
            if query in queries and document in kept:
                judged[f"q{queries[query]}"][f"d{kept[document]}"] = 1
    judged = {query: found for query, found in judged.items() if found}
    if len(judged) < FEWEST:
        return None
    collection = make_collection(
        HELD_OUT,
        "validation",
        documents={f"d{row}": text for text, row in kept.items()},
        titles={},
        queries={f"q{row}": text for text, row in queries.items()},
        judged=judged,
        source=HELD_OUT,
        identical_ids="keep",
    )
    return EvaluationSet(
        collection=collection,
        query_ids=list(collection.queries),
        document_ids=list(collection.documents),
        query=data.validation_query[[queries[text] for text in collection.queries.values()]],
        document=torch.cat([data.validation_document, data.document])[list(kept.values())],
        domain="in",
        changed=False,
        trained=frozenset(f"d{kept[text]}" for text in set(texts.document) if text in kept),
    )


def _distinct(texts: Sequence[str]) -> dict[str, int]:
    """Return every distinct text that is not empty with the first row it stands in."""
    found: dict[str, int] = {}
    for row, text in enumerate(texts):
        if text:
            found.setdefault(text, row)
    return found
